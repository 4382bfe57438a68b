"""A person's terminal, as far as layout goes: its width, and the form of times."""

from datetime import date, datetime, tzinfo
from functools import lru_cache
from typing import Literal

from msgspec import Struct

from chatserver.util import time_zones
from chatserver.wire.screen import ASSUMED_COLUMNS, SCREEN, Screen, fitting

# English in every locale, unlike strftime.
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip


class Terminal(Struct, frozen=True):
    """`columns`: its width; `told`: the client has sent it. `zone`: None for the system's local time."""

    columns: int = ASSUMED_COLUMNS
    told: bool = False
    zone: tzinfo | None = None
    zone_name: str = ""
    hours: Literal[12, 24] = 24

    @property
    def width(self) -> int:
        """Cells for the words of a notice, behind its `* `."""
        return self.columns - 2

    @property
    def behind(self) -> int:
        """Cells of a line that goes on, behind its bar."""
        return self.columns - 5

    @property
    def most_before(self) -> int:
        """Cells of a room's label and an author's name, in front of a text that needs further lines."""
        return self.columns * 3 // 5

    @property
    def short(self) -> int:
        """Cells of a label that are shown in any case."""
        return max(self.columns // 5, 8)

    @property
    def quoted(self) -> int:
        """Cells of the words that a reply quotes."""
        return self.columns * 3 // 10

    # Times

    def clock(self, at: datetime) -> str:
        return _clock(at, self.zone, self.hours)

    def day(self, at: datetime) -> date:
        return local_day(at, self.zone)

    def date_words(self, at: datetime) -> str:
        return date_words(self.day(at))

    def short_time(self, at: datetime) -> str:
        local = at.astimezone(self.zone)
        return f"{local.year:04}-{local.month:02}-{local.day:02} {self.clock(at)}"

    def zone_words(self, at: datetime) -> str:
        """The name of its zone; for the server's local time, the usual one."""
        return time_zones.described(self.zone_name, self.zone, at)


@lru_cache(maxsize=1024)
def terminal(screen: Screen = SCREEN, own: tzinfo | None = None) -> Terminal:
    """`own`: the server's time zone, for people who have not chosen one; None for the system's local time."""
    columns = fitting(screen.columns or ASSUMED_COLUMNS)
    chosen = time_zones.zone(screen.zone)
    name = "" if chosen is None else screen.zone
    return Terminal(columns, screen.columns > 0, chosen or own, name, screen.hours)


@lru_cache(maxsize=1024)  # entries of a busy room share the same few times
def _clock(at: datetime, zone: tzinfo | None, hours: int) -> str:
    local = at.astimezone(zone)
    if hours == 24:
        return f"{local.hour:02}:{local.minute:02}"
    return f"{local.hour % 12 or 12}:{local.minute:02} {'am' if local.hour < 12 else 'pm'}"


@lru_cache(maxsize=1024)
def local_day(at: datetime, zone: tzinfo | None) -> date:
    return at.astimezone(zone).date()


def date_words(day: date) -> str:
    return f"{DAYS[day.weekday()]} {day.day} {MONTHS[day.month - 1]} {day.year}"
