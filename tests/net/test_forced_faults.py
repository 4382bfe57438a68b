"""Faults in the store and in handlers, with everything that clients wrote in them."""

from typing import Any

import pytest
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import provider

from chatserver.operation.log.formats import as_json, as_text
from tests.net.conftest import OpenHall
from tests.support.hall import Hall

MARK = "xSECRETx"


class Strange(Exception):
    """An error of a library."""


def spoil(hall: Hall, kind: type[Exception]) -> None:
    async def fail(*args: Any, **named: Any) -> Any:
        told = [
            getattr(part, "cell_contents", part) for arg in args for part in getattr(arg, "__closure__", None) or ()
        ]
        raise kind(f"{MARK} {args} {named} {told}")

    hall.inline.read = hall.inline.write = hall.inline.append = fail  # type: ignore[method-assign]


@pytest.mark.parametrize("kind", [RuntimeError, KeyError, ValueError, LookupError, Exception, Strange])
def test_forced_faults(kind: type[Exception], open_hall: OpenHall) -> None:
    """The log says where it failed, and with which error. Whatever the error quotes is in neither format."""
    hall, lines = open_hall(), list[str]()

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        lines.extend((as_text(event), as_json(event)))

    ana, bob = hall.program("ana"), hall.client()
    spoil(hall, kind)
    globalLogPublisher.addObserver(observe)
    try:
        ana.say(MARK)
        for word, field in (("topic", "text"), ("search", "text"), ("create", "topic"), ("kick", "reason")):
            ana.post(word, **{"room": "general", "name": "bob", field: MARK})
        bob.post("login", name="ana", password=MARK).post("login", token=MARK)
        bob.type(MARK)
        hall.passes(5)
    finally:
        globalLogPublisher.removeObserver(observe)
    assert sum("Traceback" in line for line in lines) >= 10
    assert any(kind.__name__ in line for line in lines)
    assert not [line for line in lines if MARK in line]
