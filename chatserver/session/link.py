"""The interface of a connection to its session, and facts about the client's side of it."""

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Protocol

from chatserver.values.errors import GOODBYE, Rejected, Sentence
from chatserver.values.events import Rewound

FULL_BYTES = 16384
"""Maximum number of bytes that wait for a client. Beyond that, it is sent no news until it has taken everything."""


class Link(Protocol):
    """A connection (`net/connection/connection.py`), as its session knows it. Bytes handed to it are framed already."""

    writable: bool
    """False while the client takes no more news."""
    send: Callable[[bytes], int]
    """Sends at once what the socket takes, and returns how many bytes that was: the socket's own `send`, which may
    raise OSError, or `takes_nothing` while older bytes wait."""

    def write(self, data: bytes) -> None:
        """Sends these bytes after all before them."""

    def hold(self) -> bool:
        """Collects what is written until `release`. Returns False if it is collected already. See `collected`."""
        ...

    def release(self) -> None:
        """Sends what was collected, in one piece."""

    @property
    def written(self) -> int:
        """Number of bytes written so far."""
        ...

    @property
    def idle(self) -> bool:
        """Whether no bytes wait for the client."""
        ...

    def taken(self) -> int:
        """Number of bytes that the client's host has acknowledged."""
        ...

    def showed(self) -> None:
        """Entries were shown to the session's person."""

    def refuse(self, rejected: Rejected) -> None:
        """Answers with an error, and counts it."""

    def more(self) -> None:
        """The inbox has room again."""

    def staged(self) -> None:
        """The session has reached another stage, and the client does not know yet."""

    def admitted(self) -> None:
        """The session is logged in."""

    def hang_up(
        self, reason: str, sentence: Sentence = GOODBYE, retry: int | None = None, rewound: Rewound | None = None
    ) -> None:
        """Ends the connection, after telling the client why. Without a reason, nothing is sent. `rewound`: what became
        of the logs, for programs."""


class Peer(Protocol):
    """The client's side of a connection, as its session knows it."""

    def encrypted(self) -> bool:
        """Whether the client speaks TLS, with the server or a proxy."""
        ...

    def exposed(self) -> bool:
        """Whether the client's bytes cross a network without encryption."""
        ...

    def certificate(self) -> str:
        """The SHA-256, in hex, of the certificate that the client has shown and has the key of; "" if there is none."""
        ...

    @property
    def takes_cookies(self) -> bool:
        """Whether the client came through a door for browsers."""
        ...

    def cookie(self) -> str:
        """The secret of a kept session that the client's browser has sent with its request; "" if there is none."""
        ...

    def drop_cookie(self) -> None:
        """Forgets the secret: it is not needed any more, or not good."""

    def has_sent_all(self) -> bool:
        """Whether the client has closed its sending side: `nc -N` does so at the end of a script."""
        ...


def takes_nothing(data: bytes) -> int:
    """Stands in for a socket's `send`."""
    return 0


class NoLink:
    """There is no connection, or none any more."""

    writable = False
    send: Callable[[bytes], int] = staticmethod(takes_nothing)

    def write(self, data: bytes) -> None:
        pass

    def hold(self) -> bool:
        return False

    def release(self) -> None:
        pass

    @property
    def written(self) -> int:
        return 0

    @property
    def idle(self) -> bool:
        return False

    def taken(self) -> int:
        return 0

    def showed(self) -> None:
        pass

    def refuse(self, rejected: Rejected) -> None:
        pass

    def more(self) -> None:
        pass

    def staged(self) -> None:
        pass

    def admitted(self) -> None:
        pass

    def hang_up(
        self, reason: str, sentence: Sentence = GOODBYE, retry: int | None = None, rewound: Rewound | None = None
    ) -> None:
        pass


class NoPeer:
    """There is no connection, or none any more."""

    def encrypted(self) -> bool:
        return False

    def exposed(self) -> bool:
        return False

    def certificate(self) -> str:
        return ""

    @property
    def takes_cookies(self) -> bool:
        return False

    def cookie(self) -> str:
        return ""

    def drop_cookie(self) -> None:
        pass

    def has_sent_all(self) -> bool:
        return False


NO_LINK: Final = NoLink()
NO_PEER: Final = NoPeer()


class collected:
    """Scope: collects what is written to these links, and sends it in one piece for each link at the end, also after an
    exception. An inner scope leaves its links to the outer one."""

    __slots__ = ("_held", "_links")

    def __init__(self, links: Iterable[Link]) -> None:
        self._links = links

    def __enter__(self) -> None:
        self._held = [link for link in self._links if link.hold()]

    def __exit__(self, _: type | None, __: BaseException | None, ___: TracebackType | None) -> None:
        try:
            while self._held:
                self._held.pop().release()
        finally:
            if self._held:  # a fault of one link leaves no other one held
                self.__exit__(None, None, None)
