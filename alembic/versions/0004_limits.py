"""Limits of accounts, slow rooms, names that look alike, and tokens that may do less than their account."""

import sqlalchemy as sa
from alembic import op

from chatserver.store.db.schema import Instant
from chatserver.wire.hygiene.lookalikes import skeleton

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
    _fill_skeletons()
    op.create_index(op.f("ix_account_skeleton"), "account", ["skeleton"])
    op.create_index("ix_invitation_invited_by", "invitation", ["invited_by"])


def _fill_skeletons() -> None:
    """Of all accounts but guests, whose names begin with `~`. Those that look alike already are left as they are."""
    db = op.get_bind()
    account = sa.table("account", *(sa.column(name) for name in ("id", "name_key", "skeleton")))
    fill = sa.update(account).where(account.c.id == sa.bindparam("account_id")).values(skeleton=sa.bindparam("like"))
    last = 0
    while True:
        page = sa.select(account.c.id, account.c.name_key).where(account.c.id > last).order_by(account.c.id).limit(1000)
        rows = db.execute(page).all()
        if not rows:
            return
        last = rows[-1].id
        filled = [
            {"account_id": row.id, "like": skeleton(row.name_key)} for row in rows if not row.name_key.startswith("~")
        ]
        if filled:
            db.execute(fill, filled)


def downgrade() -> None:
    op.drop_index("ix_invitation_invited_by", "invitation")
    op.drop_index(op.f("ix_account_skeleton"), "account")
    for table, columns in _ADDED.items():
        for column in columns:
            op.drop_column(table, column.name)
