"""An index of the messages that answer a message."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# The index is made in one go, and nothing can be said meanwhile.
ROLLING = False
"""Whether servers of the revision before go on serving while this one is applied, and after it."""

_IS_REPLY = "target_seq IS NOT NULL AND kind = 'message' AND state IS DISTINCT FROM 'erased'"


def upgrade() -> None:
    where = sa.text(_IS_REPLY)
    op.create_index(
        "ix_entry_replies", "entry", ["room_id", "target_seq", "seq"], postgresql_where=where, sqlite_where=where
    )


def downgrade() -> None:
    op.drop_index("ix_entry_replies", "entry")
