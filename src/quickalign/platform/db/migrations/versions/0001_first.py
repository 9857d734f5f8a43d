"""The first schema: jobs with inputs, events and attempts; files; idempotency keys; tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_FLOAT = sa.Float(53)


def _job_key() -> sa.Column[int]:
    return sa.Column("job", _BIG, sa.ForeignKey("jobs.number", ondelete="CASCADE"), primary_key=True)


def upgrade() -> None:
    """Make all tables."""
    _jobs()
    _parts_of_jobs()
    _others()


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("number", _BIG, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(40), nullable=False, unique=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("model", sa.String(500), nullable=False, index=True),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("reason", sa.JSON()),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.Column("memory_bytes", _BIG, nullable=False),
        sa.Column("device", sa.Integer()),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("max_retries", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_token", sa.String(64)),
        sa.Column("deadline_at", _FLOAT),
        sa.Column("retry_at", _FLOAT),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("crash_step", sa.Integer(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("journal_offset", _BIG, nullable=False),
        sa.Column("progress", sa.JSON()),
        sa.Column("created_at", _FLOAT, nullable=False),
        sa.Column("started_at", _FLOAT),
        sa.Column("finished_at", _FLOAT),
        sa.Column("model_path", sa.Text()),
        sa.Column("adapter_sha256", sa.String(64)),
        sa.Column("cloned_from", sa.String(40)),
    )
    op.create_index("ix_jobs_state_order", "jobs", ["state", "priority", "number"])


def _parts_of_jobs() -> None:
    op.create_table(
        "inputs",
        _job_key(),
        sa.Column("field", sa.String(20), primary_key=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(64), index=True),
        sa.Column("blob", sa.Boolean(), nullable=False),
        sa.Column("file", sa.String(40), index=True),
    )
    op.create_table(
        "events",
        _job_key(),
        sa.Column("sequence", sa.Integer(), primary_key=True),
        sa.Column("created_at", _FLOAT, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
    )
    op.create_table(
        "attempts",
        _job_key(),
        sa.Column("attempt", sa.Integer(), primary_key=True),
        sa.Column("lease_token", sa.String(64), nullable=False),
        sa.Column("device", sa.Integer()),
        sa.Column("started_at", _FLOAT, nullable=False),
        sa.Column("ended_at", _FLOAT),
        sa.Column("outcome", sa.JSON()),
    )


def _others() -> None:
    op.create_table(
        "files",
        sa.Column("number", _BIG, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(40), nullable=False, unique=True),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("purpose", sa.String(20), nullable=False, index=True),
        sa.Column("bytes", _BIG, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False, index=True),
        sa.Column("created_at", _FLOAT, nullable=False),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("job", sa.String(40), nullable=False),
        sa.Column("created_at", _FLOAT, nullable=False, index=True),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", _FLOAT, nullable=False),
        sa.Column("revoked_at", _FLOAT),
    )


def downgrade() -> None:
    """Remove all tables."""
    for table in ("tokens", "idempotency_keys", "files", "attempts", "events", "inputs", "jobs"):
        op.drop_table(table)
