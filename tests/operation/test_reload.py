"""A reload: what follows it, what waits for a restart, and what makes it change nothing."""

import ast
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from twisted.logger import LogLevel

from chatserver.operation.control import reload as module
from chatserver.operation.control.reload import AT_START, READ_SECONDS, STOPPING, Reloaded
from chatserver.settings.tables import Limits, Settings
from chatserver.values.errors import Unavailable
from tests.operation.reloading import Town, toml
from tests.support.certificate import write_certificate
from tests.support.memory import logged

SOURCE: Final = Path(module.__file__).parents[2]
HERE, ELSEWHERE = "192.0.2.1", "198.51.100.7"


def every_setting() -> Iterator[tuple[str, str, object]]:
    """Each table and key, with its default."""
    defaults = Settings()
    for table in defaults.__struct_fields__:
        for key in getattr(defaults, table).__struct_fields__:
            yield table, key, getattr(getattr(defaults, table), key)


OTHERS: Final[dict[str, object]] = {
    "server.listen": ["tcp:4001"],
    "server.database": "sqlite:///other.db",
    "server.registration": "closed",
    "server.default_rooms": ["general", "news"],
    "server.trusted_proxies": ["192.0.2.0/24"],
    "server.trusted_forwarders": ["192.0.2.0/24"],
    "server.origins": ["https://chat.example.org"],
    "server.metrics": "tcp:9400",
    "server.control": "/run/chatserver/control",
    "limits.exempt": ["192.0.2.0/24"],
    "log.format": "json",
    "log.level": "warn",
    "bus.url": "postgres",
    "search.language": "english",
}
"""Other values where another number, text or list would not do."""


def other(name: str, value: Any) -> object:
    if name in OTHERS:
        return OTHERS[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return ["other"] if isinstance(value, list) else "other"


@pytest.mark.parametrize(("table", "key", "default"), [*every_setting()])
def test_every_setting(tmp_path: Path, table: str, key: str, default: object) -> None:
    """Follows a reload, or is named as one that needs a restart, again and again until then."""
    town, name = Town(tmp_path, Limits()), f"{table}.{key}"
    new = other(name, default)
    done = town.change(f"[{table}]\n{key} = {toml(new)}\n")
    now = getattr(getattr(town.hall.settings, table), key)
    if name in AT_START:
        assert done == town.finish(town.begin()) == Reloaded([], [name])
        assert now == default
    else:
        assert (done, now) == (Reloaded([name], []), new)
        assert town.finish(town.begin()) == Reloaded([], [])
        assert town.change("") == Reloaded([name], [])
        assert getattr(getattr(town.hall.settings, table), key) == default
    town.hall.close()


COPIES: Final = {
    ("line.py", "max_line_bytes"),  # for connections that come from then on
    ("websocket.py", "max_line_bytes"),
    ("websocket.py", "origins"),
    ("websocket.py", "hosts"),
    ("websocket.py", "name"),
    ("news_pace.py", "news_seconds"),  # compared with what it is now
    ("wiring.py", "slow_seconds"),  # set by the reload
}
"""Where a setting that follows a reload may be read when something is made."""


def test_nobody_keeps_a_copy() -> None:
    """A part that keeps the value of a setting in an attribute does not follow a reload by itself."""
    live = {(table, key) for table, key, _ in every_setting() if f"{table}.{key}" not in AT_START}
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and (
                node.name in ("__init__", "_listen") or node.name.startswith("wire")
            ):
                found |= {(path.name, key) for table, key in _read_at_once(node) if (table, key) in live}
    assert found == COPIES


def _read_at_once(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Expressions like `limits.window`, outside of lambdas."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Lambda):
            continue
        if isinstance(child, ast.Attribute):
            owner = child.value
            table = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            yield table.lstrip("_"), child.attr
        yield from _read_at_once(child)


# What changes nothing


def wrong_certificate(town: Town, folder: Path) -> None:
    key, certificate = write_certificate(folder)
    other = folder / "other"
    other.mkdir()
    write_certificate(other)
    endpoint = f"ssl:4001:privateKey={other / key.name}:certKey={certificate}"
    town.file.write_text(f"[server]\nmotd = 'new'\nlisten = [{toml(endpoint)}]\n")


def without_database(town: Town, folder: Path) -> None:
    async def fail(*_: object) -> None:
        raise Unavailable()

    town.hall.inline.write = fail  # type: ignore[assignment, method-assign]
    town.file.write_text("[server]\nmotd = 'new'\ndefault_rooms = ['general', 'news']\n")


def failing(town: Town, folder: Path) -> None:
    town.problem = RuntimeError("injected")


def text(content: str) -> Callable[[Town, Path], None]:
    return lambda town, folder: void(town.file.write_text(content))


def void(_: object) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (text("[server]\nmotd = 'new'\n[limits]\nwindw = 3\n"), "windw"),
        (text("[server]\nmotd = 'new'\n[limits]\nwindow = 0\n"), "limits.window must be 1 or more"),
        (text("[server]\nmotd = 'new'\nregistration = 'code'\n"), "server.registration_code is missing"),
        (text("[server\n"), "is wrong"),
        (text("[server]\nmotd = 'new'\nlisten = ['tpc:4000']\n"), "tpc:4000 is not an endpoint"),
        (text("[server]\nmotd = 'new'\nlisten = ['ws:tcp:4000:interfce=::']\n"), "interfce"),
        (text("[server]\nmotd = 'new'\nmetrics = 'tcp:x'\n"), "tcp:x is not an endpoint"),
        (text("[server]\nmotd = 'new'\nlisten = ['ssl:4001:privateKey=/none']\n"), "/none cannot be read"),
        (text("[server]\nmotd = 'new'\ndatabase = 'mysql://me:s3cret@host/chat'\n"), "Correct --database"),
        (text("[server]\nmotd = 'new'\n[passwords]\nparallelism = 20000000\nmemory_kib = 900000000\n"), "passwords."),
        (lambda town, folder: town.file.unlink(), "cannot be read"),
        (wrong_certificate, "its key does not belong to its certificate"),
        (without_database, "The database does not answer"),
        (failing, "its log has the details"),
    ],
)
def test_what_changes_nothing(town: Town, tmp_path: Path, spoil: Callable[[Town, Path], None], said: str) -> None:
    """Where anything in the file or among the certificates is wrong, all stays as it was, and one line says why: to
    whoever asked for the reload, and in the log."""
    before = msgspec.json.encode(town.hall.settings)
    spoil(town, tmp_path)
    with logged(LogLevel.error) as lines:
        done = town.finish(town.begin())
    assert (done.changed, done.kept) == ([], [])
    assert said in (done.problem or "")
    assert "\n" not in (done.problem or "")
    assert lines == [f"Nothing was reloaded, and nothing has changed. {done.problem}"]
    assert "s3cret" not in lines[0]
    assert msgspec.json.encode(town.hall.settings) == before
    assert (town.nobodies, town.levels) == ([], [])


# When


def test_one_after_the_other(town: Town) -> None:
    """A reload that is asked for during another one comes after it: the last file wins."""
    town.file.write_text("[server]\nmotd = 'first'\n")
    first, second = town.begin(), town.begin()
    apply = town.calls.get(timeout=30)  # the first has read the file
    town.file.write_text("[server]\nmotd = 'last'\n")
    assert town.calls.empty()
    apply()
    assert first == [Reloaded(["server.motd"], [])]
    assert town.hall.settings.server.motd == "first"
    assert town.finish(second) == Reloaded(["server.motd"], [])
    assert town.hall.settings.server.motd == "last"


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> dict[int, Any]:
    found: dict[int, Any] = {}
    monkeypatch.setattr(signal, "signal", found.__setitem__)
    return found


def test_signals(town: Town, handlers: dict[int, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that comes before the server serves is heeded once it does; however many come at once, there is one more
    reload after the one under way; and once the server stops, they do nothing."""
    told: list[str] = []
    monkeypatch.setattr(module, "notify", lambda *lines: told.append(lines[0]))
    reads: list[int] = []

    def counted() -> Settings:
        reads.append(1)
        return town._read()

    town.running.read_settings = counted
    town.reload._serving = False
    town.reload.prepare()

    def hang_up(times: int) -> None:
        for _ in range(times):
            handlers[signal.SIGHUP](signal.SIGHUP, None)
            town.calls.get(timeout=30)()

    hang_up(2)
    assert reads == []
    town.reload.started()
    apply = town.calls.get(timeout=30)
    hang_up(5)
    apply()
    town.calls.get(timeout=30)()
    assert (len(reads), town.calls.empty()) == (2, True)
    assert told == ["RELOADING=1", "READY=1"] * 2
    hung_up = handlers[signal.SIGHUP]
    town.reload.stopping()
    assert handlers[signal.SIGHUP] is signal.SIG_IGN
    hung_up(signal.SIGHUP, None)
    town.calls.get(timeout=30)()
    assert town.begin() == [Reloaded([], [], STOPPING)]
    assert (len(reads), len(told)) == (2, 4)


def test_a_server_that_stops_meanwhile(town: Town) -> None:
    """It does not change any more."""
    town.file.write_text("[server]\nmotd = 'new'\n")
    done = town.begin()
    apply = town.calls.get(timeout=30)
    town.reload._serving = False
    apply()
    assert done == [Reloaded([], [], STOPPING)]
    assert town.hall.settings.server.motd == ""


def test_a_disk_that_hangs(town: Town) -> None:
    """Is waited for no longer than half a minute; what it says later is too late, and the next reload finds what there
    is by then."""
    answered = threading.Event()

    def read() -> Settings:
        answered.wait(30)
        return town._read()

    town.running.read_settings = read
    town.file.write_text("[server]\nmotd = 'new'\n")
    done = town.begin()
    town.hall.passes(READ_SECONDS + 0.1)
    assert "could not be read within 30 s" in (done[0].problem or "")
    answered.set()
    town.calls.get(timeout=30)()
    assert town.hall.settings.server.motd == ""
    assert town.finish(town.begin()) == Reloaded(["server.motd"], [])
