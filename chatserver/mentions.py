"""Mentions: whether an entry contains somebody's name as a whole word."""

import re
from collections.abc import Iterable

from chatserver.events import EDITED, MESSAGE, Entry

_SPOKEN = (MESSAGE, EDITED)
_WORD = re.compile(r"[\w~-]+")


def words_said(entries: Iterable[Entry]) -> frozenset[str]:
    """All words said in these entries, casefolded. If a name is not among them, no entry mentions it."""
    said = "\n".join([entry.text for entry in entries if entry.kind in _SPOKEN]).casefold()
    words = frozenset(_WORD.findall(said))
    return words.union([word.strip("_-") for word in words])


def mentions(name: str, entry: Entry) -> bool:
    """Whether somebody else says this name in an entry, as a whole word, with or without an `@`."""
    key = name.casefold()
    return key in entry.text.casefold() and entry.author.casefold() != key and key in words_said((entry,))
