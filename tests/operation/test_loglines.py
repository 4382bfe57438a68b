"""Events of the log as text and as JSON."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from chatserver.operation.log.formats import FIELD_CHARACTERS, as_json, as_text
from chatserver.operation.log.tracebacks import traceback


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def failure(error: BaseException) -> Failure:
    try:
        raise error
    except BaseException:
        return Failure()


def event(**fields: Any) -> dict[str, Any]:
    return {
        "log_time": 1772445720.123456,
        "log_level": LogLevel.info,
        "log_namespace": "chatserver.test",
        "log_format": "Hello, {name}.",
        "name": "ana",
    } | fields


odd = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
    st.sampled_from([Unprintable(), failure(ValueError("x")), 10**5000, "x" * 200_000, b"\xff" * 5000, LogLevel.warn]),
)  # fmt: skip


def test_text() -> None:
    """One line: the local time with its offset, namespace and level, and the message; a traceback follows, indented."""
    line = as_text(event())
    assert re.fullmatch(r"2026-03-02T\d\d:02:00[+-]\d{4} \[chatserver\.test#info\] Hello, ana\.", line)
    first, *rest = as_text(event(log_level=LogLevel.critical, log_failure=failure(ZeroDivisionError("by 0")))).split(
        "\n"
    )
    assert first.endswith("[chatserver.test#critical] Hello, ana.")
    assert rest[0] == "\tTraceback (most recent call last):"
    assert rest[-1] == "\tZeroDivisionError: by 0"
    assert all(line.startswith("\t") for line in rest)


def test_json() -> None:
    """One object: time in UTC, level, namespace, message, plain fields, and the traceback as a string."""
    found = json.loads(as_json(event(count=3, of=b"bytes", reactor=object(), log_failure=failure(KeyError("x")))))
    assert found.pop("traceback").startswith("Traceback (most recent call last):\n")
    assert found == {
        "time": "2026-03-02T10:02:00.123456Z",
        "level": "info",
        "namespace": "chatserver.test",
        "message": "Hello, ana.",
        "name": "ana",
        "count": 3,
        "of": "bytes",
    }


def test_old_events() -> None:
    """Events of twisted.python.log have a level, too, and an error's traceback once."""
    old = {"time": 1772445720.1, "message": (), "system": "-", "isError": 1, "failure": failure(ValueError("bad"))}
    told = old | {
        "log_format": "{log_text}",
        "log_text": "Unhandled\nTraceback: 'secret'",
        "log_level": LogLevel.critical,
    }
    assert as_text(told).count("Traceback") == 1
    found = json.loads(as_json(told))
    assert found.keys() == {"time", "level", "namespace", "message", "traceback"}
    assert "secret" not in str(found)


@given(st.dictionaries(st.one_of(st.text(), st.integers()), odd, max_size=60), odd, odd, odd)
def test_odd_values(fields: dict[Any, Any], time: Any, level: Any, words: Any) -> None:
    """Whatever an event contains, text is one line that no terminal obeys, JSON is one object in printable ASCII, and
    both are bounded."""
    odd_event = fields | {"log_time": time, "log_level": level, "log_format": "{words} {nothing}", "words": words}
    line = as_text(odd_event)
    assert "\n" not in line
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e]", line)
    assert len(line) < 60_000
    said = as_json(odd_event)
    assert said.isascii()
    assert said.isprintable()
    assert {"time", "level", "namespace", "message"} <= json.loads(said).keys()
    assert all(len(str(value)) < FIELD_CHARACTERS + 40 for key, value in json.loads(said).items() if key != "message")
    assert len(said) < 400_000


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (KeyError("SECRET"), "KeyError"),
        (ValueError("invalid literal: 'SECRET'"), "ValueError"),
        (RuntimeError("SECRET"), "RuntimeError"),
        (TypeError("first line\nSECRET"), "TypeError: first line"),
        (UnicodeEncodeError("utf-8", "SECRET", 0, 1, "surrogates"), "UnicodeEncodeError: surrogates"),
        (AttributeError("'None' has no attribute 'x'"), "AttributeError: 'None' has no attribute 'x'"),
        (OSError(2, "No such file", "a.db"), "FileNotFoundError: [Errno 2] No such file: 'a.db'"),
    ],
)  # fmt: skip
def test_no_values_in_tracebacks(error: BaseException, shown: str) -> None:
    """A traceback shows where something failed and how, but not the value that it failed with."""
    lines = traceback(failure(error)).split("\n")
    assert lines[-1] == shown
    assert 'test_loglines.py", line' in lines[1]


def test_causes() -> None:
    """The cause of an exception is named under it; an exception that cannot be shown is named."""
    try:
        try:
            raise KeyError("SECRET")
        except KeyError as cause:
            raise OSError("it failed") from cause
    except OSError:
        lines = traceback(Failure()).split("\n")
    assert lines[-2:] == ["OSError: it failed", "Caused by KeyError"]
    assert "cannot be shown" in traceback(failure(TypeError(Unprintable())))
