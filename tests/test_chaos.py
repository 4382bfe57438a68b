"""`make chaos`: it works, it finds what it looks for, and docs/promises.md names only tests that exist."""

import ast
import random
import re
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from chaos.checks import compare
from chaos.clients import Mover, Reader, Stage, Writer
from chaos.database import Row
from chaos.log import Broken, Log, Seen
from chaos.relay import Messages, Relay
from chaos.run import Plan, run
from chaos.screen import Screen

ROOT = Path(__file__).resolve().parents[1]
PROMISES = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A cut and a kill under load, on SQLite."""
    held = run(Plan("sqlite", "6", kills=1, minutes=1.0, pace=30.0, only=("kill", "cut")))
    printed = capsys.readouterr().out
    assert held, printed
    assert "kill -9" in printed
    assert "lost 0, doubled 0, holes 0" in printed


@pytest.mark.slow
def test_a_short_run_with_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    """A node is killed, and frames are lost, while its clients go on at others."""
    only = ("kill", "frames")
    held = run(Plan("postgres", "1", kills=2, minutes=1.0, pace=10.0, only=only, deaf_seconds=10.0, nodes=2))
    printed = capsys.readouterr().out
    assert held, printed
    assert "kill -9 of node-" in printed
    assert "2 nodes: 2 kills" in printed


def test_how_to_run_it_again() -> None:
    """The command names everything that was not the default."""
    plan = Plan("postgres", "7", kills=30, only=("kill", "cut"))
    assert plan.command() == 'make chaos DATABASE=postgres SEED=7 KILLS=30 MINUTES=10 ARGS="--only kill,cut"'
    assert " NODES=3" in plan._replace(nodes=3).command()


ROWS = [
    Row(1, "joined", "", "ana", None),
    Row(2, "message", "ana-1 x", "ana", "ana-1"),
    Row(3, "message", "ana-2 y", "ana", "ana-2"),
    Row(4, "topic", "books", "ana", None),
]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (ROWS, None),
        ([*ROWS[:2], Row(3, "message", "bob", "bob", "b"), ROWS[3]], "ana-2 of ana was acknowledged as general 3"),
        ([*ROWS, ROWS[1]._replace(seq=5)], "ana-1 of ana was acknowledged as general 2"),
        ([ROWS[0], *ROWS[2:]], "hole: 2 is missing"),
        ([*ROWS[:3], ROWS[3]._replace(kind="left")], "was sent general Seen"),
        ([*ROWS, Row(5, "topic", "", "bob", None)], "bob did not receive general Row(seq=5"),
    ],
    ids=["nothing", "lost", "doubled", "a hole", "another entry", "not received"],
)
def test_differences(rows: list[Row], found: str | None) -> None:
    """Messages that are lost or doubled, holes, and entries that readers did not receive or that are not stored."""
    stage = Stage({}, 1.0)
    ana, bob, screen = Writer(stage, "ana", "", ["general"]), Reader(stage, "bob", "", []), Screen(stage, "tess", "")
    ana.sent = {"ana-1": ("general", "ana-1 x"), "ana-2": ("general", "ana-2 y")}
    ana.acknowledged = {"ana-1": (2, "then"), "ana-2": (3, "then")}
    for row in ROWS:
        bob.log("general").add(Seen(row.seq, row.kind, row.text if row.kind == "message" else None, None))
    screen.shown = [["ana-1 x", "ana-2 y"], ["ana-2 y"]]
    if found is None:
        compare([ana, bob, screen], {"general": rows})
    else:
        with pytest.raises(Broken, match=re.escape(found)):
            compare([ana, bob, screen], {"general": rows})


@pytest.mark.parametrize("texts", [["ana-2 y", "ana-1 x"], ["ana-1 x", "ana-1 x"], ["ana-1 x", "never said"]])
def test_what_a_screen_may_not_show(texts: list[str]) -> None:
    screen = Screen(Stage({}, 1.0), "tess", "")
    screen.shown = [texts]
    with pytest.raises(Broken, match="Connection 1 of tess"):
        screen.check(ROWS)


def entry(seq: int) -> Seen:
    return Seen(seq, "message", "text", None)


def test_the_order_of_a_log() -> None:
    """Entries come one after another, from the one that the answer to a join promised."""
    log = Log("general")
    log.promise(4)
    with pytest.raises(Broken, match="too early"):
        log.add(entry(6))
    log.add(entry(5))
    for seq in (5, 4, 7):
        with pytest.raises(Broken):
            log.add(entry(seq))
    log.add(entry(6))
    log.reopen()  # it has left
    log.add(entry(9))
    assert [seen.seq for seen in log.entries] == [5, 6, 9]


def test_outside() -> None:
    """A kicked account is sent nothing more of the room until it is in it again."""
    max = Mover(Stage({}, 1.0), "max", "", [], lobby="lobby")

    def sent(seq: int, kind: str, name: str) -> None:
        max._take({"event": kind, "room": "lobby", "seq": seq, "name": name})

    sent(1, "joined", "max")
    sent(2, "kicked", "max")
    with pytest.raises(Broken, match="max is out of lobby since"):
        sent(3, "joined", "ana")
    sent(3, "joined", "max")
    sent(4, "joined", "bob")


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_lost_frames(piece: int) -> None:
    """Notifications are taken out of what PostgreSQL sends, in whatever pieces it comes, and nothing else is."""
    lost = iter([True, False, True])
    messages = Messages(lambda: next(lost))
    sent = [b"T\0\0\0\x051", b"A\0\0\0\x0622", b"D\0\0\0\x07333", b"A\0\0\0\x04", b"A\0\0\0\x0655", b"Z\0\0\0\x056"]
    data = b"".join(sent)
    passed = [messages.pass_on(data[at : at + piece]) for at in range(0, len(data), piece)]
    assert b"".join(passed) == b"".join((sent[0], sent[2], sent[3], sent[5]))


@pytest.mark.parametrize(("loss", "answer"), [(0.0, b"done"), (1.0, b"")])
def test_a_lost_answer(loss: float, answer: bytes) -> None:
    """The server gets the commit, and answers, but the client reads only the end of the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        relay = Relay(server.getsockname, random.Random(1))
        try:
            relay.loss = loss
            with socket.create_connection(relay.address, timeout=10) as client:
                there, _ = server.accept()
                with there:
                    client.sendall(b"Q\0\0\0\x0bCOMMIT\0")
                    assert b"COMMIT" in there.recv(100)
                    there.sendall(b"done")
                    assert received(client) == answer
        finally:
            relay.close()


def test_a_cut_connection() -> None:
    """At most as many bytes as the cut allows come through, and both sides learn of the end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        relay = Relay(server.getsockname, random.Random(1))
        try:
            with socket.create_connection(relay.address, timeout=10) as client:
                there, _ = server.accept()
                with there:
                    client.sendall(b"hello")
                    assert there.recv(100) == b"hello"
                    assert relay.cut(1.0, 50) == 1
                    with suppress(ConnectionError):
                        client.sendall(b"x" * 1000)
                    assert len(received(there)) < 50
                    assert received(client) == received(there) == b""
        finally:
            relay.close()


def received(client: socket.socket) -> bytes:
    """The next bytes; a reset counts as an end."""
    try:
        return client.recv(100)
    except ConnectionError:
        return b""


def test_every_promise_has_a_section() -> None:
    """Word for word as in docs/protocol.md."""
    protocol = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    promises = re.findall(r"^\d\. \*\*(.+?)\.\*\*", protocol, flags=re.MULTILINE)
    assert len(promises) == 6
    assert re.findall(r"^## \d\. (.+)$", PROMISES, flags=re.MULTILINE) == promises


def test_every_test_on_the_page_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PROMISES)
    assert len(named) > 20
    missing = [f"{path}::{name}" for path, name in named if name not in functions_of(ROOT / path)]
    assert not missing


def functions_of(path: Path) -> set[str]:
    """The names of a file's functions; none if there is no such file."""
    if not path.exists():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
