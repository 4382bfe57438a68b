"""Subscriptions of sessions to rooms.

For each room that it subscribes to, a session has a position: the seq of the last entry written to it. While its link
is full it is sent nothing more; once the link has drained, missed entries are sent from the store.
"""

from collections.abc import Mapping, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatserver.delivery.catchup import RETRY_SECONDS, CatchUp
from chatserver.delivery.gaps import Gaps
from chatserver.delivery.pages import Pages
from chatserver.delivery.pending_logins import PendingLogins
from chatserver.delivery.renamed import Names
from chatserver.delivery.room import Room, Rooms
from chatserver.presence.roster import Roster
from chatserver.session.session import HeardRoom, Session
from chatserver.util.times import parse_rfc3339
from chatserver.values.commands import CURRENT
from chatserver.values.events import (
    DELETED,
    DIRECT,
    ENTERING,
    FOREVER,
    LEFT,
    UNMUTED,
    Entry,
    Membership,
    Notified,
    Notify,
    RoomFacts,
    Skipped,
)


class Subscriptions:
    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        pages: Pages,
        roster: Roster,
        rooms: Rooms,
        names: Names,
        logins: PendingLogins,
        gaps: Gaps,
    ) -> None:
        self._clock = clock
        self._roster = roster
        self._rooms = rooms
        self._names = names
        self._logins = logins
        self._gaps = gaps
        self._catch_up = CatchUp(clock, rooms, pages, self)

    @property
    def caught_up(self) -> int:
        """Number of entries read from the store for subscribers that were behind, counted for each of them."""
        return self._catch_up.delivered

    # Logging in

    def subscribe(
        self,
        session: Session,
        memberships: Sequence[Membership],
        resume: dict[str, int],
        most: Mapping[str, int] | None = None,
    ) -> list[Skipped]:
        """Subscribes a session that is on the roster to its rooms: from the seq in `memberships` on, or from the
        earlier one in `resume` (by label in lower case), but to the last `most` entries only. Returns what is left out.

        Nothing is sent yet: the caller answers first, then calls `catch_up`.
        """
        skipped = []
        for membership in memberships:
            room = self.room(membership.facts, membership.seq)
            position = membership.seq
            if session.view is not None:
                session.view.marks.know(membership.facts.id, membership.seen)
            if membership.seq < room.base and self._roster.nodes.now.origin:
                self._rooms.missed(membership.facts.id)  # the account may have left by what was passed over
            shown = membership.facts.label(session.who.account_id)
            label = shown.lower()
            if label in resume and not session.quiet:
                position = max(min(resume[label], position), membership.allowed - 1)
                session.replays |= {room}
                last = membership.seq - (most or {}).get(label, membership.seq)
                if last >= max(position + 1, membership.floor):  # else none is left out that was not removed
                    skipped.append(Skipped(shown, position + 1, last + 1, membership.facts.id))
                    position = last
            self._hear(session, room, position)
        self.hear_all(session.who.account_id, memberships)
        return skipped

    def hear_all(self, account_id: int, memberships: Sequence[Membership]) -> None:
        """Subscribes all sessions of an account to all its rooms. Rooms without a subscription were joined just now,
        and the entry that says so is not published yet: their subscriptions begin there."""
        for membership in memberships:
            self._roster.set_muted(account_id, membership.facts.id, membership.muted_until)
            room = self.room(membership.facts, membership.seq)
            for session in self._roster.sessions(account_id):
                session.notify(membership.facts.id, membership.notify)
                if session not in room and not _is_rejoining(session, room):
                    self._hear_late(session, room, max(membership.joined - 1, 0))
            if membership.seq > room.head:  # stored, but not published here yet
                self._gaps.expect(room)

    def notify(self, account_id: int, room_id: int, notify: Notify | None, but: Session | None = None) -> None:
        """An account has set what it wants to be notified of in a room. Its sessions here but one are told."""
        room = self._rooms.find(room_id)
        sessions = [session for session in self._roster.sessions(account_id) if room is not None and session in room]
        for session in sessions:
            session.notify(room_id, notify)
        if room is not None:
            others = [session for session in sessions if session is not but]
            self._roster.tell(others, Notified(room.facts.label(account_id), notify, room_id))

    def behind(self, session: Session, common: Mapping[int, int]) -> dict[str, int]:
        """By label, the numbers in `common`, by room id, of the rooms in which a session was sent later entries."""
        found = {}
        for heard in session.rooms.values():
            room, last = self._rooms.find(heard.facts.id), common.get(heard.facts.id)
            position = None if room is None else room.position(session)
            if last is not None and position is not None and position > last:
                found[heard.facts.label(session.who.account_id)] = last
        return found

    def remove(self, session: Session) -> None:
        """Ends all subscriptions of a session."""
        for room in list(session.rooms.values()):
            self._forget(session, room)

    # Commands

    def hear(self, session: Session, facts: RoomFacts, position: int, head: int) -> None:
        """Subscribes a session to a room from behind this position on, unless it is subscribed; `catch_up` sends it.

        If the answer of the database is late, entries behind `head` may have been published here that made the account
        leave: then the members of the room are read first."""
        room = self.room(facts, head)
        if session not in room and self._roster.has(session):
            if room.head > head:
                self._rooms.missed(facts.id)
            else:
                self._hear(session, room, position)
        if head > room.head:  # stored, but not published here yet
            self._gaps.expect(room)

    def replay(self, session: Session, facts: RoomFacts, since: int, head: int) -> None:
        """Subscribes a session to a room from behind `since` on; `catch_up` sends that, and `live` at its end.

        `head` is the room's last seq before what is announced next."""
        if self._roster.has(session) and not session.quiet:
            room = self.room(facts, head)
            if session not in room and room.head > head:  # see `hear`
                self._rooms.missed(facts.id)
            self._hear(session, room, min(since, head))
            session.replays |= {room}

    def unsubscribe(self, session: Session, facts: RoomFacts) -> None:
        """Ends a session's subscription to a room, without sending missed entries."""
        room = self._rooms.find(facts.id)
        if room is not None and session in room:
            self._unhear(session, room)

    def catch_up(self, session: Session) -> None:
        """Sends a session its missed entries, page by page, while it takes them."""
        self._catch_up.start(session)

    # Entries: they say who enters and who leaves

    def entered(self, room: Room, entry: Entry) -> None:
        """Subscribes the sessions of an account to the room that it enters by this entry."""
        self._logins.doubt(entry.author_id)
        for session in self._roster.sessions(entry.author_id):
            if _is_rejoining(session, room):
                continue
            if session in room.until:  # it has not read yet what was before it left
                room.returning[session] = entry.seq - 1
            elif session not in room:
                self._hear(session, room, entry.seq - 1)
                if not session.current:  # another device of theirs has joined their first room
                    self._turn_away(session, CURRENT)

    def muted(self, room: Room, entry: Entry) -> None:
        """An account is muted in the room by this entry, or no longer."""
        self._logins.doubt(entry.target_id)
        until = None if entry.kind == UNMUTED else parse_rfc3339(entry.text) or FOREVER
        self._roster.set_muted(entry.target_id, room.facts.id, until)
        self._roster.mutes_changed(entry.target_id)

    def departed(self, room: Room, entry: Entry) -> None:
        """Ends the subscriptions of those who leave the room by this entry, which has been sent to them. Sessions that
        are behind read up to this entry first: a slow reader loses nothing by it."""
        if entry.kind == DELETED:
            gone = {session.who.account_id for session in room} | self._logins.accounts()
        else:
            gone = {entry.author_id if entry.kind == LEFT else entry.target_id}
        for account_id in gone:
            self._logins.doubt(account_id)
            for session in self._roster.sessions(account_id):
                position = room.position(session)
                if position is not None and position < entry.seq:
                    room.returning.pop(session, None)
                    room.until.setdefault(session, entry.seq)
                else:
                    self._unhear(session, room)

    def end(self, session: Session, room: Room) -> None:
        """See `catchup.Ending`."""
        back = room.returning.get(session)
        if back is None:
            self._unhear(session, room)
        else:
            self._hear(session, room, back)

    def may_concern(self, entries: Sequence[Entry]) -> bool:
        """Whether an account that has sessions here may have entered a room by these entries, which come too late."""
        return any(entry.kind in ENTERING and self._roster.sessions(entry.author_id) for entry in entries)

    # Rooms

    def room(self, facts: RoomFacts, head: int) -> Room:
        """The room with these facts, which is brought into memory unless it is there. Its log goes up to `head`."""
        room = self._rooms.find(facts.id)
        if room is None:
            facts = self._names.present(facts)
            room = self._rooms.add(facts, head)
            if facts.kind == DIRECT and facts.pair is not None:
                # Its first message made it: both people subscribe from there on.
                for account_id, _ in facts.pair:
                    try:
                        self._open_direct(room, account_id)
                    except Exception:  # the other one is subscribed all the same
                        self.log.failure("A direct room could not be opened. Trying again.")
                        self._clock.callLater(RETRY_SECONDS, self._open_direct, room, account_id)
        elif not room.subscribers:
            if head > room.head:  # stored at another node, and not published here
                self.rest_at(room, head)
            if facts.pair != room.facts.pair:  # one of the two was renamed, and no entry said so here
                former, room.facts = room.facts, facts
                self._names.label_sessions(room, former)
        return room

    def rest_at(self, room: Room, seq: int) -> None:
        """A room has no subscribers, and its log goes at least up to here. Logins under way may have read its members
        before an entry that is passed over."""
        if seq > room.head:
            self._logins.doubt()
        room.rest_at(seq)

    def _open_direct(self, room: Room, account_id: int) -> None:
        self._logins.doubt(account_id)
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
            self._rooms.use(room)
            room.move(session, position)
            room.until.pop(session, None)
            room.returning.pop(session, None)
        session.rooms[room.facts.label(session.who.account_id).lower()] = room
        self._roster.changed(session.who.account_id)

    def _unhear(self, session: Session, room: Room) -> None:
        self._turn_away(session, room.facts.label(session.who.account_id).lower())
        self._forget(session, room)

    def _turn_away(self, session: Session, label: str) -> None:
        """The person is no longer in a room. If it is their current one, they are told which one is current now: once
        the command that did it is answered, or in the next turn of the reactor."""
        view = session.view
        if view is not None and view.current.lower() == label:
            view.is_adrift = True
            self._clock.callLater(0, session.settle)

    def _forget(self, session: Session, heard: HeardRoom) -> None:
        room = self._rooms.find(heard.facts.id)
        if room is not None:
            room.remove(session)
        session.replays -= {heard}
        session.notify(heard.facts.id, None)
        label = heard.facts.label(session.who.account_id).lower()
        known = session.rooms.get(label)
        if known is not None and known.facts.id == heard.facts.id:  # a deleted room's name may be another one's by now
            del session.rooms[label]
        self._roster.changed(session.who.account_id)
        if room is not None:
            self._rooms.release(room)


def _is_rejoining(session: Session, room: Room) -> bool:
    """Whether the session is about to subscribe to the room from an earlier entry on (see `Subscriptions.replay`), and
    is sent nothing until then. Its joining may be found in the store before its command is answered."""
    return bool(session.rejoining) and session.rejoining == room.facts.name.lower()
