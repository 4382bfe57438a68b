"""Time zones by their names in the IANA database, such as Europe/Berlin."""

from datetime import datetime, tzinfo
from difflib import get_close_matches
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from chatserver.values.errors import Refused, Why

NOT_PLACES = frozenset({"localtime", "Factory"})
"""Names that mean another zone on each system that has them."""
SUGGESTED = 3


@cache
def zone(name: str) -> tzinfo | None:
    """The zone with this name, as it is spelled in the database; None for the server's own, "", and for one that this
    system does not know. The first call for a zone reads a file."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return None


@cache
def _names() -> dict[str, str]:
    """All names of zones, by the words that people may type for them. Reads files."""
    return {name.lower(): name for name in sorted(available_timezones() - NOT_PLACES)}


def find(typed: str) -> str:
    """The name of the zone that somebody means, in any case. Raises Refused, with near names. Reads files."""
    key = "_".join(typed.lower().split())
    found = _names().get(key)
    if found is not None and zone(found) is not None:
        return found
    if near := _near(key):
        raise Refused(Why.NO_SUCH_ZONE_BUT, near=near[0])
    raise Refused(Why.NO_SUCH_ZONE)


def _near(key: str) -> list[str]:
    """Zones of that city, else those whose names differ in a few letters."""
    names = _names()
    city = key.rsplit("/", 1)[-1]
    places = [name for low, name in names.items() if low.rsplit("/", 1)[-1] == city and "/" in low]
    if places:
        return places[:1]
    if len(key) > max(map(len, names)):
        return []
    cities: dict[str, str] = {}
    for low, name in names.items():
        cities.setdefault(low.rsplit("/", 1)[-1], name)
    near = [names[low] for low in get_close_matches(key, names, SUGGESTED, 0.8)]
    near += [cities[low] for low in get_close_matches(city, cities, SUGGESTED, 0.8)]
    return list(dict.fromkeys(near))[:1]


def described(name: str, own: tzinfo | None, at: datetime) -> str:
    """The name to show for a zone. For the server's own ("", which is `own`, or the system's) that is its usual
    abbreviation and its difference from UTC at this time."""
    if name:
        return name
    local = at.astimezone(own)
    offset = local.utcoffset()
    if not offset:
        return "UTC"
    minutes = int(offset.total_seconds()) // 60
    sign = "-" if minutes < 0 else "+"
    difference = f"UTC{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    short = local.tzname() or ""
    return f"{short} ({difference})" if short.isascii() and short.isalpha() and short.isupper() else difference
