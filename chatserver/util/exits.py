"""Ends of the server before it runs: at once on a signal; if it cannot start, with one line that says what to do, and a
status for the service manager."""

import os
import signal
import sys
from types import FrameType
from typing import Final

MAY_PASS: Final = 1
"""Exit status where trying again later may help: the database is not up yet, or a port is taken."""
MISCONFIGURED: Final = os.EX_CONFIG
"""Exit status where only an administrator can help, so that restarting is of no use: see RestartPreventExitStatus in
the unit."""


class CannotStart(SystemExit):
    """The server cannot start. Ends the program with one line. For a status other than 1, the outermost caller uses
    `ending`."""

    def __init__(self, text: str, status: int = MAY_PASS) -> None:
        super().__init__(f"chatserver: {text}")
        self.status = status


def ending(problem: SystemExit) -> SystemExit:
    """Returns what the outermost caller is to raise instead, for the right status. Prints the text."""
    if not isinstance(problem, CannotStart) or problem.status == MAY_PASS:
        return problem  # Python prints its text, and ends with status 1
    print(problem, file=sys.stderr)
    return SystemExit(problem.status)


def exit_on_signals() -> None:
    """Makes SIGTERM and SIGINT end the process at once, with status 0, and SIGHUP and SIGUSR1 do nothing, until there
    is a service that handles signals. Call this before anything else is loaded.

    Nothing is open then that a killed process would not close as well. `SystemExit` would not do: raised during an
    import, or in a callback of the garbage collector, it can be swallowed.
    """

    def leave(_number: int, _frame: FrameType | None) -> None:
        os._exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    for number in (signal.SIGHUP, signal.SIGUSR1):  # there is nothing to reload or reopen yet
        signal.signal(number, signal.SIG_IGN)
