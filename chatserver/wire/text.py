"""The dialect of people: what they type, and what they read."""

from chatserver.wire.textparse import parse, parse_greeting
from chatserver.wire.textrender import date_line, entries, news, notice, reply

__all__ = ["date_line", "entries", "news", "notice", "parse", "parse_greeting", "reply"]
