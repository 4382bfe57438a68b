"""Mentions: whether an entry contains somebody's name as a whole word."""

import re
from collections.abc import Iterable, Sequence

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


class Mentions:
    """Who is mentioned in which of some entries. The words of an entry are looked at once, however many people ask."""

    __slots__ = ("_entries", "_said", "_where")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._said: frozenset[str] | None = None
        self._where: dict[str, list[int]] | None = None

    def of(self, name: str) -> tuple[int, ...]:
        """The indexes of the entries that mention this name, as `mentions` has it."""
        key = name.casefold()
        said = self._said
        if said is None:
            said = self._said = words_said(self._entries)
        if key not in said:  # nearly always
            return ()
        if self._where is None:
            self._where = {}
            for index, entry in enumerate(self._entries):
                for word in words_said((entry,)):
                    self._where.setdefault(word, []).append(index)
        return tuple([index for index in self._where[key] if self._entries[index].author.casefold() != key])
