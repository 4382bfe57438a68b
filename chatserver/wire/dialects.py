"""The dialects that the server speaks."""

from typing import Final

from chatserver.wire.dialect import Dialect
from chatserver.wire.jsonl import JSONL
from chatserver.wire.text import TEXT

DIALECTS: Final[tuple[Dialect, ...]] = (JSONL, TEXT)
"""In the order in which each is asked whether it recognizes a first line. The last one recognizes every line."""
