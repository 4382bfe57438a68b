"""Turns: how much of one connection is done before the others are served."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec import structs

from chatserver.net.doors.base import Door
from chatserver.net.doors.line import LineDoor
from chatserver.net.doors.websocket import WebSocketDoor
from chatserver.net.limits.intake import PIECE_BYTES, Intake
from chatserver.wire.framing.lines import TooLong
from tests.net.conftest import OpenHall
from tests.support.hall import PASSWORD, QUIET, Client, Hall
from tests.support.sentences import written

TURN_BYTES, TURN_LINES = 4096, 20
CHUNK_BYTES = 65_536
"""Maximum number of bytes that Twisted reads at once."""


def turn(hall: Hall) -> None:
    """One turn of the reactor: everything that is due now, but not what becomes due meanwhile."""
    now = hall.clock.seconds()
    for call in [call for call in hall.clock.getDelayedCalls() if call.getTime() <= now]:
        hall.clock.calls.remove(call)  # type: ignore[arg-type]
        call.called = 1  # type: ignore[attr-defined]
        call.func(*call.args, **call.kw)  # type: ignore[attr-defined]


@pytest.fixture
def hall(open_hall: OpenHall) -> Hall:
    return open_hall(limits=structs.replace(QUIET, turn_bytes=TURN_BYTES, turn_lines=TURN_LINES))


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts, for all doors, the bytes that were split, the lines taken, and the other items in them."""
    counted = {"bytes": 0, "lines": 0, "controls": 0}
    feed, lines = Door._feed, Door.lines

    def counting_controls(controls: Callable[[Any], int]) -> Callable[[Any], int]:
        def count(self: Door) -> int:
            number = controls(self)
            counted["controls"] += number
            return number

        return count

    def counting_feed(self: Door, data: bytes) -> None:
        feed(self, data)
        counted["bytes"] += len(data)

    def counting_lines(self: Door, intake: Intake) -> Iterator[bytes | TooLong]:
        for line in lines(self, intake):
            counted["lines"] += 1
            yield line

    monkeypatch.setattr(Door, "_feed", counting_feed)
    monkeypatch.setattr(Door, "lines", counting_lines)
    for door in (LineDoor, WebSocketDoor):
        monkeypatch.setattr(door, "_controls", counting_controls(door._controls))
    return counted


def a_stranger(hall: Hall) -> Client:
    return hall.client()


def a_person(hall: Hall) -> Client:
    return hall.client().type(f"/register dan {PASSWORD}")


def a_program(hall: Hall) -> Client:
    return hall.program("dan")


def a_browser(hall: Hall) -> Client:
    return hall.browser().upgrade().come_in("dan")


@pytest.mark.parametrize(
    ("who", "unit"),
    [
        (a_stranger, b"\n"),
        (a_person, b"\n"),
        (a_person, b"\r\n"),
        (a_person, b"x\r\n"),
        (a_program, b'{"cmd":"ping"}\n'),
        (a_stranger, b"\xff\xf1"),
        (a_program, b"\xff\xfb\x01"),
        (a_program, b"\xff\xfax\xff\xf0"),
        (a_program, b'{"cmd":"say","room":"general","text":"' + b"x" * 3000 + b'"}\n'),
        (a_browser, b"\x89\x80\0\0\0\0"),
        (a_browser, b"\x8a\x80\0\0\0\0"),
        (a_browser, b"\x81\x80\0\0\0\0"),
        (a_browser, b"\x01\x80\0\0\0\0\x80\x80\0\0\0\0"),
        (a_browser, b"\x81\x8e\0\0\0\0" + b'{"cmd":"ping"}'),
    ],
)
def test_a_flood(who: Any, unit: bytes, hall: Hall, done: dict[str, int]) -> None:
    """Whatever a client sends, a turn takes a limited number of its bytes and lines; in between others are served."""
    flood, bob = who(hall), hall.program("bob")
    hall.settle()
    done.update(bytes=0, lines=0, controls=0)
    flood.wire.come(unit * ((hall.limits.handshake_bytes if who is a_stranger else CHUNK_BYTES) // len(unit)))
    turns = 0
    while flood.door.pending and not flood.wire.write_closed and turns < 40:
        assert done["bytes"] <= TURN_BYTES
        assert done["lines"] + done["controls"] <= TURN_LINES + PIECE_BYTES / 2
        assert done["lines"] <= TURN_LINES
        turns += 1
        before = len(bob.answers)
        bob.wire.come(b'{"cmd":"ping"}\n')
        assert len(bob.answers) == before + 1
        done.update(bytes=0, lines=0, controls=0)
        turn(hall)
    assert turns > 1


def test_nothing_is_lost(hall: Hall) -> None:
    """All input is done in the end, in order, however small the turns are; the last line too if only its end is
    missing."""
    ana, bob = hall.program("ana"), hall.program("bob")
    lines = [b'{"cmd":"say","room":"general","text":"%d%s"}' % (n, b"x" * (n % 700)) for n in range(200)]
    ana.send(b"\n".join(lines))
    ana.half_close()
    assert [text.rstrip("x") for text in bob.said] == [f"{n}" for n in range(200)]
    assert ana.wire.lost


def test_the_end_with_much_to_do(hall: Hall) -> None:
    """The end of a connection discards input that was not taken yet, and what comes after it."""
    ana = hall.program("ana")
    ana.wire.come(b'{"cmd":"ping"}\n' * 1000)
    assert ana.door._backlog
    ana.session.link.hang_up("kicked", written("Go away."))
    ana.wire.come(b'{"cmd":"ping"}\n' * 1000)
    assert ana.door._backlog == b""
    hall.settle()
    assert len(ana.answers) <= TURN_LINES + 1
