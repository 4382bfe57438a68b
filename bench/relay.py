"""A minimal chat server in Twisted: sends each line to all clients in the room, and stores and checks nothing.

`make bench-smoke` compares with it. Run it with: python -m bench.relay PORT
"""

import sys
from collections.abc import Callable

from twisted.internet import reactor  # noqa: TID251 - a separate program
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.tcp import Connection

ROOMS: dict[bytes, set["Relay"]] = {}


class Relay(Protocol):
    room = b""
    rest = b""
    send: Callable[[bytes], None]

    def connectionMade(self) -> None:
        assert isinstance(self.transport, Connection)
        self.transport.setTcpNoDelay(True)
        self.send = self.transport.write

    def dataReceived(self, data: bytes) -> None:
        lines, newline, self.rest = (self.rest + data).rpartition(b"\n")
        if not newline:
            return
        if not self.room:
            first, _, lines = lines.partition(b"\n")
            self.room = first.removeprefix(b"JOIN ")
            ROOMS.setdefault(self.room, set()).add(self)
            self.send(b"JOINED\n")
        if lines:
            for other in ROOMS[self.room]:
                other.send(lines + b"\n")

    def connectionLost(self, reason: object = None) -> None:
        ROOMS.get(self.room, set()).discard(self)


if __name__ == "__main__":
    factory = ServerFactory()
    factory.protocol = Relay
    factory.noisy = False
    reactor.listenTCP(int(sys.argv[1]), factory, backlog=4096, interface="127.0.0.1")
    reactor.run()
