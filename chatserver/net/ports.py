"""TLS ports as ordinary TCP ports whose connections speak TLS once they are admitted.

Twisted's own TLS ports would read the PROXY header, which comes before TLS, as TLS.
"""

from typing import Any, Protocol

from twisted.internet.interfaces import IListeningPort


class Securable(Protocol):
    """A factory whose protocols can be put behind TLS."""

    def secure(self, context: Any) -> None: ...


class TlsInside:
    """A reactor for endpoints: as the one given, but for its TLS ports."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenSSL(
        self, port: int, factory: Securable, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        factory.secure(contextFactory)
        listening: IListeningPort = self._reactor.listenTCP(port, factory, backlog, interface)
        return listening
