"""Epochs: how far the log that a client knows is the one that there is now."""

import sqlalchemy as sa
from alembic import op

from chatserver.store.db.schema import Id, Instant

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

ROLLING = True
"""Whether servers of the revision before go on serving while this one is applied, and after it."""


def upgrade() -> None:
    op.create_table(
        "epoch",
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.String(128), nullable=True),
        sa.Column("began_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_epoch")),
        sa.UniqueConstraint("name", name=op.f("uq_epoch_name")),
    )
    op.create_table(
        "epoch_head",
        sa.Column("room_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room_id", "epoch_id", name=op.f("pk_epoch_head")),
    )


def downgrade() -> None:
    op.drop_table("epoch_head")
    op.drop_table("epoch")
