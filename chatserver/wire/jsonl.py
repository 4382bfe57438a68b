"""The dialect of programs: one JSON object a line."""

from chatserver.wire.jsonlparse import Rejected, parse
from chatserver.wire.jsonlrender import entries, news, reply

__all__ = ["Rejected", "entries", "news", "parse", "reply"]
