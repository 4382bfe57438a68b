"""Another dialect and another door, defined here alone: nothing else of the server knows of them.

The toy dialect has one line for each thing: `hi NAME PASSWORD` registers, `say ROOM TEXT` says, and `+` or `-error` is
the answer. The toy door carries lines in netstrings: `6:hello\\n,`.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatserver.net.doors import table
from chatserver.net.doors.base import Door
from chatserver.session.link import FULL_BYTES
from chatserver.settings.tables import Settings
from chatserver.values import commands as c
from chatserver.values.answers import Answer, Refusal
from chatserver.values.errors import Refused, Rejected, Sentence, Why
from chatserver.values.events import Closing, Entry, News, RoomFacts
from chatserver.values.stages import Stage
from chatserver.wire.dialect import Asked, Dialect, Form, Framing, Rendered
from chatserver.wire.dialects import DIALECTS
from chatserver.wire.framing.lines import Undecodable
from chatserver.wire.screen import SCREEN, Screen
from chatserver.wire.sentences import english
from tests.net.conftest import OpenHall
from tests.support.hall import PASSWORD, Client, Hall
from tests.support.sentences import written

MAX_NETSTRING = 9999


class Toy:
    """The dialect."""

    name = "toy"
    for_people = False
    pinged = False

    def recognizes(self, start: bytes) -> bool:
        return start.startswith((b"hi ", b"say "))

    def parse(self, line: str, stage: Stage) -> c.Command | Rejected | None:
        match line.split(" ", 2):
            case ["hi", name, password]:
                return c.Register(name=name, password=password)
            case ["say", room, text]:
                return c.Say(room=room, text=text)
            case ["bye"]:
                return c.Quit()
            case _:
                return Rejected(Refused(Why.NO_SUCH_COMMAND))

    def label(self, start: bytes, end: bytes) -> tuple[None, str]:
        return None, ""

    def day(self, at: datetime, screen: Screen = SCREEN) -> None:
        return None

    def text(self, sentence: Sentence) -> str:
        return english(sentence)

    def notice(self, text: str, screen: Screen = SCREEN) -> bytes:
        return f"# {text}\n".encode()

    def answer(self, asked: Asked, answer: Answer) -> bytes:
        return f"-{answer.error}\n".encode() if isinstance(answer, Refusal) else b"+\n"

    def news(self, item: News, screen: Screen = SCREEN) -> bytes:
        return f"# bye: {item.reason}\n".encode() if isinstance(item, Closing) else b""

    def entries(self, facts: RoomFacts, entries: Sequence[Entry], form: Form) -> Rendered:
        lines = [
            f"{facts.label(form.viewer)} {entry.seq} {entry.author} {entry.kind} {entry.text}\n".encode()
            for entry in entries
        ]
        return Rendered(b"".join(lines), list(accumulate(map(len, lines))))


TOY: Final[Dialect] = Toy()


class Netstrings:
    """The framing of data that goes out."""

    def lines(self, data: bytes) -> bytes:
        return b"%d:%b," % (len(data), data)

    def batch(self, rendered: Rendered) -> Rendered:
        starts = [0, *rendered.ends[:-1]]
        pieces = [self.lines(rendered.data[a:b]) if b > a else b"" for a, b in zip(starts, rendered.ends, strict=True)]
        return Rendered(b"".join(pieces), list(accumulate(map(len, pieces))))


NETSTRINGS: Final[Framing] = Netstrings()


class Unpacker:
    """The splitter of data that comes in: a netstring is a line."""

    def __init__(self) -> None:
        self._data = b""

    @property
    def pending(self) -> int:
        return len(self._data)

    def start(self) -> bytes:
        return self._data.partition(b":")[2][:16]

    def feed(self, data: bytes) -> None:
        self._data += data

    def next(self) -> bytes | None:
        size, colon, rest = self._data.partition(b":")
        if (self._data and not size.isdigit()) or len(size) > 4:
            raise Undecodable("That is no netstring.")
        if not colon or len(rest) <= int(size):
            return None
        if rest[int(size)] != ord(","):
            raise Undecodable("That is no netstring.")
        self._data = rest[int(size) + 1 :]
        return rest[: int(size)].rstrip(b"\r\n")

    def finish(self) -> None:
        self._data = b""

    def replies(self) -> bytes:
        return b""


class ToyDoor(Door):
    """The door. The first bytes tell the dialect, as they do at the door for lines."""

    framing = NETSTRINGS
    splitter: Unpacker

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.splitter = Unpacker()

    def _start(self) -> bytes:
        return self.splitter.start()

    def refusal(self, text: str) -> bytes:
        return NETSTRINGS.lines(TOY.notice(text))

    def farewell(self, reason: str) -> bytes:
        return b"0:,"


class ToyClient(Client):
    """Somebody at the toy door."""

    def frame(self, data: bytes) -> bytes:
        return b"".join(NETSTRINGS.lines(line) for line in data.splitlines(keepends=True))

    @property
    def seen(self) -> bytes:
        data, seen = self.wire.taken, b""
        while ":" in data.decode() and data:
            size, _, rest = data.partition(b":")
            if len(rest) <= int(size):
                break
            assert rest[int(size)] == ord(",")
            seen, data = seen + rest[: int(size)], rest[int(size) + 1 :]
        return seen


def toy_lines(client: Client) -> list[tuple[int, str]]:
    """The messages in a toy client's lines: number and text."""
    found = [re.fullmatch(r"general (\d+) \w+ message (.*)", line) for line in client.lines]
    return [(int(one[1]), one[2]) for one in found if one]


@pytest.fixture
def hall(open_hall: OpenHall) -> Hall:
    return open_hall(dialects=(TOY, *DIALECTS))


def at_the_toy_door(hall: Hall) -> ToyClient:
    return ToyClient(hall, hall.factory(ToyDoor).buildProtocol(None))


def test_a_conversation(hall: Hall) -> None:
    """People and programs of all dialects, at all doors, talk in one room: all of them receive everything once, in one
    order."""
    toy, json, person = hall.client(), hall.program("bob"), hall.client()
    browser = hall.browser().upgrade().come_in("cai")
    boxed, boxed_json = at_the_toy_door(hall), at_the_toy_door(hall)
    toy.type(f"hi toy {PASSWORD}")
    person.type(f"/register dan {PASSWORD}")
    boxed.type(f"hi boxed {PASSWORD}")
    boxed_json.come_in("eve")
    assert [one.session.dialect.name for one in (toy, json, person, browser, boxed, boxed_json)] == [
        "toy", "jsonl", "text", "jsonl", "toy", "jsonl"
    ]  # fmt: skip
    toy.type("say general from toy")
    json.say("from bob")
    person.type("from dan")
    browser.say("from cai")
    boxed.type("say general from boxed")
    boxed_json.say("from eve")
    texts = [f"from {name}" for name in ("toy", "bob", "dan", "cai", "boxed", "eve")]
    for client in (json, browser, boxed_json):
        assert client.said == texts
    head = json.heard()[-1]
    for client in (toy, boxed):
        assert toy_lines(client) == list(enumerate(texts, head - 5))
        assert client.lines.count("+") == 2
    shown = "\n".join(person.lines)
    for name in ("toy", "bob", "cai", "boxed", "eve"):  # typed lines are not shown again
        assert shown.count(f"{name}: from {name}") == 1


def test_refusals_and_the_end(hall: Hall) -> None:
    """The rest of a connection's life is the same for them: refusals, news, last words, the end of the framing."""
    toy, boxed = hall.client(), at_the_toy_door(hall)
    for client in (toy, boxed):
        client.type("say general too early", "hi ana short", f"hi {'ana' if client is toy else 'bob'} {PASSWORD}")
        client.type("dance", "say nowhere hello")
        assert [line for line in client.lines if line[0] in "+-"] == [
            "-login-required", "-bad-password", "+", "-bad-command", "-no-such-room"
        ]  # fmt: skip
        client.session.link.hang_up("kicked", written("Go away."))
        assert client.lines[-1] == "# bye: kicked"
    assert boxed.wire.taken.endswith(b"14:# bye: kicked\n,0:,")
    assert hall.left == [("ana", "kicked"), ("bob", "kicked")]


def test_undecodable(hall: Hall) -> None:
    """A door's own violations end a connection behind the answers to what came before."""
    boxed = at_the_toy_door(hall)
    boxed.wire.come(boxed.frame(f"hi ana {PASSWORD}\nsay general hello\n".encode()) + b"rubbish")
    hall.settle()
    assert [line for line in boxed.lines if line[0] in "+-"] == ["+", "+", "-undecodable"]
    assert hall.left == [("ana", "undecodable")]


def test_half_close(hall: Hall) -> None:
    """Complete lines are done and answered; an unfinished netstring is no line."""
    boxed, bob = at_the_toy_door(hall), hall.program("bob")
    boxed.type(f"hi ana {PASSWORD}")
    boxed.wire.come(boxed.frame(b"say general whole\n") + b"18:say general ha")
    boxed.half_close()
    assert bob.said == ["whole"]
    assert boxed.lines[-1] == "+"
    assert boxed.wire.lost


def test_refused_connections(hall: Hall) -> None:
    """A connection that is refused is told why in the framing of its door."""
    hall.connections.admission.refusal = lambda address: written("Go away.")  # type: ignore[method-assign]
    assert at_the_toy_door(hall).lines == ["# Go away."]


def test_the_table_of_doors(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line in the table of doors makes it available to `--listen`."""
    monkeypatch.setitem(table.DOORS, "toy", ToyDoor)
    found, endpoint = table.split("toy:tcp:4090")
    assert endpoint == "tcp:4090"
    assert ToyClient(hall, hall.factory(found).buildProtocol(None)).type(f"hi ana {PASSWORD}").lines[-1] == "+"


@given(
    rooms=st.lists(st.tuples(st.integers(0, 600), st.integers(1, 30)), min_size=1, max_size=10),
    reads=st.lists(st.integers(0, 40_000), max_size=10),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_partial_writes(rooms: list[tuple[int, int]], reads: list[int], open_hall: OpenHall) -> None:
    """However little of a batch the socket takes, whatever door and dialect it is for, every entry comes once."""
    hall = open_hall(dialects=(TOY, *DIALECTS))
    bob, boxed, boxed_json = hall.program("bob"), at_the_toy_door(hall), at_the_toy_door(hall)
    boxed.type(f"hi boxed {PASSWORD}")
    boxed_json.come_in("eve")
    readers = (boxed, boxed_json)
    texts: list[str] = []
    for number, (room, messages) in enumerate(rooms):
        for reader in readers:
            reader.wire.room = room
        said = [f"{len(texts) + n} {'x' * (FULL_BYTES // 8 if number % 3 == 0 else 100)}" for n in range(messages)]
        texts += said
        bob.send(b"".join(b'{"cmd":"say","room":"general","text":"%s"}\n' % text.encode() for text in said))
        for reader in readers:
            for size in reads[number : number + 1]:
                reader.read(size)
    for reader in readers:
        reader.read()
    assert bob.said == boxed_json.said == texts
    assert [text for _, text in toy_lines(boxed)] == texts
