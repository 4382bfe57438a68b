"""The texts of entries that record settings of a room, `past=open,invites=members,pace=30`, or an account's names."""

from typing import Final

from msgspec import Struct

ROOM_SETTINGS: Final[dict[str, tuple[str, ...]]] = {
    "past": ("open", "closed"),
    "invites": ("members", "moderators"),
}
"""By setting, its possible words."""

PACE: Final = "pace"
"""The setting that is a number: the seconds between two messages of a member; 0: none."""


def recorded(chosen: dict[str, str | int | None]) -> str:
    """The text of a `set` entry; settings that are None were not changed."""
    return ",".join(f"{name}={value}" for name, value in chosen.items() if value is not None)


def parse_recorded(text: str) -> dict[str, str]:
    """The words that a `set` entry says; names that this version does not know are left out."""
    pairs = _pairs(text)
    return {name: pairs[name] for name in ROOM_SETTINGS if name in pairs}


def parse_pace(text: str) -> int | None:
    """The pace that a `set` entry says, if it says one."""
    pace = _pairs(text).get(PACE, "")
    return int(pace) if pace.isascii() and pace.isdecimal() and len(pace) <= 9 else None


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.partition("=")[::2] for pair in text.split(","))


class Renaming(Struct, frozen=True):
    """An account's names before and after. `display` "": it has no display name any more."""

    former: str
    name: str
    display: str = ""


def recorded_renaming(renaming: Renaming) -> str:
    """The text of a `renamed` entry. Names of accounts have no blanks; display names may."""
    return f"{renaming.former} {renaming.name} {renaming.display}".rstrip()


def parse_renaming(text: str) -> Renaming:
    former, _, rest = text.partition(" ")
    name, _, display = rest.partition(" ")
    return Renaming(former, name, display)
