"""What a job found, beside the weights it made."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("jobs", sa.Column("results", sa.JSON()))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("jobs", "results")
