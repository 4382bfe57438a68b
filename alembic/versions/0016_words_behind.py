"""The index of words follows the logs: it is filled in the background, up to a mark in each room."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# The column that servers of the revision before search in is dropped.
ROLLING = False
"""Whether servers of the revision before go on serving while this one is applied, and after it."""

_ROW = "(old.room_id << 36) | old.seq"
_DROP = f"DELETE FROM entry_search WHERE rowid = {_ROW};"
# Not with detail=none: SQLite 3.46 then loses words of other messages when `secure-delete` deletes one.
_NEW = (
    "CREATE VIRTUAL TABLE entry_search USING fts5(words, tokenize='ascii')",
    f"CREATE TRIGGER entry_search_changed AFTER UPDATE OF text ON entry WHEN old.kind = 'message' BEGIN {_DROP} END",
    f"CREATE TRIGGER entry_search_removed AFTER DELETE ON entry WHEN old.kind = 'message' BEGIN {_DROP} END",
)
_OLD_ADD = (
    "INSERT INTO entry_search (rowid, text) SELECT (new.room_id << 36) | new.seq, new.text WHERE new.kind = 'message';"
)
_OLD_DROP = (
    "INSERT INTO entry_search (entry_search, rowid, text) "
    f"SELECT 'delete', {_ROW}, old.text WHERE old.kind = 'message';"
)
_OLD = (
    "CREATE VIRTUAL TABLE entry_search USING fts5(text, content='', tokenize='unicode61 remove_diacritics 0')",
    "INSERT INTO entry_search (rowid, text) SELECT (room_id << 36) | seq, text FROM entry WHERE kind = 'message'",
    f"CREATE TRIGGER entry_search_added AFTER INSERT ON entry BEGIN {_OLD_ADD} END",
    f"CREATE TRIGGER entry_search_changed AFTER UPDATE OF text ON entry BEGIN {_OLD_DROP}{_OLD_ADD} END",
    f"CREATE TRIGGER entry_search_removed AFTER DELETE ON entry BEGIN {_OLD_DROP} END",
)
# A message that was changed keeps a row without words: the job that fills the index never replaces one.
_FUNCTION = """
CREATE FUNCTION entry_search_forget() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.room_id = OLD.room_id THEN
        INSERT INTO entry_search (room_id, seq, words) VALUES (OLD.room_id, OLD.seq, '')
        ON CONFLICT (room_id, seq) DO UPDATE SET words = '';
    ELSE
        DELETE FROM entry_search WHERE room_id = OLD.room_id AND seq = OLD.seq;
    END IF;
    RETURN NULL;
END $$
"""
_TABLE = """
CREATE TABLE entry_search (
    room_id bigint NOT NULL, seq bigint NOT NULL, words tsvector NOT NULL,
    CONSTRAINT pk_entry_search PRIMARY KEY (room_id, seq)
)
"""
_CHANGED = """
CREATE TRIGGER entry_search_changed AFTER UPDATE OF text ON entry FOR EACH ROW
WHEN (OLD.kind = 'message' AND (OLD.text, OLD.room_id) IS DISTINCT FROM (NEW.text, NEW.room_id))
EXECUTE FUNCTION entry_search_forget()
"""
_REMOVED = """
CREATE TRIGGER entry_search_removed AFTER DELETE ON entry FOR EACH ROW
WHEN (OLD.kind = 'message') EXECUTE FUNCTION entry_search_forget()
"""
_COLUMN = """
ALTER TABLE entry ADD COLUMN search tsvector
GENERATED ALWAYS AS (CASE WHEN kind = 'message' THEN to_tsvector('simple', text) END) STORED
"""
_POSTGRES_NEW = (
    "DROP INDEX ix_entry_search",
    "ALTER TABLE entry DROP COLUMN search",
    _TABLE,
    "ALTER TABLE entry_search ALTER COLUMN words SET STATISTICS 0",
    "CREATE INDEX ix_entry_search ON entry_search USING gin (words)",
    _FUNCTION,
    _CHANGED,
    _REMOVED,
)
_POSTGRES_OLD = (
    _COLUMN,
    "ALTER TABLE entry ALTER COLUMN search SET STATISTICS 0",
    "CREATE INDEX ix_entry_search ON entry USING gin (search)",
)
_TRIGGERS = ("entry_search_added", "entry_search_changed", "entry_search_removed")


def upgrade() -> None:
    op.create_table(
        "search_mark",
        sa.Column("room_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("language", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("room_id", name=op.f("pk_search_mark")),
    )
    if op.get_bind().dialect.name == "postgresql":
        _run(_POSTGRES_NEW)
        return
    _run([f"DROP TRIGGER IF EXISTS {name}" for name in _TRIGGERS])
    _run(["DROP TABLE entry_search", *_NEW])


def downgrade() -> None:
    op.drop_table("search_mark")
    if op.get_bind().dialect.name == "postgresql":
        _run([f"DROP TRIGGER IF EXISTS {name} ON entry" for name in _TRIGGERS])
        _run(["DROP TABLE entry_search", "DROP FUNCTION entry_search_forget()", *_POSTGRES_OLD])
        return
    _run([f"DROP TRIGGER IF EXISTS {name}" for name in _TRIGGERS])
    _run(["DROP TABLE entry_search", *_OLD])


def _run(statements: list[str] | tuple[str, ...]) -> None:
    for statement in statements:
        op.execute(statement)
