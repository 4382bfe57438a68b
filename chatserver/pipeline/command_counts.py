"""What has come of all commands, for /metrics and `chatctl stats`."""

from typing import Final

from chatserver.values import commands as c
from chatserver.values.errors import FAULT, Refused

OK: Final = "ok"
BROKEN: Final = "fault"
"""Outcomes of commands; the others are error words."""


class Results:
    """Counts how many commands came to what end."""

    def __init__(self) -> None:
        self._counts: dict[tuple[type[c.Command], str], int] = {}  # but for the `say` that succeeded
        self.says = 0
        """Each `say` that succeeded. Of these there are so many that whole takes are counted at once."""

    def count(self, kind: type[c.Command], refused: Refused | None = None) -> None:
        """Counts what has come of a command."""
        key = (kind, OK if refused is None else BROKEN if refused is FAULT else refused.error.value)
        self._counts[key] = self._counts.get(key, 0) + 1

    def all(self) -> dict[tuple[type[c.Command], str], int]:
        """How many commands came to what end, by kind, and OK, BROKEN or an error word."""
        return {**self._counts, (c.Say, OK): self.says}
