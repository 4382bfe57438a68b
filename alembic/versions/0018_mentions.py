"""Mentions: a row for each account that a message names or answers. A job finds those of older messages afterwards."""

from typing import Any

import sqlalchemy as sa
from alembic import context, op

from chatserver.store.db.schema import Instant

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# Servers of the version before would store messages without their mentions.
ROLLING = False

# What `chat_v1.stored` of revision 0012 does besides. It never waits for a row: those who look through one wait for the
# room, which is locked here.
_BEFORE = "    RETURN number;\nEXCEPTION"
_LEFT = """
    UPDATE __TABLES__.unscanned AS u SET last_seq = number
    WHERE u.room_id = here.id AND u.first_seq = (
        SELECT v.first_seq FROM __TABLES__.unscanned AS v
        WHERE v.room_id = here.id AND v.last_seq = number - 1 FOR UPDATE SKIP LOCKED);
    IF NOT FOUND THEN
        INSERT INTO __TABLES__.unscanned (room_id, first_seq, last_seq) VALUES (here.id, number, number);
    END IF;
"""


def upgrade() -> None:
    op.create_table(
        "mention",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("room_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("author_id", sa.BigInteger(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "room_id", "seq", name=op.f("pk_mention")),
    )
    op.create_index("ix_mention_account_id", "mention", ["account_id", "at"])
    op.create_index("ix_mention_room_id", "mention", ["room_id", "seq"])
    op.create_table(
        "unscanned",
        sa.Column("room_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room_id", "first_seq", name=op.f("pk_unscanned")),
    )
    op.execute(
        "INSERT INTO unscanned (room_id, first_seq, last_seq) "
        "SELECT id, first_seq, last_seq FROM room WHERE last_seq >= first_seq"
    )
    _replace_stored(_LEFT)


def downgrade() -> None:
    _replace_stored("")
    op.drop_table("unscanned")
    op.drop_table("mention")


def _replace_stored(more: str) -> None:
    db = op.get_bind()
    if db.dialect.name != "postgresql":
        return
    before: Any = context.script.get_revision("0012").module
    text: str = before._STORED.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
    text = text.replace(_BEFORE, more.lstrip("\n") + _BEFORE)
    tables = db.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    db.exec_driver_sql(text.replace("__TABLES__", tables), execution_options={"no_parameters": True})
