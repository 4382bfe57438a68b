"""What a bus is: something that carries frames from each node to all, as far as it can."""

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

Received = Callable[[bytes], None]
"""A frame has come, also one of this process's own."""


class Parcel(Struct, frozen=True, gc=False):
    """A frame on its way. `channel`: see `frames.ALL`."""

    channel: str
    data: bytes


class Bus(Protocol):
    """Carries frames in any order, and perhaps not at all, or twice. All methods are called in the reactor's thread, do
    not block, and do not raise.

    `by_room`: frames about a room go to the channel of the room, which only the nodes hear that have called `hear`;
    otherwise everything goes to `frames.ALL`.
    """

    by_room: bool
    connected: bool
    """Whether frames are sent and come, as far as is known."""
    reconnects: int
    """How often it has connected again."""
    dropped: int
    """How many frames of this process it could not send."""
    advice: str
    """What to look at if it is connected and carries nothing: a sentence; "" if nothing is known."""

    def start(self, received: Received, joined: Callable[[Sequence[str]], None]) -> None:
        """Connects, and does so again whenever it must. `joined` is called with the channels that are heard from now
        on: what was sent there before may have been lost."""

    def publish(self, parcels: Sequence[Parcel]) -> None:
        """Sends frames. What cannot be sent now is dropped."""

    def hear(self, channel: str) -> None:
        """Hears this channel from now on, too. May be called twice."""

    def unhear(self, channel: str) -> None:
        """Does not need to hear this channel any more."""

    def reconnect(self) -> None:
        """The bus seems to be dead although it is connected: connects anew."""

    async def stop(self) -> None:
        """Disconnects. What was given to `publish` is sent first, if that takes no longer than a moment."""
