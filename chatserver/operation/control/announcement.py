"""A notice of the administrators to everybody who is logged in."""

from collections.abc import Callable
from typing import Any, Final

from chatserver.operation.control.out import CannotDo
from chatserver.operation.running import Running
from chatserver.util.waiting import Turn
from chatserver.values.errors import Refused
from chatserver.values.stages import Stage
from chatserver.wire.dialect import Dialect, Framing, Screen
from chatserver.wire.hygiene.text import message_text

MOST_CHARACTERS: Final = 1_000
"""Of an announcement: it waits in memory for whoever reads nothing."""
SLICE: Final = 100
"""Connections that are written to in one turn of the reactor: each costs a system call."""


async def announce(running: Running, text: str, log: Callable[..., None], turn: Turn) -> dict[str, Any]:
    """Tells everybody, behind whatever they were sent before; somebody who reads slowly is told later. Those who log in
    meanwhile may not be told. Raises CannotDo."""
    if len(text) > MOST_CHARACTERS:
        raise CannotDo(f"An announcement can have at most {MOST_CHARACTERS} characters; this one has {len(text)}.")
    try:
        text = message_text(text)
    except Refused as refused:
        raise CannotDo(refused.text) from None
    log("announce")
    framed: dict[tuple[Dialect, Framing, Screen], bytes] = {}
    told = 0
    for number, connection in enumerate(list(running.connections.open)):
        session = connection.session
        if session.stage is Stage.IN and not session.quiet:
            dialect, framing, screen = key = session.form.dialect, session.form.framing, session.form.screen
            if key not in framed:
                framed[key] = framing.lines(dialect.notice(text, screen))
            session.link.write(framed[key])
            told += 1
        if number % SLICE == SLICE - 1:
            await turn()
    return {"told": told}
