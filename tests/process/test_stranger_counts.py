"""The most that a stranger with one account can do with default settings, in numbers of rows and bytes."""

import json
from pathlib import Path

import pytest

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.support.client import JsonClient, Raw

LONG = "\\" * 4000
MOST = 262_144


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    name = "postgres_url" if request.param == "postgres" else "sqlite_url"
    return str(request.getfixturevalue(name))


def test_rooms(database: str, server: StartServer, connect: Connect) -> None:
    """Twenty rooms within an hour, then the time to come back is told; the default room stays everybody's."""
    chat = server(database, config=QUICK, limits="default")
    ana = connect(chat, JsonClient)
    ana.register("ana")
    for n in range(20):
        ana.ok("create", room=f"room{n}")
    refused = ana.cmd("create", room="room20")
    assert (refused["error"], 3500 < refused["retry"] <= 3600) == ("slow-down", True)
    ana.ok("leave", room="general")
    ana.ok("join", room="general")
    assert ana.refused("delete", room="general") == "not-allowed"
    assert ana.ok("members", room="general")["members"] == [{"name": "ana", "role": "member", "online": True}]


def test_long_messages(database: str, server: StartServer, connect: Connect) -> None:
    """However long the messages are, an answer has no more than 256 KiB, in both dialects; all can be asked for."""
    chat = server(database, config=QUICK, limits="default")
    ana = connect(chat, JsonClient)
    ana.register("ana")
    last = 0
    for n in range(60):
        last = ana.ok("say", room="general", text=LONG, id=str(n))["seq"]
    seen: list[int] = []
    more = True
    while more:
        answer = ana.ok("history", room="general", limit=500, after=seen[-1] if seen else 0)
        assert len(json.dumps(answer, separators=(",", ":"), ensure_ascii=False).encode()) < MOST
        seen += [entry["seq"] for entry in answer["entries"]]
        more = answer["more"]
    assert seen == list(range(1, last + 1))
    person = connect(chat, Raw)
    person.send(b"/register bob s3cret-words\r\n/ping\r\n/history 500\r\n/ping\r\n")
    pong = b"* The server is here.\r\n"
    person.read_until(pong)
    shown = person.read_until(pong)
    assert MOST // 3 < len(shown) < MOST
    assert b"* More: /history general before=" in shown
