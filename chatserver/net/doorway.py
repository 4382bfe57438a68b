"""What a connection needs of its door. The doors themselves are in `net/door.py`."""

from typing import Any, Protocol

from chatserver.wire.dialect import Dialect, Framing


class Doorway(Protocol):
    """Bytes come as they like. The connection has them split into lines, piece by piece, and pulls the lines out: while
    the inbox is full, or others have their turn, they stay where they are."""

    transport: Any
    framing: Framing
    prefix: str
    """What `--listen` has in front of the endpoint: "", "telnet:" or "ws:"."""
    dialect: Dialect | None
    """The only one spoken here; None: the first bytes tell."""
    backlog: bytes
    """What has come and is not split yet."""

    @property
    def opened(self) -> bool:
        """Whether lines can be sent yet."""
        ...

    @property
    def pending(self) -> int:
        """Bytes held that are no lines taken yet."""
        ...

    def start(self) -> bytes:
        """The first bytes of what is split, as many as it takes to recognize a dialect."""
        ...

    def split(self, most: int) -> int:
        """Splits so many bytes of the backlog at most, and answers what the framing itself has to answer. Returns how
        many bytes it were."""
        ...

    def controls(self) -> int:
        """How much came since the last call that took time and is not the end of a line, such as pings."""
        ...

    def deliver(self, *, last: bool) -> bool:
        """Hands the next line to `line_received`, and returns whether there was one. `last`: nothing more will come, so
        a line that lacks only its end counts. Raises Undecodable."""
        ...

    def conceal(self, secret: bool) -> None:
        """What is typed from now on is a secret, which is not to be seen on the screen; or it is none. Where the client
        can do nothing about that, nothing happens."""
        ...

    @property
    def editor(self) -> str:
        """The command with which this client's person could edit lines with all keys; "" where there is none."""
        ...

    def refusal(self, text: str) -> bytes:
        """Why no connection comes about, for a client to which no line can be sent."""
        ...

    def farewell(self, reason: str) -> bytes:
        """The last bytes of the framing, behind everything else; b"" if it has none."""
        ...

    def forget(self) -> None:
        """Lets go of the connection."""
        ...
