"""Who is online: accounts and their sessions, the texts of people who are away, and which accounts a block hides."""

from collections.abc import Callable, Iterable

from chatserver.events import News
from chatserver.session import Session
from chatserver.stages import Stage
from chatserver.wire.dialect import NONE, Dialect, Framing, Screen


class Away:
    """Why somebody is away. `muted_in`: the rooms where they are muted, so that nobody sees the text there; None while
    that is not known."""

    __slots__ = ("muted_in", "text")

    def __init__(self) -> None:
        self.text = ""
        self.muted_in: frozenset[int] | None = None


def _ignore(_: int) -> None:
    pass


class Roster:
    """An account is online while it has a session here that is not quiet. `mutes_changed` is called with an account
    that was muted or unmuted in a room."""

    def __init__(self) -> None:
        self.mutes_changed: Callable[[int], None] = _ignore
        self._sessions: dict[int, list[Session]] = {}  # lists: most have one, in a third of a set's memory
        self._quiet: set[int] = set()  # those of these accounts that have quiet sessions only
        self._away: dict[int, Away] = {}
        self._apart: dict[int, frozenset[int]] = {}  # by account: those it has blocked, or that have blocked it

    @property
    def accounts(self) -> int:
        """How many are online."""
        return len(self._sessions) - len(self._quiet)

    def add(self, session: Session, apart: frozenset[int] = NONE) -> None:
        """`apart`: the accounts that this one has blocked or is blocked by."""
        self._sessions.setdefault(session.account_id, []).append(session)
        self._count(session.account_id)
        self._apart[session.account_id] = apart or NONE

    def remove(self, session: Session) -> None:
        sessions = self._sessions.get(session.account_id, [])
        if session in sessions:
            sessions.remove(session)
        if not sessions:
            for known in (self._sessions, self._away, self._apart):
                known.pop(session.account_id, None)
        self._count(session.account_id)

    def _count(self, account_id: int) -> None:
        """Notes whether an account is online."""
        sessions = self._sessions.get(account_id, ())
        if sessions and all(session.quiet for session in sessions):
            self._quiet.add(account_id)
            self._away.pop(account_id, None)
        else:
            self._quiet.discard(account_id)

    def is_online(self, account_id: int) -> bool:
        return account_id in self._sessions and account_id not in self._quiet

    def has(self, session: Session) -> bool:
        """Whether a session is online. What a lost one had sent is still done, but it no longer hears anything."""
        return session in self._sessions.get(session.account_id, ())

    def sessions(self, account_id: int) -> list[Session]:
        """An account's sessions now."""
        return list(self._sessions.get(account_id, ()))

    def all_sessions(self) -> list[Session]:
        return [session for sessions in self._sessions.values() for session in sessions]

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
        """What an account that is near a session says about being away, as far as that may be shown to this session:
        "" if the account is muted in all rooms that they share."""
        away = self._away.get(account_id)
        if away is None or account_id == session.account_id or away.muted_in == NONE:
            return self.away_text(account_id)
        if away.muted_in is None:
            return ""
        others = self._sessions.get(account_id, ())
        rooms = [room for room in session.rooms.values() if room.facts.id not in away.muted_in]
        return away.text if any(other in room for room in rooms for other in others) else ""

    def set_away(self, account_id: int, text: str) -> bool:
        """Returns whether that changes anything."""
        if text == self.away_text(account_id):
            return False
        if text:
            self._away.setdefault(account_id, Away()).text = text
        else:
            del self._away[account_id]
        return True

    # Who sees whom

    def set_apart(self, one: int, other: int, *, apart: bool) -> None:
        """Whether two accounts are hidden from each other."""
        for account_id, whom in ((one, other), (other, one)):
            if account_id in self._apart:
                known = self._apart[account_id]
                self._apart[account_id] = known | {whom} if apart else known - {whom}

    def visible_to(self, account_id: int) -> frozenset[int]:
        """The accounts that are online as far as this one may know."""
        return frozenset(self._sessions.keys() - self._quiet - self._apart.get(account_id, NONE))

    def nearby(self, session: Session, max_subscribers: int = 0, but: frozenset[int] = NONE) -> set[Session]:
        """The sessions of others in the same rooms, but for those apart. Rooms with more subscribers than
        `max_subscribers` do not count (0: all do), nor do the rooms `but`."""
        near: set[Session] = set()
        for room in session.rooms.values():
            if (not max_subscribers or room.subscribers <= max_subscribers) and room.facts.id not in but:
                near.update(room)
        hidden = self._apart.get(session.account_id, NONE) | {session.account_id}
        return {other for other in near if other.account_id not in hidden}

    def still_near(self, account_id: int, near: Iterable[int]) -> set[Session]:
        """The sessions of those of the accounts `near` that are not kept apart from this one, which may be gone."""
        return {
            session
            for other in near
            if account_id not in self._apart.get(other, NONE)
            for session in self._sessions.get(other, ())
        }

    def some_nearby(self, session: Session, most: int) -> tuple[dict[int, str], bool]:
        """The names of at most so many accounts in the rooms of a session, itself included, by id, and whether there
        are more. Looks at no more than it returns, and at those whom it must not know."""
        hidden = self._apart.get(session.account_id, NONE)
        near = {session.account_id: session.name} if self.is_online(session.account_id) else {}
        for room in session.rooms.values():
            for other in room:
                if other.account_id not in hidden and other.account_id not in near:
                    if len(near) == most:
                        return near, True
                    near[other.account_id] = other.name
        return near, False

    def names(self, sessions: Iterable[Session], viewer: Session) -> set[str]:
        """The names of others among these sessions, as far as this viewer may know that they are online."""
        hidden = self._apart.get(viewer.account_id, NONE) | {viewer.account_id}
        return {other.name for other in sessions if other.account_id not in hidden}

    def tell(self, sessions: Iterable[Session], item: News) -> None:
        """Sends news, rendered once for each dialect, door and screen. A session that takes nothing now is skipped: the
        news would be old by the time it came. So is one whose token is not for it."""
        rendered: dict[tuple[Dialect, Framing, Screen], bytes] = {}
        for session in sessions:
            if session.link.writable and session.stage is Stage.IN and session.is_told(item):
                key = (session.form.dialect, session.form.framing, session.form.screen)
                if key not in rendered:
                    lines = session.dialect.news(item, session.screen)
                    rendered[key] = session.form.framing.lines(lines) if lines else b""
                if rendered[key]:
                    session.link.write(rendered[key])
