"""`chatctl session`, `announce`, `stats` and `reload` ask the server that is running."""

import os
import re
import socket
import subprocess
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.chatctl.conftest import CHEAP, PASSWORD, Chatctl
from tests.conftest import Connect, StartServer
from tests.support.certificate import write_certificate
from tests.support.client import JsonClient, TextClient
from tests.support.process import LOOPBACK, ChatServer, wait_until
from tests.support.websocket import WebSocketClient

Running = tuple[ChatServer, Chatctl]

LONG = "x" * 4000


def control_of(one: ChatServer) -> Path:
    """Where the control socket of a server is, once somebody answers there."""
    own = one.folder / "chatserver"
    sqlite = Path(one.database.removeprefix("sqlite:///") + ".control")

    def there() -> list[Path]:
        return [sqlite] if one.database.startswith("sqlite") else list(own.glob("*.control"))

    wait_until(lambda: any(map(answers, there())), what="the control socket")
    return there()[0]


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(os.fspath(path)) == 0


def serving(one: ChatServer, monkeypatch: pytest.MonkeyPatch) -> Running:
    """A server that can be asked, and a `chatctl` with the same settings and environment."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(one.folder))
    control_of(one)
    return one, Chatctl(one.database)


@pytest.fixture
def running(server_url: str, server: StartServer, monkeypatch: pytest.MonkeyPatch) -> Running:
    return serving(server(server_url, config=CHEAP), monkeypatch)


def test_listing(running: Running, connect: Connect) -> None:
    """The list has each connection once, with what the kernel knows of it, sorted as asked and no longer than asked."""
    one, chatctl = running
    ana, bob = connect(one, JsonClient), connect(one, TextClient)
    ana.register("ana")
    bob.register("bob")
    connect(one, TextClient)
    for _ in range(50):
        ana.say("general", "one of many")
    found = chatctl.json("session", "list")
    assert [(line["user"], line["dialect"], line["address"], line["door"]) for line in found] == [
        ("ana", "jsonl", "127.0.0.1", "tcp"),
        ("bob", "text", "127.0.0.1", "tcp"),
        ("", "", "127.0.0.1", "tcp"),
    ]
    of_ana = found[0]
    assert (of_ana["commands"], of_ana["behind"]) == (50, {})
    assert of_ana["received"] > 50 * 20
    assert found[1]["sent"] > 50 * 11
    assert 0 <= of_ana["idle"] < 30
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", of_ana["since"])
    assert [line["user"] for line in chatctl.json("session", "list", "--sort", "in", "--limit", "1")] == ["ana"]
    assert [line["user"] for line in chatctl.json("session", "list", "--user", "BOB")] == ["bob"]
    shown = chatctl.run("session", "list", "--limit", "2")
    assert [line.split()[1] for line in shown.stdout.splitlines()] == ["ana", "bob"]
    assert shown.stderr == "1 more. To list all: --limit 0\n"


def test_doors(
    sqlite_url: str, server: StartServer, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list says through which door somebody came, an announcement reaches all of them, and a kick any of them."""
    key, certificate = write_certificate(tmp_path)
    secure = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    listen = [LOOPBACK, secure, f"ws:{LOOPBACK}", f"ws:{secure}", f"unix:{tmp_path}/chat.sock"]
    one, chatctl = serving(server(sqlite_url, config=CHEAP, listen=listen), monkeypatch)
    tcp, ssl, ws, wss = one.addresses
    clients = [JsonClient(tcp), JsonClient(ssl, tls=True), WebSocketClient(ws), WebSocketClient(wss, tls=True)]
    person = socket.socket(socket.AF_UNIX)
    try:
        for client, name in zip(clients, "abcd", strict=True):
            client.register(name)
        person.settimeout(10)
        person.connect(f"{tmp_path}/chat.sock")
        person.sendall(f"/register e {PASSWORD}\n".encode())
        wait_until(lambda: len(chatctl.json("session", "list", "--user", "e")) == 1, what="the one at the Unix socket")
        found = chatctl.json("session", "list")
        assert [(line["user"], line["door"]) for line in found] == [
            ("a", "tcp"),
            ("b", "ssl"),
            ("c", "ws:tcp"),
            ("d", "ws:ssl"),
            ("e", "unix"),
        ]
        assert [line["received"] > 0 for line in found[:4]] == [True] * 4
        assert {"idle", "received", "sent"}.isdisjoint(found[4])
        assert chatctl("announce", "Back at 18:00.") == "Told 5 connections.\n"
        for client in clients:
            assert client.wait_event("notice")["text"] == "Back at 18:00."
        assert chatctl("session", "kick", "d", "--reason", "bye") == "Ended 1 connection of d.\n"
        assert clients[3].wait_closing()["text"] == "An administrator ended your connection: bye."
        chatctl("session", "kick", found[4]["id"])
        heard = b""
        while data := person.recv(4096):
            heard += data
        end = b"* An administrator ended your connection. Press Enter to leave.\r\n"
        assert heard.endswith(b"* Back at 18:00.\r\n" + end)
    finally:
        person.close()
        for client in clients:
            client.close()


def test_somebody_behind(running: Running, connect: Connect) -> None:
    """Somebody who reads nothing shows up as behind. A kick ends their session at once, and they can come back."""
    one, chatctl = running
    ana, stuck = connect(one, JsonClient), connect(one, JsonClient, receive_buffer=4096)
    ana.register("ana")
    stuck.register("stuck")

    def behind() -> int:
        ana.say("general", LONG)
        return int(chatctl.json("session", "list", "--sort", "behind")[0]["behind"].get("general", 0))

    wait_until(lambda: behind() > 3, timeout=60, what="somebody behind")
    assert chatctl.json("session", "kick", "stuck")["name"] == "stuck"
    assert [line["user"] for line in chatctl.json("session", "list")] == ["ana"]
    ana.wait_event(lambda event: (event["event"], event.get("name")) == ("presence", "stuck"))
    again = connect(one, JsonClient)
    again.login("stuck")
    assert stuck.wait_closing()["reason"] == "kicked"


def test_kicking_nobody(running: Running) -> None:
    """A name or id that nobody has is a failure that says where to look."""
    _, chatctl = running
    assert chatctl.fails("session", "kick", "nobody") == (
        "Nobody is connected as nobody, and no connection has this id. See: chatctl session list"
    )
    assert chatctl.fails("announce", "  ") == "The message is empty. Nothing was sent."
    assert chatctl.fails("announce", "x" * 100_000) == "That is too long for the server. Shorten it."


def test_stats(running: Running, connect: Connect) -> None:
    """The figures count what happened, and are shown in lines or as one object."""
    one, chatctl = running
    ana, bob = connect(one, JsonClient), connect(one, JsonClient)
    ana.register("ana")
    bob.register("bob")
    ana.say("general", "hello")
    bob.hears("hello")
    found = chatctl.json("stats")
    assert (found["connections"], found["accounts"], found["rooms"], found["messages"]) == (2, 2, 1, 1)
    assert found["pid"] == one.pid
    assert found["deliveries"] >= 2
    assert found["memory"] > 10 << 20
    shown = dict(re.findall(r"^(\w+): +(.*)$", chatctl("stats"), re.MULTILINE))
    assert shown["Connections"] == "2 (2 in)"
    assert shown["Accounts"] == "2 online"


def test_reloading(running: Running) -> None:
    """A reload does what SIGHUP does, and says what; a wrong file changes nothing and is the command's failure."""
    one, chatctl = running
    file = one.folder / "chatserver.toml"
    before = file.read_text()
    file.write_text(before + "window = 7\n")
    result = chatctl.json("reload")
    assert result["changed"] == ["limits.window"]
    file.write_text(before + "windows = 7\n")
    assert "windows" in chatctl.fails("reload")
    assert chatctl.json("stats")["pid"] == one.pid


def test_audit(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's log says which user of the system has changed something by `chatctl`, and what; also what was
    changed in the database."""
    one, chatctl = running
    monkeypatch.setenv("SUDO_USER", "carla")
    chatctl.add("bob")
    chatctl("ban", "add", "bob", "--for", "2h", "--reason", "s3cret")
    chatctl.json("token", "add", "bob", "nightly build")
    chatctl.fails("ban", "remove", "192.0.2.1")
    by = f"by=carla uid={os.geteuid()}"
    for line in (
        f"act=user-add {by} target=bob",
        f"act=ban-add {by} target=bob seconds=7200",
        rf"act=token-add {by} target=bob label=nightly\\x20build",
        f"act=ban-remove {by} target=192.0.2.1 outcome=failed",
    ):
        one.wait_log(rf"audit: act address=local {line}\s*$")
    chatctl("user", "list")
    chatctl("stats")
    assert "s3cret" not in one.log
    assert "user-list" not in one.log


def test_no_server(server_url: str, server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a running server the commands fail with one line that says what to do; nothing is left behind by a server
    that stopped, and what one that was killed left behind is replaced by the next one."""
    one, chatctl = serving(server(server_url, config=CHEAP), monkeypatch)
    path = control_of(one)
    assert path.stat().st_mode & 0o777 == 0o600
    one.kill()
    assert path.exists()
    for words in (["session", "list"], ["session", "kick", "ana"], ["announce", "x"], ["stats"], ["reload"]):
        said = chatctl.fails(*words)
        assert said.startswith("No server answers at ")
        assert said.endswith("Start it, or run chatctl with its settings, as its user.")
    one.start()
    wait_until(lambda: chatctl.run("stats").exit_code == 0, what="the new socket")
    assert one.stop() == 0
    assert not path.exists()
    chatctl.add("ana")  # what is in the database needs no server


def test_control_off(sqlite_url: str, server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a control socket the server serves, and `chatctl` says which setting is missing."""
    one = server(sqlite_url, config=f'[server]\ncontrol = ""\n{CHEAP}')
    with JsonClient(one.address) as ana:
        ana.register("ana")
    monkeypatch.setenv("CHATSERVER_CONFIG", str(one.folder / "chatserver.toml"))
    chatctl = Chatctl(sqlite_url)
    said = chatctl.run("--config", str(one.folder / "chatserver.toml"), "stats").stderr
    assert said == 'chatctl: This needs the running server, and server.control is "". Set it, and restart the server.\n'


def test_somebody_elses_socket(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`chatctl` does not talk to a socket that another user listens on, unless it is root's."""
    path = Path(sqlite_url.removeprefix("sqlite:///") + ".control")
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(os.fspath(path))
        living.listen()
        monkeypatch.setattr("os.geteuid", lambda: 4711)
        monkeypatch.setattr("chatserver.chatctl.control.uid_of", lambda _: 4712)
        assert Chatctl(sqlite_url).fails("stats").startswith(f"The socket {path} is not the server's: user 4712 ")


@pytest.mark.parametrize("line", [b"\xff\n", b"hello\n", b'{"control":"\xff"}\n', b"no end", b"[]\n"])
def test_a_socket_of_another_program(sqlite_url: str, line: bytes) -> None:
    """A listener that does not speak as the server does is not the server, and ends in one line."""
    path = Path(sqlite_url.removeprefix("sqlite:///") + ".control")
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(os.fspath(path))
        living.listen()

        def speak() -> None:
            with living.accept()[0] as caller:
                caller.sendall(line)

        speaker = threading.Thread(target=speak)
        speaker.start()
        said = Chatctl(sqlite_url).fails("stats")
        speaker.join()
    assert said.startswith(("No server answers at ", "The server speaks otherwise. "))


def test_long_path(server: StartServer, tmp_path: Path, connect: Connect) -> None:
    """With a database whose path is too long for a socket, the server serves without one, and both say so."""
    folder = tmp_path / ("x" * 110)
    folder.mkdir()
    one = server(f"sqlite:///{folder}/chat.db", config=CHEAP)
    one.wait_log("There is no control socket.*more than 107 bytes; set server.control")
    connect(one, JsonClient).register("ana")
    assert "too long for a socket. Set server.control" in Chatctl(one.database).fails("stats")


@pytest.mark.slow
def test_taken_socket(sqlite_url: str, server: StartServer, tmp_path: Path, connect: Connect) -> None:
    """A server leaves alone a socket on which somebody answers, and a file that is no socket; it serves without one,
    and says so."""
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(f"{tmp_path}/living")
        living.listen()
        one = server(sqlite_url, config=f'[server]\ncontrol = "{tmp_path}/living"\n{CHEAP}')
        one.wait_log("There is no control socket.*another server, or a file, is at")
        connect(one, JsonClient).register("ana")
        one.stop()
        assert (tmp_path / "living").exists()
    (tmp_path / "file").write_text("precious")
    other = server(sqlite_url, config=f'[server]\ncontrol = "{tmp_path}/file"\n{CHEAP}')
    other.wait_log("There is no control socket")
    other.stop()
    assert (tmp_path / "file").read_text() == "precious"
    third = server(sqlite_url, config=f'[server]\ncontrol = "{tmp_path}/missing/socket"\n{CHEAP}')
    third.wait_log("There is no control socket.*No such file or directory")


def test_another_database(
    postgres_url: str, sqlite_url: str, server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`chatctl` asks no server of another database, even if that is where it would look."""
    one = server(sqlite_url, config=CHEAP)
    path = control_of(one)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "main.control").symlink_to(path)
    said = f"The server at {tmp_path}/main.control uses another database. Run chatctl with the settings of that server."
    assert Chatctl(postgres_url).fails("stats") == said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_other_users(sqlite_url: str, server: StartServer, connect: Connect) -> None:
    """Somebody else's process gets no answer, even if the mode of the socket lets it connect."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        path = folder / "control"
        server(sqlite_url, config=f'[server]\ncontrol = "{path}"\n{CHEAP}')
        wait_until(lambda: answers(path), what="the socket")
        asking = (
            "import socket; s = socket.socket(socket.AF_UNIX); s.settimeout(10); "
            f"s.connect({str(path)!r}); print(s.recv(100))"
        )
        command = ["/usr/bin/env", "python3", "-c", asking]

        def asked(user: int) -> subprocess.CompletedProcess[str]:
            return subprocess.run(command, user=user, group=user, capture_output=True, text=True, check=False)

        assert "control" in asked(0).stdout
        assert "PermissionError" in asked(65534).stderr
        path.chmod(0o777)
        refused = asked(65534)
        assert refused.stdout in ("", "b''\n"), refused


@pytest.mark.slow
def test_hostile_callers(running: Running, connect: Connect) -> None:
    """Callers that read nothing, send garbage or 100 MB, or come by the thousand, are cut off; the chat goes on, and so
    does `chatctl` once they are gone."""
    one, chatctl = running
    path = control_of(one)
    ana, bob = connect(one, JsonClient), connect(one, JsonClient)
    ana.register("ana")
    bob.register("bob")
    before = one.rss_bytes()
    many: list[socket.socket] = []

    def caller() -> socket.socket:
        new = socket.socket(socket.AF_UNIX)
        new.settimeout(10)
        new.connect(os.fspath(path))
        many.append(new)
        return new

    def flood() -> None:
        big = caller()
        try:
            for _ in range(100):
                big.sendall(b"x" * (1 << 20))
        except OSError:
            pass

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        for number in range(1000):
            try:
                new = caller()
                new.sendall((b'{"do":"sessions"}\n', b"garbage\n", b'{"do"', os.urandom(1000))[number % 4])
            except OSError:  # the server has had enough of it already
                pass
            if number % 20 == 0:
                ana.say("general", f"still here {number}")
                bob.hears(f"still here {number}")
        flooding.join(30)
        assert not flooding.is_alive()
    finally:
        for one_of_them in many:
            one_of_them.close()
    assert one.rss_bytes() - before < 32 << 20
    wait_until(lambda: chatctl.run("stats").exit_code == 0, timeout=30, what="an answer")
