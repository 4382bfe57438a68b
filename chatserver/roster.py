"""Who is online: accounts and their sessions, the texts of people who are away, and which accounts a block hides."""

from collections.abc import Iterable

from chatserver.events import News
from chatserver.session import Session
from chatserver.stages import Stage
from chatserver.wire.dialect import NONE, Dialect, Framing


class Roster:
    """An account is online while it has a session here."""

    def __init__(self) -> None:
        self._sessions: dict[int, list[Session]] = {}  # lists: most have one, in a third of a set's memory
        self._away: dict[int, str] = {}
        self._apart: dict[int, frozenset[int]] = {}  # by account: those it has blocked, or that have blocked it

    def add(self, session: Session, apart: frozenset[int] = NONE) -> None:
        """`apart`: the accounts that this one has blocked or is blocked by."""
        self._sessions.setdefault(session.account_id, []).append(session)
        self._apart[session.account_id] = apart or NONE

    def remove(self, session: Session) -> None:
        sessions = self._sessions.get(session.account_id, [])
        if session in sessions:
            sessions.remove(session)
        if not sessions:
            for known in (self._sessions, self._away, self._apart):
                known.pop(session.account_id, None)

    def has(self, session: Session) -> bool:
        """Whether a session is online. What a lost one had sent is still done, but it no longer hears anything."""
        return session in self._sessions.get(session.account_id, ())

    def sessions(self, account_id: int) -> list[Session]:
        """An account's sessions now."""
        return list(self._sessions.get(account_id, ()))

    def all_sessions(self) -> list[Session]:
        return [session for sessions in self._sessions.values() for session in sessions]

    # Away

    def away_text(self, account_id: int) -> str:
        """ "" if the account is not away."""
        return self._away.get(account_id, "")

    def away_texts(self) -> dict[int, str]:
        """By account, the texts of people who are away."""
        return dict(self._away)

    def set_away(self, account_id: int, text: str) -> bool:
        """Returns whether that changes anything."""
        if text == self.away_text(account_id):
            return False
        if text:
            self._away[account_id] = text
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
        return frozenset(self._sessions.keys() - self._apart.get(account_id, NONE))

    def nearby(self, session: Session, max_subscribers: int = 0) -> set[Session]:
        """The sessions of others in the same rooms, but for those apart. Rooms with more subscribers than
        `max_subscribers` do not count (0: all do)."""
        near: set[Session] = set()
        for room in session.rooms.values():
            if not max_subscribers or room.subscribers <= max_subscribers:
                near.update(room)
        hidden = self._apart.get(session.account_id, NONE) | {session.account_id}
        return {other for other in near if other.account_id not in hidden}

    def tell(self, sessions: Iterable[Session], item: News) -> None:
        """Sends news, rendered once for each dialect and door. A session that takes nothing now is skipped: the news
        would be old by the time it came."""
        rendered: dict[tuple[Dialect, Framing], bytes] = {}
        for session in sessions:
            if session.link.writable and session.stage is Stage.IN:
                key = (session.form.dialect, session.form.framing)
                if key not in rendered:
                    lines = session.dialect.news(item)
                    rendered[key] = session.form.framing.lines(lines) if lines else b""
                if rendered[key]:
                    session.link.write(rendered[key])
