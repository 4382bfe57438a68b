"""The server that is installed on this machine: what systemd starts it with, and as which user it runs.

The files are those of the unit in deploy/. Only root and the user of the server can read them.
"""

import os
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Final

from chatserver.settings.tables import ConfigProblem

FOLDER: Final = Path("/etc/chatserver")
"""Has the file `environment`, and as a rule the settings file."""

STATE: Final = Path("/var/lib/chatserver")
"""The working directory of the server. Its owner is the user that the server runs as."""

TREE: Final = Path(__file__).resolve().parents[2]
CHECKOUT: Final = TREE if (TREE / "pyproject.toml").is_file() else None
"""The source tree that this program runs from, if nobody has installed it."""

_ESCAPED: Final = re.compile(r"\\(.)")
_ESCAPED_IN_QUOTES: Final = re.compile(r'\\(["\\`$])')
_OPTIONS: Final = {"--config": "CHATSERVER_CONFIG", "--database": "CHATSERVER_DATABASE"}
"""Options of the server, and the variables that they take precedence over."""


def environment(node: str = "") -> dict[str, str] | None:
    """The environment that the installed server is started with, or that node of it; None if no server is installed.

    Options in CHATSERVER_OPTIONS are among it as variables. Raises PermissionError if that is nothing for this user,
    and ConfigProblem.
    """
    found = _read(FOLDER / "environment")
    settings = FOLDER / "chatserver.toml"
    if found is None and not settings.is_file():
        return None
    known = (found or {}) | (_read(FOLDER / f"environment-{node}") or {} if node else {})
    if "CHATSERVER_CONFIG" not in known and settings.is_file():
        known["CHATSERVER_CONFIG"] = str(settings)
    return known | dict(_chosen(known.get("CHATSERVER_OPTIONS", "").split()))


def owner() -> int | None:
    """The user that the installed server runs as; None if there is none."""
    try:
        return STATE.stat().st_uid
    except OSError:
        return None


def _read(path: Path) -> dict[str, str] | None:
    """The variables in a file with the syntax of systemd.exec(5), EnvironmentFile=. None: there is no such file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise
    except OSError as error:
        raise ConfigProblem(f"{path} cannot be read ({error.strerror}). Correct it.") from None
    lines = map(str.strip, text.replace("\\\n", "").splitlines())
    pairs = (line.partition("=") for line in lines if not line.startswith(("#", ";")))
    return {name.strip(): _value(value.strip()) for name, equals, value in pairs if equals}


def _value(text: str) -> str:
    """A value without its quotes and escapes."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        inner = text[1:-1]
        return inner if text[0] == "'" else _ESCAPED_IN_QUOTES.sub(r"\1", inner)
    return _ESCAPED.sub(r"\1", text)


def _chosen(options: list[str]) -> Iterator[tuple[str, str]]:
    """The variables that options of the server stand for."""
    for option, following in zip_longest(options, options[1:], fillvalue=""):
        name, equals, value = option.partition("=")
        if name in _OPTIONS and (value or following):
            yield _OPTIONS[name], value if equals else following


def adopt(variables: dict[str, str]) -> None:
    """Gives this process the environment of the installed server, for itself and for PostgreSQL's library. What the
    caller has set for PostgreSQL does not hold; CHATSERVER_NODE does, which selects one of several nodes."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    node = os.environ.get("CHATSERVER_NODE")
    os.environ.update(variables | ({"CHATSERVER_NODE": node} if node else {}))
