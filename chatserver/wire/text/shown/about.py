"""The context of an entry: its author, the message that it answers or is about, and reactions to it.

The words of others in it have no bracket that could end it early, so that its end is clear.
"""

from functools import lru_cache
from unicodedata import category

from chatserver.values.events import Entry
from chatserver.wire.hygiene.invisible import is_right_to_left
from chatserver.wire.text.shown.cells import cut, most_cells
from chatserver.wire.text.shown.terminal import Terminal

BOT = "bot"

REACTION_CELLS = 12
"""Maximum width of one reaction. Longer ones are cut."""


def called(name: str, display: str, *facts: str) -> str:
    """The label of an account: its name, behind its display name if it has one, and further facts:
    `José Müller (jose)`, `deploy (bot)`, `Deploy Robot (deploy, bot)`."""
    if display.isascii() and display.lower() == name.lower():  # it says the same
        name, display = display, ""
    known = ", ".join(filter(None, (name if display else "", *facts)))
    return f"{display or name} ({known})" if known else name


def quoted(entry: Entry, terminal: Terminal) -> str:
    """` (re #41 bob: first words…)`; without the words if they are gone, and without the author where the reader may
    not read them."""
    words = _quote(entry, terminal)
    return f" (re #{entry.of} {words})" if words else f" (re #{entry.of})"


def message(entry: Entry, terminal: Terminal) -> str:
    """The message that an entry is about: `#41 (bob: first words…)`, with as much of it as in `quoted`."""
    words = _quote(entry, terminal)
    return f"#{entry.of} ({words})" if words else f"#{entry.of}"


def _quote(entry: Entry, terminal: Terminal) -> str:
    quote = entry.quote
    if quote is None or quote.hidden:
        return ""
    words = cut(" ".join(quote.text.removeprefix("/me ").split()), terminal.quoted)
    if is_right_to_left(words):  # what follows it would move
        words = ""
    author = quote.author or "the server"
    return f"{author}: {_bare(words)}" if words else author


def reacted(entry: Entry, terminal: Terminal) -> str:
    """` [+1 ×3, ❤ ×1]`: the most frequent ones, as many as fit in half a line, so that they cannot push the message
    away."""
    left = terminal.columns // 2
    shown: list[str] = []
    for word, count in sorted(entry.reactions, key=lambda given: -given[1]):
        words = f"{_bare(cut(word, REACTION_CELLS), kept='()')} ×{count}"
        left -= most_cells(words) + len(", ")
        if shown and left < 0:
            shown.append("…")
            break
        shown.append(words)
    return f" [{', '.join(shown)}]"


def _bare(words: str, kept: str = "") -> str:
    """The words without brackets but those in `kept`."""
    return "".join([char if char in kept else _shown(char) for char in words])


@lru_cache(maxsize=1024)
def _shown(char: str) -> str:
    return "|" if category(char) in ("Ps", "Pe") else char
