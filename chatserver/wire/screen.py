"""A person's terminal: its width, and the preferences of the account for it."""

from functools import lru_cache
from typing import Final, Literal

from msgspec import Struct, structs

from chatserver.values.answers import Preferences


class Screen(Struct, frozen=True):
    """A person's terminal, and their preferences for it.

    `columns`: its width, 0 if the client has not sent it. `zone`: the IANA name of the time zone of all times and dates
    shown, "" for the server's own. `hours`: 12 or 24. `bell`: which entries sound it. `numbers`: whether entries are
    shown with theirs as they come. Programs have SCREEN.
    """

    columns: int = 0
    zone: str = ""
    hours: Literal[12, 24] = 24
    bell: Literal["on", "off", "mentions"] = "off"
    numbers: bool = False


SCREEN: Final = Screen()
ASSUMED_COLUMNS: Final = 80
"""Default width of a terminal that does not send its own: nearly every one has at least this."""

LEAST_COLUMNS: Final = 20
MOST_COLUMNS: Final = 200
"""Maximum width: a longer line is hard to read."""
STEP_COLUMNS: Final = 10
"""Size of the steps of widths: each costs a rendering of its own."""


def fitting(columns: int) -> int:
    """Returns the width of lines on a terminal with this many columns; 0: it is not known."""
    return min(max(columns, LEAST_COLUMNS), MOST_COLUMNS) // STEP_COLUMNS * STEP_COLUMNS if columns else 0


def preferred(screen: Screen, preferences: Preferences) -> Screen:
    """This terminal, with the preferences of an account."""
    return Screen(
        screen.columns,
        preferences.timezone or SCREEN.zone,
        12 if preferences.clock == "12" else SCREEN.hours,
        preferences.bell or SCREEN.bell,
        preferences.numbers == "on",
    )


@lru_cache(maxsize=256)
def assumed(screen: Screen) -> Screen:
    """This terminal with the default width, if its client has not sent one."""
    return structs.replace(screen, columns=ASSUMED_COLUMNS)
