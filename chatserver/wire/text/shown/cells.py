"""How wide text is on a terminal, and where it can be cut.

Terminals differ. `cells` is what a current one needs (by the library wcwidth), which is right for columns. `most_cells`
is what any terminal might need: an emoji that is joined from several may be shown as these, and one that is newer than
a terminal as something else. It decides where lines end, so that no terminal has to break one.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from unicodedata import category, east_asian_width

from wcwidth import iter_graphemes, wcswidth, wcwidth

_NARROW = re.compile(
    "[ -\u02ff\u0384-\u038a\u038c\u038e-\u03a1\u03a3-\u0482\u048a-\u052f\u2010-\u2027\u2030-\u205e\u20a0-\u20bf]+"
)
"""European letters, punctuation and currencies: most of the text that is not ASCII."""

MOST_TOGETHER = 12
"""Maximum width of one grapheme cluster, in cells; a wider one is cut."""


def is_narrow(text: str) -> bool:
    """Whether each character takes one cell, as far as a quick check can tell."""
    return text.isascii() or _NARROW.fullmatch(text) is not None


def cells(text: str) -> int:
    """Returns the number of cells that a current terminal needs to show it."""
    if is_narrow(text):
        return len(text)
    width = wcswidth(text)
    return width if width >= 0 else most_cells(text)  # it has control characters


def most_cells(text: str) -> int:
    """Returns the number of cells that any terminal may need."""
    return len(text) if is_narrow(text) else sum(map(_most_of, text))


@lru_cache(maxsize=4096)
def _most_of(char: str) -> int:
    kind = category(char)
    if kind in ("Mn", "Me"):
        return 1 if char == "\ufe0f" else 0  # it may make an emoji of a symbol
    # Newer emoji are not in Python's tables yet.
    wide = east_asian_width(char) in "WF" or kind == "Cn" or char >= "\U0001f000"
    return max(2 if wide else 1, wcwidth(char))


def _most_of_piece(piece: str) -> int:
    return _most_of(piece) if len(piece) == 1 else sum(map(_most_of, piece))


def _together(text: str) -> Iterator[str]:
    """Its inseparable pieces: letters with their marks, emoji with what is joined to them."""
    for grapheme in iter_graphemes(text):
        if len(grapheme) > 1 and _most_of_piece(grapheme) > MOST_TOGETHER:
            yield from grapheme
        else:
            yield grapheme


# Cutting


def cut(text: str, width: int) -> str:
    """As much of it as fits, with … if it is cut."""
    if most_cells(text) <= width:
        return text
    return head(text, width - 1) + "…"


def head(text: str, width: int) -> str:
    """Returns the longest beginning that fits."""
    if is_narrow(text):
        return text[:width]
    used = length = 0
    for piece in _together(text):
        used += _most_of_piece(piece)
        if used > width:
            return text[:length]
        length += len(piece)
    return text


def broken(text: str, width: int, others: int, used: int = 0) -> Iterator[str]:
    """Breaks text into pieces: the first of at most `width` cells, with the `used` ones in front of it, the others of
    `others`; at blanks where one is in the second half of a line. Takes linear time."""
    return _broken_narrow(text, width, others, used) if is_narrow(text) else _broken_wide(text, width, others, used)


def _broken_narrow(text: str, width: int, others: int, used: int) -> Iterator[str]:
    start, end = 0, len(text)
    while start + width - used < end:
        stop = start + width - used
        if not text[stop].isspace():
            blank = text.rfind(" ", start + max(width // 2 + 1 - used, 1), stop)
            stop = blank if blank > 0 else start if used > width // 2 else stop
        yield text[start:stop].rstrip()
        start, width, used = _behind_blanks(text, stop), others, 0
        if start == end:
            return
    yield text[start:]


def _broken_wide(text: str, width: int, others: int, used: int) -> Iterator[str]:
    stops, ends = _measured(text)
    start = first = 0  # of the line: its first character, and its first piece
    while True:
        before = (ends[first - 1] if first else 0) - used
        last = max(bisect_right(ends, before + width, first), first if used else first + 1)
        if last >= len(stops):
            yield text[start:]
            return
        stop = stops[last - 1] if last else 0
        if not text[stop].isspace():
            blank = max(text.rfind(" ", start, stop), text.rfind("\u3000", start, stop))
            piece = bisect_right(stops, blank)
            if blank > start and piece and ends[piece - 1] - before > width // 2:
                stop = blank
            elif used > width // 2:
                stop = start
        yield text[start:stop].rstrip()
        stop = _behind_blanks(text, stop)
        if stop == len(text):
            return
        start, first, width, used = stop, bisect_right(stops, stop), others, 0


@lru_cache(maxsize=16)  # the same message, for screens of different widths
def _measured(text: str) -> tuple[list[int], list[int]]:
    """The end of each of its inseparable pieces, in characters and in cells."""
    pieces = list(_together(text))
    return list(accumulate(map(len, pieces))), list(accumulate(map(_most_of_piece, pieces)))


def _behind_blanks(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def folded(text: str, width: int) -> list[str]:
    """Pieces that fit, broken at blanks where possible."""
    pieces, piece = [], ""
    for word in text.split():
        while word:
            longer = f"{piece} {word}" if piece else word
            if most_cells(longer) <= width:
                piece, word = longer, ""
            elif piece:
                pieces.append(piece)
                piece = ""
            else:
                piece = head(word, width) or word[:1]
                word = word[len(piece) :]
    return [*pieces, piece] if piece else pieces
