"""Events of the log as text or JSON. Neither fails, whatever an event contains, and both are bounded."""

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final

from twisted.logger import LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure

from chatserver.operation.log.tracebacks import traceback
from chatserver.util.times import unix_now

MESSAGE_CHARACTERS: Final = 8_000
TRACEBACK_CHARACTERS: Final = 24_000
"""Maximum length of tracebacks: they fit into a line of journald, which is cut at 48 KiB."""
FIELD_CHARACTERS: Final = 1_000
FIELDS: Final = 40

LEVELS: Final[dict[Any, str]] = {
    LogLevel.debug: "debug",
    LogLevel.info: "info",
    LogLevel.warn: "warn",
    LogLevel.error: "error",
    LogLevel.critical: "critical",
}
_LEGACY: Final = frozenset({"message", "time", "system", "isError", "failure", "format", "why", "logLevel"})
"""Fields that twisted.python.log puts into an event."""
_DERIVED: Final = frozenset({"pairs", "level", "namespace", "traceback"})
"""Fields that JSON has under other names."""
_UNCLEAN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that a terminal could obey, or that could pass for the end of a line."""
_LINE_UNCLEAN: Final = re.compile(_UNCLEAN.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))

Line = Callable[[LogEvent], str]

_LISTENING: Final = re.compile(r"\w+ starting on \S+")
"""What Twisted says of each port: the server has a line of its own, with the address."""


def level_of(event: LogEvent) -> str:
    if event.get("log_namespace") == "log_legacy" and _LISTENING.fullmatch(str(event.get("log_text"))):
        return "debug"
    return LEVELS.get(event.get("log_level"), "info")


def as_text(event: LogEvent) -> str:
    """`TIME [NAMESPACE#LEVEL] MESSAGE`, one line without its end; the lines of a traceback follow, each behind a tab.
    The time is local, with the offset from UTC."""
    return f"{_local_time(_seconds(event))} {without_time(event)}"


def without_time(event: LogEvent) -> str:
    """`as_text`, for readers that add a time themselves."""
    text = f"[{_clean(_namespace(event))}#{level_of(event)}] {_clean(_message(event))}"
    failure = _failure(event)
    if failure is not None:
        lines = _cut(traceback(failure), TRACEBACK_CHARACTERS)
        text += "\n" + _LINE_UNCLEAN.sub(_escaped, lines)
    return text.replace("\n", "\n\t")


def as_json(event: LogEvent) -> str:
    """One object: `time` (RFC 3339, UTC), `level`, `namespace`, `message`, the fields of the event that are plain, and
    `traceback`. ASCII, without control characters."""
    said: dict[str, Any] = {
        "time": _utc(_seconds(event)),
        "level": level_of(event),
        "namespace": _namespace(event),
        "message": _message(event),
    }
    for key, value in event.items():
        if len(said) >= FIELDS:
            break
        if isinstance(key, str) and not key.startswith("log_") and key not in _LEGACY and key not in _DERIVED:
            plain = _plain(value)
            if plain is not None:
                said[_cut(key, FIELD_CHARACTERS)] = plain
    failure = _failure(event)
    if failure is not None:
        said["traceback"] = _cut(traceback(failure), TRACEBACK_CHARACTERS)
    return json.dumps(said, separators=(",", ":")).replace("\x7f", "\\u007f")


FORMATS: Final[dict[str, Line]] = {"text": as_text, "json": as_json}


def _plain(value: object) -> str | int | float | bool | None:
    """The value if it is plain, else None: the message has it then."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _cut(str.__str__(value), FIELD_CHARACTERS)
    if isinstance(value, bytes):
        return _cut(bytes(value[: FIELD_CHARACTERS + 1]).decode("utf-8", "backslashreplace"), FIELD_CHARACTERS)
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**64 else None
    if isinstance(value, float):
        return float(value) if isfinite(value) else None
    return None


def _message(event: LogEvent) -> str:
    if event.get("log_format") == "{log_text}" and _failure(event) is not None:
        message = str(event.get("why") or "Unhandled error")  # the text of log.err() has the traceback in it
    else:
        try:
            message = formatEvent(event)
        except Exception:
            message = "This event cannot be shown."
    return _cut(message, MESSAGE_CHARACTERS)


def _failure(event: LogEvent) -> Failure | None:
    failure = event.get("log_failure") or event.get("failure")
    return failure if isinstance(failure, Failure) else None


def _namespace(event: LogEvent) -> str:
    return str(event.get("log_system") or event.get("log_namespace") or "-")[:200]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} ... ({len(text) - most} characters more)"


def _clean(text: str) -> str:
    return text if text.isascii() and text.isprintable() else _UNCLEAN.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _seconds(event: LogEvent) -> float:
    at = event.get("log_time")
    return at if isinstance(at, float) and 0 <= at < 2**36 else unix_now()


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _local_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))
