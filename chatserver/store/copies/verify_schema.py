"""Whether the tables, indexes and triggers of a database are those that this version creates."""

from collections.abc import Iterator
from typing import Any, Final

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine

from chatserver.store.db.engine import migrate_to
from chatserver.store.db.schema import Base

_WORDS: Final = "SELECT name, sql FROM sqlite_master WHERE name LIKE 'entry_search%' OR tbl_name LIKE 'entry_search%'"
_INDEX: Final = """
SELECT i.indisvalid AND i.indisready FROM pg_index AS i WHERE i.indexrelid = to_regclass('ix_entry_search')
"""
_TRIGGERS: Final = """
SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass('entry') AND tgenabled = 'O'
AND tgname IN ('entry_search_changed', 'entry_search_removed')
"""


def schema_problems(db: Connection) -> Iterator[str]:
    """Tables, columns and indexes that are missing or different. Additions are ignored."""
    context = MigrationContext.configure(db, opts={"include_name": _is_ours, "compare_type": True})
    for difference in compare_metadata(context, Base.metadata):
        for one in difference if isinstance(difference, list) else [difference]:
            if text := _described(one):
                yield text


def _is_ours(name: str | None, kind: str, _parent: Any) -> bool:
    """The models do not describe what is for searching."""
    return not (name or "").startswith(("entry_search", "ix_entry_search"))


def _described(one: Any) -> str:
    word, *what = one
    if word in ("remove_index", "remove_table", "remove_column"):
        return ""
    names = [str(getattr(part, "name", part)) for part in what if isinstance(part, str) or hasattr(part, "name")]
    if word.startswith("add_"):
        return f"the {word.removeprefix('add_')} {'.'.join(names)} is missing"
    return f"{word.replace('_', ' ')}: {'.'.join(names)} differs"


def index_problems(db: Connection) -> Iterator[str]:
    """Parts of the index of words, which the models do not describe, that are missing or different."""
    yield from _postgres_words(db) if db.dialect.name == "postgresql" else _sqlite_words(db)


def _postgres_words(db: Connection) -> Iterator[str]:
    if not db.exec_driver_sql(_INDEX).scalar():
        yield "the index ix_entry_search is missing or not valid"
    have = set(db.exec_driver_sql(_TRIGGERS).scalars())
    for name in ("entry_search_changed", "entry_search_removed"):
        if name not in have:
            yield f"{name}, a part of the index of words, is missing"


def _sqlite_words(db: Connection) -> Iterator[str]:
    """Compares the index of words and its triggers with those of a new database."""
    fresh = create_engine("sqlite://")
    try:
        with fresh.connect() as new:
            migrate_to(new, "head")
            wanted = _parts(new)
    finally:
        fresh.dispose()
    have = _parts(db)
    for name, sql in sorted(wanted.items()):
        if have.get(name) != sql:
            yield f"{name}, a part of the index of words, is {'different' if name in have else 'missing'}"


def _parts(db: Connection) -> dict[str, str]:
    return {row.name: row.sql for row in db.exec_driver_sql(_WORDS)}
