"""Misleading names: those that sound like the server or its staff, and those that look like another account's."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from chatserver.values.errors import Refused, Why

RESERVED: Final = (
    "abuse", "admin", "administrator", "administrators", "admins", "all", "chatctl", "chatserver", "everybody",
    "everyone", "guest", "guests", "help", "helpdesk", "here", "hostmaster", "me", "mod", "moderator", "moderators",
    "mods", "motd", "nobody", "none", "notice", "null", "oper", "operator", "operators", "opers", "owner", "owners",
    "postmaster", "root", "security", "server", "staff", "superuser", "support", "sysadmin", "sysop", "system",
    "undefined", "webmaster", "you",
)  # fmt: skip
"""Names that readers would take for the server itself, for its staff, or for a word of its lines."""

LEADING: Final = ("admin", "chatserver", "moderator", "operator", "server", "sysadmin", "sysop")
"""Words that make a display name sound like the server or its staff, whatever follows: `Server Notice`."""

_FILLERS: Final = frozenset({"a", "an", "chat", "message", "messages", "of", "official", "our", "team", "the", "your"})
"""Words that change nothing about that."""

_ERASED: Final = "erased-"

_LOOKALIKES: Final = str.maketrans({"i": "l", "1": "l", "0": "o", "m": "rn", "w": "vv", "_": "-"})


def skeleton(name: str) -> str:
    """Returns the skeleton of a name: two names are hard to tell apart if their skeletons are equal.

    This is the idea of Unicode's UTS #39, section 4, for the few characters that a name can have: `l`, `I`, `i` and `1`
    are one character, and so are `O`, `o` and `0`, `rn` and `m`, `vv` and `w`, `_` and `-`. Case is ignored, since
    names are compared without it, and so are repeated and trailing separators. At most twice as long as the name.
    """
    return re.sub("-+", "-", name.lower().translate(_LOOKALIKES)).rstrip("-")


_FILLER_LOOKS: Final = frozenset(map(skeleton, _FILLERS))
_LEADING_LOOKS: Final = tuple(map(skeleton, LEADING))


@lru_cache(maxsize=8)
def _reserved(more: tuple[str, ...]) -> frozenset[str]:
    return frozenset(skeleton(name) for name in (*RESERVED, *more))


def is_reserved(name: str, more: Iterable[str] = ()) -> bool:
    """Whether it is one of RESERVED or of `more`, or looks like one."""
    return skeleton(name) in _reserved(tuple(more))


def sounds_official(words: Iterable[str], more: Iterable[str] = (), *, leading: bool = False) -> bool:
    """Whether a name of these words is made of reserved ones, such as `server-notice`. `leading`: or only begins with
    one of LEADING."""
    said = [skeleton(word) for word in words if word]
    if not all(word in _FILLER_LOOKS for word in said) and all(
        word in _FILLER_LOOKS or word in _reserved(tuple(more)) for word in said
    ):
        return True
    while said and said[0] in _FILLER_LOOKS:
        del said[0]
    return leading and "".join(said).startswith(_LEADING_LOOKS)


def check_new(name: str, more: Iterable[str] = ()) -> None:
    """Raises Refused(bad-name) for a name that nobody may register; `more`: reserved ones besides RESERVED."""
    if is_reserved(name, more) or sounds_official(re.split("[-_]", name), more):
        raise Refused(Why.NAME_RESERVED)
    if skeleton(name).startswith(_ERASED):
        raise Refused(Why.NAME_OF_THE_ERASED)


def looks_taken() -> Refused:
    """The refusal of a name whose skeleton is another account's."""
    return Refused(Why.NAME_LOOKS_ALIKE)


def given_up() -> Refused:
    """The refusal of a name that another account had recently, or that looks like it."""
    return Refused(Why.NAME_HAD_BY_ANOTHER)
