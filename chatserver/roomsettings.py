"""The settings of a room, and how an entry records them in its text: `past=open,invites=members`."""

from typing import Final

ROOM_SETTINGS: Final[dict[str, tuple[str, ...]]] = {
    "past": ("open", "closed"),
    "invites": ("members", "moderators"),
}
"""By name, the values that each may have."""


def recorded(chosen: dict[str, str | None]) -> str:
    """The text of a `set` entry; settings that are None were not changed."""
    return ",".join(f"{name}={value}" for name, value in chosen.items() if value)


def parse_recorded(text: str) -> dict[str, str]:
    """What a `set` entry says; names that this version does not know are left out."""
    pairs = dict(pair.partition("=")[::2] for pair in text.split(","))
    return {name: pairs[name] for name in ROOM_SETTINGS if name in pairs}
