"""Limits of accounts, slow rooms, names that look alike, and tokens that may do less than their account."""

import sqlalchemy as sa
from alembic import op

from chatserver.store.schema import Instant

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ADDED = {
    "account": [
        sa.Column("skeleton", sa.String(64), nullable=True),
        sa.Column("commands_per_second", sa.Float(), nullable=True),
        sa.Column("bytes_per_second", sa.Float(), nullable=True),
        sa.Column("connections", sa.Integer(), nullable=True),
    ],
    "room": [sa.Column("pace_seconds", sa.Integer(), server_default="0", nullable=False)],
    "token": [
        sa.Column("expires_at", Instant(), nullable=True),
        sa.Column("read_only", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("room_id", sa.BigInteger(), nullable=True),
    ],
}


def upgrade() -> None:
    for table, columns in _ADDED.items():
        for column in columns:
            op.add_column(table, column)
    op.create_index(op.f("ix_account_skeleton"), "account", ["skeleton"])


def downgrade() -> None:
    op.drop_index(op.f("ix_account_skeleton"), "account")
    for table, columns in _ADDED.items():
        for column in columns:
            op.drop_column(table, column.name)
