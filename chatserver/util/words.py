"""Words of a text, in one form on every database: without case, accents and punctuation, and with the stems of a
language.

Scripts that put no blanks between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) have a word for each character,
and each emoji is one: a search for several of them is a search for a phrase.
"""

import re
from functools import lru_cache
from sys import maxunicode
from threading import Lock
from typing import Any, Final
from unicodedata import category, normalize

from msgspec import Struct

MOST_CHARACTERS: Final = 64
"""Maximum number of characters of a word; the rest of a longer one does not count."""

MOST_TEXT: Final = 8192
"""Maximum number of characters of a text that count. Normalized, one character may become eighteen."""

_ASCII: Final = re.compile(r"[a-z0-9]+")
_ALONE: Final = (
    "\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff"
)
_ALONE_BEYOND: Final = "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
_EMOJI: Final = "\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001f3fa\U0001f400-\U0001faff"
_ACCENTS: Final = re.compile("[\u0300-\u036f]+")
_UNSEEN: Final = dict.fromkeys([0xAD, 0x34F, *range(0x200B, 0x2010), 0x2060, 0xFEFF, *range(0xFE00, 0xFE10)])
"""Characters within words and emoji that nobody sees."""


@lru_cache(1)
def _pattern() -> re.Pattern[str]:
    marks = [code for code in range(0x300, maxunicode + 1) if category(chr(code)) in ("Mn", "Mc")]
    runs: list[list[int]] = []
    for code in marks:
        if runs and runs[-1][1] == code - 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    mark = "".join(f"{chr(first)}-{chr(last)}" for first, last in runs)
    alone = _ALONE + _ALONE_BEYOND
    letter = rf"[^\W_{mark}{alone}]"
    return re.compile(f"[{alone}][{mark}]*|{letter}(?:{letter}|[{mark}])*|[{_EMOJI}]")


class Word(Struct, frozen=True):
    """`key`: what is compared. `stem`: that of its stem, empty without a language."""

    key: str
    stem: str = ""


def words(text: str, language: str = "") -> list[Word]:
    """The words of a text, in order. `language`: one of `languages`, or empty for none."""
    if text.isascii():
        spelled = _ASCII.findall(text.lower())
    else:
        plain = normalize("NFKC", normalize("NFKC", text).casefold()).translate(_UNSEEN)
        spelled = _pattern().findall(plain[:MOST_TEXT])
    return [_word(one[:MOST_CHARACTERS], language) for one in spelled]


@lru_cache(16_384)
def _word(spelled: str, language: str) -> Word:
    key = _unaccented(spelled)
    return Word(key, _unaccented(_stem(spelled, language)) or key) if language else Word(key)


def _unaccented(word: str) -> str:
    return word if word.isascii() else normalize("NFC", _ACCENTS.sub("", normalize("NFD", word)))


def languages() -> tuple[str, ...]:
    """The languages whose stems are known."""
    import snowballstemmer  # without a language nobody needs it in memory

    return tuple(sorted(snowballstemmer.algorithms()))


_stemming: Final = Lock()  # a stemmer holds the word that it is at
_stemmers: Final[dict[str, Any]] = {}


def _stem(word: str, language: str) -> str:
    import snowballstemmer

    with _stemming:
        if language not in _stemmers:
            _stemmers[language] = snowballstemmer.stemmer(language)
        return str(_stemmers[language].stemWord(word))
