"""Accounts that were renamed lately: the names of their sessions, and of their entries.

Entries reach delivery with the name that their author's session had when the command began. If the account is renamed
at that moment, the entry's time decides, as in the database (see `store.renames`), so that subscribers are sent what
they find in the history.
"""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct, structs
from twisted.internet.interfaces import IReactorTime

from chatserver.delivery.pending_logins import PendingLogins
from chatserver.delivery.room import Room
from chatserver.presence.roster import Roster
from chatserver.values.events import RENAMED, Entry, RoomFacts
from chatserver.values.recorded import parse_renaming

RECENT_SECONDS = 60.0
"""How long after a rename entries may come that were stored before it. Later ones are read from the database."""


class Rename(Struct, frozen=True):
    """The names of an account before `at`, and from then on."""

    at: datetime
    former: str
    former_display: str
    name: str
    display: str


class Names:
    def __init__(self, clock: IReactorTime, roster: Roster, logins: PendingLogins) -> None:
        self._clock = clock
        self._roster = roster
        self._logins = logins
        self._until = 0.0
        self.recent: dict[int, tuple[Rename, ...]] = {}
        """By account, its recent renames, oldest first; some may be out of date."""

    def _are_recent(self) -> bool:
        """Whether accounts were renamed lately. Forgets what is out of date."""
        if self.recent and self._clock.seconds() > self._until:
            self.recent.clear()
        return bool(self.recent)

    def read(self, entry: Entry) -> None:
        """Applies an entry `renamed`."""
        self.renamed(entry.author_id, parse_renaming(entry.text).former, entry.author, entry.display, entry.at)

    def renamed(self, account_id: int, former: str, name: str, display: str, at: datetime) -> None:
        """An account has this name and display name since `at`. Each of its rooms has an entry that says so, and an
        older rename may come after a newer one."""
        known = self.recent.get(account_id, ()) if self._are_recent() else ()
        if known and known[-1].at >= at:
            return
        self._roster.names_known.add(name)
        former_display = ""
        for session in self._roster.sessions(account_id):
            if session.who.named_at is None or session.who.named_at < at:
                former_display = session.who.display
                session.who = structs.replace(session.who, name=name, display=display, named_at=at)
                self._roster.changed(account_id)
        self.recent[account_id] = (*known, Rename(at, former, former_display, name, display))
        self._until = self._clock.seconds() + RECENT_SECONDS
        self._logins.doubt()

    def present(self, facts: RoomFacts) -> RoomFacts:
        """The facts of a direct room, perhaps read before one of its two people was renamed."""
        if facts.pair is not None and self._are_recent():
            for account_id, _ in facts.pair:
                if account_id in self.recent:
                    facts = relabelled(facts, account_id, self.recent[account_id][-1].name)
        return facts

    def relabel(self, room: Room, entry: Entry) -> None:
        """One of the two people of a direct room has another name behind this entry."""
        former, facts = room.facts, relabelled(room.facts, entry.author_id, entry.author)
        if facts is not former:
            room.relabel(facts, entry.seq)
            self.label_sessions(room, former)

    def label_sessions(self, room: Room, former: RoomFacts) -> None:
        """Sessions of the two people of a direct room know it by its present label from now on."""
        for account_id, _ in room.facts.pair or ():
            before, label = former.label(account_id), room.facts.label(account_id)
            for session in self._roster.sessions(account_id) if label != before else ():
                if session.rooms.get(before.lower()) is not room:
                    continue
                del session.rooms[before.lower()]
                session.rooms[label.lower()] = room
                if session.view is not None and session.view.current.lower() == before.lower():
                    session.turn_to(label, said=session.quiet)

    def corrected(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """The entries with the names of their time."""
        if not self._are_recent():
            return entries
        if not any(entry.author_id in self.recent or entry.target_id in self.recent for entry in entries):
            return entries
        return [self._corrected(entry) for entry in entries]

    def _corrected(self, entry: Entry) -> Entry:
        if entry.author_id in self.recent and entry.kind != RENAMED:  # which says so itself
            author, display = self._called(entry.author_id, entry.at)
            entry = structs.replace(entry, author=author, display=display)
        if entry.target_id in self.recent:
            entry = structs.replace(entry, target=self._called(entry.target_id, entry.at)[0])
        return entry

    def _called(self, account_id: int, at: datetime) -> tuple[str, str]:
        known = self.recent[account_id]
        for rename in known:
            if at < rename.at:
                return rename.former, rename.former_display
        return known[-1].name, known[-1].display


def relabelled(facts: RoomFacts, account_id: int, name: str) -> RoomFacts:
    """The facts of a direct room once one of its two people has this name; of another room, its facts as they are."""
    if facts.pair is None:
        return facts
    first, second = ((id, name if id == account_id else known) for id, known in facts.pair)
    return facts if (first, second) == facts.pair else structs.replace(facts, pair=(first, second))
