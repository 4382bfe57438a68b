"""How the server ends where it cannot run: one line that says what to do, and a status for what restarts servers."""

import os
import sys
from typing import Final

MAY_PASS: Final = 1
"""Trying again later may help: the database is not up yet, or a port is taken."""
MISCONFIGURED: Final = os.EX_CONFIG
"""Only an administrator can mend it, so that trying again is of no use: see RestartPreventExitStatus in the unit."""


class CannotStart(SystemExit):
    """The server cannot run. Ends the program with one line; where that is to end with another status than 1, what
    lets it out has to call `ending`."""

    def __init__(self, text: str, status: int = MAY_PASS) -> None:
        super().__init__(f"chatserver: {text}")
        self.status = status


def ending(problem: SystemExit) -> SystemExit:
    """What to raise instead at the outermost place, for the status of a problem. Prints its text."""
    if not isinstance(problem, CannotStart) or problem.status == MAY_PASS:
        return problem  # Python prints its text, and ends with status 1
    print(problem, file=sys.stderr)
    return SystemExit(problem.status)
