"""The events that are logged, and their destinations."""

import errno
import json
import os
import re
import syslog
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger, LogPublisher

from chatserver.operation.log.destinations import LogFile, StandardOutput, Syslog, chosen
from chatserver.operation.log.logs import Logs
from chatserver.settings.tables import Log


class Reactor(Clock):
    def callFromThread(self, call: Any, *args: Any, **named: Any) -> None:
        self.callLater(0, call, *args, **named)


class Application:
    """The log that twistd would choose."""

    observer: Any = None

    def setComponent(self, interface: Any, component: Any) -> None:
        assert interface is ILogObserver
        self.observer = component


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.log"


@pytest.fixture
def unsignalled(monkeypatch: pytest.MonkeyPatch) -> dict[int, Any]:
    handlers: dict[int, Any] = {}
    monkeypatch.setattr("chatserver.operation.log.logs.signal.signal", handlers.__setitem__)
    return handlers


class Desk:
    """A log in a file, and somebody who writes to it."""

    def __init__(self, path: Path, handlers: dict[int, Any], **settings: Any) -> None:
        self.reactor = Reactor()
        self.logs = Logs(Log(**settings), self.reactor)
        self._handlers = handlers
        application = Application()
        self.logs.attach(application, {"logfile": str(path), "nodaemon": True})
        assert application.observer is self.logs
        self._publisher = LogPublisher(self.logs)

    def logger(self, namespace: str = "chatserver.test") -> Logger:
        return Logger(namespace, observer=self._publisher)

    def signal(self) -> None:
        [(number, handler)] = self._handlers.items()
        handler(number, None)


def lines(path: Path) -> list[str]:
    return [line.partition("] ")[2] for line in path.read_text().splitlines()]


def test_levels(path: Path, unsignalled: dict[int, Any]) -> None:
    """Events below the level are not logged, unless it concerns security. The level can be changed."""
    desk = Desk(path, unsignalled, level="warn")
    log, audit = desk.logger(), desk.logger("chatserver.audit")
    log.info("one")
    log.warn("two")
    audit.info("three")
    audit.info("four", log_routine=True)
    desk.logs.set_level("debug")
    log.debug("five")
    audit.info("six", log_routine=True)
    desk.logs.set_level("error")
    log.warn("seven")
    log.critical("eight")
    assert lines(path) == ["two", "three", "five", "six", "eight"]


def test_moved_files(path: Path, unsignalled: dict[int, Any]) -> None:
    """After a signal the log goes on in a new file of the same name, also where no further line comes; each line is in
    one of both files."""
    desk = Desk(path, unsignalled)
    log, moved = desk.logger(), path.with_suffix(".1")
    log.info("one")
    path.rename(moved)
    log.info("two")
    assert not path.exists()
    desk.signal()
    log.info("three")
    assert (lines(moved), lines(path)) == (["one", "two"], ["three"])
    path.unlink()
    desk.signal()
    desk.reactor.advance(0)
    assert path.read_text() == ""
    assert path.stat().st_mode & 0o7 == 0


def test_a_file_that_cannot_be_reopened(path: Path, unsignalled: dict[int, Any]) -> None:
    """The log goes on in the old file, and says so."""
    desk = Desk(path, unsignalled)
    desk.logs.log = desk.logger("chatserver.operation.log.logs")
    moved = path.with_suffix(".1")
    path.rename(moved)
    path.mkdir()
    desk.signal()
    desk.logger().info("one")
    desk.reactor.advance(0)
    desk.reactor.advance(0)
    first, second = lines(moved)
    assert first == "one"
    assert second.startswith("The log cannot be reopened (Is a directory), and goes on in the old file.")


def test_a_full_disk(path: Path, unsignalled: dict[int, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that cannot be written are counted, and a line that is torn is ended before the next one."""
    desk = Desk(path, unsignalled)
    log, write = desk.logger(), os.write
    room = 20

    def full(descriptor: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        data = data[:room]
        room -= len(data)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    for _ in range(3):
        log.info("lost")
    monkeypatch.setattr(os, "write", write)
    log.info("found")
    torn, *rest = path.read_text().splitlines()
    assert len(torn) == 20
    assert [line.partition("] ")[2] for line in rest] == [
        "3 lines of the log could not be written before this one (No space left on device).",
        "found",
    ]


def test_nothing_raises(path: Path, unsignalled: dict[int, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that cannot be written disturbs nobody who logs."""
    desk = Desk(path, unsignalled, format="json")
    monkeypatch.setattr(desk.logs, "_line", lambda event: 1 / 0)
    desk.logs({"log_format": "lost"})


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"nodaemon": True}, StandardOutput),
        ({"nodaemon": True, "logfile": "-"}, StandardOutput),
        ({"nodaemon": True, "logfile": "a.log"}, LogFile),
        ({"nodaemon": False}, LogFile),
        ({"nodaemon": True, "syslog": True, "prefix": "chat"}, Syslog),
        ({"nodaemon": False, "logfile": "-"}, None),
        ({"nodaemon": True, "logger": lambda: None}, None),
    ],
)
def test_twistds_options(
    options: dict[str, Any], kind: type | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """The options of twistd say where the log goes; --logger wins, and twistd itself refuses what cannot be."""
    monkeypatch.chdir(tmp_path)
    with capfd.disabled():
        found = chosen(options)
    assert type(found) is (kind or type(None))
    assert {path.name for path in tmp_path.iterdir()} == (
        {options.get("logfile") or "twistd.log"} if kind is LogFile else set()
    )


def test_a_file_that_cannot_be_opened(tmp_path: Path, unsignalled: dict[int, Any], capsys: Any) -> None:
    """The server does not start, and says why. It does not append to a file that is another one too."""
    logs = Logs(Log(), Reactor())
    (tmp_path / "log").touch()
    (tmp_path / "second").hardlink_to(tmp_path / "log")
    for file, why in (("nowhere/log", "No such file or directory"), ("log", "it belongs to another user, or has .*")):
        with pytest.raises(SystemExit):
            logs.attach(Application(), {"logfile": str(tmp_path / file)})
        assert re.search(rf"cannot be opened \({why}\)\. Correct --logfile\.", capsys.readouterr().err)


@pytest.mark.parametrize("known", [True, False])
def test_the_journal(known: bool) -> None:
    """Where journald reads standard output, each line has its priority in front; elsewhere it has not."""
    reading, writing = os.pipe()
    found = os.fstat(writing)
    environment = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino if known else found.st_ino + 1}"}
    StandardOutput(writing, environment).write("error", "one\n\ttwo")
    assert os.read(reading, 100) == (b"<3>one\n<3>\ttwo\n" if known else b"one\n\ttwo\n")
    os.close(reading)
    os.close(writing)


def test_syslog(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line of an event is a message with its priority, without a second time in front."""
    sent: list[tuple[int, str]] = []
    monkeypatch.setattr(syslog, "syslog", lambda priority, line: sent.append((priority, line)))
    monkeypatch.setattr("chatserver.operation.log.logs.signal.signal", lambda *_: None)
    for form in ("text", "json"):
        logs = Logs(Log(format=form), Reactor())
        logs.attach(Application(), {"syslog": True, "prefix": "chat"})
        Logger("chatserver.test", observer=logs).warn("a\nb")
    assert sent[0] == (4, "[chatserver.test#warn] a\\nb")
    assert json.loads(sent[1][1])["message"] == "a\nb"


def test_before_it_is_attached() -> None:
    """A log that twistd does not use writes nothing."""
    event: LogEvent = {"log_format": "nothing"}
    Logs(Log(), Reactor())(event)
