"""Lines for a terminal: their beginnings and ends, their width, and columns.

The server controls the beginning of every line: `* ` for a notice, `! ` for an error, `[room] ` for an entry. A text
with several lines continues after `   | `, so that nothing a client sent can appear at the beginning of a line.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime, tzinfo
from functools import lru_cache
from unicodedata import combining, east_asian_width

WIDTH = 78
"""Cells of a notice, not counting its `* `, so that a line has at most 80."""

GOES_ON = "\r\n   | "
GAP = "  "
LEAST = 20
"""Cells that a column of sentences needs. If fewer are left, the sentences go on lines of their own."""

# English in every locale, unlike strftime.
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip

# A second line of defence: `wire.hygiene` rejects these on input. \n is not among them, since messages have lines.
_HOSTILE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def line(text: str) -> bytes:
    """One line with its end. Every line of this dialect is made here."""
    if not text.isprintable():
        text = _HOSTILE.sub("\ufffd", text).replace("\n", GOES_ON)
    return (text + "\r\n").encode()


def notice(words: str) -> bytes:
    return line(f"* {words}")


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
    if text.isascii():
        return len(text)
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def cut(text: str, width: int = WIDTH) -> str:
    if cells(text) <= width:
        return text
    return _head(text, width - 1) + "…"


def _head(text: str, width: int) -> str:
    """The longest beginning that fits."""
    used = 0
    for index, char in enumerate(text):
        used += cells(char)
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
    """Each column as wide as its widest cell. The last column wraps onto further lines if it has to."""
    widths = [max(cells(row[column]) for row in (heading, *rows)) for column in range(len(heading) - 1)]
    indent = sum(widths) + len(GAP) * len(widths)
    below = WIDTH - indent < LEAST
    yield GAP.join(heading) if below else _row(widths, heading)
    for row in rows:
        if below:
            yield GAP.join(row[:-1])
            yield from (2 * GAP + piece for piece in folded(row[-1], WIDTH - 2 * len(GAP)))
            continue
        first, *others = folded(row[-1], WIDTH - indent) or [""]
        yield _row(widths, [*row[:-1], first])
        yield from (" " * indent + piece for piece in others)


def _row(widths: Sequence[int], row: Sequence[str]) -> str:
    padded = [_padded(cell, width) for cell, width in zip(row[:-1], widths, strict=True)]
    return GAP.join([*padded, row[-1]]).rstrip()


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cells(text))
