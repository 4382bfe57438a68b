"""What erasing leaves: everything that somebody wrote is marked, and then looked for in all that the database has."""

from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Connection

from chatserver.store import (
    accounts,
    certificates,
    entries,
    erasure,
    messages,
    moderation,
    reactions,
    renames,
    rooms,
    search,
    tokens,
)
from chatserver.store.db.database_file import empty_log
from chatserver.store.db.schema import Base
from chatserver.store.messages import Draft
from chatserver.store.sessions import Opened, record
from chatserver.store.visibility import RoomAccess, find_room
from chatserver.values.events import Person
from tests.store.conftest import AT, Tables
from tests.store.test_gone import on_disk

TEXTS: Final = {
    *("message", "edited", "replaced", "reply", "direct", "removed", "reaction", "topic", "begun", "kicked", "banned"),
    *("barred", "id", "removedid"),
}
"""What goes only with the messages."""
ABOUT: Final = {
    *("Called", "Former", "display", "formerdisplay", "hash", "label", "token", "certlabel", "cert", "zone", "address"),
    "banner",
}
"""What goes with every account."""
KEPT: Final = {"called", "former", "roomname", "present", "notice"}
"""What stays: reserved names, the room's name and its present topic, and what others wrote about somebody."""


OURS: Final = {
    *("account.kind", "room.kind", "room.invites", "membership.role", "membership.seen", "entry.kind", "entry.state"),
    *("membership.notify", "token.kind", "search_mark.language"),
    *("session.id", "session.node", "preference.name", "change.kind", "change.origin", "secret.name"),
    *("node.name", "node.boot", "node.host", "node.machine", "node.version", "node.facts", "node.asked"),
    *("epoch.name", "epoch.place", "alembic_version.version_num"),
}
"""Columns whose texts the server itself has written."""


def mark(kind: str) -> str:
    return f"{kind}qzx{len(kind)}k"


def fill(tables: Tables) -> Person:
    """Somebody who has left a mark of every kind."""
    ana, bob = tables.person(mark("Former")), tables.person("bob")
    tables(accounts.set_password, ana.id, mark("hash"))
    tables(renames.rename, ana.id, None, mark("formerdisplay"), AT, renames.Quota())
    later = AT + timedelta(days=1)
    renamed = tables(renames.rename, ana.id, mark("Called"), mark("display"), later, renames.Quota())
    assert renamed is not None
    ana = renamed.now
    tables(tokens.create, ana.id, mark("label"), mark("token"), AT)
    tables(certificates.create, ana.id, mark("certlabel"), mark("cert"), AT)
    tables(lambda db: db.exec_driver_sql(f"INSERT INTO preference VALUES ({ana.id}, 'x', '{mark('zone')}')"))
    tables(record, [Opened("s1", ana.id, "main", mark("address"), AT)])

    def work(db: Connection) -> None:
        facts, _ = rooms.create(db, ana, mark("roomname"), "public", mark("begun"), AT)

        def find() -> RoomAccess:
            return find_room(db, ana, facts.name, lock=True)

        rooms.join(db, bob, find_room(db, bob, facts.name, lock=True), AT)
        rooms.set_topic(db, ana, find(), mark("topic"), AT)
        rooms.set_topic(db, ana, find(), mark("present"), AT)
        direct = rooms.open_direct(db, ana, find_room(db, ana, "@bob"), AT)
        [notice] = messages.append(db, [Draft(facts.id, bob.id, mark("notice"), None)], AT)
        drafts = [
            Draft(facts.id, ana.id, mark("removed"), mark("removedid")),
            Draft(facts.id, ana.id, mark("message"), mark("id")),
            Draft(facts.id, ana.id, mark("replaced"), None),
            Draft(facts.id, ana.id, mark("reply"), None, notice.seq),
            Draft(direct.id, ana.id, mark("direct"), None),
        ]
        removed, _, replaced, reply, _ = messages.append(db, drafts, AT)
        assert reply.outcome == "stored"
        messages.edit(db, ana, find(), replaced.seq, mark("edited"), AT)
        messages.erase(db, ana, find(), removed.seq, AT)
        [answered] = entries.before(db, facts.id, notice.seq + 1, notice.seq, 1)[0]
        reactions.add(db, ana, find(), answered, mark("reaction"), AT)
        moderation.ban(db, ana, find(), bob, None, mark("banned"), AT)
        moderation.kick(db, ana, find(), bob, mark("kicked"), AT)
        moderation.ban_from_server(db, ana.id, bob, None, None, mark("barred"), AT)
        moderation.ban_from_server(db, bob.id, ana, None, None, mark("banner"), AT)

    tables(work)
    spent = f"UPDATE entry SET room_id = -room_id, kind = 'spent' WHERE client_id = '{mark('removedid')}'"
    tables(lambda db: db.exec_driver_sql(spent))
    return ana


def in_rows(tables: Tables) -> str:
    """Everything in the rows of all tables, and on PostgreSQL in its statistics."""
    found = []
    for name in Base.metadata.tables:
        query = f'SELECT CAST(t AS text) FROM "{name}" AS t' if tables.postgres else f'SELECT * FROM "{name}"'
        with tables.engine.connect() as db:
            found += [str(row) for row in db.exec_driver_sql(query)]
    return "".join(found)


def in_statistics(tables: Tables) -> str:
    query = "SELECT CAST(s AS text) FROM pg_stats AS s WHERE schemaname = 'chatserver'"
    return "".join(tables(lambda db: db.exec_driver_sql(query).scalars().all()))


def in_files(tables: Tables) -> bytes:
    """Everything in the files of the database, but for PostgreSQL's write-ahead log."""
    if not tables.postgres:
        assert empty_log(tables.engine)
        paths = on_disk(Path(str(tables.engine.url.database)))
    else:
        with tables.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            db.exec_driver_sql("CHECKPOINT")
            query = "SELECT current_setting('data_directory'), oid FROM pg_database WHERE datname = current_database()"
            folder, number = db.exec_driver_sql(query).one()
        files = (Path(folder) / "base" / str(number)).iterdir()
        # Every new connection may write the cache of system tables, by another name at first.
        paths = [path for path in files if path.is_file() and not path.name.startswith("pg_internal.init")]
    return b"".join(path.read_bytes() for path in paths)


def remaining(found: str | bytes, *kinds: set[str]) -> set[str]:
    text = found if isinstance(found, bytes) else found.encode()
    return {kind for some in kinds for kind in some if mark(kind).encode() in text}


def test_columns_without_statistics(tables: Tables) -> None:
    """PostgreSQL takes statistics of no column with texts, unless all of its texts are the server's own."""
    if not tables.postgres:
        return
    query = """
        SELECT c.relname || '.' || a.attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'chatserver'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
          AND a.atttypid IN ('text'::regtype, 'varchar'::regtype, 'tsvector'::regtype)
          AND a.attstattarget IS DISTINCT FROM 0
    """
    assert set(tables(lambda db: db.exec_driver_sql(query).scalars().all())) == OURS


@pytest.mark.parametrize("texts", [True, False], ids=["messages", "account"])
def test_marks(tables: Tables, texts: bool) -> None:
    """An account's erasure removes everything that the account wrote, or, without its messages, what is about it; what
    stays is what the page says. PostgreSQL's statistics never had any of it, and its files have none after what the
    page says to type."""
    tables(search.tune)
    ana = fill(tables)
    if tables.postgres:
        tables(lambda db: db.exec_driver_sql("ANALYZE"))
        assert remaining(in_statistics(tables), TEXTS, ABOUT, KEPT) == set()
    written = remaining(in_rows(tables), TEXTS, ABOUT)
    assert written == (TEXTS | ABOUT) - {"removed", "replaced"}
    tables(erasure.erase, ana, AT, messages=texts)
    while (found := tables(erasure.places, ana.id)) is not None:
        for places in erasure.steps(found):
            tables(erasure.step, ana.id, places, AT)
    stay = set() if texts else written & TEXTS
    assert remaining(in_rows(tables), TEXTS, ABOUT) == stay
    assert remaining(in_rows(tables), KEPT) == KEPT
    if tables.postgres:
        with tables.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            db.exec_driver_sql("VACUUM FULL")
    assert remaining(in_files(tables), TEXTS, ABOUT) == stay
    assert remaining(in_files(tables), KEPT) == KEPT
