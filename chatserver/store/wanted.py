"""What a search is for: words, phrases, an author, links; as conditions of both databases' indexes, and as the rule
that decides.

An index finds messages that may match. Whether one does is decided here, from its text, so that all databases answer
alike.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from chatserver.util.words import Word, words
from chatserver.values.events import ERASED, MESSAGE, Entry

LEAST_PREFIX: Final = 2
"""Minimum number of characters of the last word for it to be the beginning of others: one has too many."""

CONDITIONS: Final = 24
"""Maximum number of conditions that the index is asked for; the texts decide about the rest."""

HIGHEST_SCORE: Final = 1000

# What no word begins with: characters of private use are never part of one.
_STEM, _FACT = "\ue000", "\ue001"
_LINK, _REPLY = f"{_FACT}link", f"{_FACT}reply"

_HAS_LINK = re.compile(r"https?://\S", re.IGNORECASE)
_QUOTES = re.compile('["\u201c\u201d\u201e]')


class Term(Struct, frozen=True):
    """Words that follow each other. `exact`: only in this form, not others with the same stems. `prefix`: the last one
    may go on."""

    words: tuple[Word, ...]
    exact: bool = False
    prefix: bool = False

    @property
    def keys(self) -> str:
        return " ".join(word.key for word in self.words)

    @property
    def stems(self) -> str:
        return " ".join(word.stem for word in self.words)

    def conditions(self) -> Iterator[tuple[tuple[str, bool], ...]]:
        """For each word, the words of the index one of which a message has, and whether that is the beginning of
        one."""
        last = len(self.words) - 1
        for place, word in enumerate(self.words):
            found = [] if word.stem and not self.exact else [(word.key, False)]
            if self.prefix and place == last:
                found = [(word.key, True)]
            if word.stem and not self.exact:
                found.append((_STEM + word.stem, False))
            yield tuple(found)

    def score(self, keys: str, stems: str) -> int:
        """How well a text has this: 3 as it is written, 2 by its stem, 1 as the beginning of a word, 0 not at all."""
        if f" {self.keys} " in keys:
            return 3
        if self.exact:
            return 0
        if stems and f" {self.stems} " in stems:
            return 2
        return 1 if self.prefix and f" {self.keys}" in keys else 0


class Wanted(Struct, frozen=True):
    """`since`, `until`: from the one on, and before the other. `reply`, `link`: has one."""

    terms: tuple[Term, ...] = ()
    language: str = ""
    author_id: int | None = None
    link: bool = False
    reply: bool = False
    since: datetime | None = None
    until: datetime | None = None
    best: bool = False

    def __bool__(self) -> bool:
        """Whether there is anything but times to search for."""
        return bool(self.terms or self.link or self.reply or self.author_id is not None)

    def conditions(self) -> list[tuple[tuple[str, bool], ...]]:
        found = [one for term in self.terms for one in term.conditions()]
        facts = [fact for fact, wanted in ((_LINK, self.link), (_REPLY, self.reply)) if wanted]
        if self.author_id is not None:
            facts.append(_author(self.author_id))
        return [((fact, False),) for fact in facts] + list(dict.fromkeys(found))[:CONDITIONS]

    def for_postgres(self) -> str:
        """As a tsquery."""
        each = [" | ".join(f"'{word}'{':*' * more}" for word, more in one) for one in self.conditions()]
        return " & ".join(f"({one})" for one in each)

    def for_sqlite(self) -> str:
        """As a query of FTS5."""
        each = [" OR ".join(f'"{word}"{"*" * more}' for word, more in one) for one in self.conditions()]
        return " AND ".join(f"({one})" for one in each)

    def score(self, entry: Entry) -> int:
        """How well a message matches, from 1 to HIGHEST_SCORE; 0 if it does not."""
        if entry.kind != MESSAGE or entry.state == ERASED or not self._has_facts(entry):
            return 0
        if not self.terms:
            return 1
        keys, stems = _joined(entry.text, self.language)
        each = [term.score(keys, stems) for term in self.terms]
        if not all(each):
            return 0
        said = " ".join(term.keys for term in self.terms)
        together = 200 * (f" {said}" in keys) if len(each) > 1 else 0
        share = min(len(said) / len(keys), 1.0)
        return 1 + min(round(600 * sum(each) / (3 * len(each)) + together + 199 * share), HIGHEST_SCORE - 1)

    def _has_facts(self, entry: Entry) -> bool:
        return (
            (self.author_id is None or entry.author_id == self.author_id)
            and (self.since is None or entry.at >= self.since)
            and (self.until is None or entry.at < self.until)
            and (not self.reply or bool(entry.of))
            and (not self.link or _HAS_LINK.search(entry.text) is not None)
        )


def _joined(text: str, language: str) -> tuple[str, str]:
    found = words(text, language)
    keys = " ".join([word.key for word in found])
    return f" {keys} ", " " + " ".join([word.stem for word in found]) + " " if language else ""


def terms(text: str, language: str = "", *, prefix: bool) -> tuple[Term, ...]:
    """What somebody wants to find: words and "phrases in quotes". `prefix`: the last word may be the beginning of one.

    What is written without blanks (`example.org/soup`, `don't`, 北京) has to be found so.
    """
    parts = _QUOTES.split(text)
    found: list[Term] = []
    for place, part in enumerate(parts):
        quoted = place % 2 == 1 and place < len(parts) - 1  # a last quote that is not closed means nothing
        for one in [part] if quoted else part.split():
            if spelled := words(one, "" if quoted else language):
                found.append(Term(tuple(spelled), exact=quoted))
    if found and prefix and not found[-1].exact and len(found[-1].words[-1].key) >= LEAST_PREFIX:
        found[-1] = Term(found[-1].words, prefix=True)
    return tuple(dict.fromkeys(found))


def exactly(text: str) -> Wanted:
    """Messages that have these words, in this order."""
    return Wanted((Term(tuple(words(text)), exact=True),))


def indexed(author_id: int | None, of: int | None, text: str, language: str) -> Sequence[str]:
    """What the index has of a message: its words and their stems, whose it is, and what it has."""
    found = dict.fromkeys(word.key for word in words(text, language))
    if language:
        found.update(dict.fromkeys(_STEM + word.stem for word in words(text, language)))
    facts = [_author(author_id)] if author_id is not None else []
    facts += [_REPLY] * bool(of) + [_LINK] * (_HAS_LINK.search(text) is not None)
    return [*facts, *found]


def _author(account_id: int) -> str:
    return f"{_FACT}{account_id}"
