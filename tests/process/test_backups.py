"""Backups while the server serves, and what it is like to go on from one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK, Talker, stored, under_load, wait_for_load
from tests.support import postgres
from tests.support.client import JsonClient
from tests.support.process import clean_environment

CHATCTL = Path(sys.executable).with_name("chatctl")


def chatctl(database: str, *words: str, status: int = 0) -> str:
    line = [str(CHATCTL), "--database", database, *words]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, env=clean_environment())
    assert done.returncode == status, done
    return done.stdout or done.stderr


@pytest.fixture
def same_kind(database_url: str, tmp_path: Path) -> Iterator[str]:
    """Another, empty database of the same kind."""
    if database_url.startswith("sqlite"):
        yield f"sqlite:///{tmp_path / 'same.db'}"
        return
    url = postgres.empty_postgres_url()
    yield url
    postgres.drop_postgres(url)


@pytest.mark.slow
def test_a_backup_under_load(
    database_url: str, same_kind: str, server: StartServer, connect: Connect, tmp_path: Path
) -> None:
    """While clients write, a backup is made, and nobody is refused. It has everything that was acknowledged before it
    began, no log in it has a hole, and a server continues from it, for whoever resumes too."""
    chat = server(database_url, config=QUICK)
    ana, bob, cai = (connect(chat, JsonClient) for _ in range(3))
    talkers = under_load(ana, bob, cai)
    before = {id: place for talker in talkers for id, place in talker.acknowledged.items()}
    for number, copy in enumerate((same_kind, f"sqlite:///{tmp_path / 'other.db'}")):
        chatctl(database_url, "backup", str(tmp_path / f"{number}.backup"))
        chatctl(copy, "restore", str(tmp_path / f"{number}.backup"))
        assert "no server runs as that node" not in chatctl(copy, "verify")
    assert json.loads(chatctl(database_url, "verify", "--json"))["ok"] is True
    assert "A server is running" in chatctl(database_url, "restore", str(tmp_path / "0.backup"), status=1)
    assert "A server is running" in chatctl(database_url, "copy", "--to", "sqlite:///none.db", status=1)
    wait_for_load(talkers, 50)
    for talker in talkers:
        talker.stop()
        assert talker.unavailable == []
    heads = {room["room"]: room["seq"] for room in ana.ok("unread")["rooms"] if room["room"] == "general"}

    log = stored(same_kind)
    assert all([seq for seq, *_ in entries] == list(range(1, len(entries) + 1)) for entries in log.values())
    kept = {id: seq for entries in log.values() for seq, _, _, id in entries if id is not None}
    assert {id: seq for id, (_, seq) in before.items()}.items() <= kept.items()

    again = server(same_kind, config=QUICK)
    dan, eve = connect(again, JsonClient), connect(again, JsonClient)
    last = len(log["general"])
    # One has a position that the backup has, the other a position that is ahead of it.
    dan.login("ana", resume={"general": last - 10})
    assert [entry["seq"] for entry in dan.wait_seq("general", last)][-10:] == list(range(last - 9, last + 1))
    rooms = {room["room"]: room["seq"] for room in eve.login("bob", resume={"general": heads["general"]})["rooms"]}
    assert rooms["general"] == last < heads["general"]
    id, (room, seq) = next((id, place) for id, place in before.items() if place[0] == "general")
    assert dan.say(room, f"text of {id}", id)["seq"] == seq
    new = dan.say("general", "on we go")["seq"]
    assert new == last + 1
    assert eve.hears("on we go")["seq"] == new


@pytest.mark.slow
def test_importing_a_room(database_url: str, server: StartServer, connect: Connect, tmp_path: Path) -> None:
    """While the server serves and clients write, a room is imported. It is there at once, nobody is refused, and its
    members resume in it."""
    chat = server(database_url, config=QUICK)
    ana, bob, cai = (connect(chat, JsonClient) for _ in range(3))
    talkers: list[Talker] = under_load(ana, bob, cai)
    cai.ok("create", room="books")
    for number in range(20):
        cai.say("books", f"page {number}", f"b{number}")
    file = tmp_path / "books.jsonl"
    chatctl(database_url, "room", "export", "books", "--output", str(file))
    chatctl(database_url, "room", "delete", "books", "--yes")
    chatctl(database_url, "room", "import", str(file))
    assert "books" in {room["room"] for room in cai.ok("rooms")["rooms"]}
    dan = connect(chat, JsonClient)
    joined = {room["room"]: room["seq"] for room in dan.login("cai", resume={"books": 11})["rooms"]}
    assert joined["books"] == 21
    assert [entry["text"] for entry in dan.wait_seq("books", 21)] == [f"page {number}" for number in range(10, 20)]
    assert dan.say("books", "the end")["seq"] == 22
    assert [entry["seq"] for entry in dan.ok("search", text="page")["entries"]][-1] == 2
    for talker in talkers:
        talker.stop()
        assert talker.unavailable == []
