"""Writing a room's new entries to all who are live: in a huge room slice by slice, so that others come in between."""

from collections.abc import Callable, Iterable, Sequence

from twisted.internet.interfaces import IReactorTime

from chatserver import encode
from chatserver.events import Entry
from chatserver.room import Room
from chatserver.session import Dialect, Session

HUGE = 1000
SLICE = 100
"""In a room of more than `HUGE`, so many are written to in one go: less than a millisecond."""
MOST_EARLY = 8
"""Where so many batches wait for a huge room to be written to, no more messages are stored for a moment."""


class Fanout:
    """`sent` is called once what `send` has left for later is written to all."""

    def __init__(self, clock: IReactorTime, huge: int, slice: int, sent: Callable[[Room], None]) -> None:
        self._clock = clock
        self._huge = huge
        self._slice = slice
        self._sent = sent
        self._rooms: set[Room] = set()  # huge ones that are being written to

    @property
    def busy(self) -> bool:
        return bool(self._rooms)

    @property
    def lagging(self) -> bool:
        """Whether more is published than can be written: then it is better to wait a little."""
        return any(len(room.early) > MOST_EARLY for room in self._rooms)

    def send(self, room: Room, entries: Sequence[Entry], *, whole: bool) -> bool:
        """Writes to all at once where the room is not huge, or it is to be done as a `whole`; whether it has."""
        before, room.head = room.head, entries[-1].seq
        batch = encode.Batch(room.facts, entries)
        if whole or len(room.live) <= self._huge:
            _write(room, batch, before, room.live)
            return True
        room.unsent, room.unsent_from = dict(room.live), before
        self._rooms.add(room)
        self._send_slice(room, batch)
        return False

    def _send_slice(self, room: Room, batch: encode.Batch) -> None:
        some = [room.unsent.popitem()[0] for _ in range(min(self._slice, len(room.unsent)))]
        _write(room, batch, room.unsent_from, some)
        if room.unsent:
            self._clock.callLater(0, self._send_slice, room, batch)
        else:
            self._rooms.discard(room)
            self._sent(room)


def _write(room: Room, batch: encode.Batch, before: int, sessions: Iterable[Session]) -> None:
    """What is done here is done for every recipient of every message: for most it is one call, their socket's."""
    full = []
    own, same = batch.own, b""
    for session in sessions:
        if not session.writable:
            full.append(session)
            continue
        if session.dialect is Dialect.JSON and session.account_id not in own:
            data = same = same or batch.for_session(session)
        else:
            data = batch.for_session(session)
        sent = 0
        if session.send is not None:
            try:
                sent = session.send(data)
            except OSError:
                pass  # so that nothing is sent yet
        if sent < len(data):
            session.write(data[sent:])
    for session in full:
        room.place(session, before)
