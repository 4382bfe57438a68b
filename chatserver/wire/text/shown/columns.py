"""Lists and tables, laid out to the width of a terminal."""

from collections.abc import Iterator, Sequence

from chatserver.wire.text.shown.cells import cells, folded, most_cells
from chatserver.wire.text.shown.terminal import Terminal

GAP = "  "
LEAST = 20
"""Minimum width of a column of sentences, in cells. If fewer are left, the sentences go on lines of their own."""


def listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def wrapped(before: str, items: Sequence[str], terminal: Terminal) -> Iterator[str]:
    """Items separated by commas, with line breaks only between items."""
    words = before
    for number, item in enumerate(items, 1):
        piece = item if number == len(items) else f"{item}, "
        if most_cells(words) + most_cells(piece.rstrip()) > terminal.width and words != before:
            yield words.rstrip()
            words = GAP
        words += piece
    yield words


def names(heading: str, items: Sequence[str], terminal: Terminal) -> Iterator[str]:
    """A short list on one line, a long one in columns below its heading."""
    short = f"{heading} {', '.join(items)}"
    if most_cells(short) <= terminal.width:
        yield short
        return
    yield heading
    width = max(map(cells, items)) + len(GAP)
    across = max(1, terminal.width // width)
    for start in range(0, len(items), across):
        row = items[start : start + across]
        yield (GAP + "".join(_padded(item, width) for item in row)).rstrip() if across > 1 else GAP + row[0]


def table(heading: Sequence[str], rows: Sequence[Sequence[str]], terminal: Terminal) -> Iterator[str]:
    """Each column as wide as its widest cell. The last column wraps onto further lines of a row if it has to."""
    widths = [max(cells(row[column]) for row in (heading, *rows)) for column in range(len(heading) - 1)]
    indent = sum(widths) + len(GAP) * len(widths)
    below = terminal.width - indent < LEAST
    yield GAP.join(heading) if below else _row(widths, heading)
    for row in rows:
        if below:
            pieces = folded(row[-1], terminal.behind - len(GAP))
            yield "\n".join([GAP.join(row[:-1]), *(GAP + piece for piece in pieces)])
            continue
        first, *others = folded(row[-1], terminal.width - indent) or [""]
        behind = " " * (indent - (terminal.width - terminal.behind))  # the same column as above
        yield "\n".join([_row(widths, [*row[:-1], first]), *(behind + piece for piece in others)])


def beside(rows: Sequence[tuple[str, str]], terminal: Terminal) -> Iterator[str]:
    """Words with what they mean: in a second column, or below them where they do not fit there."""
    column = max(cells(words) for words, _ in rows)
    for words, meaning in rows:
        if column + len(GAP) + most_cells(meaning) <= terminal.width:
            yield _row((column,), (words, meaning))
        else:
            yield "\n".join([words, *(GAP + piece for piece in folded(meaning, terminal.behind - len(GAP)))])


def _row(widths: Sequence[int], row: Sequence[str]) -> str:
    padded = [_padded(cell, width) for cell, width in zip(row[:-1], widths, strict=True)]
    return GAP.join([*padded, row[-1]]).rstrip()


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cells(text))
