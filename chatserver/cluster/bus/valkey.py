"""A bus for many nodes: Valkey, by publish and subscribe. A room's channel is heard by the nodes that need it.

Its protocol is small, and `resp.py` speaks it: txredisapi waits for three turns of the reactor for each message.
"""

import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import unquote

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from chatserver.cluster import frames
from chatserver.cluster.bus.bus import Parcel, Received
from chatserver.cluster.bus.resp import Failed, Reply, command
from chatserver.cluster.bus.valkey_connection import Place, ValkeyLine
from chatserver.util.waiting import until

MOST_WAITING_BYTES: Final = 4 << 20
"""Of frames that Valkey has not answered: beyond that they are dropped, and read from the database later."""
UNHEAR_SECONDS: Final = 10.0
"""A room that nobody hears any more stays subscribed for so long: people come and go."""
STOP_SECONDS: Final = 0.5

_URL: Final = re.compile(r"valkey://(?::([^@/]*)@)?([^@/:]+):(\d+)(?:/\d+)?")


class ValkeyBus:
    """`cluster` names the database whose nodes these are: several clusters may share a Valkey, and publish and
    subscribe know nothing of Valkey's own numbered databases."""

    log = Logger()
    by_room = True
    advice = "Look whether Valkey at bus.url answers, and whether all nodes have the same bus.url."

    def __init__(self, reactor: Any, url: str, cluster: str) -> None:
        self._reactor = reactor
        self._place = place(url)
        self._prefix = f"chatserver:{cluster}:".encode()
        self.connected = False
        self.reconnects = 0
        self.dropped = 0
        self._received: Received = lambda data: None
        self._joined: Callable[[Sequence[str]], None] = lambda channels: None
        self._publishing = ValkeyLine(reactor, self._place, lambda: self._look(), self._published, self._lost)
        self._hearing = ValkeyLine(reactor, self._place, self._hear_all, self._heard, self._lost)
        self._unanswered: deque[int] = deque()  # the bytes of each PUBLISH
        self._unanswered_bytes = 0
        self._channels: dict[str, None] = {frames.ALL: None}
        self._wanted: list[str] = []  # of those, what the next SUBSCRIBE will name
        self._asked: deque[list[str]] = deque()  # what each SUBSCRIBE named that is not answered in full
        self._answered = 0  # of the first of them
        self._unheard: dict[str, float] = {}  # when each may be left, the first one in front
        self._hear_call: IDelayedCall | None = None
        self._leave_call: IDelayedCall | None = None
        self._started = self._stopping = self._was_connected = False
        self._down = False  # and that was logged
        self._refused = False

    def start(self, received: Received, joined: Callable[[Sequence[str]], None]) -> None:
        self._received, self._joined = received, joined
        self._started = True
        self._publishing.open()
        self._hearing.open()

    async def stop(self) -> None:
        self._stopping = True
        await until(self._reactor, lambda: not (self._publishing.ready and self._unanswered), STOP_SECONDS)
        self.connected = False
        for call in (self._hear_call, self._leave_call):
            if call is not None:
                call.cancel()
        self._hear_call = self._leave_call = None
        self._publishing.close()
        self._hearing.close()

    def reconnect(self) -> None:
        if self._started and not self._stopping:
            self._publishing.cut()
            self._hearing.cut()

    # What this node tells

    def publish(self, parcels: Sequence[Parcel]) -> None:
        data = []
        for parcel in parcels:
            if not self._publishing.ready or self._unanswered_bytes > MOST_WAITING_BYTES:
                self.dropped += 1
                continue
            data.append(command(b"PUBLISH", self._prefix + parcel.channel.encode(), parcel.data))
            self._unanswered.append(len(data[-1]))
            self._unanswered_bytes += len(data[-1])
        if data:
            self._publishing.send(b"".join(data))

    def _published(self, reply: Reply) -> None:
        if self._unanswered:
            self._unanswered_bytes -= self._unanswered.popleft()
        if isinstance(reply, Failed):
            self.dropped += 1
            self._say_refused("PUBLISH", reply)

    def _say_refused(self, what: str, reply: Failed) -> None:
        if not self._refused:
            self._refused = True
            self.log.error(
                "Valkey at {place} refuses {what} ({code}). Allow it for channels that begin with chatserver:.",
                place=str(self._place), what=what, code=reply.code,
            )  # fmt: skip

    # What this node hears

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
        if wanted and self._hearing.ready:
            self._subscribe(wanted)

    def _hear_all(self) -> None:
        """The connection is new, and hears nothing yet."""
        self._asked.clear()
        self._answered = 0
        self._wanted.clear()
        self._subscribe(list(self._channels))

    def _subscribe(self, channels: list[str]) -> None:
        self._asked.append(channels)
        self._hearing.send(command(b"SUBSCRIBE", *(self._prefix + channel.encode() for channel in channels)))

    def _leave(self) -> None:
        now = self._reactor.seconds()
        left = [channel for channel, at in self._unheard.items() if at <= now]
        for channel in left:
            del self._unheard[channel], self._channels[channel]
        if left and self._hearing.ready:
            self._hearing.send(command(b"UNSUBSCRIBE", *(self._prefix + channel.encode() for channel in left)))
        first = next(iter(self._unheard.values()), None)
        self._leave_call = None if first is None else self._reactor.callLater(first - now, self._leave)

    def _heard(self, reply: Reply) -> None:
        match reply:
            case [b"message", _, bytes(data)]:
                try:
                    self._received(data)
                except Exception:  # the connection and what comes after are not to feel that
                    self.log.failure("A frame was not taken.")
            case [b"subscribe", *_]:
                self._answered += 1
                if self._asked and self._answered == len(self._asked[0]):
                    self._answered = 0
                    channels = self._asked.popleft()
                    self._look()
                    self._joined(channels)
            case Failed():
                self._say_refused("SUBSCRIBE", reply)
                self._hearing.cut("It refuses SUBSCRIBE.")

    # The connections

    def _look(self) -> None:
        """Both are there, perhaps, and the first SUBSCRIBE has been answered."""
        if self.connected or not (self._publishing.ready and self._hearing.ready and not self._asked):
            return
        self.connected = True
        self._refused = False
        if self._was_connected:
            self.reconnects += 1
        self._was_connected = True
        if self._down:
            self._down = False
            self.log.info("The bus is connected again.")

    def _lost(self, problem: str) -> None:
        self.connected = False
        if not self._publishing.ready:
            self.dropped += len(self._unanswered)
            self._unanswered.clear()
            self._unanswered_bytes = 0
        if not (self._down or self._stopping):
            self._down = True
            self.log.warn(
                "The bus has no connection to Valkey at {place}. Trying again. {problem}",
                place=str(self._place), problem=problem,
            )  # fmt: skip


def place(url: str) -> Place:
    """Where Valkey is, by a bus.url that was checked."""
    found = _URL.fullmatch(url)
    assert found is not None
    password, host, port = found.groups()
    return Place(host, int(port), unquote(password or ""))
