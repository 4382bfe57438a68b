"""Messages to rooms that another transaction keeps locked. They wait here, while their lane serves the others.

The transaction is another application's (`chat_v1.post`), and commits late.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Final, Generic, Protocol, TypeVar

from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger

from chatserver.session.session import Session

MOST_ROOMS: Final = 2
"""Maximum number of rooms to wait for: each occupies a thread of the store."""


class _Spoken(Protocol):
    @property
    def session(self) -> Session: ...


T = TypeVar("T", bound=_Spoken)


class Storing(Protocol[T]):
    """Stores messages (`Takes`)."""

    async def serve_aside(self, spoken: list[T]) -> None:
        """Stores messages and answers their senders, however long that takes."""


class Resuming(Protocol):
    """Serves sessions (`Processors`)."""

    def resume(self, session: Session) -> None:
        """A session was served, and goes on with its next command."""


class Aside(Generic[T]):
    """Messages that wait for their rooms. A session is resumed once its messages are served; those that it sent at once
    stay together."""

    log = Logger()

    def __init__(self, takes: Storing[T], processors: Resuming) -> None:
        self._takes = takes
        self._processors = processors
        self._waiting: dict[int, list[T]] = {}  # by room; those behind what is being served
        self.sessions: set[Session] = set()
        """Sessions that wait here."""
        self.taken: Counter[Session] = Counter()
        """Sessions that came here from a take that is still running: some may have been served and resumed since."""

    def has_taken(self, session: Session) -> bool:
        """Whether a session of a finished take is, or was, resumed from here rather than by the take."""
        if session not in self.taken:
            return False
        self.taken[session] -= 1
        if not self.taken[session]:
            del self.taken[session]
        return True

    def has_place(self, room_id: int) -> bool:
        return room_id in self._waiting or len(self._waiting) < MOST_ROOMS

    def add(self, room_id: int, spoken: Sequence[T]) -> None:
        """Makes messages that one session sent wait for a room."""
        session = spoken[0].session
        if session not in self.sessions:
            self.sessions.add(session)
            self.taken[session] += 1
        waiting = self._waiting.get(room_id)
        if waiting is not None:
            waiting += spoken
        else:
            self._waiting[room_id] = list(spoken)
            ensureDeferred(self._run(room_id))

    def keep(self, spoken: list[T], room_id: Callable[[T], int]) -> list[T]:
        """Queues messages to rooms for which others wait already, behind these. Returns the rest."""
        rest: list[T] = []
        for _, group in groupby(spoken, lambda one: one.session):
            sent = list(group)
            held = next((id for id in map(room_id, sent) if id in self._waiting), None)
            if held is None:
                rest += sent
            else:
                self.add(held, sent)
        return rest

    async def _run(self, room_id: int) -> None:
        while batch := self._waiting[room_id]:
            self._waiting[room_id] = []
            try:
                await self._takes.serve_aside(batch)
            except Exception:
                self.log.failure("Messages to the room {room}, which was locked, could not be served.", room=room_id)
            more = {one.session for one in self._waiting[room_id]}
            for session in dict.fromkeys(one.session for one in batch if one.session not in more):
                self.sessions.discard(session)
                self._processors.resume(session)
        del self._waiting[room_id]
