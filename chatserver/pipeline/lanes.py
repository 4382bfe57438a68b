"""The queue between connections and processors, and how long a lone message waits there for others.

A lane holds the sessions that have a command in their inbox."""

from zlib import crc32

from msgspec import Struct
from twisted.internet.defer import DeferredQueue

from chatserver.session.session import Session
from chatserver.util.waiting import QUIET_TURNS, Turn, settle
from chatserver.values import commands as c


class Processor(Struct, eq=False):
    """Serves a lane: the number of its takes, and whether it is waiting for sessions. A dead one does not wait."""

    takes: int = 0
    waits: bool = False


class Lane:
    """Sessions in order of arrival, each at most once (see `Session.waiting`)."""

    def __init__(self) -> None:
        self._queue: DeferredQueue[Session] = DeferredQueue()
        self._shared = True  # the last take was of several sessions
        self.moved = 0  # rises while the lane is served
        self.processors: list[Processor] = []

    def __len__(self) -> int:
        """Number of sessions that wait to be taken."""
        return len(self._queue.pending)

    def put(self, session: Session) -> None:
        self._queue.put(session)

    async def take(self, limit: int, turn: Turn) -> list[Session]:
        """Waits for one session, and takes up to `limit` that are ready. If the lane was empty, it waits one turn for
        sessions that come at the same time, unless the last take had only one."""
        quiet = QUIET_TURNS if self._queue.pending else int(self._shared)
        sessions = [await self._queue.get()]
        await settle(self._queue.pending, limit - 1, turn, quiet)
        while len(sessions) < limit and self._queue.pending:
            sessions.append(await self._queue.get())
        self._shared = len(sessions) > 1
        self.moved += 1
        return sessions


class Lanes:
    """Write lanes with one processor each, so that a room is never in two transactions at once, and one read lane that
    several processors share, so that a slow query holds up nobody."""

    def __init__(self, write_lanes: int) -> None:
        self.writes = [Lane() for _ in range(write_lanes)]
        self.reads = Lane()

    def write_lane(self, session: Session, room: str) -> Lane:
        """The lane of the room with this label; without a room, the lane of the session itself."""
        if room.startswith("@"):
            # The two people of a direct room call it by each other's names: both must come to the same lane.
            room = "@" + ":".join(sorted((session.who.name.lower(), room[1:].lower())))
        return self.writes[crc32((room or session.id).encode()) % len(self.writes)]

    def next_lane(self, session: Session, *, writes: bool) -> Lane:
        """The lane for the first command in the session's inbox."""
        if not writes:
            return self.reads
        room = getattr(session.inbox[0], "room", c.CURRENT)
        return self.write_lane(session, room or session.current)
