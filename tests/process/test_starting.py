"""If the server cannot start, one clear line says why and how to fix it."""

import os
import random
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from chatserver.store.db.engine import open_engine, open_ready, parse_url
from tests.conftest import Connect, StartServer
from tests.process.load import query
from tests.support.certificate import write_certificate
from tests.support.client import JsonClient
from tests.support.process import LOOPBACK, ChatServer, migrate, run_chatserver, wait_until


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


SLOW = pytest.mark.slow
"""For cases that go the same way as the first one."""
MAY_PASS = 1
"""The exit status where starting again later may help."""
MISCONFIGURED = 78
"""The exit status where only an administrator can help: RestartPreventExitStatus of the systemd unit."""


def refusal(cwd: Path, *options: str, status: int = MISCONFIGURED) -> str:
    """The one line that the server prints before it exits with this status."""
    done = run_chatserver(*options, cwd=cwd)
    assert done.returncode == status, done.stdout
    assert "Traceback" not in done.stdout
    [message] = [line for line in done.stdout.splitlines() if not re.match(r"\S+ \[(\S+#info|-)\]", line)]
    found = re.fullmatch(r"(\S+ \[stderr#error\] )?(chatserver: .+)", message)
    assert found is not None, message
    return found[2]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        pytest.param("[server", "wrong", marks=SLOW),
        pytest.param("[limits]\nmax_line = 5", "max_line", marks=SLOW),
        ("[limits]\nwindow = 'many'", "limits.window"),
    ],
)
def test_a_wrong_settings_file(tmp_path: Path, config: str, words: str) -> None:
    """The message names the settings file and the key."""
    path = tmp_path / "chat.toml"
    path.write_text(config)
    message = refusal(tmp_path, "--config", str(path), "--listen", LOOPBACK)
    assert str(path) in message
    assert words in message


def test_no_settings_file(tmp_path: Path) -> None:
    """The message names the missing settings file and the option."""
    message = refusal(tmp_path, "--config", "nowhere.toml")
    assert (
        message
        == "chatserver: The settings file nowhere.toml cannot be read (No such file or directory). Correct --config."
    )


def test_a_taken_port(tmp_path: Path, taken_port: int) -> None:
    """The message names the endpoint, and what to do."""
    endpoint = f"tcp:{taken_port}:interface=127.0.0.1"
    message = refusal(tmp_path, "--listen", LOOPBACK, "--listen", endpoint, status=MAY_PASS)
    assert endpoint in message
    assert "Address already in use" in message
    assert "--listen" in message


@pytest.mark.parametrize(
    "endpoint", ["nonsense", *(pytest.param(one, marks=SLOW) for one in ("tcp:port", "tcp:4000:colour=red", "ws:"))]
)
def test_a_wrong_endpoint(tmp_path: Path, endpoint: str) -> None:
    """The message names the wrong endpoint, and shows a correct one."""
    message = refusal(tmp_path, "--listen", endpoint)
    assert f"--listen {endpoint} " in message
    assert "tcp:4000" in message


def test_a_missing_certificate(tmp_path: Path) -> None:
    """The message names the endpoint and the file."""
    message = refusal(tmp_path, "--listen", "ssl:0:privateKey=nowhere.pem")
    assert "--listen ssl:0 " in message
    assert "nowhere.pem" in message


def test_an_unreachable_database(tmp_path: Path) -> None:
    """The message names the database, without its password."""
    url = "postgresql+psycopg2://me:s3cret@127.0.0.1:1/chat"
    message = refusal(tmp_path, "--database", url, "--listen", LOOPBACK, status=MAY_PASS)
    assert "127.0.0.1:1/chat" in message
    assert "--database" in message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    "options",
    [
        ["--databse", "x"],
        pytest.param(["--log-level", "loud"], marks=SLOW),
        pytest.param(["--listen"], marks=SLOW),
        pytest.param(["surplus"], marks=SLOW),
    ],
)
def test_a_wrong_option(tmp_path: Path, options: list[str]) -> None:
    """One line says what is wrong with it."""
    assert "--help" in refusal(tmp_path, *options)


def test_a_port_without_the_right(tmp_path: Path) -> None:
    """An endpoint that this user may not open, or a path in a folder that does not exist, stays wrong."""
    assert "chatctl example socket" in refusal(tmp_path, "--listen", f"unix:{tmp_path}/nowhere/socket")


def test_a_wrong_database_url(tmp_path: Path) -> None:
    """The message shows the valid forms."""
    assert "sqlite:///FILE" in refusal(tmp_path, "--database", "chat.db", "--listen", LOOPBACK)


def test_a_schema_that_is_behind(
    tmp_path: Path, empty_postgres_url: str, server: StartServer, connect: Connect
) -> None:
    """The server leaves an old Postgres schema alone and names the command that upgrades it; that command works."""
    url = empty_postgres_url
    assert "twistd -n chatserver --migrate" in refusal(tmp_path, "--database", url, "--listen", LOOPBACK)
    chat = server(url, migrated=False, options=["--migrate"])
    connect(chat, JsonClient).register("ana")


def test_a_schema_that_is_newer(tmp_path: Path, database_url: str) -> None:
    """The server refuses a database whose schema is newer than the server."""
    migrate(database_url)
    engine = open_engine(parse_url(database_url))
    with engine.begin() as db:
        db.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    assert "newer" in refusal(tmp_path, "--database", database_url, "--listen", LOOPBACK)


def test_where_settings_come_from(tmp_path: Path, server: StartServer, connect: Connect) -> None:
    """The command line overrides the environment, which overrides the settings file."""
    urls = [f"sqlite:///{tmp_path / name}.db" for name in ("line", "environment", "file")]
    file = f"[server]\nname = 'here'\ndatabase = '{urls[2]}'\nlisten = ['tcp:1']\n"
    chat = server(urls[0], config=file, env={"CHATSERVER_DATABASE": urls[1]})
    client = connect(chat, JsonClient)
    client.register("ana")
    assert client.notices == ["* Welcome to here. Type your name to log in, or /help."]
    assert (tmp_path / "line.db").exists()
    path = tmp_path / "chat.toml"
    path.write_text(file)
    refusal(tmp_path, "--config", str(path), "--listen", "nonsense")
    assert (tmp_path / "file.db").exists()
    assert not (tmp_path / "environment.db").exists()
    open_ready(parse_url(urls[2])).dispose()


def test_several_endpoints(tmp_path: Path, server: StartServer, connect: Connect) -> None:
    """The server listens on all endpoints, and their clients share the same rooms."""
    chat = server(listen=[LOOPBACK, LOOPBACK])
    first, second = (JsonClient(address) for address in chat.addresses)
    with first, second:
        assert chat.addresses[0] != chat.addresses[1]
        first.register("ana")
        second.register("bob")
        second.say("general", "hello")
        assert first.hears("hello")["from"] == "bob"


def test_sqlites_index_of_words(server: StartServer, connect: Connect) -> None:
    """From the first start, SQLite's full-text index merges eight segments at a time, because a merge is part of some
    client's commit."""
    chat = server()
    connect(chat, JsonClient).register("ana")
    assert query(chat.database, "SELECT v FROM entry_search_config WHERE k = 'automerge'") == [(8,)]


# What fails, or is asked for, while the server starts


LATE_ENDPOINT = """
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamServerEndpoint, IStreamServerEndpointStringParser
from twisted.plugin import IPlugin
from zope.interface import implementer


@implementer(IStreamServerEndpoint)
class Late:
    def __init__(self, reactor):
        self.reactor = reactor

    def listen(self, factory):
        listening = Deferred()
        self.reactor.callLater(0.2, listening.errback, OSError("The tunnel did not open."))
        return listening


@implementer(IPlugin, IStreamServerEndpointStringParser)
class Parser:
    prefix = "late"

    def parseStreamServer(self, reactor, *args, **kwargs):
        return Late(reactor)


late = Parser()
"""


def test_an_endpoint_that_fails_later(tmp_path: Path) -> None:
    """If an endpoint fails only when the server runs already, the server stops. The log names the endpoint and the
    reason, and the exit status is 1."""
    plugins = tmp_path / "lib" / "twisted" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "late_endpoint.py").write_text(LATE_ENDPOINT)
    path = [str(tmp_path / "lib"), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {"PYTHONPATH": os.pathsep.join(path)}
    done = run_chatserver("--listen", LOOPBACK, "--listen", "late:door", cwd=tmp_path, env=env)
    assert "Cannot listen on late:door (The tunnel did not open.)" in done.stdout
    assert done.stdout.count("Cannot listen") == 1
    assert "Stopped." in done.stdout
    assert "Traceback" not in done.stdout
    assert done.returncode == 1


@contextmanager
def locked_tables(url: str) -> Iterator[Callable[[], bool]]:
    """Another program holds locks that every start has to wait for. Yields whether somebody waits for them."""
    engine = open_engine(parse_url(url))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    try:
        with engine.connect() as db, engine.connect() as other:
            db.exec_driver_sql("LOCK TABLE room, session IN ACCESS EXCLUSIVE MODE")

            def is_waited_for() -> bool:
                count = other.exec_driver_sql(waiting).scalar_one()
                other.rollback()
                return bool(count)

            yield is_waited_for
            db.rollback()
    finally:
        engine.dispose()


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def free_port() -> int:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        return int(other.getsockname()[1])


@pytest.fixture
def waiting_server(postgres_url: str, free_port: int) -> Iterator[ChatServer]:
    """A server that has not been started yet, and may be started while the database is locked."""
    migrate(postgres_url)
    chat = ChatServer(postgres_url, listen=[f"tcp:{free_port}:interface=127.0.0.1"])
    yield chat
    chat.close()


def test_the_port_opens_when_the_database_is_ready(
    waiting_server: ChatServer, connect: Connect, free_port: int
) -> None:
    """While the start waits for the database, nobody can connect. Once clients can connect, they are served."""
    with locked_tables(waiting_server.database) as waiting:
        waiting_server._spawn()
        wait_until(waiting, what="the start waits for the lock")
        assert not is_open(free_port)
        assert "Listening" not in waiting_server.log
    waiting_server.wait_log("Listening on")
    waiting_server.addresses = [("127.0.0.1", free_port)]
    connect(waiting_server, JsonClient).register("ana")
    assert waiting_server.stop() == 0


def test_sigterm_while_the_start_waits_for_the_database(waiting_server: ChatServer) -> None:
    """The server ends at once, with status 0."""
    with locked_tables(waiting_server.database) as waiting:
        waiting_server._spawn()
        wait_until(waiting, what="the start waits for the lock")
        began = time.monotonic()
        assert waiting_server.stop() == 0
        assert time.monotonic() - began < 5
    assert "Stopped." in waiting_server.log
    assert "Traceback" not in waiting_server.log
    assert "Listening" not in waiting_server.log


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_in_the_first_second(tmp_path: Path, number: signal.Signals) -> None:
    """From the moment at which the server takes signals, the exit status is 0 and everything is closed, whatever it is
    doing just then."""
    chance = random.Random(11)
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    migrate(url)
    chat = ChatServer(url, listen=[LOOPBACK, f"unix:{tmp_path / 'socket'}"])
    try:
        for delay in [0.0, 0.0, *(chance.random() ** 3 for _ in range(8))]:
            chat._spawn()
            wait_until(lambda: takes_signals(chat.pid), what="signals are taken")
            time.sleep(delay)
            assert chat.stop(number=number) == 0, delay
            assert "Traceback" not in chat.log
            assert not (tmp_path / "socket").exists()
    finally:
        chat.close()


def takes_signals(pid: int) -> bool:
    """Whether a process has a handler of its own for SIGTERM (proc(5)); Python itself has none."""
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def test_a_key_with_a_password(tmp_path: Path) -> None:
    """The server does not wait at a terminal for somebody who types it, neither for clients nor for monitoring."""
    key, certificate = write_certificate(tmp_path)
    opened = load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(opened.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"s3cret")))
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    for options in (["--listen", endpoint], ["--listen", LOOPBACK, "--metrics", endpoint]):
        said = refusal(tmp_path, *options)
        assert said.endswith(f"nobody is there to type it. Store the key without one: openssl pkey -in {key} -out NEW")
