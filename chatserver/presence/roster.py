"""The roster: online accounts with their sessions, away texts and blocks. Accounts at other nodes come from reports of
these nodes; without reports there are none."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain, islice
from typing import Final, Protocol

from msgspec import Struct

from chatserver.session.other_nodes import OtherNodes
from chatserver.session.session import HeardRoom, Session
from chatserver.values.events import BOT, News
from chatserver.values.mentions import KnownNames
from chatserver.values.seen import Seen
from chatserver.values.stages import Stage
from chatserver.wire.dialect import NONE, Dialect, Framing
from chatserver.wire.screen import Screen

MOST_LOOKED_AT: Final = 20_000
"""Maximum number of members of rooms that are looked at for one answer, which takes some milliseconds."""


class Remote(Struct, frozen=True, gc=False):
    """An account that is online at other nodes. `rooms`: the ids of those that it subscribes to there."""

    name: str
    display: str
    bot: bool
    rooms: frozenset[int]


class Away:
    """An away text. `muted_in`: the rooms where they are muted, so that nobody sees the text there; None while that is
    not known."""

    __slots__ = ("muted_in", "text")

    def __init__(self) -> None:
        self.text = ""
        self.muted_in: frozenset[int] | None = None


class Muting(Protocol):
    """A part that knows where accounts are muted."""

    def mutes_changed(self, account_id: int) -> None:
        """The account was muted or unmuted in a room."""


class Table(Protocol):
    """A table of rooms (`delivery/room.py`)."""

    def find(self, room_id: int) -> HeardRoom | None:
        """A room that has subscribers here."""


class Roster:
    """An account is online while it has a session that is not quiet, here or at another node.

    `nodes`: the other nodes, which are notified of changes. `names_known`: the names of accounts, online or not.
    """

    def __init__(self) -> None:
        self.nodes = OtherNodes()
        self.names_known = KnownNames()
        self._muting: Muting | None = None
        self._rooms: Table | None = None
        self._sessions: dict[int, list[Session]] = {}  # lists: most have one, in a third of a set's memory
        self._quiet: set[int] = set()  # those of these accounts that have quiet sessions only
        self._away: dict[int, Away] = {}
        self._apart: dict[int, frozenset[int]] = {}  # by account here: those it has blocked, or that have blocked it
        self._muted: dict[int, dict[int, datetime]] = {}  # by account here: the rooms where it is muted, and until when
        self._remote: dict[int, Remote] = {}
        self._remote_in: dict[int, dict[int, None]] = {}  # by room id, these accounts

    def follow(self, rooms: Table) -> None:
        """Looks up the rooms of accounts at other nodes in this table from now on."""
        self._rooms = rooms

    def follow_mutes(self, muting: Muting) -> None:
        """Notifies this part of accounts that are muted or unmuted from now on."""
        self._muting = muting

    def mutes_changed(self, account_id: int) -> None:
        """An entry says that the account was muted or unmuted in a room."""
        if self._muting is not None:
            self._muting.mutes_changed(account_id)

    def changed(self, account_id: int) -> None:
        """The account's sessions here, names, rooms or away text have changed."""
        for session in self._sessions.get(account_id, ()):
            self.names_known.add(session.who.name)
        self.nodes.now.account_changed(account_id)

    @property
    def accounts(self) -> int:
        """Number of accounts that are online here."""
        return len(self._sessions) - len(self._quiet)

    def add(self, session: Session, apart: frozenset[int] = NONE) -> None:
        """`apart`: the accounts that this one has blocked or is blocked by."""
        self._sessions.setdefault(session.who.account_id, []).append(session)
        self._count(session.who.account_id)
        self._apart[session.who.account_id] = apart or NONE
        self.changed(session.who.account_id)

    def remove(self, session: Session) -> None:
        sessions = self._sessions.get(session.who.account_id, [])
        if session in sessions:
            sessions.remove(session)
        if not sessions:
            self._sessions.pop(session.who.account_id, None)
            self._apart.pop(session.who.account_id, None)
            self._muted.pop(session.who.account_id, None)
        self._count(session.who.account_id)
        self.changed(session.who.account_id)

    def _count(self, account_id: int) -> None:
        """Notes whether an account is online. An account that is not online is not away either."""
        sessions = self._sessions.get(account_id, ())
        if sessions and all(session.quiet for session in sessions):
            self._quiet.add(account_id)
        else:
            self._quiet.discard(account_id)
        if not self.is_online(account_id):
            self._away.pop(account_id, None)

    def is_online(self, account_id: int) -> bool:
        return self.is_here(account_id) or account_id in self._remote

    def is_here(self, account_id: int) -> bool:
        """Whether an account is online by its sessions here."""
        return account_id in self._sessions and account_id not in self._quiet

    def has(self, session: Session) -> bool:
        """Whether a session is still here. Commands of a lost one are still carried out, but it is sent nothing."""
        return session in self._sessions.get(session.who.account_id, ())

    def sessions(self, account_id: int) -> list[Session]:
        """The account's sessions."""
        return list(self._sessions.get(account_id, ()))

    def unsaw(self, account_id: int, room_id: int, seen: Seen) -> None:
        """An account has moved its read mark back. On all its terminals here, what has arrived no longer counts."""
        for session in self.sessions(account_id):
            if session.view is not None:
                session.view.marks.settle(session.link.taken())
                session.view.marks.know(room_id, seen)

    def all_sessions(self) -> list[Session]:
        return [session for sessions in self._sessions.values() for session in sessions]

    def account_ids(self) -> list[int]:
        """The accounts that have sessions here."""
        return list(self._sessions)

    def called(self, account_id: int) -> tuple[str, str, bool]:
        """The name and the display name of an account that is online, and whether it is a bot."""
        for session in self._sessions.get(account_id, ()):
            return session.who.name, session.who.display, session.who.kind == BOT
        remote = self._remote.get(account_id)
        return ("", "", False) if remote is None else (remote.name, remote.display, remote.bot)

    # Other nodes

    def remote(self, account_id: int) -> Remote | None:
        """The account as it is at other nodes; None if it is online at none."""
        return self._remote.get(account_id)

    def set_remote(self, account_id: int, remote: Remote | None) -> None:
        """Sets the state of an account at other nodes: whether it is online."""
        before = self._remote.pop(account_id, None)
        rooms = NONE if remote is None else remote.rooms
        for room_id in NONE if before is None else before.rooms - rooms:
            accounts = self._remote_in[room_id]
            del accounts[account_id]
            if not accounts:
                del self._remote_in[room_id]
        if remote is not None:
            for room_id in rooms if before is None else rooms - before.rooms:
                self._remote_in.setdefault(room_id, {})[account_id] = None
            self._remote[account_id] = remote
            self.names_known.add(remote.name)
        if not self.is_online(account_id):
            self._away.pop(account_id, None)

    # Away

    def away(self, account_id: int) -> Away | None:
        return self._away.get(account_id)

    def away_text(self, account_id: int) -> str:
        """ "" if the account is not away."""
        away = self._away.get(account_id)
        return "" if away is None else away.text

    def away_texts(self) -> dict[int, str]:
        """By account, the texts of people who are away."""
        return {account_id: away.text for account_id, away in self._away.items()}

    def away_text_shown(self, session: Session, account_id: int) -> str:
        """The away text of an account that is near a session, as far as this session may see it: "" if the account is
        muted in all rooms that they share."""
        away = self._away.get(account_id)
        if away is None or account_id == session.who.account_id or away.muted_in == NONE:
            return self.away_text(account_id)
        if away.muted_in is None:
            return ""
        others = self._sessions.get(account_id, ())
        rooms = [room for room in session.rooms.values() if room.facts.id not in away.muted_in]
        if any(other in room for room in rooms for other in others):
            return away.text
        remote = self._remote.get(account_id)
        return away.text if remote is not None and any(room.facts.id in remote.rooms for room in rooms) else ""

    def set_away(self, account_id: int, text: str) -> bool:
        """Returns whether that changes anything."""
        if text == self.away_text(account_id):
            return False
        if text:
            self._away.setdefault(account_id, Away()).text = text
        else:
            del self._away[account_id]
        self.changed(account_id)
        return True

    # Mutes

    def set_muted(self, account_id: int, room_id: int, until: datetime | None) -> None:
        """An account is muted in a room, or (None) not."""
        if until is None:
            self._muted.get(account_id, {}).pop(room_id, None)
        elif account_id in self._sessions:
            self._muted.setdefault(account_id, {})[room_id] = until

    def is_muted(self, account_id: int, room_id: int, now: datetime) -> bool:
        """Whether an account that has a session here is muted in a room that it is in."""
        until = self._muted.get(account_id, {}).get(room_id)
        return until is not None and until > now

    # Visibility

    def set_apart(self, one: int, other: int, *, apart: bool) -> None:
        """Hides two accounts from each other, or ends that."""
        for account_id, whom in ((one, other), (other, one)):
            if account_id in self._apart:
                known = self._apart[account_id]
                self._apart[account_id] = known | {whom} if apart else known - {whom}

    def shown_to(self, viewer_id: int, account_id: int) -> tuple[bool, str]:
        """Whether an account is online, and its away text, as far as another one may know that has a direct room with
        it and a session here. Nobody is muted there."""
        if account_id in self._apart.get(viewer_id, NONE):
            return False, ""
        return self.is_online(account_id), self.away_text(account_id)

    def visible_to(self, account_id: int) -> frozenset[int]:
        """The accounts that are online as far as this one may know."""
        here = self._sessions.keys() - self._quiet
        if self._remote:
            here |= self._remote.keys()
        return frozenset(here - self._apart.get(account_id, NONE))

    def nearby(self, session: Session, max_subscribers: int = 0, but: frozenset[int] = NONE) -> set[Session]:
        """The sessions here of others in the same rooms, but for those apart. Rooms with more subscribers than
        `max_subscribers`, at all nodes, do not count (0: all do), nor do the rooms `but`."""
        return self._near(session.who.account_id, session.rooms.values(), max_subscribers, but)

    def near(self, account_id: int, max_subscribers: int = 0, but: frozenset[int] = NONE) -> set[Session]:
        """As `nearby`, for an account that is online here or at other nodes."""
        rooms: dict[int, HeardRoom] = {}
        # A session whose token is for one room subscribes to no other.
        for session in sorted(self._sessions.get(account_id, ()), key=lambda one: len(one.rooms))[-1:]:
            rooms = {room.facts.id: room for room in session.rooms.values()}
        remote = self._remote.get(account_id)
        for room_id in NONE if remote is None else remote.rooms - rooms.keys():
            room = None if self._rooms is None else self._rooms.find(room_id)
            if room is not None:
                rooms[room_id] = room
        return self._near(account_id, rooms.values(), max_subscribers, but)

    def _near(
        self, account_id: int, rooms: Iterable[HeardRoom], max_subscribers: int, but: frozenset[int]
    ) -> set[Session]:
        near: set[Session] = set()
        for room in rooms:
            if (not max_subscribers or self._hearers(room) <= max_subscribers) and room.facts.id not in but:
                near.update(room)
        hidden = self._apart.get(account_id)
        if hidden is None:  # it has no session here: its blocks are known of those who are here
            return {one for one in near if account_id not in self._apart.get(one.who.account_id, NONE)}
        return {other for other in near if other.who.account_id not in hidden and other.who.account_id != account_id}

    def room(self, room_id: int) -> HeardRoom | None:
        """A room that has subscribers here."""
        return None if self._rooms is None else self._rooms.find(room_id)

    def others(self, room: HeardRoom, account_id: int) -> list[Session]:
        """The subscribers of a room here, but for the sessions of this account and of those apart from it."""
        return [
            one
            for one in room
            if one.who.account_id != account_id and account_id not in self._apart.get(one.who.account_id, NONE)
        ]

    def has_few(self, room: HeardRoom, most: int) -> bool:
        """Whether at most `most` accounts are online in a room."""
        online = set(islice(self._remote_in.get(room.facts.id, NONE), most + 1))
        for session in room:
            if len(online) > most:
                break
            online.add(session.who.account_id)
        return len(online) <= most

    def _hearers(self, room: HeardRoom) -> int:
        """Number of subscribers of a room here, plus accounts at other nodes."""
        return room.subscribers + (len(self._remote_in.get(room.facts.id, NONE)) if self._remote_in else 0)

    def still_near(self, account_id: int, near: Iterable[int]) -> set[Session]:
        """The sessions of the accounts in `near` that are not kept apart from this account, which may have gone."""
        return {
            session
            for other in near
            if account_id not in self._apart.get(other, NONE)
            for session in self._sessions.get(other, ())
        }

    def some_nearby(self, session: Session, most: int, prefix: str = "") -> tuple[dict[int, str], bool]:
        """By id, the names of at most `most` accounts in the rooms of a session, itself included, and whether there are
        more. `prefix`, in lower case: only names that begin with it. Looks at MOST_LOOKED_AT at most."""
        hidden = self._apart.get(session.who.account_id, NONE)
        me = {session.who.account_id: session.who.name} if self.is_online(session.who.account_id) else {}
        near: dict[int, str] = {}
        for looked, (account_id, name) in enumerate(chain(me.items(), self._all_nearby(session))):
            if looked == MOST_LOOKED_AT:
                return near, True
            if account_id not in hidden and account_id not in near and name.lower().startswith(prefix):
                if len(near) == most:
                    return near, True
                near[account_id] = name
        return near, False

    def _all_nearby(self, session: Session) -> Iterator[tuple[int, str]]:
        """The ids and names of everybody in the rooms of a session, again for each room."""
        for room in session.rooms.values():
            for other in room:
                yield other.who.account_id, other.who.name
            for account_id in self._remote_in.get(room.facts.id, NONE):
                yield account_id, self._remote[account_id].name

    def names(self, room: HeardRoom, viewer: Session) -> set[str]:
        """The names of a room's other subscribers, as far as this viewer may know that they are online."""
        hidden = self._apart.get(viewer.who.account_id, NONE) | {viewer.who.account_id}
        names = {other.who.name for other in room if other.who.account_id not in hidden}
        remote = self._remote_in.get(room.facts.id, NONE)
        return names | {self._remote[account_id].name for account_id in remote if account_id not in hidden}

    def tell(self, sessions: Iterable[Session], item: News) -> None:
        """Sends news, rendered once for each dialect, door and screen. Skips sessions that take nothing now, for which
        the news would come too late, and those whose tokens do not cover it."""
        rendered: dict[tuple[Dialect, Framing, Screen], bytes] = {}
        for session in sessions:
            if session.link.writable and session.stage is Stage.IN and session.is_told(item):
                key = (session.form.dialect, session.form.framing, session.form.screen)
                if key not in rendered:
                    lines = session.dialect.news(item, session.screen)
                    rendered[key] = session.form.framing.lines(lines) if lines else b""
                if rendered[key]:
                    session.link.write(rendered[key])
