"""The interface of a door, as its connection knows it. The doors themselves are in `net/doors/`."""

from collections.abc import Iterator
from typing import Any, Protocol

from chatserver.net.limits.intake import Intake
from chatserver.wire.dialect import Dialect, Framing
from chatserver.wire.framing.lines import TooLong


class Doorway(Protocol):
    """Bytes come whenever the peer sends them, and the connection takes the lines out. While the inbox is full, or it
    is the others' turn, they stay here."""

    transport: Any
    framing: Framing
    prefix: str
    """The part of `--listen` in front of the endpoint: "", "telnet:" or "ws:"."""
    dialect: Dialect | None
    """The only dialect spoken here; None: the first bytes decide."""

    serves_pages: bool
    """Whether people open it in a browser, which may bring a cookie."""

    @property
    def opened(self) -> bool:
        """Whether lines can be sent yet."""
        ...

    @property
    def pending(self) -> int:
        """Number of bytes that are not taken as lines yet."""
        ...

    def lines(self, intake: Intake) -> Iterator[bytes | TooLong]:
        """Hands over the lines that have come, without their ends, and counts down `intake` until its turn is used up.
        Answers what belongs to the framing itself. When the peer has ended its side, a last line without an end counts.
        Raises Undecodable."""
        ...

    def discard(self) -> None:
        """Discards received bytes. There are no more lines."""

    def conceal(self, secret: bool) -> None:
        """Hides, or shows again, typed text from now on. Does nothing where the client cannot."""

    @property
    def editor(self) -> str:
        """The command that would let this client's person edit lines with all keys; "" where there is none."""
        ...

    def refusal(self, text: str) -> bytes:
        """The bytes that refuse a connection, for a client to which no line can be sent."""
        ...

    def farewell(self, reason: str) -> bytes:
        """The last bytes of the framing, after everything else; b"" if it has none."""
        ...

    def forget(self) -> None:
        """Lets go of the connection."""
