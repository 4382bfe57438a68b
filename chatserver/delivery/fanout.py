"""Writes new entries to all live subscribers of a room; of a huge room in slices, so that other work gets a turn."""

from collections.abc import Collection, Sequence
from typing import Final, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatserver.delivery.catchup import RETRY_SECONDS
from chatserver.delivery.rendering import Batch
from chatserver.delivery.room import Room
from chatserver.delivery.subscriptions import Subscriptions
from chatserver.session.link import FULL_BYTES, Link
from chatserver.session.session import Session
from chatserver.util.histogram import Histogram
from chatserver.values.events import Entry
from chatserver.wire.dialect import EMPTY, Form, Rendered

HUGE_SUBSCRIBERS: Final = 1000
"""Maximum number of live subscribers that are written to in one turn of the reactor."""
SLICE_SUBSCRIBERS: Final = 100
"""Size of a slice, in subscribers of a huge room: it takes less than a millisecond."""
MAX_EARLY_BATCHES: Final = 8
"""Maximum number of batches that wait for a huge room. While there are more, no further messages are stored."""


class Sending(Protocol):
    """A part that has entries sent."""

    def sent(self, room: Room) -> None:
        """The entries that `Fanout.send` left for later have been written to everybody."""


class Fanout:
    """`huge` and `slice`: see HUGE_SUBSCRIBERS and SLICE_SUBSCRIBERS."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        subscriptions: Subscriptions,
        sending: Sending,
        huge: int = HUGE_SUBSCRIBERS,
        slice: int = SLICE_SUBSCRIBERS,
    ) -> None:
        self._clock = clock
        self._huge = huge
        self._slice = slice
        self._subscriptions = subscriptions
        self._sending = sending
        self._rooms: set[Room] = set()  # huge ones that are being written to
        self.delivered = 0  # entries that were written to subscribers, counted for each of them
        self.seconds = Histogram()  # of each batch, from `since` until it is written to all of them

    @property
    def busy(self) -> bool:
        return bool(self._rooms)

    @property
    def lagging(self) -> bool:
        """Whether messages are published faster than they can be written."""
        return any(len(room.early) > MAX_EARLY_BATCHES for room in self._rooms)

    def send(self, room: Room, entries: Sequence[Entry], since: float, *, whole: bool) -> bool:
        """Moves the room's head, and writes the entries to its live subscribers: to all of them at once, unless the
        room is huge and `whole` is not set. Returns whether all are written to. `since`: when the entries were known to
        be stored."""
        before, room.head = room.head, entries[-1].seq
        batch = Batch(room.facts, entries)
        if whole or len(room.live) <= self._huge:
            if room.live:
                self._write(room, batch, before, room.live)
                self.seconds.observe(self._clock.seconds() - since)
            return True
        room.unsent, room.unsent_from = dict(room.live), before
        self._rooms.add(room)
        self._send_slice(room, batch, since)
        return False

    def _send_slice(self, room: Room, batch: Batch, since: float) -> None:
        some = [room.unsent.popitem()[0] for _ in range(min(self._slice, len(room.unsent)))]
        self._write(room, batch, room.unsent_from, some)
        if room.unsent:
            self._clock.callLater(0, self._send_slice, room, batch, since)
        else:
            self._rooms.discard(room)
            self.seconds.observe(self._clock.seconds() - since)
            self._sending.sent(room)

    def _write(self, room: Room, batch: Batch, before: int, sessions: Collection[Session]) -> None:
        """Runs for every recipient of every message: for most of them it is one call, that of their socket's `send`."""
        behind: list[tuple[Session, int]] = []
        personal = batch.personal
        alike = not personal
        # The form of the last program that was sent the common bytes: nearly everybody after it has the same.
        common_form: Form | None = None
        common = EMPTY
        for session in sessions:
            link = session.link
            if not link.writable:
                behind.append((session, before))
                continue
            if session.form is common_form and (alike or session.who.account_id not in personal):
                rendered = common
            else:
                try:
                    rendered = batch.rendered_for(session)
                except Exception:  # a fault of one form must not affect the others
                    self.log.failure("Entries of room {room} could not be rendered.", room=room.facts.id)
                    behind.append((session, before))
                    self._clock.callLater(RETRY_SECONDS, self._subscriptions.catch_up, session)
                    continue
                if session.view is None and session.who.account_id not in personal:
                    common_form, common = session.form, rendered
            data = rendered.data
            if session.view is not None:
                shown = _show(session, batch, rendered)
                if shown < len(batch.entries):
                    behind.append((session, before + shown))
                continue
            try:
                sent = link.send(data)
            except OSError:  # full, or lost: the transport finds out for itself
                sent = 0
            if sent < len(data):
                sent = _write_rest(link, rendered, sent)
                if sent < len(data):
                    behind.append((session, before + rendered.whole(sent)))
        self.delivered += len(sessions) * len(batch.entries)
        for session, position in behind:
            self.delivered -= before + len(batch.entries) - position
            room.move(session, position)


def _show(session: Session, batch: Batch, rendered: Rendered) -> int:
    """Writes to a person, through their link, which counts the bytes. Returns the number of entries written."""
    sent = _write_rest(session.link, rendered, 0)
    shown = len(batch.entries) if sent == len(rendered.data) else rendered.whole(sent)
    batch.has_reached(session, shown, rendered)
    return shown


def _write_rest(link: Link, rendered: Rendered, sent: int) -> int:
    """Writes whole entries until the link is full; the session then reads on from the store. Returns the number of
    bytes written."""
    data = rendered.data
    while sent < len(data):
        end = rendered.boundary(sent + FULL_BYTES)
        link.write(data[sent:end])
        sent = end
        if not link.writable:
            break
    return sent
