"""The dialects that the server speaks."""

from typing import Final

from chatserver.values.errors import Sentence
from chatserver.values.events import Closing
from chatserver.wire.dialect import Dialect
from chatserver.wire.jsonl import JSONL
from chatserver.wire.sentences import for_programs
from chatserver.wire.text import TEXT

DIALECTS: Final[tuple[Dialect, ...]] = (JSONL, TEXT)
"""Dialects, in the order in which they are tried on a first line. The last one recognizes every line."""


def closing_for_any(reason: str, sentence: Sentence, retry: int) -> bytes:
    """The end of a connection for a client that has not shown its dialect: each dialect of programs. People are sent
    their text behind it."""
    item = Closing(reason, for_programs(reason, sentence), retry)
    return b"".join(dialect.news(item) for dialect in DIALECTS if not dialect.for_people)
