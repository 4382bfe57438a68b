"""Writing a room's new entries to all who are live: in a huge room slice by slice, so that others come in between."""

from collections.abc import Callable, Iterable, Sequence

from twisted.internet.interfaces import IReactorTime

from chatserver import encode
from chatserver.events import Entry
from chatserver.room import Room
from chatserver.session import FULL_BYTES, Dialect, Session

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
    late: list[tuple[Session, int]] = []
    own, json, same = batch.own, Dialect.JSON, b""
    for session in sessions:
        if not session.writable:
            late.append((session, before))
            continue
        if session.dialect is json and session.account_id not in own:
            data = same = same or batch.for_session(session)
        else:
            data = batch.for_session(session)
        try:
            sent = session.send(data)
        except OSError:
            sent = 0
        if sent < len(data):
            given = _write_rest(session, data, sent)
            if given < len(data):
                late.append((session, before + data.count(b"\n", 0, given)))
    for session, position in late:
        room.place(session, position)


def _write_rest(session: Session, data: bytes, sent: int) -> int:
    """To a program, each of whose entries is a line, writes no more of them than fill its outbox: a take may be large,
    and those whose links are full many. It reads on from the store. How many bytes it has then, or waits for."""
    while sent < len(data):
        end = data.find(b"\n", sent + FULL_BYTES) + 1 if session.dialect is Dialect.JSON else 0
        end = end or len(data)
        session.write(data[sent:end])
        sent = end
        if not session.writable:
            break
    return sent
