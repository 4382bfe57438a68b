"""The input message queue: lanes of sessions that have something in their inbox. Synchronises, and does no work."""

from collections.abc import Awaitable, Callable
from zlib import crc32

from twisted.internet.defer import DeferredQueue

from chatserver import commands as c
from chatserver.session import Session


class Lane:
    """Sessions in the order they came, each at most once (`Session.waiting` says so)."""

    def __init__(self) -> None:
        self._queue: DeferredQueue[Session] = DeferredQueue()

    def put(self, session: Session) -> None:
        self._queue.put(session)

    async def take(self, most: int, settle: Callable[[], Awaitable[None]]) -> list[Session]:
        """Waits for one session; with it come those that are ready too, `most` in all.

        Where it had to wait, `settle` is awaited first: what came in the same turn of the reactor is to come along,
        and not to wait for another transaction.
        """
        waiting = not self._queue.pending
        sessions = [await self._queue.get()]
        if waiting:
            await settle()
        while len(sessions) < most and self._queue.pending:
            sessions.append(await self._queue.get())
        return sessions


class Lanes:
    """Write lanes with one processor each, so that a room is never in two transactions at once; and one lane for
    reading, which several processors share."""

    def __init__(self, write_lanes: int) -> None:
        self.writes = [Lane() for _ in range(write_lanes)]
        self.reads = Lane()

    def write_lane(self, session: Session, room: str) -> Lane:
        """The lane of the room that this session calls so; its own lane, where it names none."""
        if room.startswith("@"):
            # The two people of a direct room call it by each other's names: both must come to the same lane.
            room = "@" + ":".join(sorted((session.name.lower(), room[1:].lower())))
        return self.writes[crc32((room or session.id).encode()) % len(self.writes)]

    def next_lane(self, session: Session, *, writes: bool) -> Lane:
        """Where the session belongs for the first command in its inbox."""
        if not writes:
            return self.reads
        room = getattr(session.inbox[0], "room", c.CURRENT)
        return self.write_lane(session, room or session.current)
