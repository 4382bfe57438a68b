"""Mentions: whether an entry contains somebody's name as a whole word, or answers their message.

This is the rule for the bell, for the mark `»`, and for the rows that the store writes with a message.
"""

import re
from collections.abc import Iterable, Sequence, Set

from chatserver.values.events import EDITED, MESSAGE, Entry

MOST_NAME = 64
"""Maximum length of a name."""

_SPOKEN = (MESSAGE, EDITED)
_WORD = re.compile(r"[\w~-]+")


def words_of(text: str) -> Set[str]:
    """All words of a text, casefolded. If a name is not among them, the text does not mention it."""
    words = set(_WORD.findall(text.casefold()))
    if "_" in text or "-" in text:
        words |= {word.strip("_-") for word in words}
    return words


def words_said(entries: Iterable[Entry]) -> Set[str]:
    """All words said in these entries."""
    return words_of("\n".join([entry.text for entry in entries if entry.kind in _SPOKEN]))


def possible_names(text: str) -> tuple[str, ...]:
    """The words of a text that can be names of accounts, in lower case."""
    return tuple(
        [word for word in words_of(text) if word.isascii() and word[:1] not in "-_" and len(word) <= MOST_NAME]
    )


class KnownNames:
    """The names of accounts, as far as this process knows them, in lower case: a message without any of them mentions
    nobody, and the database is not asked. Until they are `complete`, each word may be a name.

    They may include former names, and those of accounts that are gone: the store decides.
    """

    __slots__ = ("_names", "complete")

    def __init__(self) -> None:
        self._names: set[str] = set()
        self.complete = False

    def add(self, name: str) -> bool:
        """Returns whether the name was not known."""
        key = name.lower()
        if key in self._names:
            return False
        self._names.add(key)
        return True

    def update(self, keys: Iterable[str]) -> None:
        self._names.update(keys)

    def among(self, text: str) -> tuple[str, ...]:
        """The names that a text may mention."""
        if not self.complete:
            return possible_names(text)
        if "_" not in text and "-" not in text and self._names.isdisjoint(_WORD.findall(text.casefold())):
            return ()  # nearly always, and in as few calls as possible
        return tuple(self._names & words_of(text))


def mentions(name: str, entry: Entry) -> bool:
    """Whether somebody else says this name in an entry, as a whole word, with or without an `@`."""
    key = name.casefold()
    return key in entry.text.casefold() and entry.author.casefold() != key and key in words_said((entry,))


def answers(account_id: int, entry: Entry) -> bool:
    """Whether an entry is somebody else's reply to a message of this account, as far as its quote tells."""
    if entry.quote is None or entry.kind != MESSAGE:  # notices, such as those of reactions, have quotes, too
        return False
    return entry.quote.author_id == account_id != entry.author_id


class Mentions:
    """Mentions in some entries, and answers to people. The words of an entry are read once, however many people ask."""

    __slots__ = ("_answered", "_entries", "_said", "_where")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._answered = frozenset(
            [entry.quote.author_id for entry in entries if entry.quote is not None and entry.kind == MESSAGE]
        )
        self._said: Set[str] | None = None
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
