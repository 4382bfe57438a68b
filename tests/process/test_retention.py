"""Retention in a running server: what its settings and `chatctl` say is removed within seconds."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from chatserver.store import directory, sessions
from chatserver.store.db.engine import open_engine, parse_url
from chatserver.store.db.schema import EntryRow, SessionRow
from tests.chatctl.conftest import Chatctl
from tests.conftest import Connect, StartServer
from tests.support.client import JsonClient, TextClient
from tests.support.process import wait_until

CONFIG = """
[passwords]
memory_kib = 8
time_cost = 1
[retention]
entries = 10
"""
LONG_AGO = datetime.now(UTC) - timedelta(days=100)


@pytest.mark.slow
def test_a_server_removes_what_is_old(server: StartServer, connect: Connect, database_url: str) -> None:
    """A server removes old entries and old sessions while people are connected. Those who come back, at a terminal or
    as a program, are told what is gone, also after a restart. A limit set by `chatctl` needs no restart."""
    chat = server(database_url, config=CONFIG)
    ana = connect(chat, JsonClient)
    ana.register("ana")
    for n in range(30):
        ana.ok("say", room="general", text=f"word{n}", id=f"k{n}")
    engine = open_engine(parse_url(database_url))

    def first() -> int:
        with engine.begin() as db:
            found = directory.room(db, "general")
            assert found is not None
            return found.first

    old = sessions.Opened(f"{round(LONG_AGO.timestamp() * 1000):012x}{1:020x}", 1, "main", "192.0.2.7", LONG_AGO)
    with engine.begin() as db:
        sessions.record(db, [old, sessions.Closed(old.id, 1, LONG_AGO, "logout")])
        db.execute(update(EntryRow).values(at=LONG_AGO))
    wait_until(lambda: first() == 22, 30, what="the oldest entries are removed")

    def known() -> bool:
        with engine.begin() as db:
            return db.scalar(select(SessionRow.id).where(SessionRow.id == old.id)) is not None

    wait_until(lambda: not known(), 30, what="the old session is removed")
    assert ana.ok("say", room="general", text="new")["seq"] == 32
    Chatctl(database_url)("room", "retention", "general", "--entries", "3", "--yes")
    wait_until(lambda: first() == 30, 30, what="the room's own limit holds")
    assert ana.ok("say", room="general", text="word3", id="k3") | {"at": "", "tag": 0, "cmd": ""} == {
        "ok": True, "tag": 0, "cmd": "", "room": "general", "room_id": 1, "seq": 5, "at": "", "dup": True,
    }  # fmt: skip
    chat.stop()
    chat.start()
    back = connect(chat, JsonClient)
    back.login("ana", resume={"general": 4})
    assert back.wait_event("gap") == {"event": "gap", "room": "general", "room_id": 1, "from": 5, "first": 30}
    assert back.wait_event("live") == {"event": "live", "room": "general", "room_id": 1, "seq": 32}
    assert [entry["seq"] for entry in back.rooms["general"]] == [30, 31, 32]
    text = connect(chat, TextClient)
    text.login("ana")
    text.type("/history")
    text.expect("* Messages before #30 in general were removed.")
    engine.dispose()
