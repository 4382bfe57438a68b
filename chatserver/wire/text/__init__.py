"""Text, the dialect of people: what they type and what they read."""

from chatserver.wire.text.dialect import TEXT, Text

__all__ = ["TEXT", "Text"]
