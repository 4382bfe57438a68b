"""What the text of an entry holds where it is not for reading as it stands."""

from datetime import datetime

SETTINGS = ("past", "invites")


def settings(text: str) -> dict[str, str]:
    """What a room was set to, of `past=open,invites=members`."""
    pairs = dict(pair.partition("=")[::2] for pair in text.split(","))
    return {name: pairs[name] for name in SETTINGS if name in pairs}


def moment(text: str) -> datetime | None:
    """A time in RFC 3339; None where there is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
