"""Frames from other nodes: each is taken once, in whatever order they come, and a missing one is noticed."""

from collections.abc import Callable, Container
from typing import Final

import msgspec
from twisted.logger import Logger

from chatserver.cluster import frames
from chatserver.cluster.frames import Frame, Part

REMEMBERED: Final = 1_000
"""So many numbers behind the newest one are known apart: a frame that is older than that is taken for one that came
twice."""


class Numbers:
    """Which frames of one channel of one process have come."""

    __slots__ = ("_late", "top")

    def __init__(self, first: int) -> None:
        self.top = first - 1  # all frames up to here have come, or are missing and in `_late`
        self._late: set[int] = set()

    def take(self, number: int) -> tuple[bool, bool]:
        """Whether the frame with this number is new, and whether there is a new gap before it."""
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
    """`take` is called with the boot of the sender, the number of the frame, and each part of it; `lost` with a channel
    on which frames are missing, and `lost_of` with the boot of their sender, if it is the channel of all. `boot` is
    that of this process: `own` is called with the parts of its own frames that tell how long they took."""

    log = Logger()

    def __init__(
        self,
        boot: Callable[[], str],
        take: Callable[[str, int, Part], None],
        lost: Callable[[str], None],
        own: Callable[[frames.Beat], None],
        lost_of: Callable[[str], None] = lambda boot: None,
    ) -> None:
        self._boot = boot
        self._take = take
        self._lost = lost
        self._own = own
        self._lost_of = lost_of
        self._numbers: dict[str, dict[str, Numbers]] = {}  # by channel and boot
        self._failed: set[tuple[type[Part], type[Exception]]] = set()  # what was logged: these parts with these errors
        self.frames = 0  # of others, which were taken
        self.bytes = 0  # of others
        self.missing = 0  # how often there was a gap
        self.doubled = 0
        self.unreadable = 0

    def received(self, data: bytes) -> None:
        """A frame has come."""
        own = frames.sender(data) == self._boot()
        if own and b'["b",' not in data:
            return
        if not own:
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
                    self._own(part)
        else:
            self._receive(frame)

    def _receive(self, frame: Frame) -> None:
        of_channel = self._numbers.setdefault(frame.channel, {})
        numbers = of_channel.get(frame.boot)
        # What a process sent before it was heard is read from the store: of a room, once its channel is heard.
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
                self._take(frame.boot, frame.number, part)
            except Exception as error:  # what is wrong with one part is not to be felt by the others
                what = type(part), type(error)
                if what not in self._failed:
                    self._failed.add(what)
                    self.log.failure(
                        "A part of a frame was not taken. Others that fail in the same way are not logged."
                    )
                self._lost(frame.channel)
        self.missing += gap
        if gap or late:
            self._lost(frame.channel)
            if frame.channel == frames.ALL:
                self._lost_of(frame.boot)

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
        """What the channel of all has brought of this process is not to be relied on."""
        self._numbers.get(frames.ALL, {}).pop(boot, None)

    def unheard(self, channel: str) -> None:
        """Nobody here needs this channel any more. The next frame that comes on it begins anew."""
        self._numbers.pop(channel, None)
