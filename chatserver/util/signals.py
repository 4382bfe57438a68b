"""Signals before there is a service that takes them: stopping on request is no failure then, either."""

import os
import signal
from types import FrameType


def exit_on_signals() -> None:
    """Makes SIGTERM and SIGINT end the process at once, with status 0, and SIGHUP and SIGUSR1 do nothing. Call this
    before anything else is loaded.

    Nothing is open then that a killed process would not close as well. `SystemExit` would not do: raised in the middle
    of an import, or in a callback of the garbage collector, it can be swallowed.
    """

    def leave(_number: int, _frame: FrameType | None) -> None:
        os._exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    for number in (signal.SIGHUP, signal.SIGUSR1):  # nothing is there yet that could be reloaded, or reopened
        signal.signal(number, signal.SIG_IGN)
