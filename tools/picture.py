"""Draws a transcript as the terminals of its clients, in SVG: the picture in the README. `make picture` runs it.

The lines are those of tests/transcripts/picture.txt, which tests/test_transcripts.py plays to a real server; pyte, a
terminal in memory, decides where each character stands. Nothing varies, so the same transcript gives the same bytes.
"""

from collections.abc import Iterable, Iterator
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Final

import pyte
from pyte.screens import Char

from tests.support.transcript import END, Step, read

ROOT: Final = Path(__file__).resolve().parents[1]
TRANSCRIPT: Final = ROOT / "tests" / "transcripts" / "picture.txt"
PICTURE: Final = ROOT / "docs" / "img" / "terminal.svg"
COMMAND: Final = "nc localhost 4000"

BEGIN: Final = "# The picture begins here."
COLUMNS: Final = 80
CELL_WIDTH, CELL_HEIGHT, BASELINE = 8.4, 18, 13
FONT_SIZE: Final = 14
MARGIN, TITLE, SPACE = 14, 26, 16
FONT: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
PAGE, BAR, EDGE, PLAIN = "#16191d", "#262b31", "#3a4149", "#c9d1d9"
COLOURS: Final = {"default": PLAIN, "cyan": "#79c0ff", "black": "#8b949e"}
"""By pyte's names: what the server says, what people type, and the shell's prompt."""
TYPED, PROMPT, RESET = "\x1b[36m", "\x1b[30m", "\x1b[0m"


def terminal(client: str, steps: Iterable[Step]) -> list[str]:
    """The lines on one client's terminal: those of the server, and typed ones, which the terminal echoes."""
    lines = [f"{PROMPT}${RESET} {TYPED}{COMMAND}{RESET}"]
    for step in steps:
        if step.client == client and step.text != END:
            lines.append(f"{TYPED}{step.text}{RESET}" if step.says else step.text)
    return lines


def screen(lines: list[str]) -> pyte.Screen:
    """A terminal that is as high as these lines need."""
    rows = 2 * len(lines)
    shown = pyte.Screen(COLUMNS, rows)
    pyte.Stream(shown).feed("\r\n".join(lines))
    shown.resize(shown.cursor.y + 1, COLUMNS)
    return shown


def runs(line: Iterable[Char]) -> Iterator[tuple[int, str, str]]:
    """Neighbouring characters of one colour that are not all blank: the first column, the colour, the text.

    What follows a wide character begins anew, since it depends on the font how wide that is.
    """
    cells = [(at, char) for at, char in enumerate(line) if char.data]  # behind a wide character stands an empty one
    while cells and cells[-1][1].data == " ":
        cells.pop()
    numbered = [(at - number, at, char) for number, (at, char) in enumerate(cells)]
    for (colour, _), group in groupby(numbered, key=lambda cell: (str(cell[2].fg), cell[0])):
        found = [(at, char) for _, at, char in group]
        text = "".join(char.data for _, char in found)
        if text.strip():
            yield found[0][0], colour, text


def pane(name: str, shown: pyte.Screen, top: float) -> tuple[list[str], float]:
    """One terminal with its title; and its height."""
    width, height = COLUMNS * CELL_WIDTH + 2 * MARGIN, shown.lines * CELL_HEIGHT + TITLE + MARGIN
    parts = [
        f'<g transform="translate(0 {top:g})">',
        f'<rect width="{width:g}" height="{height:g}" rx="8" fill="{PAGE}" stroke="{EDGE}"/>',
        f'<path d="M0 {TITLE}V8a8 8 0 0 1 8-8H{width - 8:g}a8 8 0 0 1 8 8V{TITLE}z" fill="{BAR}"/>',
        f'<text x="{MARGIN}" y="18" fill="{COLOURS["black"]}">{escape(name)}</text>',
    ]
    for row in range(shown.lines):
        line = [shown.buffer[row][column] for column in range(COLUMNS)]
        for column, colour, text in runs(line):
            x, y = MARGIN + column * CELL_WIDTH, TITLE + 6 + row * CELL_HEIGHT + BASELINE
            parts.append(f'<text x="{x:g}" y="{y:g}" fill="{COLOURS[colour]}">{escape(text)}</text>')
    return [*parts, "</g>"], height


def picture(path: Path = TRANSCRIPT) -> str:
    """The terminals of a transcript's clients, one above the other, by name."""
    begin = path.read_text(encoding="utf-8").splitlines().index(BEGIN) + 1
    steps = [step for step in read(path, {}).steps if step.number > begin]
    parts: list[str] = []
    top = 0.5
    names = sorted({step.client for step in steps if step.client.isalpha()})
    for name in names:
        drawn, height = pane(f"{name}'s terminal", screen(terminal(name, steps)), top)
        parts += drawn
        top += height + SPACE
    width, height = COLUMNS * CELL_WIDTH + 2 * MARGIN + 1, top - SPACE + 0.5
    size = f'viewBox="-0.5 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FONT}" font-size="{FONT_SIZE}">',
            f"<title>The terminals of {' and '.join(names)}, who chat with nc</title>",
            "<style>text { white-space: pre }</style>",
            *parts,
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
