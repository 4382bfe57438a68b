"""What accompanies the server through its life, without being part of serving."""

from collections.abc import Awaitable
from typing import Protocol


class Companion(Protocol):
    """The service calls these methods in this order. One that raises, except from `prepare`, is logged, and keeps
    nothing else from happening."""

    def prepare(self) -> None:
        """Before the server listens, with the database ready and root's privileges, if twistd has them. Raises
        SystemExit with one line if the server cannot start this way."""

    def started(self) -> None:
        """The server serves: it listens on every endpoint, and its threads run. As a rule the reactor does not run yet;
        it does if an endpoint took its time to open."""

    def stopping(self) -> None:
        """The server is about to stop: it has not closed its ports yet."""

    def stopped(self) -> Awaitable[None] | None:
        """Every connection is closed and everything is stored. The service waits for the result."""


class Quiet:
    """A companion that does nothing, to override a part of."""

    def prepare(self) -> None: ...

    def started(self) -> None: ...

    def stopping(self) -> None: ...

    def stopped(self) -> Awaitable[None] | None:
        return None
