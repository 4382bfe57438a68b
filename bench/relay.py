"""The least that a chat server in Twisted can be: lines from one go to all in the room. Keeps and checks nothing.

It is the yardstick of `make bench-smoke`. Run with: python -m bench.relay PORT
"""

import sys

from twisted.internet import reactor  # noqa: TID251 - a program of its own
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Connection

ROOMS: dict[bytes, set["Relay"]] = {}


class Relay(Protocol):
    room = b""
    rest = b""

    def connectionMade(self) -> None:
        assert isinstance(self.transport, Connection)
        self.transport.setTcpNoDelay(True)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:
        lines, newline, self.rest = (self.rest + data).rpartition(b"\n")
        if not newline:
            return
        if not self.room:
            first, _, lines = lines.partition(b"\n")
            self.room = first.removeprefix(b"JOIN ")
            ROOMS.setdefault(self.room, set()).add(self)
            self.transport.write(b"JOINED\n")
        if lines:
            for other in ROOMS[self.room]:
                other.transport.write(lines + b"\n")

    def connectionLost(self, reason: object = None) -> None:
        ROOMS.get(self.room, set()).discard(self)


if __name__ == "__main__":
    factory = Factory.forProtocol(Relay)
    factory.noisy = False
    reactor.listenTCP(int(sys.argv[1]), factory, backlog=4096, interface="127.0.0.1")  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]
