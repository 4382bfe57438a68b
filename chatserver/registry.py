"""Who is connected and which rooms they hear: ordered delivery of each room's log.

A session keeps the seq last written to it for each room. What it cannot take now, it is not sent: it reads on from
the store once it can. Resuming and catching up are the same.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatserver import encode
from chatserver.catchup import RETRY_SECONDS, CatchUp, ReadPage
from chatserver.errors import Unavailable
from chatserver.events import (
    BANNED,
    CREATED,
    DELETED,
    DIRECT,
    JOINED,
    KICKED,
    LEFT,
    Entry,
    News,
    RoomFacts,
    Standing,
)
from chatserver.fanout import HUGE, SLICE, Fanout
from chatserver.room import Room
from chatserver.session import NONE, Dialect, Session, Stage
from chatserver.turns import pause

IDLE_ROOMS = 10_000
HOLE_SECONDS = 0.2
QUIET_SECONDS = 0.02

COMING = frozenset({JOINED, CREATED})
GOING = frozenset({LEFT, KICKED, BANNED, DELETED})


class Arrival:
    """A login under way. `stale`: the account's memberships changed meanwhile, so read them again."""

    __slots__ = ("stale",)

    def __init__(self) -> None:
        self.stale = False


class Registry:
    log = Logger()

    def __init__(self, clock: IReactorTime, read_page: ReadPage, huge: int = HUGE, slice: int = SLICE) -> None:
        self._clock = clock
        self._read_page = read_page
        self._catch_up = CatchUp(clock, read_page, self._caught_up_and_left)
        self._fanout = Fanout(clock, huge, slice, self._sent_later)
        self._rooms: dict[int, Room] = {}
        # Rooms that nobody hears now: their heads still matter to a login under way. Bounded, oldest first.
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._arrivals: dict[int, list[Arrival]] = {}
        self.accounts: dict[int, list[Session]] = {}  # lists: most have one, in a third of a set's memory
        self.away: dict[int, str] = {}  # what those say who are away
        self._apart: dict[int, frozenset[int]] = {}  # of those online: whom they have blocked, or are blocked by

    # Who is there

    @contextmanager
    def arriving(self, account_id: int) -> Iterator[Arrival]:
        """Around the reading of an account's memberships and `arrive`."""
        arrival = Arrival()
        arrivals = self._arrivals.setdefault(account_id, [])
        arrivals.append(arrival)
        try:
            yield arrival
        finally:
            arrivals.remove(arrival)
            if not arrivals:
                self._arrivals.pop(account_id, None)

    def doubt_arrivals(self) -> None:
        """What logins under way have read may be old: they read it again."""
        for arrivals in self._arrivals.values():
            for arrival in arrivals:
                arrival.stale = True

    def arrive(
        self, session: Session, standings: Iterable[Standing], resume: dict[str, int], apart: frozenset[int]
    ) -> None:
        """Lets a logged-in session hear its rooms, from the seq given in `standings`, or earlier ones in `resume`.

        Nothing is sent yet: the caller answers first, then calls `catch_up`.
        """
        self.accounts.setdefault(session.account_id, []).append(session)
        self._apart[session.account_id] = apart or NONE
        for standing in standings:
            room = self._room(standing.facts, standing.seq)
            position = standing.seq
            session.has_read(standing.facts.id, standing.read)
            label = standing.facts.label(session.account_id).lower()
            if label in resume:
                position = max(min(resume[label], position), standing.floor - 1)
                session.replays |= {room}
            self._hear(session, room, position)
            for other in [other for other in self.accounts[session.account_id] if other not in room]:
                # They came into the room just now, and what tells us is not published yet.
                self._hear_late(other, room, max(standing.joined - 1, 0))
            if standing.seq > room.head:  # stored, but not published here yet
                self._expect(room)

    def depart(self, session: Session) -> None:
        """Forgets a session."""
        for room in list(session.rooms.values()):
            self._unhear(session, room)
        sessions = self.accounts.get(session.account_id, [])
        if session in sessions:
            sessions.remove(session)
        if not sessions:
            self.accounts.pop(session.account_id, None)
            self.away.pop(session.account_id, None)
            self._apart.pop(session.account_id, None)

    def room(self, room_id: int) -> Room | None:
        return self._rooms.get(room_id)

    def sessions(self, account_id: int) -> list[Session]:
        """The connections of an account now."""
        return list(self.accounts.get(account_id, ()))

    async def quiet(self, sessions: Iterable[Session]) -> None:
        """Until nothing of these sessions, which have ended, is under way."""
        while any(session.waiting for session in sessions):
            await pause(self._clock, QUIET_SECONDS)

    def set_apart(self, one: int, other: int, *, apart: bool) -> None:
        """Whether two accounts see each other's presence."""
        for account_id, whom in ((one, other), (other, one)):
            if account_id in self._apart:
                known = self._apart[account_id]
                self._apart[account_id] = known | {whom} if apart else known - {whom}

    def seen_by(self, account_id: int) -> frozenset[int]:
        """The accounts that are online as far as this one may know."""
        return frozenset(self.accounts.keys() - self._apart.get(account_id, frozenset()))

    def nearby(self, session: Session, most: int = 0) -> set[Session]:
        """The sessions of others in the same rooms; rooms with more hearers than `most` do not count (0: all do)."""
        near: set[Session] = set()
        for room in session.rooms.values():
            if not most or room.hearers <= most:
                near.update(room)
        hidden = self._apart.get(session.account_id, frozenset()) | {session.account_id}
        return {other for other in near if other.account_id not in hidden}

    def tell(self, sessions: Iterable[Session], item: News) -> None:
        """Sends news that is no entry. Who takes nothing now is not told: it would be old when it came."""
        words: dict[Dialect, bytes] = {}
        for session in sessions:
            if session.writable and session.stage is Stage.IN:
                if session.dialect not in words:
                    words[session.dialect] = encode.news(session, item)
                session.write(words[session.dialect])

    def replay(self, session: Session, facts: RoomFacts, since: int, head: int) -> None:
        """Lets a session hear a room from behind `since` on; `catch_up` sends it, and `live` at its end.

        `head` is the room's last seq before what is published next."""
        room = self._room(facts, head)
        self._hear(session, room, min(since, head))
        session.replays |= {room}

    def stop_hearing(self, session: Session, facts: RoomFacts) -> None:
        """The client of this session wants to hear no more of a room, not even what it has missed of it."""
        room = self._rooms.get(facts.id)
        if room is not None and session in room:
            self._unhear(session, room)

    def catch_up(self, session: Session) -> None:
        """Sends a session what it has not heard yet, page by page, for as long as it takes it."""
        self._catch_up.start(session)

    # What happens in a room

    def publish(self, facts: RoomFacts, entries: Sequence[Entry]) -> None:
        """Delivers entries, in rising order without a hole, that the store has. Batches may come in any order."""
        room = self._room(facts, entries[0].seq - 1)
        if not room.hearers:  # nobody has heard the ones before, so nobody waits for them
            room.head = max(room.head, entries[0].seq - 1)
            room.early.clear()
        if room.unsent or entries[0].seq > room.head + 1:
            room.early[entries[0].seq] = entries
            if not room.unsent:
                self._expect(room)
            return
        self._deliver(room, entries)
        self._deliver_early(room)

    @property
    def sending(self) -> bool:
        """Whether something published is still being written."""
        return self._fanout.busy

    @property
    def lagging(self) -> bool:
        """Whether more is published than can be written: then it is better to wait a little."""
        return self._fanout.lagging

    def _deliver_early(self, room: Room) -> None:
        while room.early and not room.unsent:
            first = min(room.early)
            if first > room.head + 1:
                self._expect(room)
                return
            entries = room.early.pop(first)
            while more := room.early.pop(entries[-1].seq + 1, None):
                entries = [*entries, *more]
            self._deliver(room, entries)

    def doubt(self, room: Room) -> None:
        """Entries of a room may have been stored without our knowing: look, and publish them."""
        room.doubted = True
        if not room.filling:
            room.filling = True
            self._spawn(self._fill(room))

    def _deliver(self, room: Room, entries: Sequence[Entry]) -> None:
        if entries[0].seq <= room.head:
            entries = [entry for entry in entries if entry.seq > room.head]
            if not entries:
                return
        start = 0
        for index, entry in enumerate(entries):
            if entry.kind in COMING:
                self._came(room, entry)
            elif entry.kind in GOING:
                # Who goes hears the entry that says so, and no further one.
                self._send(room, entries[start : index + 1], whole=True)
                self._went(room, entry)
                start = index + 1
        if start < len(entries):
            self._send(room, entries[start:] if start else entries)

    def _send(self, room: Room, entries: Sequence[Entry], *, whole: bool = False) -> None:
        if self._fanout.send(room, entries, whole=whole):
            self._sent(room)

    def _sent_later(self, room: Room) -> None:
        self._sent(room)
        self._deliver_early(room)

    def _sent(self, room: Room) -> None:
        ahead, room.ahead = room.ahead, set()
        for session in ahead:
            room.place(session, room.behind[session])
            self.catch_up(session)

    def _came(self, room: Room, entry: Entry) -> None:
        self._changed(entry.author_id)
        for session in self.accounts.get(entry.author_id, ()):
            if session in room.leaving:  # it has still to read what was before it went
                room.returning[session] = entry.seq - 1
            elif session not in room:
                self._hear(session, room, entry.seq - 1)
                session.has_read(room.facts.id, entry.seq - 1)

    def _caught_up_and_left(self, session: Session, room: Room) -> None:
        """A session has been sent everything up to its going."""
        back = room.returning.get(session)
        if back is None:
            self._unhear(session, room)
        else:
            self._hear(session, room, back)
            session.has_read(room.facts.id, back)

    def _went(self, room: Room, entry: Entry) -> None:
        if entry.kind == DELETED:
            gone = {session.account_id for session in room} | set(self._arrivals)
        else:
            gone = {entry.author_id if entry.kind == LEFT else entry.target_id}
        for account_id in gone:
            self._changed(account_id)
            for session in self.accounts.get(account_id, ()):
                position = room.position(session)
                if position is not None and position < entry.seq:
                    room.returning.pop(session, None)
                    room.leaving.setdefault(session, entry.seq)  # a slow reader loses nothing by it
                else:
                    self._unhear(session, room)

    def _changed(self, account_id: int) -> None:
        for arrival in self._arrivals.get(account_id, ()):
            arrival.stale = True

    def _room(self, facts: RoomFacts, head: int) -> Room:
        room = self._rooms.get(facts.id)
        if room is None:
            room = self._rooms[facts.id] = Room(facts, head)
            self._idle[facts.id] = None
            if facts.kind == DIRECT and facts.pair is not None:
                # Made by its first message: both hear it from there on.
                for account_id, _ in facts.pair:
                    self._open_direct(room, account_id)
            while len(self._idle) > IDLE_ROOMS:
                del self._rooms[self._idle.popitem(last=False)[0]]
        return room

    def _open_direct(self, room: Room, account_id: int) -> None:
        self._changed(account_id)
        for session in self.accounts.get(account_id, ()):
            self._hear_late(session, room, 0)
            if room.facts.id not in session.read:
                session.has_read(room.facts.id, room.head)

    def _hear_late(self, session: Session, room: Room, position: int) -> None:
        self._hear(session, room, position)
        if position < room.head:
            self._clock.callLater(0, self.catch_up, session)

    def _hear(self, session: Session, room: Room, position: int) -> None:
        room.place(session, position)
        room.leaving.pop(session, None)
        room.returning.pop(session, None)
        session.rooms[room.facts.label(session.account_id).lower()] = room
        self._idle.pop(room.facts.id, None)

    def _unhear(self, session: Session, room: Room) -> None:
        room.remove(session)
        session.replays -= {room}
        label = room.facts.label(session.account_id).lower()
        if session.rooms.get(label) is room:  # a deleted one's name may be another's by now
            del session.rooms[label]
        if not room.hearers:
            self._idle[room.facts.id] = None

    # What the store has, and was not published

    def _expect(self, room: Room) -> None:
        """Entries are known to be stored that did not come: wait a little, then fetch them."""
        if not room.filling:
            room.filling = True
            self._clock.callLater(HOLE_SECONDS, lambda: self._spawn(self._fill(room)))

    async def _fill(self, room: Room) -> None:
        try:
            more = True
            while (more or room.doubted) and room.hearers:
                if room.unsent:
                    await pause(self._clock, 0)
                    continue
                room.doubted = False
                try:
                    entries, more = await self._read_page(room.facts.id, room.head)
                except Unavailable:
                    more = True
                    await pause(self._clock, RETRY_SECONDS)
                    continue
                if not entries:
                    continue
                room.filling = False
                self.publish(room.facts, entries)
                room.filling = True
        finally:
            room.filling = False

    def _spawn(self, work: Any) -> None:
        ensureDeferred(work).addErrback(lambda failure: self.log.failure("Delivery failed.", failure))
