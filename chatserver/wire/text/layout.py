"""Lines for a terminal: their beginnings and ends, their width, and columns.

The server controls the beginning of every line: `* ` for a notice, `! ` for an error, `[room] ` for an entry. What has
several lines, or is longer than a terminal's line, continues after `   | `, so that nothing that a client sent can
appear at the beginning of a line, not even where a terminal breaks it.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import date, datetime, tzinfo
from functools import lru_cache
from itertools import accumulate
from unicodedata import category, east_asian_width

from chatserver.wire.hygiene import presentable

LINE = 80
"""Cells of a line: the width that nearly every terminal has at least."""
WIDTH = LINE - 2
"""The same for the words of a notice, not counting its `* `."""

GOES_ON = "\r\n   | "
BEHIND = LINE - len("   | ")
"""Cells behind it."""
MOST_BLANKS = 2
"""In a row, within a line that somebody said. More could pad it to where a terminal begins its next line."""
MOST_INDENT = 8
"""Blanks at the beginning of a further line, so that code is still to be read."""
GAP = "  "
LEAST = 20
"""Cells that a column of sentences needs. If fewer are left, the sentences go on lines of their own."""

# English in every locale, unlike strftime.
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip

_BLANK = "[ \xa0\u1680\u2000-\u200a\u202f\u205f\u3000]"
_BLANKS = re.compile(f"^({_BLANK}+)|{_BLANK}{{{MOST_BLANKS + 1},}}", re.MULTILINE)
_NARROW = re.compile(
    "[ -\u02ff\u0384-\u038a\u038c\u038e-\u03a1\u03a3-\u0482\u048a-\u052f\u2010-\u2027\u2030-\u205e\u20a0-\u20bf]+"
)
"""The letters of Europe, punctuation and currencies: what most text has that is not ASCII."""
_PADDING = " " * (MOST_BLANKS + 1)

# Every line of this dialect is made by one of the next three functions. `presentable` is a second line of defence:
# validation refuses or drops the same on input, but a row of the database may be older than it.


def line(text: str) -> bytes:
    """What somebody said, with its beginning, on as many lines as it takes. Runs of blanks are shortened."""
    if text.isascii() and text.isprintable() and len(text) <= LINE and _PADDING not in text:  # nearly always
        return (text + "\r\n").encode()
    return _lines(squeezed(presentable(text)))


def notice(words: str) -> bytes:
    """The same for an answer or news. Columns stay as they are."""
    return _lines(presentable(f"* {words}"))


def unbroken(text: str) -> bytes:
    """The server's own words, in which others have no say, on one line of any length: a program may look for it."""
    return (presentable(text).replace("\n", GOES_ON) + "\r\n").encode()


def squeezed(text: str) -> str:
    """With runs of blanks shortened."""
    return _BLANKS.sub(lambda found: " " * min(len(found[0]), MOST_INDENT if found[1] else MOST_BLANKS), text)


def _lines(text: str) -> bytes:
    pieces: list[str] = []
    for part in text.split("\n"):
        pieces += _broken(part, BEHIND if pieces else LINE)
    return (GOES_ON.join(pieces) + "\r\n").encode()


def _broken(text: str, width: int) -> Iterator[str]:
    """Pieces of which the first has `width` cells at most, and the others BEHIND: broken at blanks where one is in the
    second half of a line. Takes linear time."""
    ends: Sequence[int] = range(1, len(text) + 1) if _is_narrow(text) else list(accumulate(map(_cells_of, text)))
    start = 0
    while True:
        before = ends[start - 1] if start else 0
        stop = bisect_right(ends, before + width, start)
        if stop == len(text):
            yield text[start:]
            return
        if not text[stop].isspace():
            blank = max(text.rfind(" ", start, stop), text.rfind("\u3000", start, stop))
            if blank > start and ends[blank] - before > width // 2:
                stop = blank
        yield text[start:stop].rstrip()
        while stop < len(text) and text[stop].isspace():
            stop += 1
        if stop == len(text):
            return
        start, width = stop, BEHIND


# Times


def date_line(day: date) -> bytes:
    return notice(date_words(day))


def date_words(day: date) -> str:
    return f"{DAYS[day.weekday()]} {day.day} {MONTHS[day.month - 1]} {day.year}"


@lru_cache(maxsize=1024)  # entries of a busy room share the same few times
def clock(at: datetime, zone: tzinfo | None) -> str:
    local = at.astimezone(zone)
    return f"{local.hour:02}:{local.minute:02}"


@lru_cache(maxsize=1024)
def local_day(at: datetime, zone: tzinfo | None) -> date:
    return at.astimezone(zone).date()


def short_time(at: datetime, zone: tzinfo | None) -> str:
    local = at.astimezone(zone)
    return f"{local.year:04}-{local.month:02}-{local.day:02} {local.hour:02}:{local.minute:02}"


# Width


def cells(text: str) -> int:
    """How many cells a terminal needs to show it."""
    return len(text) if _is_narrow(text) else sum(map(_cells_of, text))


def _is_narrow(text: str) -> bool:
    """Whether each character takes one cell, as far as that is to be seen quickly."""
    return text.isascii() or _NARROW.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def _cells_of(char: str) -> int:
    """Rather too many than too few: terminals differ, and a line must not be wider than the server takes it to be."""
    kind = category(char)
    if kind in ("Mn", "Me"):
        return 1 if char == "\ufe0f" else 0  # it may make an emoji of a symbol
    # Newer emoji are not in Python's tables yet.
    return 2 if east_asian_width(char) in "WF" or kind == "Cn" or char >= "\U0001f000" else 1


def cut(text: str, width: int = WIDTH) -> str:
    if cells(text) <= width:
        return text
    return _head(text, width - 1) + "…"


def _head(text: str, width: int) -> str:
    """The longest beginning that fits."""
    if text.isascii():
        return text[:width]
    used = 0
    for index, char in enumerate(text):
        used += _cells_of(char)
        if used > width:
            return text[:index]
    return text


def folded(text: str, width: int) -> list[str]:
    """Pieces that fit, broken at blanks where possible."""
    pieces, piece = [], ""
    for word in text.split():
        while word:
            longer = f"{piece} {word}" if piece else word
            if cells(longer) <= width:
                piece, word = longer, ""
            elif piece:
                pieces.append(piece)
                piece = ""
            else:
                piece = _head(word, width)
                word = word[len(piece) :]
    return [*pieces, piece] if piece else pieces


def wrapped(before: str, items: Sequence[str]) -> Iterator[str]:
    """Items separated by commas, with line breaks only between items."""
    words = before
    for number, item in enumerate(items, 1):
        piece = item if number == len(items) else f"{item}, "
        if len(words) + len(piece.rstrip()) > WIDTH and words != before:
            yield words.rstrip()
            words = GAP
        words += piece
    yield words


def listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


# Columns


def names(heading: str, items: Sequence[str]) -> Iterator[str]:
    """A short list on one line, a long one in columns below its heading."""
    short = f"{heading} {', '.join(items)}"
    if len(short) <= WIDTH:
        yield short
        return
    yield heading
    width = max(map(cells, items)) + len(GAP)
    across = max(1, WIDTH // width)
    for start in range(0, len(items), across):
        row = items[start : start + across]
        yield (GAP + "".join(_padded(item, width) for item in row)).rstrip() if across > 1 else GAP + row[0]


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Each column as wide as its widest cell. The last column wraps onto further lines of a row if it has to."""
    widths = [max(cells(row[column]) for row in (heading, *rows)) for column in range(len(heading) - 1)]
    indent = sum(widths) + len(GAP) * len(widths)
    below = WIDTH - indent < LEAST
    yield GAP.join(heading) if below else _row(widths, heading)
    for row in rows:
        if below:
            pieces = folded(row[-1], BEHIND - len(GAP))
            yield "\n".join([GAP.join(row[:-1]), *(GAP + piece for piece in pieces)])
            continue
        first, *others = folded(row[-1], WIDTH - indent) or [""]
        behind = " " * (indent - (WIDTH - BEHIND))  # the same column as above
        yield "\n".join([_row(widths, [*row[:-1], first]), *(behind + piece for piece in others)])


def _row(widths: Sequence[int], row: Sequence[str]) -> str:
    padded = [_padded(cell, width) for cell, width in zip(row[:-1], widths, strict=True)]
    return GAP.join([*padded, row[-1]]).rstrip()


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cells(text))
