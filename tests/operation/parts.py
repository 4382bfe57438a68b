"""The parts of a hall, for companions."""

from types import SimpleNamespace
from typing import Any

from tests.support.hall import Hall


def running(hall: Hall) -> Any:
    """The parts of a hall as `Running` has them."""
    return SimpleNamespace(
        reactor=hall.clock,
        settings=hall.settings,
        connections=hall.connections,
        roster=hall.roster,
        registry=hall.registry,
        processors=hall.processors,
    )
