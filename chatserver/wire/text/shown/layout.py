"""Lines for a terminal: their beginnings and ends.

The server controls the beginning of every line: `* ` for a notice, `! ` for an error, `[room] ` for an entry. What has
several lines, or is longer than a terminal's line, continues after `   | `, so that nothing that a client sent can
appear at the beginning of a line, not even where a terminal breaks it.
"""

import re
from datetime import date
from functools import lru_cache

from chatserver.wire.hygiene.text import presentable
from chatserver.wire.text.shown.cells import broken, most_cells
from chatserver.wire.text.shown.terminal import Terminal, date_words

GOES_ON = "\r\n   | "
MOST_BLANKS = 2
"""Maximum number of blanks in a row, within a line of a message. More could pad it to where a terminal begins its next
line."""
MOST_INDENT = 8
"""Maximum number of blanks at the beginning of a further line, so that code can be read."""

_BLANK = "[ \xa0\u1680\u2000-\u200a\u202f\u205f\u3000]"
_BLANKS = re.compile(f"^({_BLANK}+)|{_BLANK}{{{MOST_BLANKS + 1},}}", re.MULTILINE)
_PADDING = " " * (MOST_BLANKS + 1)

# Every line of this dialect is made by one of the next four functions. `presentable` is a second line of defence:
# validation refuses or drops the same on input, but a row of the database may be older than it.


def line(text: str, terminal: Terminal) -> bytes:
    """A message behind its beginning, on as many lines as it takes. Runs of blanks are shortened."""
    if _is_plain(text, terminal):
        return (text + "\r\n").encode()
    return _laid_out(squeezed(presentable(text)), terminal)


def said(before: str, words: str, terminal: Terminal) -> bytes:
    """Lays out an entry. Its time is in `before`, and differs between people for whom the rest is equal."""
    text = before + words
    if _is_plain(text, terminal):
        return (text + "\r\n").encode()
    before = presentable(before)
    used = most_cells(before)
    if used >= terminal.columns or "\n" in before:
        return _laid_out(_clean(text), terminal)
    return before.encode() + _behind(words, used, terminal.columns)


def _is_plain(text: str, terminal: Terminal) -> bool:
    """Whether it can be shown as it is, like nearly all messages."""
    return text.isascii() and text.isprintable() and len(text) <= terminal.columns and _PADDING not in text


@lru_cache(maxsize=256)
def _behind(words: str, used: int, columns: int) -> bytes:
    """The words behind `used` cells. However many people have screens of their own, there are few widths: a long
    message is not laid out for each of them."""
    return _laid_out(_clean(words), Terminal(columns), used)


@lru_cache(maxsize=16)
def _clean(words: str) -> str:
    return squeezed(presentable(words))


def notice(words: str, terminal: Terminal) -> bytes:
    """For an answer or news. Columns stay as they are."""
    return _laid_out(presentable(f"* {words}"), terminal)


def unbroken(text: str, terminal: Terminal) -> bytes:
    """The server's own words, which quote nobody. Where the client has not sent the width of its terminal, they stay on
    one line of any length: a program may look for them."""
    if terminal.told:
        return _laid_out(presentable(text), terminal)
    return (presentable(text).replace("\n", GOES_ON) + "\r\n").encode()


def squeezed(text: str) -> str:
    """With runs of blanks shortened."""
    return _BLANKS.sub(lambda found: " " * min(len(found[0]), MOST_INDENT if found[1] else MOST_BLANKS), text)


def _laid_out(text: str, terminal: Terminal, used: int = 0) -> bytes:
    first, *others = text.split("\n")
    pieces = list(broken(first, terminal.columns, terminal.behind, used))
    for part in others:
        pieces += broken(part, terminal.behind, terminal.behind)
    return (GOES_ON.join(pieces) + "\r\n").encode()


def date_line(day: date, terminal: Terminal) -> bytes:
    return notice(date_words(day), terminal)
