"""The dialects that the server speaks."""

from typing import Final

from chatserver.wire.dialect import Dialect
from chatserver.wire.jsonl import JSONL
from chatserver.wire.text import TEXT

DIALECTS: Final[tuple[Dialect, ...]] = (JSONL, TEXT)
"""Dialects, in the order in which they are tried on a first line. The last one recognizes every line."""
