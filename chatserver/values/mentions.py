"""Mentions: whether an entry contains somebody's name as a whole word, or answers their message."""

import re
from collections.abc import Iterable, Sequence

from chatserver.values.events import EDITED, MESSAGE, Entry

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


def answers(account_id: int, entry: Entry) -> bool:
    """Whether an entry is somebody else's reply to a message of this account, as far as its quote tells."""
    return entry.quote is not None and entry.quote.author_id == account_id != entry.author_id


class Mentions:
    """Mentions in some entries, and answers to people. The words of an entry are read once, however many people ask."""

    __slots__ = ("_answered", "_entries", "_said", "_where")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._answered = frozenset([entry.quote.author_id for entry in entries if entry.quote is not None])
        self._said: frozenset[str] | None = None
        self._where: dict[str, list[int]] | None = None

    def of(self, name: str, account_id: int = 0) -> tuple[int, ...]:
        """The indexes of the entries that mention this name, as `mentions` has it, or answer this account."""
        key = name.casefold()
        said = self._said
        if said is None:
            said = self._said = words_said(self._entries)
        if account_id in self._answered:
            named = self._named(key) if key in said else ()
            answering = [index for index, entry in enumerate(self._entries) if answers(account_id, entry)]
            return tuple(sorted({*named, *answering}))
        return self._named(key) if key in said else ()  # nearly always nobody is

    def _named(self, key: str) -> tuple[int, ...]:
        if self._where is None:
            self._where = {}
            for index, entry in enumerate(self._entries):
                for word in words_said((entry,)):
                    self._where.setdefault(word, []).append(index)
        return tuple([index for index in self._where[key] if self._entries[index].author.casefold() != key])
