"""JSON Lines, the dialect of programs: one JSON object per line."""

from chatserver.wire.jsonl.dialect import JSONL, JsonLines

__all__ = ["JSONL", "JsonLines"]
