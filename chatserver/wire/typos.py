"""Likely meanings of a mistyped word."""

from collections.abc import Iterable
from typing import Final

LONG: Final = 7
"""Minimum length of a word that may have two wrong letters."""
SHORT: Final = 3
"""Minimum length of a word that others can be near to."""
MOST_LETTERS: Final = 24
"""Maximum length of a word that is near to a command."""


def alike(word: str, commands: Iterable[str]) -> list[str]:
    """The nearest commands: those of which the word is a mistyping. They begin with the same letter, unless the first
    two letters have changed places."""
    if not SHORT <= len(word) <= MOST_LETTERS:
        return []
    most = 2 if len(word) >= LONG else 1
    found: dict[int, list[str]] = {}
    for command in commands:
        begins_alike = word[0] == command[0] or word[:2] == command[1::-1]
        if len(command) >= SHORT and begins_alike and abs(len(word) - len(command)) <= most:
            found.setdefault(_mistakes(word, command), []).append(command)
    nearest = min(found, default=most + 1)
    return found[nearest][:2] if nearest <= most else []


def _mistakes(typed: str, meant: str) -> int:
    """Returns the number of letters that are missing, too many, wrong, or swapped with the next one."""
    before: list[int] = []
    last = list(range(len(meant) + 1))
    for row, letter in enumerate(typed, 1):
        now = [row]
        for column, other in enumerate(meant, 1):
            cost = min(last[column] + 1, now[-1] + 1, last[column - 1] + (letter != other))
            if row > 1 and column > 1 and letter == meant[column - 2] and typed[row - 2] == other:
                cost = min(cost, before[column - 2] + 1)
            now.append(cost)
        before, last = last, now
    return last[-1]
