"""Which sessions hear which rooms, and the ordered delivery of each room's log to them.

For each room that it hears, a session has a position: the seq of the last entry written to it. While its link is full
it is sent nothing more; once the link has drained, it is sent what it has missed, from the store.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from datetime import datetime

from msgspec import structs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatserver.delivery.catchup import RETRY_SECONDS, CatchUp, Quoted, ReadPage, unquoted
from chatserver.delivery.fanout import HUGE_SUBSCRIBERS, MAX_EARLY_BATCHES, SLICE_SUBSCRIBERS, Fanout
from chatserver.delivery.gaps import Gaps
from chatserver.delivery.names import Renames, relabelled
from chatserver.delivery.pending_logins import Arrival, Arrivals
from chatserver.delivery.room import Room
from chatserver.presence.other_nodes import Elsewhere
from chatserver.presence.roster import Roster
from chatserver.session.session import HeardRoom, Session
from chatserver.util.histogram import Histogram
from chatserver.values.commands import CURRENT
from chatserver.values.events import (
    DELETED,
    DIRECT,
    ENTERING,
    GAP,
    LEAVING,
    LEFT,
    MUTED,
    RENAMED,
    UNMUTED,
    Entry,
    EntryKind,
    Membership,
    RoomFacts,
)

MAX_FILLED = 1000
"""How many entries of a room are remembered as read from the store before their announcement."""
MAX_IDLE_ROOMS = 10_000
"""Maximum number of rooms without subscribers that are remembered: their heads matter to logins under way."""

MUTING: frozenset[EntryKind] = frozenset({MUTED, UNMUTED})


def _ignore(*_: int) -> None:
    pass


class Registry:
    """`rewound` is called with a room's id, the head known here and the lower one that the database had: it has lost
    entries that were delivered. `missed` is called with the id of a room of which entries were removed before they were
    published here: they may have said who entered or left. `huge` and `slice` are numbers of subscribers: see
    `fanout.py`. `fill_page` reads what was not announced, where that is not read as the rest is."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        read_page: ReadPage,
        roster: Roster,
        rewound: Callable[[int, int, int], None] = _ignore,
        huge: int = HUGE_SUBSCRIBERS,
        slice: int = SLICE_SUBSCRIBERS,
        missed: Callable[[int], None] = _ignore,
        quoted: Quoted = unquoted,
        fill_page: ReadPage | None = None,
    ) -> None:
        self._clock = clock
        self._roster = roster
        self._rewound = rewound
        self._missed = missed
        self._rooms: dict[int, Room] = {}
        self._catch_up = CatchUp(clock, self._rooms, read_page, self._caught_up_and_left, quoted)
        self._gaps = Gaps(clock, fill_page or read_page, self._fill)
        self._fanout = Fanout(clock, huge, slice, self._sent_later, self.catch_up)
        self._idle: OrderedDict[int, None] = OrderedDict()  # rooms without subscribers, oldest first
        self._reached: OrderedDict[int, int] = OrderedDict()  # how far the logs of rooms that are not in memory go
        self._doubted: set[int] = set()  # rooms of which other nodes may not know what is found in the store
        self._logins = Arrivals()
        self._renames = Renames(clock.seconds, roster)
        roster.follow(self)
        self.seconds = clock.seconds
        self.from_bus = 0
        """How many entries for subscribers here were brought by the bus."""
        self.from_store = 0
        """How many entries for them nobody brought in time, so that they were read from the store."""

    @property
    def elsewhere(self) -> Elsewhere:
        """The other nodes."""
        return self._roster.nodes.now

    @property
    def delivered(self) -> int:
        """How many entries were written to live subscribers so far, counted for each of them."""
        return self._fanout.delivered

    @property
    def caught_up(self) -> int:
        """How many entries were read from the store for subscribers that were behind, likewise."""
        return self._catch_up.delivered

    @property
    def delivery_seconds(self) -> Histogram:
        """For each batch, how long it took from its commit until it was written to all live subscribers."""
        return self._fanout.seconds

    @property
    def rooms(self) -> Collection[Room]:
        """Those that have subscribers, or had some lately."""
        return self._rooms.values()

    def find(self, room_id: int) -> Room | None:
        """A room that has subscribers, or had some lately."""
        return self._rooms.get(room_id)

    # Logging in

    def pending_login(self, account_id: int) -> AbstractContextManager[Arrival]:
        """Scope: from the reading of an account's memberships to `subscribe`."""
        return self._logins.pending(account_id)

    def doubt_logins(self, *account_ids: int) -> None:
        """What logins of these accounts (without any: all logins) under way have read may be out of date: they read it
        again."""
        self._logins.changed(*(account_ids or self._logins.accounts()))

    def is_current(self, login: Arrival, memberships: Sequence[Membership]) -> bool:
        """Whether these memberships, which a login has read, still hold as far as is known. Else read them again."""
        known, login.passed = login.passed, self._passed_over(memberships)
        # What reading them again does not mend, since the database was set back, is no reason to do it once more.
        return not login.stale and login.passed <= known

    def _passed_over(self, memberships: Sequence[Membership]) -> frozenset[tuple[int, int]]:
        """The rooms whose logs have gone on since then, as other nodes said, while nobody here followed them, each with
        how far: by what was passed over the account may have left."""
        found = set()
        for membership in memberships if self.elsewhere.origin else ():
            room_id = membership.facts.id
            room = self._rooms.get(room_id)
            base = self._reached.get(room_id, 0) if room is None else room.base
            if base > membership.seq:
                found.add((room_id, base))
        return frozenset(found)

    def subscribe(self, session: Session, memberships: Sequence[Membership], resume: dict[str, int]) -> None:
        """Lets a session that is on the roster hear its rooms: from the seq in `memberships` on, or from the earlier
        one in `resume` (by label in lower case).

        Nothing is sent yet: the caller answers first, then calls `catch_up`.
        """
        for membership in memberships:
            room = self._room(membership.facts, membership.seq)
            position = membership.seq
            if session.view is not None:
                session.view.marks.know(membership.facts.id, membership.seen)
            if membership.seq < room.base and self.elsewhere.origin:  # it may have left by what was passed over
                self._missed(membership.facts.id)
            label = membership.facts.label(session.who.account_id).lower()
            if label in resume and not session.quiet:
                position = max(min(resume[label], position), membership.allowed - 1)
                session.replays |= {room}
            self._hear(session, room, position)
        self.hear_all(session.who.account_id, memberships)

    def hear_all(self, account_id: int, memberships: Sequence[Membership]) -> None:
        """Lets all sessions of an account hear all its rooms. The account has joined those that they do not hear just
        now, and the entry that says so is not published yet: they hear them from there on."""
        for membership in memberships:
            room = self._room(membership.facts, membership.seq)
            for session in [session for session in self._roster.sessions(account_id) if session not in room]:
                self._hear_late(session, room, max(membership.joined - 1, 0))
            if membership.seq > room.head:  # stored, but not published here yet
                self._gaps.expect(room)

    def remove(self, session: Session) -> None:
        """Forgets a session."""
        for room in list(session.rooms.values()):
            self._forget(session, room)

    # What a session asks for

    def hear(self, session: Session, facts: RoomFacts, position: int, head: int) -> None:
        """Lets a session hear a room from behind this position on, unless it hears it already; `catch_up` sends it."""
        room = self._room(facts, head)
        if session not in room and self._roster.has(session):
            self._hear(session, room, position)
        if head > room.head:  # stored, but not published here yet
            self._gaps.expect(room)

    def replay(self, session: Session, facts: RoomFacts, since: int, head: int) -> None:
        """Lets a session hear a room from behind `since` on; `catch_up` sends that, and `live` at its end.

        `head` is the room's last seq before what is announced next."""
        if self._roster.has(session) and not session.quiet:
            room = self._room(facts, head)
            self._hear(session, room, min(since, head))
            session.replays |= {room}

    def unsubscribe(self, session: Session, facts: RoomFacts) -> None:
        """The session no longer hears a room, and is not sent what it has missed there."""
        room = self._rooms.get(facts.id)
        if room is not None and session in room:
            self._unhear(session, room)

    def catch_up(self, session: Session) -> None:
        """Sends a session what it has missed, page by page, for as long as it takes it."""
        self._catch_up.start(session)

    # What happens in a room

    def announce(self, facts: RoomFacts, entries: Sequence[Entry]) -> bool:
        """The one door for entries that this process has committed: in ascending order, without a gap.

        Never raises, since the entries are stored. Returns False if they could not be delivered: then the room is read
        again, if it has subscribers here."""
        try:
            self._announce(facts, entries)
        except Exception:
            self.log.failure("Entries of room {room} could not be announced.", room=facts.id)
            if facts.id in self._rooms:
                self.doubt(self._rooms[facts.id])
            return False
        return True

    def _announce(self, facts: RoomFacts, entries: Sequence[Entry]) -> None:
        room = self._rooms.get(facts.id)
        if room is not None and entries[0].seq <= room.head and self._is_rewound(room, entries):
            self._rewound(room.facts.id, room.head, entries[0].seq - 1)
            return
        self.elsewhere.announced(facts, entries)
        self._publish(facts, entries)

    def arrived(self, facts: RoomFacts, entries: Sequence[Entry]) -> None:
        """Another node has committed these entries: in ascending order, without a gap. They may have come before, and
        others before them may be missing."""
        room = self._rooms.get(facts.id)
        if room is not None and room.unsent and len(room.early) > MAX_EARLY_BATCHES:
            self._gaps.doubt(room)  # they come faster than they can be written: they are read once they can be
            return
        known = max(entries[0].seq - 1, 0 if room is None else room.head)
        self._publish(facts, entries)
        room = self._rooms.get(facts.id)
        if room is not None and room.subscribers:
            self.from_bus += max(entries[-1].seq - known, 0)

    def reaches(self, room_id: int, seq: int) -> None:
        """The log of a room goes at least up to `seq`, as another node says."""
        room = self._rooms.get(room_id)
        if room is None:  # who is about to hear it has perhaps read from the store before that
            self._reached[room_id] = max(seq, self._reached.pop(room_id, 0))
            if len(self._reached) > MAX_IDLE_ROOMS:
                self._reached.popitem(last=False)
        elif seq > room.head:
            if room.subscribers:
                self._gaps.doubt(room)
            else:
                room.rest_at(seq)

    def _is_rewound(self, room: Room, entries: Sequence[Entry]) -> bool:
        """Whether one of these new entries has a number that was published already: the database has forgotten what it
        stored. It is none if it was read from the store before it was announced."""
        known = [entry.seq for entry in entries if room.base < entry.seq <= room.head]
        rewound = any(seq not in room.filled for seq in known)
        room.filled.difference_update(known)
        return rewound

    def heads(self, room_ids: Collection[int] | None = None) -> dict[int, int]:
        """By room id, the head of each room that has subscribers; of these rooms, or of all."""
        rooms = self._rooms.values() if room_ids is None else filter(None, map(self._rooms.get, room_ids))
        return {room.facts.id: room.head for room in rooms if room.subscribers}

    def forget(self) -> None:
        """Forgets all heads, once all sessions are removed."""
        self._rooms.clear()
        self._idle.clear()
        self._reached.clear()
        self._doubted.clear()

    def doubt(self, heard: HeardRoom, *, told: bool = False) -> None:
        """Entries of a room may have been stored that nobody announced: reads what the store has, and publishes it.
        Other nodes learn that there is something to read, unless they have been `told`."""
        if not told:
            self._doubted.add(heard.facts.id)
        room = self._rooms.get(heard.facts.id)
        if room is not None:
            self._gaps.doubt(room)

    @property
    def sending(self) -> bool:
        """Whether something that was published is still being written."""
        return self._fanout.busy

    @property
    def lagging(self) -> bool:
        """Whether messages are published faster than they can be written: then the next ones should wait."""
        return self._fanout.lagging

    def _fill(self, facts: RoomFacts, entries: Sequence[Entry]) -> None:
        """Delivers entries that were read from the store: some of them may be announced later."""
        room = self._rooms.get(facts.id)
        if facts.id in self._doubted:
            self._doubted.discard(facts.id)
            self.elsewhere.found(facts.id, entries[-1].seq)
        if room is not None and entries[0].kind == GAP:
            self._skip(room, entries[0])
            entries = entries[1:]
        if entries:
            if room is not None:
                brought = min(room.early, default=entries[-1].seq + 1)  # they wait for what is before them
                self.from_store += max(min(entries[-1].seq, brought - 1) - room.head, 0)
            self._publish(facts, entries)
        room = self._rooms.get(facts.id)
        if room is not None:
            room.filled.update(entry.seq for entry in entries)
            if len(room.filled) > MAX_FILLED:
                room.filled = {seq for seq in room.filled if seq > room.head - MAX_FILLED}
                room.base = max(room.base, room.head - MAX_FILLED)

    def _skip(self, room: Room, gap: Entry) -> None:
        """Moves the head over entries that were removed before they were published here, and tells the subscribers."""
        if gap.seq > room.head:
            room.base = max(room.base, gap.seq)
            self._deliver(room, [structs.replace(gap, of=room.head + 1)], self.seconds())
            self._deliver_early(room)
            self._missed(room.facts.id)

    def _publish(self, facts: RoomFacts, entries: Sequence[Entry]) -> None:
        """Delivers stored entries. Batches may come in any order."""
        since = self.seconds()
        room = self._room(facts, entries[0].seq - 1)
        if not room.subscribers:  # nobody has heard the entries before these, so nobody waits for them
            self._rest_at(room, entries[0].seq - 1)
        if room.unsent or entries[0].seq > room.head + 1:
            room.wait(since, entries)
            if not room.unsent:
                self._gaps.expect(room)
            return
        self._deliver(room, entries, since)
        self._deliver_early(room)

    def _rest_at(self, room: Room, seq: int) -> None:
        """Nobody hears a room, and its log goes at least up to here. Logins under way may have read who was in it
        before an entry that is passed over."""
        if seq > room.head:
            self.doubt_logins()
        room.rest_at(seq)

    def _deliver_early(self, room: Room) -> None:
        while room.early and not room.unsent:
            first = min(room.early)
            if first > room.head + 1:
                self._gaps.expect(room)
                return
            since, entries = room.early.pop(first)
            while more := room.early.pop(entries[-1].seq + 1, None):
                since, entries = min(since, more[0]), [*entries, *more[1]]
            self._deliver(room, entries, since)

    def _deliver(self, room: Room, entries: Sequence[Entry], since: float) -> None:
        if entries[0].seq <= room.head:
            if not room.subscribers and self._may_concern(entries):
                self._missed(room.facts.id)
            entries = [entry for entry in entries if entry.seq > room.head]
            if not entries:
                return
        if self._renames.lately:
            entries = self._renames.corrected(entries)
        start = 0
        for index, entry in enumerate(entries):
            if entry.kind in ENTERING:
                self._entered(room, entry)
            elif entry.kind in LEAVING:
                # Who leaves hears the entry that says so, and no further one.
                self._send(room, entries[start : index + 1], since, whole=True)
                self._left(room, entry)
                start = index + 1
            elif entry.kind in MUTING:
                self._roster.mutes_changed(entry.target_id)
            elif entry.kind == RENAMED:
                self._read_rename(entry)
                if room.facts.pair is not None:  # the entry itself still has the former label of the room
                    self._send(room, entries[start : index + 1], since, whole=True)
                    self._relabel(room, entry)
                    start = index + 1
                entries = [*entries[: index + 1], *self._renames.corrected(entries[index + 1 :])]
        if start < len(entries):
            self._send(room, entries[start:] if start else entries, since)

    def _may_concern(self, entries: Sequence[Entry]) -> bool:
        """Whether somebody who is here may have entered a room by one of these entries, which come too late."""
        return any(entry.kind in ENTERING and self._roster.sessions(entry.author_id) for entry in entries)

    def _send(self, room: Room, entries: Sequence[Entry], since: float, *, whole: bool = False) -> None:
        if self._fanout.send(room, entries, since, whole=whole):
            self._sent(room)

    def _sent_later(self, room: Room) -> None:
        self._sent(room)
        self._deliver_early(room)

    def _sent(self, room: Room) -> None:
        ahead, room.ahead = room.ahead, set()
        for session in ahead:
            room.move(session, room.behind[session])
            self.catch_up(session)

    # Who hears it: an entry of the room's own log says who enters and who leaves

    def _entered(self, room: Room, entry: Entry) -> None:
        self._logins.changed(entry.author_id)
        for session in self._roster.sessions(entry.author_id):
            if session in room.leaving:  # it has not read yet what was before it left
                room.returning[session] = entry.seq - 1
            elif session not in room:
                self._hear(session, room, entry.seq - 1)
                if not session.current:  # another device of theirs has joined their first room
                    self._leave_view(session, CURRENT)

    def _left(self, room: Room, entry: Entry) -> None:
        if entry.kind == DELETED:
            gone = {session.who.account_id for session in room} | self._logins.accounts()
        else:
            gone = {entry.author_id if entry.kind == LEFT else entry.target_id}
        for account_id in gone:
            self._logins.changed(account_id)
            for session in self._roster.sessions(account_id):
                position = room.position(session)
                if position is not None and position < entry.seq:
                    room.returning.pop(session, None)
                    room.leaving.setdefault(session, entry.seq)  # a slow reader loses nothing by it
                else:
                    self._unhear(session, room)

    def _caught_up_and_left(self, session: Session, room: Room) -> None:
        """A session has been sent everything up to its leaving."""
        back = room.returning.get(session)
        if back is None:
            self._unhear(session, room)
        else:
            self._hear(session, room, back)

    # What accounts and direct rooms are called: an entry says so, too

    def renamed(self, account_id: int, former: str, name: str, display: str, at: datetime) -> None:
        """An account has this name and display name since `at`, as far as no entry has said so already."""
        if self._renames.add(account_id, former, name, display, at):
            self.doubt_logins()

    def _read_rename(self, entry: Entry) -> None:
        if self._renames.read(entry):
            self.doubt_logins()

    def _relabel(self, room: Room, entry: Entry) -> None:
        """One of the two people of a direct room is called by another name behind this entry."""
        former, facts = room.facts, relabelled(room.facts, entry.author_id, entry.author)
        if facts is former:
            return
        room.relabel(facts, entry.seq)
        self._call_so(room, former)

    def _call_so(self, room: Room, former: RoomFacts) -> None:
        """Sessions of the two people call a direct room by its present label."""
        for account_id, _ in room.facts.pair or ():
            before, label = former.label(account_id), room.facts.label(account_id)
            for session in self._roster.sessions(account_id) if label != before else ():
                if session.rooms.get(before.lower()) is not room:
                    continue
                del session.rooms[before.lower()]
                session.rooms[label.lower()] = room
                if session.view is not None and session.view.current.lower() == before.lower():
                    session.turn_to(label, said=session.quiet)

    def _room(self, facts: RoomFacts, head: int) -> Room:
        room = self._rooms.get(facts.id)
        if room is None:
            facts = self._renames.present(facts)
            room = self._rooms[facts.id] = Room(facts, max(head, self._reached.pop(facts.id, 0)))
            self._idle[facts.id] = None
            if facts.kind == DIRECT and facts.pair is not None:
                # Its first message made it: both people hear it from there on.
                for account_id, _ in facts.pair:
                    try:
                        self._open_direct(room, account_id)
                    except Exception:  # the other one hears it all the same
                        self.log.failure("A direct room could not be opened. Trying again.")
                        self._clock.callLater(RETRY_SECONDS, self._open_direct, room, account_id)
            while len(self._idle) > MAX_IDLE_ROOMS:
                del self._rooms[self._idle.popitem(last=False)[0]]
        elif not room.subscribers:
            if head > room.head:  # what this node did not hear of
                self._rest_at(room, head)
            if facts.pair != room.facts.pair:  # nobody heard that somebody was renamed
                former, room.facts = room.facts, facts
                self._call_so(room, former)
        return room

    def _open_direct(self, room: Room, account_id: int) -> None:
        self._logins.changed(account_id)
        for session in self._roster.sessions(account_id):
            if session not in room:
                self._hear_late(session, room, 0)

    def _hear_late(self, session: Session, room: Room, position: int) -> None:
        self._hear(session, room, position)
        if position < room.head:
            self._clock.callLater(0, self.catch_up, session)

    def _hear(self, session: Session, room: Room, position: int) -> None:
        if not session.hears(room.facts.id):  # its token is for another room
            return
        if not session.quiet:
            if not room.subscribers:
                self.elsewhere.heard(room.facts.id, here=True)
            room.move(session, position)
            room.leaving.pop(session, None)
            room.returning.pop(session, None)
            self._idle.pop(room.facts.id, None)
        session.rooms[room.facts.label(session.who.account_id).lower()] = room
        self._roster.changed(session.who.account_id)

    def _leave_view(self, session: Session, label: str) -> None:
        """A room is gone from a person's rooms. If they look at it, they are told where they look now: once the command
        that did it is answered, or as soon as nothing else is being done."""
        view = session.view
        if view is not None and view.current.lower() == label:
            view.is_adrift = True
            self._clock.callLater(0, session.settle)

    def _unhear(self, session: Session, room: Room) -> None:
        self._leave_view(session, room.facts.label(session.who.account_id).lower())
        self._forget(session, room)

    def _forget(self, session: Session, heard: HeardRoom) -> None:
        room = self._rooms.get(heard.facts.id)
        if room is not None:
            room.remove(session)
        session.replays -= {heard}
        label = heard.facts.label(session.who.account_id).lower()
        known = session.rooms.get(label)
        if known is not None and known.facts.id == heard.facts.id:  # a deleted room's name may be another one's by now
            del session.rooms[label]
        self._roster.changed(session.who.account_id)
        if room is not None and not room.subscribers:
            self._idle[room.facts.id] = None
            self.elsewhere.heard(room.facts.id, here=False)
