"""If the server cannot start, one clear line says why and how to fix it."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatserver.store.database import open_engine, open_ready, parse_url
from tests.conftest import Connect, StartServer
from tests.process.load import query
from tests.support.client import JsonClient
from tests.support.process import LOOPBACK, migrate, run_chatserver


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def refusal(cwd: Path, *options: str) -> str:
    """The one line that the server prints before it exits with status 1."""
    done = run_chatserver(*options, cwd=cwd)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout
    [message] = [line for line in done.stdout.splitlines() if not re.match(r"\S+ \[(\S+#info|-)\]", line)]
    found = re.fullmatch(r"(\S+ \[stderr#error\] )?(chatserver: .+)", message)
    assert found is not None, message
    return found[2]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("[server", "wrong"),
        ("[limits]\nmax_line = 5", "max_line"),
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
    message = refusal(tmp_path, "--listen", LOOPBACK, "--listen", endpoint)
    assert endpoint in message
    assert "Address already in use" in message
    assert "--listen" in message


@pytest.mark.parametrize("endpoint", ["nonsense", "tcp:port", "tcp:4000:colour=red", "ssl:0:privateKey=nowhere.pem"])
def test_a_wrong_endpoint(tmp_path: Path, endpoint: str) -> None:
    """The message names the wrong endpoint, and shows a correct one."""
    message = refusal(tmp_path, "--listen", endpoint)
    assert f"--listen {endpoint} " in message
    assert "tcp:4000" in message


def test_an_unreachable_database(tmp_path: Path) -> None:
    """The message names the database, without its password."""
    message = refusal(tmp_path, "--database", "postgresql+psycopg2://me:s3cret@127.0.0.1:1/chat", "--listen", LOOPBACK)
    assert "127.0.0.1:1/chat" in message
    assert "--database" in message
    assert "s3cret" not in message


def test_a_wrong_database_url(tmp_path: Path) -> None:
    """The message shows the valid forms."""
    assert "sqlite:///FILE" in refusal(tmp_path, "--database", "chat.db", "--listen", LOOPBACK)


def test_a_schema_that_is_behind(tmp_path: Path, postgres_url: str, server: StartServer, connect: Connect) -> None:
    """The server leaves an old Postgres schema alone and names the command that upgrades it; that command works."""
    assert "twistd -n chatserver --migrate" in refusal(tmp_path, "--database", postgres_url, "--listen", LOOPBACK)
    chat = server(postgres_url, migrated=False, options=["--migrate"])
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
    connect(chat, JsonClient).register("ana")  # the server listens before the database is ready; its greeting waits
    assert query(chat.database, "SELECT v FROM entry_search_config WHERE k = 'automerge'") == [(8,)]
