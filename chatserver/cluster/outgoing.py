"""Frames to other nodes: sent at once after a quiet moment, and then at most every few milliseconds.

Nothing is sent while no other node is alive.
"""

from collections.abc import Sequence
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chatserver.cluster import frames
from chatserver.cluster.bus.bus import Bus, Parcel
from chatserver.values.events import Entry, RoomFacts

PACE_SECONDS: Final = 0.005
"""Interval between sends. Everything in between shares frames."""
HEADS_SECONDS: Final = 0.1
"""How long after a frame on a room's channel its head goes to all nodes. So they learn in which rooms a frame was lost,
and read only these from the database."""
MOST_HEADS: Final = 300
"""Maximum number of heads in one part of a frame."""


class Outgoing:
    """`boot` identifies this process."""

    def __init__(self, clock: IReactorTime, bus: Bus, boot: str) -> None:
        self._clock = clock
        self._bus = bus
        self.boot = boot
        self.open = False
        """Whether another node is alive."""
        self._epoch = ""  # of the entries that are not encoded yet
        self.numbers: dict[str, int] = {}
        """The number of the last frame, by channel."""
        self.frames = 0
        """Number of frames sent, on all channels."""
        self.bytes = 0
        self._parts: dict[str, list[bytes]] = {}
        self._heads: dict[int, int] = {}  # by room id, heads sent on its channel and not on that of all
        self._heads_call: IDelayedCall | None = None
        self._runs: dict[int, tuple[RoomFacts, list[Entry]]] = {}  # entries that are not encoded yet, by room
        self._sent_at = float("-inf")
        self._next: IDelayedCall | None = None

    def entries(self, facts: RoomFacts, entries: Sequence[Entry], epoch: str = "") -> None:
        """Publishes entries that this process has committed. `epoch`: the name of the one that they are of."""
        if not self.open:
            return
        if epoch != self._epoch:
            for room_id in list(self._runs):
                self._encode(room_id)
            self._epoch = epoch
        known = self._runs.get(facts.id)
        if known is not None and known[1][-1].seq + 1 == entries[0].seq:
            known[1].extend(entries)
        else:
            if known is not None:
                self._encode(facts.id)
            self._runs[facts.id] = facts, list(entries)
        self._soon()

    def part(self, part: frames.Part, channel: str = frames.ALL) -> None:
        if self.open:
            if isinstance(part, frames.Head):
                self._reaches(part.room_id, part.seq)
            self._parts.setdefault(channel if self._bus.by_room else frames.ALL, []).append(frames.encode(part))
            self._soon()

    def restart(self, boot: str) -> None:
        """This process serves anew, as another one."""
        self.boot = boot
        self.numbers.clear()
        self._parts.clear()
        self._heads.clear()
        self._runs.clear()
        self.frames = 0

    def stop(self) -> None:
        """Sends waiting parts, and nothing more."""
        self.flush()
        self.open = False

    def flush(self) -> None:
        """Sends waiting parts at once."""
        self._hurry()
        if self._heads_call is not None:
            self._heads_call.cancel()
            self._publish_heads()
            self._hurry()

    def _hurry(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._send()

    def _reaches(self, room_id: int, seq: int) -> None:
        if self._bus.by_room:
            self._heads[room_id] = seq
            if self._heads_call is None:
                self._heads_call = self._clock.callLater(HEADS_SECONDS, self._publish_heads)

    def _publish_heads(self) -> None:
        self._heads_call = None
        heads = list(self._heads.items())
        self._heads.clear()
        for start in range(0, len(heads), MOST_HEADS):
            self.part(frames.Heads(dict(heads[start : start + MOST_HEADS])))

    def _encode(self, room_id: int) -> None:
        facts, entries = self._runs.pop(room_id)
        self._reaches(room_id, entries[-1].seq)
        channel = str(room_id) if self._bus.by_room else frames.ALL
        self._parts.setdefault(channel, []).extend(frames.encode_entries(facts, entries, self._epoch))

    def _soon(self) -> None:
        if self._next is None:
            wait = self._sent_at + PACE_SECONDS - self._clock.seconds()
            self._next = self._clock.callLater(max(wait, 0), self._send)

    def _send(self) -> None:
        self._next = None
        self._sent_at = self._clock.seconds()
        for room_id in list(self._runs):
            self._encode(room_id)
        parts, self._parts = self._parts, {}
        parcels = []
        for channel, encoded in parts.items():
            number = self.numbers.get(channel, 0)
            for some in frames.packed_into_frames(encoded):
                number += 1
                parcels.append(Parcel(channel, frames.framed(self.boot, channel, number, some)))
            self.numbers[channel] = number
        self.frames += len(parcels)
        self.bytes += sum(len(parcel.data) for parcel in parcels)
        self._bus.publish(parcels)
