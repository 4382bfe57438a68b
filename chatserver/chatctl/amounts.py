"""Amounts, for people: counts, bytes and times."""

from typing import Final

_UNITS: Final = (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10))


def counted(count: int, one: str, many: str = "") -> str:
    """A count with its noun: `1 entry`, `1,200 entries`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def size(count: int) -> str:
    """Bytes, in powers of 1024: `812`, `1.5K`, `118.4M`."""
    for unit, bytes_ in _UNITS:
        if count >= bytes_:
            return f"{count / bytes_:.1f}{unit}"
    return str(count)


def span(seconds: float) -> str:
    """The two largest units: `12s`, `3m05s`, `2h08m`, `9d04h`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02}h"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:g} ms"
