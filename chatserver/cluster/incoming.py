"""Frames from other nodes: each is taken once, in whatever order they come, and a missing one is detected."""

from collections.abc import Container, Sequence
from typing import Final, Protocol

import msgspec
from twisted.logger import Logger

from chatserver.cluster import frames
from chatserver.cluster.frames import Frame, Part

REMEMBERED: Final = 1_000
"""Maximum distance of a late frame from the newest one. An older one counts as a duplicate."""


class Taker(Protocol):
    """The node that takes the frames."""

    @property
    def origin(self) -> str:
        """The boot of this process."""

    def is_deaf(self) -> bool:
        """Whether frames of others are to be dropped now, as if the bus had lost them."""

    def take(self, boot: str, number: int, part: Part) -> None:
        """A part of the frame with this number has come from the process with this boot."""

    def lost(self, *channels: str) -> None:
        """Frames are missing on these channels."""

    def lost_of(self, boot: str) -> None:
        """Frames of this process are missing on the channel of all."""

    def joined(self, channels: Sequence[str]) -> None:
        """See `Receiver`."""

    def came_back(self, beat: frames.Beat) -> None:
        """A frame of this process has come back."""


class Numbers:
    """The numbers of frames that have come on one channel from one process."""

    __slots__ = ("_late", "top")

    def __init__(self, first: int) -> None:
        self.top = first - 1  # all frames up to here have come, or are missing and in `_late`
        self._late: set[int] = set()

    def take(self, number: int) -> tuple[bool, bool]:
        """Returns whether the frame with this number is new, and whether there is a new gap before it."""
        if number <= self.top:
            if number not in self._late:
                return False, False
            self._late.discard(number)
            return True, False
        gap = number > self.top + 1
        if gap:
            self._late.update(range(max(self.top + 1, number - REMEMBERED), number))
        self.top = number
        if len(self._late) > REMEMBERED:
            self._late = {one for one in self._late if one > number - REMEMBERED}
        return True, gap


class Incoming:
    """Receives frames from the bus, and hands their parts to `taker`. See `bus.Receiver`."""

    log = Logger()

    def __init__(self, taker: Taker) -> None:
        self._taker = taker
        self._numbers: dict[str, dict[str, Numbers]] = {}  # by channel and boot
        self._failed: set[tuple[type[Part], type[Exception]]] = set()  # parts and their errors that were logged
        self.frames = 0  # of others, and new
        self.bytes = 0  # of others
        self.missing = 0  # gaps
        self.doubled = 0
        self.unreadable = 0

    def received(self, data: bytes) -> None:
        own = frames.sender(data) == self._taker.origin
        if own and b'["b",' not in data:
            return
        if not own:
            if self._taker.is_deaf():
                return
            self.bytes += len(data)
        try:
            frame = frames.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.unreadable += 1
            if self.unreadable == 1:
                self.log.warn("The bus carries something that is no frame of this version. It is ignored.")
            return
        if own:
            for part in frame.parts:
                if isinstance(part, frames.Beat):
                    self._taker.came_back(part)
        else:
            self._receive(frame)

    def joined(self, channels: Sequence[str]) -> None:
        self._taker.joined(channels)

    def _receive(self, frame: Frame) -> None:
        of_channel = self._numbers.setdefault(frame.channel, {})
        numbers = of_channel.get(frame.boot)
        # What a process sent before this one received its frames is read from the store; for a room, on `joined`.
        late = numbers is None and frame.number > 1 and frame.channel == frames.ALL
        if numbers is None:
            numbers = of_channel[frame.boot] = Numbers(frame.number)
        new, gap = numbers.take(frame.number)
        if not new:
            self.doubled += 1
            return
        self.frames += 1
        for part in frame.parts:
            try:
                self._taker.take(frame.boot, frame.number, part)
            except Exception as error:  # one bad part must not affect the others
                what = type(part), type(error)
                if what not in self._failed:
                    self._failed.add(what)
                    self.log.failure(
                        "A part of a frame was not taken. Others that fail in the same way are not logged."
                    )
                self._taker.lost(frame.channel)
        self.missing += gap
        if gap or late:
            self._taker.lost(frame.channel)
            if frame.channel == frames.ALL:
                self._taker.lost_of(frame.boot)

    def top(self, boot: str, channel: str = frames.ALL) -> int:
        """The number of the newest frame of a process that has come; 0: none has."""
        numbers = self._numbers.get(channel, {}).get(boot)
        return 0 if numbers is None else numbers.top

    def forget(self, boots: Container[str]) -> None:
        """Forgets processes other than these."""
        for channel, of_channel in list(self._numbers.items()):
            kept = {boot: numbers for boot, numbers in of_channel.items() if boot in boots}
            if kept:
                self._numbers[channel] = kept
            else:
                del self._numbers[channel]

    def begin_anew(self, boot: str) -> None:
        """The numbers of this process on the channel of all are wrong: forgets them."""
        self._numbers.get(frames.ALL, {}).pop(boot, None)

    def unheard(self, channel: str) -> None:
        """Forgets a channel that this node has left. The next frame on it begins anew."""
        self._numbers.pop(channel, None)
