"""The programs that people use, under a pseudo-terminal, with the real server: telnet, nc, rlwrap, script."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from tests.conftest import Connect
from tests.process.load import QUICK
from tests.support.client import JsonClient
from tests.support.process import ChatServer, migrate
from tests.support.terminal import Terminal

PASSWORD = "s3cret-words"
TELNETS = ("inetutils-telnet", "telnet-ssl", "netkit-telnet", "telnet")
LISTEN = ("tcp:0:interface=127.0.0.1", "telnet:tcp:0:interface=127.0.0.1")
NUMBERS = count(1)

Open = Callable[..., Terminal]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatServer]:
    """A server with a plain port, and one for telnet. Each test has people of its own."""
    database = f"sqlite:///{tmp_path_factory.mktemp('terminals') / 'chatserver.db'}"
    migrate(database)
    with ChatServer(database, config=QUICK, listen=LISTEN) as running:
        yield running
        assert "Traceback" not in running.log, running.log


@pytest.fixture
def name() -> str:
    """Of the person at the terminal."""
    return f"ana{next(NUMBERS)}"


@pytest.fixture
def bob(chat: ChatServer, connect: Connect, name: str) -> JsonClient:
    """A program that hears what is said."""
    client = connect(chat, JsonClient)
    client.register(name.replace("ana", "bob"))
    return client


@pytest.fixture
def open_terminal() -> Iterator[Open]:
    with ExitStack() as stack:
        yield lambda *argv, **keywords: stack.enter_context(Terminal([*map(str, argv)], **keywords))


def found(*names: str) -> str:
    """The first of these programs that is installed; skips the test if none is."""
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    pytest.skip(f"{names[0]} is not installed")


@pytest.fixture
def telnet() -> str:
    return found(*TELNETS)


def register(ana: Terminal, name: str) -> None:
    for prompt, answer in (
        ("Type your name", name),
        ("(yes/no)", "yes"),
        ("Choose a password", PASSWORD),
        ("Type it again", PASSWORD),
    ):
        ana.expect(prompt)
        ana.expect("\n")
        ana.type(f"{answer}\r")
    ana.expect(f"Hello {name}")
    ana.expect("-- " + name)


def test_a_conversation_by_telnet(
    chat: ChatServer, bob: JsonClient, name: str, open_terminal: Open, telnet: str
) -> None:
    """A person uses the real telnet: the password is not shown, letters of all kinds and Backspace come as
    they are meant, Ctrl-C clears the line however often it is pressed, and Ctrl-D leaves."""
    ana = open_terminal(telnet, *chat.addresses[1])
    register(ana, name)
    assert PASSWORD not in ana.seen
    ana.type("grüße日\x7f, bob\r")
    bob.hears("grüße, bob")
    for turn in range(2):
        ana.type("not this\x03")
        ana.expect("^C")
        ana.expect("\n")
        bob.say("general", f"do you see me? {turn}")
        ana.expect(f"do you see me? {turn}")
    ana.type("but this\r")
    bob.hears("but this")
    ana.type("\x04")
    ana.ended()


def test_the_window_by_telnet(chat: ChatServer, bob: JsonClient, name: str, open_terminal: Open, telnet: str) -> None:
    """Lines are as wide as telnet's window, and follow when it is resized."""
    ana = open_terminal(telnet, *chat.addresses[1], columns=60)
    register(ana, name)

    def widest(word: str) -> int:
        """Of the lines on which a long message is shown."""
        start = len(ana.seen)
        bob.say("general", f"{word} " * 40)
        bob.say("general", f"{word} end")
        ana.expect(f"{word} end")
        return max(map(len, ana.seen[start:].splitlines()))

    assert widest("long") in range(50, 61)
    ana.resize(100)
    ana.type("/ping\r")
    ana.expect("The server is here.")
    assert widest("wide") in range(90, 101)


def test_every_key_by_telnet(chat: ChatServer, bob: JsonClient, name: str, open_terminal: Open, telnet: str) -> None:
    """Where somebody makes telnet send every key as it is, the server edits the line, and begins a new one on the
    screen behind each Enter."""
    ana = open_terminal(telnet, *chat.addresses[1])
    register(ana, name)
    for _ in range(2):  # the first time the server refuses
        ana.type("\x1d")
        ana.expect("telnet> ")
        ana.type("mode character\r")
    ana.type("wrong\x15grüxx\x7f\x7fße, boc\x7fb\r")
    bob.hears("grüße, bob")
    ana.expect("\r\n")
    ana.type("\x04")
    ana.ended()


def test_the_plain_port_by_telnet(chat: ChatServer, name: str, open_terminal: Open, telnet: str) -> None:
    """At the plain port telnet works too: it never speaks telnet first, so the server learns of it with the first
    Ctrl-C; from then on passwords are hidden there as well."""
    ana = open_terminal(telnet, *chat.address)
    ana.expect("Type your name")
    ana.expect("\n")
    ana.type("x\x03")
    ana.expect("^C\r\n")
    ana.type("/help\r")
    register(ana, name)
    assert PASSWORD not in ana.seen
    ana.type("\x04")
    ana.ended()


def test_a_recorded_session(chat: ChatServer, name: str, open_terminal: Open, telnet: str, tmp_path: Path) -> None:
    """A session by telnet that `script` records has no password in it: not from the login, nor from the question of a
    command."""
    script, record = found("script"), tmp_path / "record"
    host, port = chat.addresses[1]
    ana = open_terminal(script, "-q", "-c", f"{telnet} {host} {port}", record)
    register(ana, name)
    ana.type("/token laptop\r")
    ana.expect("Type your password")
    ana.expect("\n")
    ana.type(f"{PASSWORD}\r")
    ana.expect("Token laptop")
    ana.type("\x04")
    ana.ended()
    recorded = record.read_text(errors="replace")
    assert f"Hello {name}" in recorded
    assert PASSWORD not in recorded


def test_arrow_keys_by_nc(chat: ChatServer, bob: JsonClient, name: str, open_terminal: Open) -> None:
    """The keys that a bare `nc` leaves in a line do not end the connection, and rlwrap is recommended once."""
    ana = open_terminal(found("nc"), *chat.address)
    register(ana, name)
    ana.type("\x1b[A\x1b[Dhello\x1b[C\x08\x08ped\r")
    ana.expect("rlwrap -H /dev/null nc HOST PORT")
    bob.hears("helped")
    ana.type("\x1b[A\r\x1bOHand again\r")
    bob.hears("and again")
    assert ana.seen.count("HOST PORT") == 1


def test_rlwrap(chat: ChatServer, bob: JsonClient, name: str, open_terminal: Open, tmp_path: Path) -> None:
    """With rlwrap the arrow keys edit, and bring the last line back."""
    rlwrap, nc = found("rlwrap"), found("nc")
    ana = open_terminal(rlwrap, "-H", tmp_path / "history", nc, *chat.address)
    register(ana, name)
    ana.type("helo\x1b[Dl\r")
    bob.hears("hello")
    ana.type("\x1b[A, bob\r")
    bob.hears("hello, bob")
    assert "HOST PORT" not in ana.seen


def test_what_rlwrap_remembers(chat: ChatServer, name: str, open_terminal: Open, telnet: str, tmp_path: Path) -> None:
    """With rlwrap in front of telnet, neither the screen nor its history has the password: it sees that telnet hides
    what is typed."""
    history = tmp_path / "history"
    ana = open_terminal(found("rlwrap"), "-H", history, telnet, *chat.addresses[1])
    register(ana, name)
    ana.type("hello all\r/quit\r")
    ana.ended()
    assert PASSWORD not in ana.seen
    assert history.read_text().split() == [name, "yes", "hello", "all", "/quit"]
