"""Parts that the pipeline uses. Its neighbour `sync` appears as three small interfaces."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from msgspec import Struct

from chatserver.background.read_marks import ReadMarks
from chatserver.delivery.registry import Registry
from chatserver.handlers.outcome import Online, Outcome
from chatserver.session.session import Session
from chatserver.settings.tables import Settings
from chatserver.store.db.threads import Store
from chatserver.util.waiting import Turn
from chatserver.values import commands as c
from chatserver.values.events import Person

SlowHandler = Callable[[Session, Any], Awaitable[Outcome]]
"""Runs a command outside the lanes, because it waits for something else, such as a password's hash."""
SlowHandlers = dict[type[c.Command], SlowHandler]


class Suspects(Protocol):
    """Finds what was stored although its answer was lost (`sync.reconcile`)."""

    def suspect(self, who: Person | None = None) -> None:
        """The fate of a write is unknown. `who` sent it."""


class Serving(Protocol):
    """The right of this process to serve (`sync.lease`)."""

    def check(self) -> bool:
        """Whether this process may serve. If not, its connections are being ended."""


class Bans(Protocol):
    """The banned networks (`sync.change_feed`)."""

    def reload_bans(self) -> None:
        """Networks were banned or unbanned."""


class PipelineParts(Struct, frozen=True):
    """Parts of the processors, takes and consequences."""

    settings: Settings
    turn: Turn
    store: Store
    registry: Registry
    online: Online
    marks: ReadMarks
    reconciler: Suspects
    lease: Serving
    bans: Bans
