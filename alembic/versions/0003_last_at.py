"""The time of a room's newest entry."""

import sqlalchemy as sa
from alembic import op

from chatserver.store.db.schema import Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("room", sa.Column("last_at", Instant(), nullable=True))
    op.execute(
        "UPDATE room SET last_at = (SELECT at FROM entry WHERE entry.room_id = room.id AND entry.seq = room.last_seq)"
    )


def downgrade() -> None:
    op.drop_column("room", "last_at")
