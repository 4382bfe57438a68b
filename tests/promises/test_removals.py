"""Random conversations while the oldest entries are removed, against what every client must have seen.

Each client follows a room by what it is sent, and comes back with `resume`: every number reaches it once, as an entry
or as part of a gap; what it is told is gone is gone, and never comes again.
"""

import random
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, select

from chatserver.store import retention
from chatserver.store.db.engine import open_ready, parse_url
from chatserver.store.db.schema import RoomRow
from chatserver.store.db.transactions import transact
from tests.support.hall import PASSWORD, Client, Hall

ACTS = 120
NAMES = ("ana", "bob", "cai")


class Follower:
    """An account that follows a room over many connections. `known`: up to where it was told everything."""

    def __init__(self, town: "Town", name: str) -> None:
        self.town = town
        self.name = name
        self.known = 0
        self.gone = 0
        """Up to where it was told that entries are gone."""
        self.gaps = 0
        self.client: Client | None = None
        self._read = 0

    def connect(self, *, slow: bool = False) -> None:
        self.client = self.town.hall.client(room=None)
        self._read = 0
        self.client.post("login", name=self.name, password=PASSWORD, resume={self.town.room: self.known}, tag="in")
        if slow:
            self.client.wire.room = 300

    def leave(self) -> None:
        assert self.client is not None
        self.look()
        self.client.cut()
        self.client = None

    def look(self) -> None:
        """Reads what has come, and checks it."""
        if self.client is None:
            return
        messages = self.client.messages
        for message in messages[self._read :]:
            if message.get("room") == self.town.room and message.get("event") not in (None, "live", "read"):
                self._told(message)
        self._read = len(messages)

    def _told(self, message: Any) -> None:
        if message["event"] == "gap":
            begin, end = message["from"], message["first"] - 1
            assert begin <= end < self.town.first, message
            self.gone = end
            self.gaps += 1
        else:
            begin = end = message["seq"]
            assert end > self.gone, message
            if message["event"] == "message" and "text" in message and not message.get("edited"):
                assert message["text"] == self.town.said[end], message
        assert begin == self.known + 1, (self.name, self.known, message)
        self.known = end

    def page_through(self) -> None:
        """Reads the whole history forwards, from somewhere."""
        after = self.town.random.randrange(self.town.last + 1)
        known, more = after, True
        while more:
            answer = self.town.speaker.post("history", room=self.town.room, after=known, limit=7).answers[-1]
            gap = answer.get("gap")
            if gap is not None:
                assert (gap["from"], gap["first"]) == (known + 1, self.town.first)
                known = gap["first"] - 1
            for entry in answer["entries"]:
                assert entry["seq"] == known + 1
                known += 1
            more = answer["more"]
        assert known == self.town.last


class Town:
    """A room, those who follow it, and what was said in it."""

    def __init__(self, folder: Path, engine: Engine, seed: int) -> None:
        self.random = random.Random(seed)
        self._folder, self._engine = folder, engine
        self.hall = Hall(folder, engine=engine)
        self.room = f"room{seed}"
        self.said: dict[int, str] = {}
        self.ids: dict[str, int] = {}
        self.first, self.last = 1, 1
        self.speaker = self.hall.program(f"speaker{seed}")
        self.speaker.post("create", room=self.room)
        self.followers = [Follower(self, f"{name}{seed}") for name in NAMES]
        for one in self.followers:
            client = self.hall.program(one.name)
            client.post("join", room=self.room)
            one.known = self.last = self.last + 1
            client.cut()
            one.connect()

    def play(self) -> None:
        acts = [self.say, self.say, self.say, self.edit, self.remove, self.remove, self.come_or_go, self.come_or_go,
                self.slow, self.slow, self.read, self.retry, self.history, self.restart, self.wait]  # fmt: skip
        for _ in range(ACTS):
            self.random.choice(acts)()
            for one in self.followers:
                one.look()
        for one in self.followers:
            if one.client is None:
                one.connect()
            else:
                one.client.read()
        self.hall.passes(3)
        for one in self.followers:
            one.look()
            assert one.known == self.last, one.name
        self.history()
        assert not [reason for _, reason in self.hall.left if reason != "lost"], self.hall.left

    def say(self) -> None:
        for _ in range(self.random.choice([1, 1, 5, 50])):
            text, id = f"{len(self.said)}" + "x" * self.random.choice([0, 300]), f"{self.room}-{len(self.said)}"
            answer = self.speaker.say(text, self.room, id=id).answers[-1]
            self.last = answer["seq"]
            self.said[self.last], self.ids[id] = text, self.last

    def edit(self) -> None:
        seq = self.random.randint(1, self.last)
        answer = self.speaker.post("edit", room=self.room, seq=seq, text="anew").answers[-1]
        assert answer["ok"] == (seq >= self.first and seq in self.said), answer
        if answer["ok"] and "seq" in answer:
            self.last = answer["seq"]

    def remove(self) -> None:
        def work(db: Connection) -> int:
            row = db.execute(select(RoomRow.id, RoomRow.first_seq).where(RoomRow.name == self.room)).one()
            first = self.random.randint(row.first_seq, self.last + 1)
            if first > row.first_seq:
                retention.remove(db, row.id, row.first_seq, first)
            return first

        if self.random.random() < 0.2:  # a step that fails leaves everything as it was
            with pytest.raises(ZeroDivisionError):
                transact(self._engine, lambda db: work(db) // 0)
        else:
            self.first = transact(self._engine, work)

    def come_or_go(self) -> None:
        one = self.random.choice(self.followers)
        if one.client is None:
            one.connect(slow=self.random.random() < 0.5)
        else:
            one.leave()

    def slow(self) -> None:
        one = self.random.choice(self.followers)
        if one.client is not None:
            one.client.wire.room = self.random.choice([0, 0, 100, 5000])

    def read(self) -> None:
        one = self.random.choice(self.followers)
        if one.client is not None:
            one.client.read()

    def retry(self) -> None:
        if self.ids:
            id, seq = self.random.choice(list(self.ids.items()))
            answer = self.speaker.say(self.said[seq], self.room, id=id).answers[-1]
            assert (answer["seq"], answer["dup"]) == (seq, True), answer

    def history(self) -> None:
        self.followers[0].page_through()

    def restart(self) -> None:
        """Another server on the same database; everybody comes back to it."""
        if self.random.random() < 0.5:
            return
        here = [one for one in self.followers if one.client is not None]
        for one in here:
            one.leave()
        self.speaker.cut()
        self.hall = Hall(self._folder, engine=self._engine)
        self.speaker = self.hall.client()
        self.speaker.post("login", name=f"speaker{self.room[4:]}", password=PASSWORD)
        for one in here:
            one.connect()

    def wait(self) -> None:
        self.hall.passes(1.2)


@pytest.mark.slow
def test_every_number_once(tmp_path: Path, database_url: str) -> None:
    """Every client sees every number once or is told that it is gone, whatever is removed under it."""
    engine = open_ready(parse_url(database_url), migrate=True)
    gaps = 0
    for seed in range(12):
        town = Town(tmp_path, engine, seed)
        try:
            town.play()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        gaps += sum(one.gaps for one in town.followers)
    assert gaps > 20
    engine.dispose()
