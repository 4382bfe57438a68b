"""Tracebacks for the log: where something failed, and with which kind of error, but no value that it failed with.

An exception's message may quote a client: the key of a KeyError, the literal of a ValueError, a row in the text of a
database. So messages are shown only of errors that are about code, files and connections, and of our own that are
written for administrators. The line of the code that failed is there in any case.
"""

import linecache
from collections.abc import Iterator
from typing import Any, Final

from twisted.python.failure import Failure

from chatserver.store.db import faults

_SHOWN: Final = (ArithmeticError, AttributeError, ImportError, NameError, OSError, SystemExit, TypeError)
_SHOWN_MODULES: Final = ("chatserver.settings.tables", "chatserver.store.", "twisted.internet.error", "OpenSSL.")
_MOST_CHARACTERS: Final = 300
_MOST_FRAMES: Final = 60
_MOST_CAUSES: Final = 5


def traceback(failure: Failure) -> str:
    """The lines of a traceback, without an end of line behind the last one. Raises nothing."""
    try:
        return "\n".join(_lines(failure))
    except Exception as error:
        return f"The traceback cannot be shown ({type(error).__name__})."


def summary(error: BaseException) -> str:
    """The class of an exception, and what can be shown of its message."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    words = _words(error)
    return f"{name}: {words}" if words else name


def _words(error: BaseException) -> str:
    if isinstance(error, UnicodeError):
        return getattr(error, "reason", "")
    try:
        words = faults.shown(error)
        if words is None:
            if not isinstance(error, _SHOWN) and not type(error).__module__.startswith(_SHOWN_MODULES):
                return ""
            words = str(error).strip().partition("\n")[0]
    except Exception:
        return "its message cannot be shown"
    return words if len(words) <= _MOST_CHARACTERS else f"{words[:_MOST_CHARACTERS]} ..."


def _lines(failure: Failure) -> Iterator[str]:
    value: Any = failure.value
    yield "Traceback (most recent call last):"
    frames = list(failure.frames)
    if len(frames) > _MOST_FRAMES:
        yield f"  ... {len(frames) - _MOST_FRAMES} more"
    for function, file, number, *_ in frames[-_MOST_FRAMES:]:
        yield f'  File "{file}", line {number}, in {function}'
        yield f"    {linecache.getline(file, number).strip()}"
    yield summary(value) if isinstance(value, BaseException) else str(failure.type)
    for _ in range(_MOST_CAUSES):
        value = getattr(value, "__cause__", None)
        if value is None:
            break
        yield f"Caused by {summary(value)}"
