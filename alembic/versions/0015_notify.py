"""What an account wants to be notified of in each room."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

ROLLING = True
"""Whether servers of the revision before go on serving while this one is applied, and after it."""


def upgrade() -> None:
    op.add_column("membership", sa.Column("notify", sa.String(16), nullable=True))


def downgrade() -> None:
    op.drop_column("membership", "notify")
