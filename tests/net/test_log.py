"""The log of connections."""

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from chatserver.net.connection.log import BURST, PER_SECOND, way_of
from chatserver.net.doors.line import LineDoor
from chatserver.net.doors.websocket import WebSocketDoor
from chatserver.settings.tables import Server
from chatserver.util.quiet_log import SUMMARY_SECONDS, Unlogged
from tests.net.conftest import OpenHall
from tests.support.hall import Hall

NOBODY = b'{"cmd":"ping","tag":1}\n'
FACTS = re.compile(r"(\S+)=(\S+)")


def facts(line: str) -> dict[str, str]:
    return dict(FACTS.findall(line))


@pytest.mark.parametrize("come", [Hall.client, Hall.browser])
def test_begin_and_end(come: Callable[[Hall], Any], hall: Hall, audited: list[str]) -> None:
    """A connection has one line when it begins and one when it ends, which its session's id joins. The end says whose
    it was, how they connected, what they did, and for how long."""
    ana = come(hall)
    if come is Hall.browser:
        ana.upgrade()
    ana.come_in("ana").say("one").say("two")
    hall.clock.advance(12.34)
    ana.post("quit")
    hall.settle()
    began, ended = [line for line in audited if line.startswith(("began", "ended"))]
    prefix = "ws:" if come is Hall.browser else ""
    assert began == f"began address=local session=s1 door={prefix}unix"
    assert ended.startswith("ended address=local name=ana reason=quit session=s1 ")
    told = facts(ended)
    assert (told["door"], told["dialect"], told["commands"]) == (f"{prefix}unix", "jsonl", "3")
    assert 12.3 <= float(told["seconds"]) < 13


def test_strangers(hall: Hall, audited: list[str]) -> None:
    """A client that does not log in has both lines, too."""
    hall.client().send(NOBODY)
    hall.client().cut()
    assert [line.split(" session")[0] for line in audited] == [
        "began address=local",
        "began address=local",
        "ended address=local reason=lost",
    ]


def test_a_flood(open_hall: OpenHall, audited: list[str]) -> None:
    """In a flood of connections, most have no line, and one line says how many. A session that logs in then still has
    one at the end, and every beginning in the log has its end."""
    hall = open_hall()
    told: list[str] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if "than the log has lines for" in formatEvent(event):
            told.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        flood = [hall.client() for _ in range(BURST + 50)]
        for client in flood:
            client.cut()
        assert sum(line.startswith("began") for line in audited) == BURST
        assert sum(line.startswith("ended") for line in audited) == BURST
        ana = hall.program("ana")
        ana.post("quit")
        hall.settle()
        assert audited[-1].startswith("ended address=local name=ana reason=quit")
        assert told == []
        hall.clock.advance(SUMMARY_SECONDS)
        assert told == ["51 more connections began than the log has lines for."]
        audited.clear()
        for _ in range(BURST):
            hall.client()
        assert len(audited) == SUMMARY_SECONDS * PER_SECOND
    finally:
        globalLogPublisher.removeObserver(observe)


def test_ways() -> None:
    """A door is named as --listen names it."""
    settings: Any = SimpleNamespace(limits=SimpleNamespace(max_line_bytes=100), server=Server())
    line: Any = LineDoor(settings)
    web: Any = WebSocketDoor(settings)
    line.transport = web.transport = StringTransport()
    assert (way_of(line), way_of(web)) == ("tcp", "ws:tcp")


def test_bounded_lines(hall: Hall) -> None:
    """A limited number of lines is written in ten seconds; then one says how many more there would have been."""
    told: list[int] = []
    bounded = Unlogged(hall.clock, told.append, 2)
    assert [bounded.may_log() for _ in range(5)] == [True, True, False, False, False]
    hall.clock.advance(SUMMARY_SECONDS)
    assert told == [3]
    assert bounded.may_log()
    hall.clock.advance(SUMMARY_SECONDS)
    assert told == [3]
