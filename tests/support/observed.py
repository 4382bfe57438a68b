"""A hall as monitoring sees it."""

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import ensureDeferred

from chatserver.operation.companion import Running
from chatserver.operation.monitoring.counters import Snapshot, snapshot
from tests.support.hall import Hall


class QuietLease:
    """A lease as an administrator wants it, until a test says otherwise."""

    def __init__(self) -> None:
        self.held = True
        self.unanswered_seconds = 0.0

    def check(self) -> bool:
        return self.held


def running(hall: Hall) -> Running:
    parts: Any = {
        "reactor": hall.clock, "settings": hall.settings, "store": hall.inline, "registry": hall.registry,
        "roster": hall.roster, "hasher": None, "processors": hall.processors, "connections": hall.connections,
        "lease": QuietLease(), "logs": None, "indexing": SimpleNamespace(behind=0),
    }  # fmt: skip
    rest: dict[str, Any] = {name: None for name in Running.__struct_fields__ if name not in parts}
    del rest["started"], rest["lag"]
    return Running(**parts, **rest)


def seen(hall: Hall) -> Snapshot:
    """Its numbers now."""
    found: list[Snapshot] = []
    ensureDeferred(snapshot(running(hall))).addCallback(found.append)
    hall.settle()
    return found[0]
