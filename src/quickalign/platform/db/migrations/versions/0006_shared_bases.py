"""Bases that several services share: what a revision shares, and who keeps what a replica shares."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; revisions that are there share nothing."""
    op.add_column("service_revisions", sa.Column("shared_key", sa.String(64)))
    op.add_column("service_revisions", sa.Column("shared_base", sa.Text()))
    op.add_column("service_revisions", sa.Column("shared_bytes", sa.BigInteger().with_variant(sa.Integer(), "sqlite")))
    op.add_column("service_replicas", sa.Column("keeper", sa.JSON()))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("service_replicas", "keeper")
    for name in ("shared_bytes", "shared_base", "shared_key"):
        op.drop_column("service_revisions", name)
