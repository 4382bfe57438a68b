"""Passwords over connections that can be read on the way: `server.plaintext_login = false`."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import force_setattr

from chatserver.login.cleartext import carries_secret, remedy
from chatserver.settings.tables import NO_LIMITS, Limits, Server, Settings
from chatserver.values import commands as c
from chatserver.wire.addresses import Networks
from chatserver.wire.sentences import english
from tests.support.hall import PASSWORD, Client, Hall, WebSocketClient
from tests.support.proxy import v1, v2

HERE, AWAY, PROXY = "127.0.0.1", "192.0.2.7", "198.51.100.1"
LISTEN = ["tcp:4000", "ws:ssl:4443:privateKey=key.pem", "ssl:4001:privateKey=key.pem"]
SHELL = "Passwords need TLS here: openssl s_client -quiet -connect HOST:4001"
TEXT = "Passwords and tokens are not accepted without TLS here. Connect with TLS to port 4001 or port 4443 (WebSocket)."
SSL_BY_CLIENT = b"\x20\x00\x05\x01" + bytes(4)
SSL_BY_PROXY_ONLY = b"\x20\x00\x05\x00" + bytes(4)


def at(host: str) -> Any:
    return SimpleNamespace(host=host)


def hall(folder: Path, *, allowed: bool = False, **settings: Any) -> Hall:
    quiet: Any = {"handshake_seconds": 0, "typing_seconds": 0, "ping_seconds": 0, "stalled_seconds": 0, **NO_LIMITS}
    server = Server(plaintext_login=allowed, listen=LISTEN, guests=True, **settings)
    return Hall(folder, settings=Settings(server=server, limits=Limits(**quiet)))


def test_a_person_is_told_first(tmp_path: Path) -> None:
    """A person from elsewhere is told first where to connect, and is not asked for a password; whatever they send all
    the same is ignored. Guests have no password, and may come in."""
    chat = hall(tmp_path)
    chat.client().come_in("ana")
    person = chat.client(address=at(AWAY))
    assert person.lines == ["* Welcome to chatserver. Type your name to log in, or /help.", f"* {SHELL}"]
    person.type("ana", f"/login ana {PASSWORD}", f"/register bob {PASSWORD}", "/token ct_mbJ0UX4oRQm1mGd3x8cCkWk7VYFc")
    assert person.lines[2:] == [f"! {SHELL}"] * 4
    person.type("/guest")
    assert person.lines[6].startswith("* Hello ~")


@pytest.mark.parametrize("door", ["client", "browser"])
def test_a_program_is_refused(tmp_path: Path, door: str) -> None:
    """A program is refused with a word of its own, at the plain and the WebSocket door, whether it has a password or a
    token; commands without a secret are served."""
    chat = hall(tmp_path)
    chat.client().come_in("ana")
    program: Any = getattr(chat, door)(address=at(AWAY))
    if isinstance(program, WebSocketClient):
        program.upgrade()
    program.post("login", name="ana", password=PASSWORD, tag=1)
    program.post("register", name="bob", password=PASSWORD, tag=2)
    program.post("login", token="ct_mbJ0UX4oRQm1mGd3x8cCkWk7VYFc", tag=3)
    assert program.answers == [
        {"ok": False, "tag": tag, "cmd": cmd, "error": "tls-required", "text": TEXT}
        for tag, cmd in ((1, "login"), (2, "register"), (3, "login"))
    ]
    assert program.post("ping", tag=4).answers[-1] == {"ok": True, "tag": 4, "cmd": "ping"}


def test_who_is_not_concerned(tmp_path: Path) -> None:
    """From this host passwords are accepted as ever, and from everywhere where the setting is on."""
    assert hall(tmp_path).client(address=at(HERE)).come_in("ana").session.who.name == "ana"
    assert hall(tmp_path).client().come_in("ana").session.who.name == "ana"  # a Unix socket
    assert hall(tmp_path, allowed=True).client(address=at(AWAY)).come_in("ana").session.who.name == "ana"


def test_a_changed_setting(tmp_path: Path) -> None:
    """The setting is read when it is used: from then on, commands with a secret are refused, also after a login or at
    the prompt for a password, and no password is asked for a token."""
    chat = hall(tmp_path, allowed=True)
    ana, bob, cai = (chat.client(address=at(AWAY)) for _ in range(3))
    ana.type(f"/register ana {PASSWORD}")
    cai.come_in("cai")
    bob.type("ana")
    force_setattr(chat.settings.server, "plaintext_login", False)
    bob.type(PASSWORD)
    assert bob.lines[-1] == f"! {SHELL}"
    for line in (f"/password {PASSWORD} other-words", f"/forget {PASSWORD}", "/token backup"):
        ana.type(line)
        assert ana.lines[-1] == f"! {SHELL}"
    ana.type("hello")
    assert cai.said[-1] == "hello"  # it was not taken for a password
    cai.post("password", old=PASSWORD, new="other-words")
    cai.post("token", label="backup", password=PASSWORD)
    cai.post("forget", password=PASSWORD)
    assert [answer.get("error") for answer in cai.answers[-3:]] == ["tls-required"] * 3


@pytest.mark.parametrize(
    ("proxy", "header", "accepted"),
    [
        (PROXY, v2(AWAY, tlvs=SSL_BY_CLIENT), True),
        (PROXY, v2(AWAY, tlvs=b"\x01\x00\x02h2" + SSL_BY_CLIENT), True),
        (HERE, v2(AWAY, tlvs=SSL_BY_PROXY_ONLY), False),
        (HERE, v2(AWAY, tlvs=b"\x20\x00\x09\x01"), False),  # cut off
        (HERE, v2(AWAY), False),
        (HERE, v1(AWAY), False),
        (PROXY, v1(HERE), True),
        (PROXY, v2(AWAY, tlvs=SSL_BY_CLIENT, command=0), False),  # the proxy connects for itself
        (HERE, v2(AWAY, command=0), True),
    ],
)
def test_behind_a_proxy(tmp_path: Path, proxy: str, header: bytes, accepted: bool) -> None:
    """The header counts for a client behind a trusted proxy: its TLS, else its address."""
    chat = hall(tmp_path)
    factory = chat.factory(proxies=Networks([proxy]))
    client = Client(chat, factory.buildProtocol(at(proxy)), address=at(proxy))
    client.wire.come(header)
    client.connection = client.wire.protocol.connection
    client.post("register", name="ana", password=PASSWORD)
    assert client.answers[-1]["ok"] is accepted


@pytest.mark.parametrize(
    ("listen", "people", "programs"),
    [
        (["tcp:4000", "ssl:port=4001"], "-connect HOST:4001", "Connect with TLS to port 4001."),
        (["ws:ssl:4443"], "Ask the server's operators", "Connect with TLS to port 4443 (WebSocket)."),
        (["tcp:4000", "ssl:0"], "Ask the server's operators", "here. Connect with TLS."),
        ([r"ssl:4001:interface=\:\:1"], "-connect HOST:4001", "Connect with TLS to port 4001."),
    ],
)
def test_the_remedy(listen: list[str], people: str, programs: str) -> None:
    """It names the ports with TLS that the settings have."""
    assert people in english(remedy(Server(listen=listen), for_people=True).sentence)
    assert programs in english(remedy(Server(listen=listen), for_people=False).sentence)


def test_commands_with_secrets() -> None:
    """Every command with a field for a secret counts as carrying one."""
    secret = {"password", "token", "secret", "old", "new"}
    kinds: tuple[type[c.Command], ...] = (*c.COMMANDS, c.TypedPassword)
    named = {kind for kind in kinds if secret & set(kind.__struct_fields__)}
    assert named == {c.Login, c.Register, c.Password, c.Forget, c.Token, c.Rename, c.TypedPassword}
    assert not carries_secret(c.Token(list=True))
    assert not carries_secret(c.Token(revoke="backup"))
    assert carries_secret(c.Rename(display="Ana", password="s3cret-words"))
    assert not carries_secret(c.Rename(display="Ana"))
    assert not carries_secret(c.Guest())
