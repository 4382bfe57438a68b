"""Connections: their list, the end of some of them, and a notice to all. Looks at them in small steps."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from heapq import nlargest
from typing import Any, Final

from chatserver.net.connection.connection import Connection
from chatserver.net.counts import traffic
from chatserver.operation.companion import Running
from chatserver.operation.control.caller import CannotDo, Out
from chatserver.operation.control.requests import SessionLine
from chatserver.session.session import Session
from chatserver.util.times import now, rfc3339
from chatserver.util.waiting import Turn
from chatserver.values.errors import Note, Refused, Sentence
from chatserver.values.stages import Stage
from chatserver.wire.dialect import Dialect, Framing
from chatserver.wire.hygiene.text import message_text, reason_text
from chatserver.wire.screen import Screen
from chatserver.wire.sentences import english

SLICE: Final = 50
"""Maximum number of connections that are described in one turn of the reactor: about a millisecond."""
ROOMS: Final = 5_000
"""Maximum number of rooms that are counted in one turn: bots may be in thousands."""
QUICK_SLICE: Final = 1_000
"""Maximum number of connections that are compared with a name in one turn."""
MOST_BEHIND: Final = 5
"""Maximum number of rooms named in which a session is behind."""
MOST_CHARACTERS: Final = 1_000
"""Maximum length of an announcement: it waits in memory for clients that do not read."""
ANNOUNCE_SLICE: Final = 100
"""Maximum number of connections that are written to in one turn of the reactor: each costs a system call."""

Log = Callable[..., None]


async def list_sessions(running: Running, out: Out) -> dict[str, Any]:
    """Hands over a `SessionLine` for each connection; one that ends meanwhile is left out."""
    count = described = rooms = 0
    for connection in list(running.connections.open):
        if _is_open(running, connection):
            out.item(line(connection, running.reactor.seconds()))
            count += 1
        described, rooms = described + 1, rooms + len(connection.session.rooms)
        if described >= SLICE or rooms >= ROOMS:
            described = rooms = 0
            await out.turn()
    return {"sessions": count}


def _is_open(running: Running, connection: Connection) -> bool:
    """Whether it is there, and is not about to end."""
    return connection in running.connections.open and connection.session.stage is not Stage.ENDING


def line(connection: Connection, seconds: float) -> SessionLine:
    """`seconds`: the reactor's clock now."""
    session = connection.session
    carried = traffic(connection.door.transport)
    return SessionLine(
        session.id,
        session.who.name if session.who.account_id else "",
        session.address,
        connection.way,
        "" if session.stage is Stage.NEW else session.dialect.name,
        session.stage.name.lower(),
        rfc3339(now() - timedelta(seconds=seconds - connection.began)),
        connection.commands,
        session.who.kind if session.who.account_id else "",
        None if carried is None else carried.idle,
        None if carried is None else carried.received,
        None if carried is None else carried.sent,
        behind(session),
    )


def behind(session: Session) -> dict[str, int]:
    """The number of entries that a session lacks, by label, where it lacks most."""
    lacking = []
    for room in session.rooms.values():
        position = room.position(session)
        if position is not None and position < room.head:
            lacking.append((room.head - position, room.facts.label(session.who.account_id)))
    return {label: entries for entries, label in nlargest(MOST_BEHIND, lacking)}


async def kick(running: Running, who: str, reason: str, log: Log, turn: Turn) -> dict[str, Any]:
    """Ends the connection with this id, or all connections of the account with this name, and shows their users the
    reason. Raises CannotDo."""
    try:
        reason = reason_text(reason)
    except Refused as refused:
        raise CannotDo(english(refused.sentence)) from None
    ended: list[str] = []
    name = ""
    async for connection in _called(running, who, turn):
        session = connection.session
        name = session.who.name if session.who.account_id else ""
        ended.append(session.id)
        log("kick", target=name, id=session.id)
        connection.hang_up("kicked", Sentence(Note.KICKED_BY_ADMINISTRATOR, reason=reason))
    if not ended:
        raise CannotDo(f"Nobody is connected as {who}, and no connection has this id. See: chatctl session list")
    return {"name": name, "ended": ended}


async def _called(running: Running, who: str, turn: Turn) -> AsyncIterator[Connection]:
    for number, connection in enumerate(list(running.connections.open)):
        session = connection.session
        by_name = session.who.account_id and session.who.name.lower() == who.lower()
        if (by_name or session.id == who) and _is_open(running, connection):
            yield connection
        if number % QUICK_SLICE == QUICK_SLICE - 1:
            await turn()


async def announce(running: Running, text: str, log: Log, turn: Turn) -> dict[str, Any]:
    """Sends the notice to every session, after everything sent before. Slow readers get it later; sessions that log in
    meanwhile may miss it. Raises CannotDo."""
    if len(text) > MOST_CHARACTERS:
        raise CannotDo(f"An announcement can have at most {MOST_CHARACTERS} characters; this one has {len(text)}.")
    try:
        text = message_text(text)
    except Refused as refused:
        raise CannotDo(english(refused.sentence)) from None
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
        if number % ANNOUNCE_SLICE == ANNOUNCE_SLICE - 1:
            await turn()
    return {"told": told}
