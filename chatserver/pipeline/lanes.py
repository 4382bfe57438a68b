"""The queue between connections and processors, how long a lone message waits there for others, and whose turn it is.

A lane holds the sessions that have a command in their inbox. Messages share transactions. Every other command is a
transaction of its own, or a query: with these, addresses and accounts take turns, and no address gets more than a part
of the time.
"""

from collections import deque
from typing import Final
from zlib import crc32

from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from chatserver.session.retry import MESSAGES
from chatserver.session.session import Session
from chatserver.settings.tables import Limits
from chatserver.util.fair_queue import Rounds
from chatserver.util.waiting import POLL_SECONDS, QUIET_TURNS, Turn, settle
from chatserver.values import commands as c
from chatserver.wire.addresses import Listed, counted

SHARE: Final = 0.5
"""Maximum share of the time, in the long run, in which commands of one address are served. In the rest, the others
neither wait for them nor compete with them for the interpreter."""
BURST_SECONDS: Final = 0.2
"""How long commands of one address may be served without a pause."""
COUNTED_SECONDS: Final = 0.05
"""Maximum time to count for one command: it may have waited for others rather than worked."""
MOST_KEYS: Final = 1024
"""Number of addresses above which those with nothing left to count are forgotten."""


class Processor(Struct, eq=False):
    """Serves a lane: the number of its takes, and whether it is waiting for sessions. A dead one does not wait."""

    takes: int = 0
    waits: bool = False


class Shares:
    """The time that commands of each address took lately, in all lanes. With `limits.connections_per_address = 0`, and
    for addresses in `limits.exempt`, accounts take turns in place of addresses, and no time is counted."""

    def __init__(self, clock: IReactorTime, limits: Limits) -> None:
        self.clock = clock
        self._limits = limits
        self._exempt = Listed(lambda: limits.exempt)
        self._paid: dict[str, float] = {}  # by address: when the time that it took will be its share of the whole

    def key(self, session: Session) -> str:
        """Who takes turns: an address, or an account."""
        if self._counts(session):
            return counted(session.address)
        return f"account {session.who.account_id}"

    def took(self, session: Session, seconds: float) -> None:
        """A command of this session was served in this time."""
        if self._counts(session):
            key, now = counted(session.address), self.clock.seconds()
            self._paid[key] = max(self._paid.get(key, 0.0), now) + min(seconds, COUNTED_SECONDS) / SHARE
            if len(self._paid) > MOST_KEYS:
                self._paid = {key: paid for key, paid in self._paid.items() if paid > now}

    def may(self, key: str) -> bool:
        """Whether a further command may be served now."""
        return self._paid.get(key, 0.0) - self.clock.seconds() < BURST_SECONDS / SHARE

    def _counts(self, session: Session) -> bool:
        return self._limits.connections_per_address > 0 and session.address not in self._exempt


class Turns:
    """Sessions whose next command is no message. Addresses take turns, and so do the accounts of an address; an account
    with several connections has one turn."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._accounts: dict[int, deque[Session]] = {}
        self._rounds: Rounds[int] = Rounds()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, session: Session) -> None:
        self._count += 1
        account = session.who.account_id
        line = self._accounts.get(account)
        if line is not None:
            line.append(session)
        else:
            self._accounts[account] = deque([session])
            self._rounds.add(self._shares.key(session), account)

    def take(self) -> Session | None:
        """Takes the session whose turn it is. None if there is none, or if all that wait have used up their share."""
        key = self._rounds.next(self._shares.may)
        if key is None:
            return None
        self._count -= 1
        account = self._rounds.take(key)
        line = self._accounts[account]
        session = line.popleft()
        if line:
            self._rounds.add(self._shares.key(line[0]), account)
        else:
            del self._accounts[account]
        return session


class Lane:
    """Sessions that wait to be served, each at most once (see `Session.waiting`).

    Those whose next command is a message share a take, in their order of arrival. Behind them a take serves one other
    session at most, so that a message never waits for a crowd of other commands.
    """

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._speakers: deque[Session] = deque()
        self._others = Turns(shares)
        self._idle: list[Deferred[None]] = []  # processors that wait for a session
        self._waking = False  # a timer runs
        self._shared = True  # the last take with messages was of several sessions
        self.moved = 0  # rises while the lane is served
        self.processors: list[Processor] = []

    def __len__(self) -> int:
        """Number of sessions that wait to be taken."""
        return len(self._speakers) + len(self._others)

    def put(self, session: Session) -> None:
        command = session.inbox[0] if session.inbox else None
        if isinstance(command, MESSAGES) and session.room_called(command.room) is not None:
            self._speakers.append(session)
        else:
            self._others.put(session)
        self._wake()

    async def take(self, limit: int, turn: Turn) -> list[Session]:
        """Waits for a session. Takes up to `limit` with messages, and one other behind them. If no message waited, it
        waits one turn for those that come at the same time, unless only one session had any in the last take."""
        speakers, sessions = self._speakers, []
        quiet = QUIET_TURNS if speakers else int(self._shared)
        while not speakers and (other := self._others.take()) is None:
            await self._arrival()
        if speakers:
            await settle(speakers, limit, turn, quiet)
            sessions = [speakers.popleft() for _ in range(min(limit, len(speakers)))]
            self._shared = len(sessions) > 1
            other = self._others.take()
        if other is not None:
            sessions.append(other)
        self.moved += 1
        return sessions

    def took(self, session: Session, seconds: float) -> None:
        """A command that is no message was served in this time."""
        self._shares.took(session, seconds)
        self.moved += 1

    def _arrival(self) -> "Deferred[None]":
        """Fires when there may be a session to take."""
        if self._others and not self._waking:
            self._waking = True
            self._shares.clock.callLater(POLL_SECONDS, self._wake_later)
        arrival: Deferred[None] = Deferred()
        self._idle.append(arrival)
        return arrival

    def _wake_later(self) -> None:
        self._waking = False
        self._wake()

    def _wake(self) -> None:
        if self._idle:
            self._idle.pop().callback(None)


class Lanes:
    """Write lanes with one processor each, so that a room is never in two transactions at once, and one read lane that
    several processors share, so that a slow query holds up nobody."""

    def __init__(self, write_lanes: int, clock: IReactorTime, limits: Limits) -> None:
        shares = Shares(clock, limits)
        self.writes = [Lane(shares) for _ in range(write_lanes)]
        self.reads = Lane(shares)

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
