"""Lines that must not be posted, because they show a password or a token."""

import re
from collections.abc import Sequence
from typing import Final

SHORT = 8
"""Minimum length of a password that is recognized within a word; a shorter one may well be a part of one."""

_TOKEN: Final = re.compile(r"ct_[A-Za-z0-9_-]{40,}")
_SECRET: Final = re.compile(r"\bc[ts]_[A-Za-z0-9_-]{40,}")
"""A token, or the secret of a kept session."""
_BARE: Final = re.compile(r"\s*[^A-Za-z/]{0,3}(login|register|password|forget)[ \u00a0]+", re.IGNORECASE)
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_WORD: Final = re.compile(r"[^\W\d_]{1,7}(?:['’-][^\W\d_]{1,7})?[.,;:!?)]*")
"""An ordinary word: most servers' passwords are longer, and few have only letters."""


def is_token(word: str) -> bool:
    return _TOKEN.fullmatch(word) is not None


def normal(text: str) -> str:
    """Text as `shows` compares it: a message may lose blanks before it is posted."""
    return " ".join(text.split())


def shows(line: str, secrets: Sequence[str]) -> bool:
    """Whether a line contains one of these passwords, which are in their `normal` form, any token, or the
    secret of a kept session."""
    if secrets:
        line = normal(line)
    for secret in secrets:
        if secret in line and (len(secret) >= SHORT or _is_whole(line, secret)):
            return True
    return ("ct_" in line or "cs_" in line) and _SECRET.search(line) is not None


def _is_whole(line: str, secret: str) -> bool:
    """Whether the line contains this between its words, or is this."""
    return re.search(rf"(?<!\w){re.escape(secret)}(?!\w)", line) is not None


def is_bare(line: str, me: str) -> str:
    """The command with a password that a line without a slash seems to be; "" for any other line.

    `me` is the name of the sender. Sentences that begin with these words pass if they have more words than the command,
    or if all their words are ordinary: "login is broken", "password please".
    """
    begun = _BARE.match(line)
    if begun is None:
        return ""
    command, words = begun[1].lower(), line[begun.end() :].split()
    if command in ("login", "register"):
        if words and words[0].lower() == me.lower():
            return command
        if len(words) == 3 and words[2].startswith("code="):
            return command
        risky = len(words) == 2 and _NAME.fullmatch(words[0]) is not None and not _WORD.fullmatch(words[1])
    else:
        ends = {"password": "others", "forget": "erase"}
        if len(words) == (3 if command == "password" else 2) and words[-1].lower() == ends[command]:
            return command
        most = 2 if command == "password" else 1
        risky = len(words) <= most and not all(_WORD.fullmatch(word) for word in words)
    return command if risky else ""
