"""Read marks can move back: what was seen before that no longer counts, wherever it waits to be stored."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

ROLLING = True
"""Servers of the revision before do not move marks back, and may undo it where a terminal shows later entries."""


def upgrade() -> None:
    op.add_column("membership", sa.Column("read_era", sa.Integer(), server_default="1", nullable=False))


def downgrade() -> None:
    op.drop_column("membership", "read_era")
