"""Several servers on one database: who leads, and what has changed."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TOPICS = ("jobs", "services", "tokens")


def upgrade() -> None:
    """Make the tables, with the one row and the topics."""
    leadership = op.create_table(
        "leadership",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("database", sa.String(40), nullable=False),
        sa.Column("home", sa.String(40)),
        sa.Column("holder", sa.Text()),
        sa.Column("fence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("expires_at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    changes = op.create_table(
        "changes",
        sa.Column("topic", sa.String(20), nullable=False),
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("topic"),
    )
    op.bulk_insert(leadership, [{"number": 1, "database": secrets.token_hex(16), "fence": 0, "expires_at": 0.0}])
    op.bulk_insert(changes, [{"topic": topic, "number": 0} for topic in _TOPICS])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("changes")
    op.drop_table("leadership")
