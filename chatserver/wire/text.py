"""The dialect of people: what they type, and what they read."""

from chatserver.wire.textentries import entries, mentioned, mentions
from chatserver.wire.textlines import date_line, notice
from chatserver.wire.textparse import parse, parse_greeting
from chatserver.wire.textrender import news, reply

__all__ = ["date_line", "entries", "mentioned", "mentions", "news", "notice", "parse", "parse_greeting", "reply"]
