"""Access keys, objects, and registered models with their versions."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_FLOAT = sa.Float(53)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "access_keys",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("created_at", _FLOAT, nullable=False),
        sa.Column("revoked_at", _FLOAT),
    )
    op.create_table(
        "objects",
        sa.Column("bucket", sa.String(63), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("file", sa.String(40), index=True),
        sa.Column("bytes", _BIG, nullable=False),
        sa.Column("etag", sa.String(80), nullable=False),
        sa.Column("content_type", sa.String(255), nullable=False),
        sa.Column("modified_at", _FLOAT, nullable=False),
    )
    op.create_table(
        "models",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("created_at", _FLOAT, nullable=False),
        sa.Column("updated_at", _FLOAT, nullable=False),
    )
    op.create_table(
        "model_versions",
        sa.Column("model", sa.String(40), sa.ForeignKey("models.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("created_at", _FLOAT, nullable=False),
        sa.Column("updated_at", _FLOAT, nullable=False),
        sa.UniqueConstraint("model", "name"),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("model_versions", "models", "objects", "access_keys"):
        op.drop_table(table)
