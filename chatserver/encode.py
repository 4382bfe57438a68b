"""Words to bytes, for one session: picks the dialect, and adds what only this session sees."""

from collections.abc import Sequence
from datetime import datetime, tzinfo

from chatserver.commands import Tag
from chatserver.errors import ErrorWord, Refused
from chatserver.events import Answer, Entry, News, Refusal, RoomFacts
from chatserver.session import Dialect, Session
from chatserver.wire import jsonl, text

ZONE: tzinfo | None = None
"""The server's time zone, in which people read times."""


class Batch:
    """Consecutive entries of a room, encoded once for each kind of reader and not once for each reader.

    Programs are all sent the same bytes, but for those whose account is in `own`.
    """

    __slots__ = ("_entries", "_facts", "_json", "_mentioned", "_text", "own")

    def __init__(self, facts: RoomFacts, entries: Sequence[Entry]) -> None:
        self._facts = facts
        self._entries = entries
        self._json: bytes | None = None
        self._text: bytes | None = None
        self._mentioned: frozenset[str] | None = None
        # An id is shown to its sender alone, and a direct room has another name for each of the two.
        if facts.pair is not None:
            own = {account_id for account_id, _ in facts.pair}
        else:
            own = {entry.author_id for entry in entries if entry.client_id is not None}
        self.own: dict[int, bytes | None] = dict.fromkeys(own)

    def for_session(self, session: Session) -> bytes:
        if session.dialect is Dialect.JSON:
            viewer = session.account_id
            if self.own and viewer in self.own:
                data = self.own[viewer]
                if data is None:
                    data = self.own[viewer] = jsonl.entries(self._facts, self._entries, viewer)
                return data
            if self._json is None:
                self._json = jsonl.entries(self._facts, self._entries, 0)
            return self._json
        entries, room_id = self._entries, self._facts.id
        if session.read.get(room_id) == entries[0].seq - 1:  # nothing missed before
            session.read[room_id] = entries[-1].seq
        if session.unechoed:
            entries = [entry for entry in entries if (room_id, entry.seq) not in session.unechoed]
            session.unechoed -= {(room_id, entry.seq) for entry in self._entries}
        if self._mentioned is None:
            self._mentioned = text.mentioned(self._entries)
        me = session.name if session.name.casefold() in self._mentioned else ""
        if me or len(entries) != len(self._entries) or self._facts.pair is not None:
            shown = text.entries(self._facts, entries, session.account_id, ZONE, me)
        else:
            if self._text is None:
                self._text = text.entries(self._facts, entries, 0, ZONE)
            shown = self._text
        return _date_line(session, entries[-1].at) + shown if entries else b""


def _date_line(session: Session, at: datetime) -> bytes:
    """The date, where it is another one than that last shown."""
    day = at.astimezone(ZONE).date()
    if session.day_shown == day:
        return b""
    first, session.day_shown = session.day_shown is None, day
    return b"" if first and day == datetime.now(ZONE).date() else text.date_line(day)


def notice(words: str) -> bytes:
    """A line for people, which programs skip."""
    return text.notice(words)


def error(words: str) -> bytes:
    """An error line, for whose dialect is not known."""
    return text.reply(Refusal(ErrorWord.TOO_MANY_CONNECTIONS, words), "", 0, ZONE)


def answer(session: Session, tag: Tag | None, answer: Answer) -> bytes:
    if session.dialect is Dialect.JSON:
        return jsonl.reply(tag, answer, session.account_id, session.name)
    return text.reply(answer, session.name, session.account_id, ZONE)


def refusal(session: Session, tag: Tag | None, refused: Refused) -> bytes:
    return answer(session, tag, Refusal(refused.error, refused.text))


def news(session: Session, item: News) -> bytes:
    return jsonl.news(item) if session.dialect is Dialect.JSON else text.news(item)
