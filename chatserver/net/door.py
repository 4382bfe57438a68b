"""The interface of a door, as its connection knows it. The doors themselves are in `net/doors/`."""

from collections.abc import Iterator
from typing import Any, Protocol

from chatserver.net.limits.intake import Intake
from chatserver.wire.dialect import Dialect, Framing
from chatserver.wire.framing.lines import TooLong


class Doorway(Protocol):
    """Bytes come whenever the peer sends them. The connection pulls the lines out: while the inbox is full, or others
    have their turn, what has come stays where it is."""

    transport: Any
    framing: Framing
    prefix: str
    """What `--listen` has in front of the endpoint: "", "telnet:" or "ws:"."""
    dialect: Dialect | None
    """The only one spoken here; None: the first bytes tell."""

    @property
    def opened(self) -> bool:
        """Whether lines can be sent yet."""
        ...

    @property
    def pending(self) -> int:
        """Number of bytes held that are not lines taken yet."""
        ...

    def lines(self, intake: Intake) -> Iterator[bytes | TooLong]:
        """The lines that have come, without their ends, until the turn of `intake` is used up, which is counted down.
        Answers what the framing itself has to answer. Where the peer has ended its side, a last line without an end
        counts. Raises Undecodable."""
        ...

    def discard(self) -> None:
        """Throws away what has come; there are no more lines."""

    def conceal(self, secret: bool) -> None:
        """From now on a secret is typed, which the screen is not to show; or none is. Does nothing where the client has
        no way to hide it."""

    @property
    def editor(self) -> str:
        """The command with which this client's person could edit lines with all keys; "" where there is none."""
        ...

    def refusal(self, text: str) -> bytes:
        """The reason why no connection comes about, for a client to which no line can be sent."""
        ...

    def farewell(self, reason: str) -> bytes:
        """The last bytes of the framing, behind everything else; b"" if it has none."""
        ...

    def forget(self) -> None:
        """Lets go of the connection."""
