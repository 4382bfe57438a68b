"""Characters that show as nothing or change how others are shown, and marks that are stacked on one letter.

A sender of them could forge what others see: text that runs backwards, two names that look alike, a line that looks
empty, a pile of accents that covers its neighbours. They are dropped, but for those that do something harmless: U+200D
between emoji, a variation selector behind an emoji or an ideograph. Persian and the scripts of India stay legible
without their joiners.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Final
from unicodedata import bidirectional, category, combining, normalize

MOST_MARKS: Final = 30
"""Maximum number of marks in a row, after decomposition: Unicode's Stream-Safe Text Format (UAX #15). Normalising a run
takes quadratic time."""

_EMOJI = (
    r"[\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf-\u23fa\u24c2\u25aa-\u25fe"
    r"\u2600-\u27bf\u2934\u2935\u2b05-\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_SELECTED = r"[#*0-9\u00a9\u00ae]\ufe0f|[\u3400-\u9fff\U00020000-\U0003ffff][\U000e0100-\U000e01ef]"

# Default_Ignorable_Code_Point and other format characters (Cf) that show as nothing; fillers and other letters without
# a shape; private use and noncharacters, which mean nothing to others. Planes 4 to 13 are empty; 14 has tags and
# selectors.
_BMP = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc\ufdd0-\ufdef\ufffe\uffff\ue000-\uf8ff"
)
_ASTRAL = (
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a"
    r"\U0001fffe\U0001ffff\U0002fffe\U0002ffff\U0003fffe-\U0010ffff"
)
_PARSED = re.compile(  # what is kept comes first: a joiner that is left to the last alternative joins nothing
    rf"((?:{_EMOJI}[\ufe0e\ufe0f]?(?:\u200d{_EMOJI}[\ufe0e\ufe0f]?)*)+|{_SELECTED})|[{_BMP}{_ASTRAL}]"
)

# A class within the basic plane is a table, and a wider one a list: so most text is searched several times faster.
_WIDE = re.compile(r"[\U00010000-\U0010ffff]")
_ANY = (re.compile(f"[{_BMP}]"), re.compile(f"[{_BMP}{_ASTRAL}]"))


def _class_of_marks(codes: Iterable[int]) -> str:
    """Non-starters, and marks that take no width."""
    marks = [chr(code) for code in codes if category(chr(code)) in ("Mn", "Me") or combining(chr(code))]
    return "".join(f"{run[0]}-{run[-1]}" for run in _runs(marks))


def _runs(chars: Iterable[str]) -> Iterator[list[str]]:
    """Consecutive characters, together."""
    for _, run in groupby(enumerate(chars), lambda pair: ord(pair[1]) - pair[0]):
        yield [char for _, char in run]


_MARKS_BMP = _class_of_marks(range(0x300, 0x10000))
_MARK = (
    f"[{_MARKS_BMP}{_class_of_marks(range(0x10000, 0x1F000))}]"  # none follow but selectors, which are not left over
)
_STACKED = re.compile(f"({_MARK}{{{MOST_MARKS}}}){_MARK}+")
# No mark decomposes into more than two, and no letter into one with more than three.
_FEW = (MOST_MARKS - 3) // 2
_PERHAPS = tuple(re.compile(f"{mark}{mark}{{{_FEW}}}") for mark in (f"[{_MARKS_BMP}]", _MARK))


def _is_wide(text: str) -> bool:
    return _WIDE.search(text) is not None


def cleared(text: str, replaced: Callable[[re.Match[str]], str] = lambda found: "") -> str:
    """The text without its invisible characters, or with them replaced. Takes linear time."""
    if _ANY[_is_wide(text)].search(text) is None:
        return text
    return _PARSED.sub(lambda found: found[1] or replaced(found), text)


def overloaded(text: str) -> bool:
    """Whether more than MOST_MARKS marks stand in a row. Takes linear time: it decomposes short runs only."""
    if _PERHAPS[_is_wide(text)].search(text) is None:
        return False
    return _STACKED.search(text) is not None or _STACKED.search(normalize("NFD", text)) is not None


def unstacked(text: str) -> str:
    """The text with no more than MOST_MARKS marks in a row."""
    return _STACKED.sub(r"\1", text) if _PERHAPS[_is_wide(text)].search(text) is not None else text


_RIGHT_TO_LEFT: Final = frozenset({"R", "AL", "AN"})


def is_right_to_left(text: str) -> bool:
    """Whether it has letters that are written from right to left. Some terminals move the digits and punctuation behind
    these to their other side, whoever wrote them."""
    return not text.isascii() and any(bidirectional(char) in _RIGHT_TO_LEFT for char in text)
