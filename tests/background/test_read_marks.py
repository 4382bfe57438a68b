"""Unread is what one has not seen, whatever one's devices, scripts, networks and servers do."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import booleans, integers, sampled_from

from chatserver.session.read_marks import MOST_PIECES, Marks
from chatserver.values.events import GAP, MESSAGE, Entry
from chatserver.values.seen import Seen
from tests.support.hall import PASSWORD, START, Client, Hall

ROOMS = ("general", "books")
SAID = re.compile(r"bob: (\w+)-(\d+)$")
DEVICES = 2
TYPED = ("/look general", "/look books", "/unread general", "/unread books", "/history general 3", "hello")
STALLS = (0, 100, 700)


def entries(*seqs: int) -> list[Entry]:
    return [Entry(seq, MESSAGE, 9, "user9", START, f"text {seq}") for seq in seqs]


def test_what_has_arrived_is_seen() -> None:
    """An entry is seen once the peer has acknowledged its bytes up to the end, and not before."""
    marks = Marks()
    marks.know(1, Seen(3))
    marks.show(1, entries(4, 5), 100)
    marks.show(1, entries(6), 150)
    assert (marks.seen, marks.shown()) == ({1: Seen(3)}, {1: Seen(6)})
    marks.settle(149)
    assert (marks.seen[1], marks.unsettled, marks.take_changed()) == (Seen(5), True, {1: Seen(5)})
    marks.settle(150)
    assert (marks.seen[1], marks.unsettled, marks.take_changed()) == (Seen(6), False, {1: Seen(6)})


def test_a_client_that_takes_nothing_of_many_rooms() -> None:
    """Nor do they become many where rooms take turns."""
    marks = Marks()
    for seq in range(1, 5_000):
        for room in (1, 2, 3):
            marks.show(room, entries(seq), 3 * seq + room)
    assert len(marks._sent) <= MOST_PIECES + 3
    marks.settle(3 * 4_999 + 1)
    assert [marks.seen[room].mark < 4_999 for room in (1, 2, 3)] == [False, True, True]
    marks.settle(3 * 4_999 + 3)
    assert marks.seen == {room: Seen(4_999) for room in (1, 2, 3)}


def test_entries_that_are_left_out() -> None:
    """Only entries that were shown are seen, also if they are not consecutive; a gap stands for the removed ones."""
    marks = Marks()
    marks.show(1, entries(1, 2, 5, 6, 9), 0)
    marks.show(2, [Entry(7, GAP, 0, "", START, of=1), *entries(8)], 0)
    assert marks.shown() == {1: Seen(2, ((5, 6), (9, 9))), 2: Seen(8)}


def test_a_client_that_takes_nothing() -> None:
    """However much is on its way to a client, its marks stay few, and none counts too early."""
    marks = Marks()
    for seq in range(1, 10_000):
        marks.show(1, entries(seq), seq)
    marks.settle(MOST_PIECES - 1)
    assert marks.seen[1] == Seen(MOST_PIECES - 1)
    marks.settle(9_998)
    assert marks.seen[1].mark < 9_999
    marks.settle(9_999)
    assert marks.seen[1] == Seen(9_999)


def test_a_part_of_a_batch_has_arrived() -> None:
    """Only those entries of a batch are seen that have arrived as a whole."""
    marks = Marks()
    marks.show(1, [Entry(3, GAP, 0, "", START, of=1), *entries(4, 5, 6)], 1100, (10, 40, 40, 100))
    for taken, seen in ((1009, 0), (1010, 3), (1039, 3), (1040, 5), (1099, 5), (1100, 6)):
        marks.settle(taken)
        assert marks.seen.get(1, Seen()) == Seen(seen), taken


def test_hits_do_not_count_as_seen(tmp_path: Path) -> None:
    """What a search, `mentions`, `pins` and quotes show out of their order is as unread as before; the history is
    seen."""
    hall = Hall(tmp_path)
    bob = hall.program("bob")
    bob.post("create", room="books")
    hall.program("ana").post("join", room="books").post("quit")
    bob.say("a word for ana", "books").post("pin", room="books", seq=3)
    bob.post("reply", room="books", seq=3, text="and more")
    ana, program = (hall.client() for _ in range(2))
    ana.type(f"/login ana {PASSWORD}")
    program.post("login", name="ana", password=PASSWORD)

    def unread() -> dict[str, int]:
        hall.passes(4)
        return {line["room"]: line["unread"] for line in program.post("unread").answers[-1]["rooms"]}

    assert unread()["books"] == 3
    for typed in ("/search word", "/search #books word", "/mentions", "/pins #books"):
        before = len(ana.lines)
        ana.type(typed)
        assert "a word for ana" in "".join(ana.lines[before:]), typed
        assert unread()["books"] == 3, typed
    ana.type("/history books 1")
    assert unread()["books"] == 2  # the reply, whose quote is of the message
    hall.close()


class Unread(RuleBasedStateMachine):
    """Ana has two terminals, scripts and a program; Bob talks in two rooms. A line counts as seen once it has reached
    one of Ana's terminals as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.hall = Hall(Path(self.folder.name))
        self.said: set[tuple[str, int]] = set()
        self.seen: set[tuple[str, int]] = set()
        self.count = 0
        bob = self.hall.program("bob")
        bob.post("create", room="books")
        self.hall.program("ana").post("join", room="books").post("read-all").post("quit")
        self.devices: list[Client | None] = [None] * DEVICES
        self.looked: dict[Client, int] = {}
        self._connect()

    def _connect(self) -> None:
        self.bob = self.hall.client().post("login", name="bob", password=PASSWORD)
        self.program = self.hall.client().post("login", name="ana", password=PASSWORD)

    def teardown(self) -> None:
        self.hall.close()
        self.folder.cleanup()

    @rule(room=sampled_from(ROOMS), count=sampled_from([1, 1, 2, 15]))
    def bob_says(self, room: str, count: int) -> None:
        for _ in range(count):
            self.count += 1
            self.bob.say(f"{room}-{self.count}", room)
            self.said.add((room, self.count))

    @rule(device=integers(0, DEVICES - 1), act=sampled_from([*TYPED, *STALLS, "recover", "cut", "/quit"]))
    def at_a_terminal(self, device: int, act: str | int) -> None:
        """Somebody logs in there, or does this."""
        client = self.devices[device]
        if client is None:
            client = self.devices[device] = self.hall.client()
            client.wire.room = act if isinstance(act, int) else None
            client.type(f"/login ana {PASSWORD}")
        elif isinstance(act, int):  # only so many bytes reach it until the network recovers
            client.wire.room = act
        elif act == "recover":
            client.read()
        elif act in ("cut", "/quit"):
            self.devices[device] = None
            if act == "/quit" and client.wire.room is None:
                client.type(act)
            client.cut()
            self._look_at(client)
        else:
            client.type(act)

    @rule(line=sampled_from(["hello", "/history", "/unread general", "/say books hello"]))
    def a_script_runs(self, line: str) -> None:
        """Its answers are on no screen."""
        script = self.hall.client()
        script.type(f"/login ana {PASSWORD} quiet", line)
        script.half_close()

    @rule(act=sampled_from(["general", "books", "read", "read-all", "back"]))
    def a_program_acts(self, act: str) -> None:
        if act in ROOMS:
            self.program.say("hello", act)
        elif act == "back":  # what is on its way to a stalled terminal is seen when it arrives
            self._look()
            self.seen = {pair for pair in self.seen if pair[0] != "books"}
            self.program.post("read", room="books", seq=2, back=True)
        else:
            self.seen |= {pair for pair in self.said if act == "read-all" or pair[0] == "books"}
            self.program.post(act, room="books", seq=2**53)

    @rule(killed=booleans())
    def time_passes(self, killed: bool) -> None:
        """Then all marks are stored, and the server is killed, perhaps."""
        self.hall.passes(4)
        if not killed:
            return
        for device, client in enumerate(self.devices):
            if client is not None:
                self._look_at(client)
                self.devices[device] = None
        self.hall = Hall(Path(self.folder.name), engine=self.hall.engine)
        self._connect()

    def _look(self) -> None:
        for client in self.devices:
            if client is not None:
                self._look_at(client)

    def _look_at(self, client: Client) -> None:
        lines = client.lines
        before, self.looked[client] = self.looked.get(client, 0), len(lines)
        for line in lines[before:]:
            found = SAID.search(line)
            if found is not None:
                self.seen.add((found[1], int(found[2])))

    @invariant()
    def what_was_not_on_a_screen_is_unread(self) -> None:
        self._look()
        self.program.post("unread")
        counts = {line["room"]: line["unread"] for line in self.program.answers[-1]["rooms"]}
        assert counts == {room: len([1 for at, _ in self.said - self.seen if at == room]) for room in ROOMS}


def test_a_day() -> None:
    """One conversation of this kind: two terminals, a script, a program, a stalled network and a killed server."""
    ana = Unread()
    ana.bob_says("general", 15)
    ana.at_a_terminal(0, "hello")  # logs in
    ana.what_was_not_on_a_screen_is_unread()
    ana.at_a_terminal(0, "/quit")
    ana.what_was_not_on_a_screen_is_unread()
    ana.a_script_runs("/history")
    ana.bob_says("books", 15)
    ana.at_a_terminal(1, 700)
    ana.bob_says("general", 2)
    ana.at_a_terminal(0, "/look books")
    ana.at_a_terminal(0, "/unread general")
    ana.what_was_not_on_a_screen_is_unread()
    ana.at_a_terminal(1, "cut")
    ana.at_a_terminal(0, 100)
    ana.bob_says("general", 15)
    ana.what_was_not_on_a_screen_is_unread()
    ana.time_passes(killed=True)
    ana.what_was_not_on_a_screen_is_unread()
    ana.a_program_acts("read-all")
    ana.what_was_not_on_a_screen_is_unread()
    ana.a_program_acts("back")
    ana.what_was_not_on_a_screen_is_unread()
    ana.a_program_acts("read-all")
    ana.bob_says("general", 2)
    ana.at_a_terminal(1, "/look books")
    ana.what_was_not_on_a_screen_is_unread()
    assert ana.devices[1] is not None
    assert ana.devices[1].lines[-3] == "* --- new ---"
    ana.a_program_acts("back")
    ana.bob_says("books", 2)
    ana.time_passes(killed=False)
    ana.what_was_not_on_a_screen_is_unread()
    ana.teardown()


TestUnread: Any = pytest.mark.slow(Unread.TestCase)
TestUnread.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestUnread.__doc__ = Unread.__doc__
