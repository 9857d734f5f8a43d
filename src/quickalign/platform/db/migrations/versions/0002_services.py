"""Services with revisions, replicas, events and tokens; idempotency keys make services too."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_FLOAT = sa.Float(53)


def _service(**options: Any) -> sa.Column[int]:
    return sa.Column("service", _BIG, sa.ForeignKey("services.number", ondelete="CASCADE"), **options)


def upgrade() -> None:
    """Make the tables of services, and rename what a key made."""
    with op.batch_alter_table("idempotency_keys") as keys:
        keys.alter_column("job", new_column_name="made", existing_type=sa.String(40), existing_nullable=False)
    _services()
    _revisions()
    _replicas()
    _others()


def _services() -> None:
    op.create_table(
        "services",
        sa.Column("number", _BIG, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(40), nullable=False, unique=True),
        sa.Column("name", sa.String(63), nullable=False, index=True),
        sa.Column("taken_name", sa.String(63), unique=True),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("reason", sa.JSON()),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer()),
        sa.Column("target", sa.Integer(), nullable=False),
        sa.Column("wanted_replicas", sa.Integer(), nullable=False),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.Column("idle_stop_seconds", _FLOAT),
        sa.Column("idle", sa.Boolean(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("token_generation", sa.Integer(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("created_at", _FLOAT, nullable=False),
        sa.Column("updated_at", _FLOAT, nullable=False),
        sa.Column("last_request_at", _FLOAT),
        sa.Column("removal", sa.JSON()),
    )
    op.create_index("ix_services_state", "services", ["state", "number"])


def _revisions() -> None:
    op.create_table(
        "service_revisions",
        _service(primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("source", sa.JSON(), nullable=False),
        sa.Column("job", sa.String(40), index=True),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("proven", sa.Boolean(), nullable=False),
        sa.Column("memory_bytes", _BIG, nullable=False),
        sa.Column("engine", sa.String(40)),
        sa.Column("precision", sa.String(80)),
        sa.Column("context", sa.Integer()),
        sa.Column("weights_bytes", _BIG),
        sa.Column("proof", sa.JSON()),
        sa.Column("reason", sa.JSON()),
        sa.Column("created_at", _FLOAT, nullable=False),
    )


def _replicas() -> None:
    op.create_table(
        "service_replicas",
        sa.Column("id", sa.String(40), primary_key=True),
        _service(nullable=False, index=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False, index=True),
        sa.Column("reason", sa.JSON()),
        sa.Column("device", sa.Integer()),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.Column("memory_bytes", _BIG, nullable=False),
        sa.Column("held_bytes", _BIG),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_token", sa.String(64)),
        sa.Column("restarts", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("deadline_at", _FLOAT),
        sa.Column("retry_at", _FLOAT),
        sa.Column("pid", sa.Integer()),
        sa.Column("processes", sa.JSON()),
        sa.Column("endpoint", sa.String(100)),
        sa.Column("answers", sa.Integer()),
        sa.Column("ready_at", _FLOAT),
        sa.Column("created_at", _FLOAT, nullable=False),
    )


def _others() -> None:
    op.create_table(
        "service_events",
        _service(primary_key=True),
        sa.Column("sequence", sa.Integer(), primary_key=True),
        sa.Column("created_at", _FLOAT, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
    )
    op.create_table(
        "service_tokens",
        sa.Column("id", sa.String(40), primary_key=True),
        _service(nullable=False, index=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", _FLOAT, nullable=False),
        sa.Column("revoked_at", _FLOAT),
    )


def downgrade() -> None:
    """Remove the tables of services."""
    for table in ("service_tokens", "service_events", "service_replicas", "service_revisions", "services"):
        op.drop_table(table)
    with op.batch_alter_table("idempotency_keys") as keys:
        keys.alter_column("made", new_column_name="job", existing_type=sa.String(40), existing_nullable=False)
