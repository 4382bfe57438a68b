"""The interface of a bus, which carries frames from each node to all, as far as it can."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct


class Parcel(Struct, frozen=True, gc=False):
    """A frame to send. `channel`: see `frames.ALL`."""

    channel: str
    data: bytes


class Receiver(Protocol):
    """Receives what a bus carries."""

    def received(self, data: bytes) -> None:
        """A frame has come, perhaps one of this process's own."""

    def joined(self, channels: Sequence[str]) -> None:
        """The bus is subscribed to these channels from now on. What was sent there before may be lost."""


class Bus(Protocol):
    """Carries frames in any order, and perhaps not at all, or twice. All methods are called in the reactor's thread, do
    not block, and do not raise.

    `by_room`: each room has a channel, and a node receives it after `hear`; otherwise all frames go to `frames.ALL`.
    """

    by_room: bool
    connected: bool
    """Whether frames are sent and come, as far as is known."""
    reconnects: int
    """Number of times it has connected again."""
    advice: str
    """A sentence that says what to check if it is connected and carries nothing; "" if nothing is known."""

    @property
    def dropped(self) -> int:
        """Number of frames of this process that it could not send."""

    def start(self, receiver: Receiver) -> None:
        """Connects, and reconnects whenever it must."""

    def publish(self, parcels: Sequence[Parcel]) -> None:
        """Sends frames. Drops those that it cannot send now."""

    def hear(self, channel: str) -> None:
        """Subscribes to a channel. May be called twice."""

    def unhear(self, channel: str) -> None:
        """The channel is not needed any more."""

    def reconnect(self) -> None:
        """Connects anew: the bus seems to be dead although it is connected."""

    async def stop(self) -> None:
        """Disconnects, after sending what was published if that takes only a moment."""
