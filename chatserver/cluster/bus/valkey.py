"""The bus for many nodes: Valkey's publish and subscribe. A node subscribes to the channels of the rooms that it needs.

One connection publishes, and another one subscribes: Valkey takes no other commands on that.
"""

import re
from collections import deque
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import unquote

from hiredis import ReplyError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from chatserver.cluster import frames
from chatserver.cluster.bus.bus import Parcel, Receiver
from chatserver.cluster.bus.valkey_connection import Place, Reply, ValkeyConnection, code, command
from chatserver.util.waiting import until

MOST_WAITING_BYTES: Final = 4 << 20
"""Maximum size of the frames that Valkey has not answered. Further ones are dropped; nodes read the database later."""
UNHEAR_SECONDS: Final = 10.0
"""How long a room stays subscribed that has no subscribers here any more: people come and go."""
STOP_SECONDS: Final = 0.5
"""How long to wait for Valkey's last answers."""

_URL: Final = re.compile(r"valkey://(?::([^@/]*)@)?([^@/:]+):(\d+)(?:/\d+)?")


class ValkeyBus:
    """`cluster` names the database whose nodes these are: several clusters may share a Valkey, whose numbered databases
    do not separate channels."""

    log = Logger()
    by_room = True
    advice = "Look whether Valkey at bus.url answers, and whether all nodes have the same bus.url."

    def __init__(self, reactor: Any, url: str, cluster: str) -> None:
        self._reactor = reactor
        self._place = place(url)
        prefix = f"chatserver:{cluster}:".encode()
        self.connected = False
        self.reconnects = 0
        self._publisher = Publisher(self, reactor, self._place, prefix)
        self._subscriber = Subscriber(self, reactor, self._place, prefix)
        self._started = self._stopping = self._was_connected = False
        self._down = False  # and that was logged
        self._refused = False

    @property
    def dropped(self) -> int:
        return self._publisher.dropped

    def start(self, receiver: Receiver) -> None:
        self._started = True
        self._publisher.connection.open()
        self._subscriber.start(receiver)

    async def stop(self) -> None:
        self._stopping = True
        await until(self._reactor, lambda: not self._publisher.busy, STOP_SECONDS)
        self.connected = False
        self._publisher.connection.close()
        self._subscriber.stop()

    def reconnect(self) -> None:
        if self._started and not self._stopping:
            self._publisher.connection.cut()
            self._subscriber.connection.cut()

    def publish(self, parcels: Sequence[Parcel]) -> None:
        self._publisher.publish(parcels)

    def hear(self, channel: str) -> None:
        self._subscriber.hear(channel)

    def unhear(self, channel: str) -> None:
        self._subscriber.unhear(channel)

    # Called by its halves

    def look(self) -> None:
        """Notes that the bus is connected, once both connections are and the first SUBSCRIBE has been answered."""
        if self.connected or not (self._publisher.connection.ready and self._subscriber.ready):
            return
        self.connected = True
        self._refused = False
        if self._was_connected:
            self.reconnects += 1
        self._was_connected = True
        if self._down:
            self._down = False
            self.log.info("The bus is connected again.")

    def lost(self, problem: str) -> None:
        self.connected = False
        if not (self._down or self._stopping):
            self._down = True
            self.log.warn(
                "The bus has no connection to Valkey at {place}. Trying again. {problem}",
                place=str(self._place), problem=problem,
            )  # fmt: skip

    def refused(self, what: str, error: ReplyError) -> None:
        if not self._refused:
            self._refused = True
            self.log.error(
                "Valkey at {place} refuses {what} ({code}). Allow it for channels that begin with chatserver:.",
                place=str(self._place), what=what, code=code(error),
            )  # fmt: skip


class Publisher:
    """Sends frames, and counts those that Valkey has not answered."""

    def __init__(self, bus: ValkeyBus, reactor: Any, place: Place, prefix: bytes) -> None:
        self._bus = bus
        self._prefix = prefix
        self.connection = ValkeyConnection(reactor, place, self)
        self.dropped = 0
        self._unanswered: deque[int] = deque()  # the bytes of each PUBLISH
        self._unanswered_bytes = 0

    @property
    def busy(self) -> bool:
        """Whether Valkey is still to answer something."""
        return self.connection.ready and bool(self._unanswered)

    def publish(self, parcels: Sequence[Parcel]) -> None:
        data = []
        for parcel in parcels:
            if not self.connection.ready or self._unanswered_bytes > MOST_WAITING_BYTES:
                self.dropped += 1
                continue
            data.append(command(b"PUBLISH", self._prefix + parcel.channel.encode(), parcel.data))
            self._unanswered.append(len(data[-1]))
            self._unanswered_bytes += len(data[-1])
        if data:
            self.connection.send(b"".join(data))

    def opened(self) -> None:
        self._bus.look()

    def replied(self, reply: Reply) -> None:
        if self._unanswered:
            self._unanswered_bytes -= self._unanswered.popleft()
        if isinstance(reply, ReplyError):
            self.dropped += 1
            self._bus.refused("PUBLISH", reply)

    def lost(self, problem: str) -> None:
        self.dropped += len(self._unanswered)
        self._unanswered.clear()
        self._unanswered_bytes = 0
        self._bus.lost(problem)


class Subscriber:
    """Subscribes to channels, many with one command, and receives their frames."""

    log = Logger()

    def __init__(self, bus: ValkeyBus, reactor: Any, place: Place, prefix: bytes) -> None:
        self._bus = bus
        self._reactor = reactor
        self._prefix = prefix
        self.connection = ValkeyConnection(reactor, place, self)
        self._receiver: Receiver | None = None
        self._channels: dict[str, None] = {frames.ALL: None}
        self._wanted: list[str] = []  # of those, what the next SUBSCRIBE will name
        self._asked: deque[list[str]] = deque()  # what each SUBSCRIBE named that is not answered in full
        self._answered = 0  # of the first of them
        self._unheard: dict[str, float] = {}  # when each may be left, the first one in front
        self._hear_call: IDelayedCall | None = None
        self._leave_call: IDelayedCall | None = None

    @property
    def ready(self) -> bool:
        """Whether Valkey has answered all SUBSCRIBEs."""
        return self.connection.ready and not self._asked

    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self.connection.open()

    def stop(self) -> None:
        for call in (self._hear_call, self._leave_call):
            if call is not None:
                call.cancel()
        self._hear_call = self._leave_call = None
        self.connection.close()

    def hear(self, channel: str) -> None:
        self._unheard.pop(channel, None)
        if channel not in self._channels:
            self._channels[channel] = None
            self._wanted.append(channel)
            if self._hear_call is None:
                self._hear_call = self._reactor.callLater(0, self._hear_more)

    def unhear(self, channel: str) -> None:
        if channel in self._channels and channel not in self._unheard:
            self._unheard[channel] = self._reactor.seconds() + UNHEAR_SECONDS
            if self._leave_call is None:
                self._leave_call = self._reactor.callLater(UNHEAR_SECONDS, self._leave)

    def _hear_more(self) -> None:
        self._hear_call = None
        wanted, self._wanted = self._wanted, []
        if wanted and self.connection.ready:
            self._subscribe(wanted)

    def _subscribe(self, channels: list[str]) -> None:
        self._asked.append(channels)
        self.connection.send(command(b"SUBSCRIBE", *(self._prefix + channel.encode() for channel in channels)))

    def _leave(self) -> None:
        now = self._reactor.seconds()
        left = [channel for channel, at in self._unheard.items() if at <= now]
        for channel in left:
            del self._unheard[channel], self._channels[channel]
        if left and self.connection.ready:
            self.connection.send(command(b"UNSUBSCRIBE", *(self._prefix + channel.encode() for channel in left)))
        first = next(iter(self._unheard.values()), None)
        self._leave_call = None if first is None else self._reactor.callLater(first - now, self._leave)

    def opened(self) -> None:
        """Subscribes to everything: a new connection has no subscriptions."""
        self._asked.clear()
        self._answered = 0
        self._wanted.clear()
        self._subscribe(list(self._channels))

    def replied(self, reply: Reply) -> None:
        match reply:
            case [b"message", _, bytes(data)]:
                try:
                    if self._receiver is not None:
                        self._receiver.received(data)
                except Exception:  # the connection and what comes after are not to feel that
                    self.log.failure("A frame was not taken.")
            case [b"subscribe", *_]:
                self._answered += 1
                if self._asked and self._answered == len(self._asked[0]):
                    self._answered = 0
                    channels = self._asked.popleft()
                    self._bus.look()
                    if self._receiver is not None:
                        self._receiver.joined(channels)
            case ReplyError():
                self._bus.refused("SUBSCRIBE", reply)
                self.connection.cut("It refuses SUBSCRIBE.")

    def lost(self, problem: str) -> None:
        self._bus.lost(problem)


def place(url: str) -> Place:
    """Where Valkey is, by a bus.url that was checked."""
    found = _URL.fullmatch(url)
    assert found is not None
    password, host, port = found.groups()
    return Place(host, int(port), unquote(password or ""))
