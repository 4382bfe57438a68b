"""Changes made by `chatctl` take effect in a running server within a second or two."""

import pytest

from tests.chatctl.conftest import CHEAP, PASSWORD, Chatctl
from tests.conftest import Connect, StartServer
from tests.support.client import Ended, JsonClient, Raw, TextClient
from tests.support.process import ChatServer, wait_until

Running = tuple[ChatServer, Chatctl]


@pytest.fixture
def running(server_url: str, server: StartServer) -> Running:
    return server(server_url, config=CHEAP), Chatctl(server_url)


def named(one: ChatServer, connect: Connect, *names: str) -> list[JsonClient]:
    clients = [connect(one, JsonClient) for _ in names]
    for client, name in zip(clients, names, strict=True):
        client.register(name)
    return clients


def test_disabling(running: Running, connect: Connect) -> None:
    """Disabling an account ends its connections with a reason, and prevents logins until it is enabled again."""
    one, chatctl = running
    ana, bob = named(one, connect, "ana", "bob")
    also = connect(one, JsonClient)
    also.login("ana")
    chatctl("user", "disable", "ana")
    assert [client.wait_closing()["reason"] for client in (ana, also)] == ["disabled", "disabled"]
    assert bob.ok("ping")
    again = connect(one, JsonClient)
    assert again.refused("login", name="ana", password=PASSWORD) == "bad-credentials"
    chatctl("user", "disable", "ana", "--off")
    again.login("ana")


def test_operators(running: Running, connect: Connect) -> None:
    """A connected user becomes an operator and a normal user again."""
    one, chatctl = running
    [ana] = named(one, connect, "ana")
    assert ana.refused("bans") == "not-allowed"
    chatctl("user", "operator", "ana")
    wait_until(lambda: bool(ana.cmd("bans")["ok"]), what="her rights")
    assert ana.ok("bans")["bans"] == []
    chatctl("user", "operator", "ana", "--off")
    wait_until(lambda: not ana.cmd("bans")["ok"], what="the end of her rights")


def test_deleting_a_room(running: Running, connect: Connect) -> None:
    """Members are told that the server deleted the room. They are out of it, and its name is free."""
    one, chatctl = running
    ana, bob = named(one, connect, "ana", "bob")
    person = connect(one, TextClient)
    person.type(f"/register cai {PASSWORD}")
    ana.ok("create", room="books")
    bob.ok("join", room="books")
    person.type("/join books")
    ana.wait_event(lambda event: event["event"] == "joined" and (event["room"], event["name"]) == ("books", "cai"))
    chatctl("room", "delete", "books", "--yes")
    for client in (ana, bob):
        deleted = client.wait_event("deleted")
        assert (deleted["room"], deleted["seq"], "by" in deleted) == ("books", 4, False)
        assert client.refused("say", room="books", text="still here?") in ("not-a-member", "no-such-room")
    person.expect("the server deleted the room")
    bob.ok("create", room="books")
    bob.say("books", "anew")
    assert ana.ok("join", room="books", since=0)
    ana.hears("anew")


def test_banning_from_a_room(running: Running, connect: Connect) -> None:
    """Everybody in the room is told of the ban; the banned user hears nothing after it."""
    one, chatctl = running
    ana, bob = named(one, connect, "ana", "bob")
    chatctl("ban", "add", "bob", "--room", "general", "--reason", "spam")
    for client in (ana, bob):
        assert client.wait_event("banned")["reason"] == "spam"
    assert bob.refused("join", room="general") == "banned"
    ana.say("general", "he is gone")
    ana.hears("he is gone")
    bob.ok("ping")
    assert "he is gone" not in {event.get("text") for event in bob.events}
    chatctl("ban", "remove", "bob", "--room", "general")
    ana.wait_event("unbanned")
    bob.ok("join", room="general")


def test_banning_from_the_server(running: Running, connect: Connect) -> None:
    one, chatctl = running
    ana, bob = named(one, connect, "ana", "bob")
    chatctl("ban", "add", "bob", "--reason", "spam")
    closing = bob.wait_closing()
    assert (closing["reason"], closing["text"].endswith(": spam.")) == ("banned", True)
    assert ana.ok("ping")
    again = connect(one, JsonClient)
    assert again.refused("login", name="bob", password=PASSWORD) == "banned"
    chatctl("ban", "remove", "bob")
    again.login("bob")


def test_banning_a_network(running: Running, connect: Connect) -> None:
    """A ban of a network ends its connections, logged in or not, and refuses new ones until it is lifted."""
    one, chatctl = running
    [ana] = named(one, connect, "ana")
    stranger = connect(one, Raw)
    chatctl("ban", "add", "127.0.0.0/8", "--yes", "--reason", "noise")
    assert ana.wait_closing()["reason"] == "banned"
    assert b"banned" in stranger.eof()
    assert b": noise." in connect(one, Raw).eof()
    chatctl("ban", "remove", "127.0.0.0/8")

    def taken() -> bool:
        try:
            return connect(one, Raw).read_line().startswith(b"* ")
        except Ended:  # only a few refused connections a second are told why
            return False

    wait_until(taken, what="the ban is lifted")


def test_revoking_a_token(running: Running, connect: Connect) -> None:
    """Revoking a token ends the connections that logged in with it, and no others of the account."""
    one, chatctl = running
    [ana] = named(one, connect, "ana")
    first, second = (chatctl.json("token", "add", "ana", label)["token"] for label in ("ci", "cron"))
    ci, cron = connect(one, JsonClient), connect(one, JsonClient)
    ci.ok("login", token=first)
    cron.ok("login", token=second)
    chatctl("token", "revoke", "ana", "ci")
    assert ci.wait_closing()["reason"] == "token-revoked"
    assert ana.ok("ping")
    assert cron.ok("ping")
    assert connect(one, JsonClient).refused("login", token=first) == "bad-credentials"


def test_adding_and_erasing(running: Running, connect: Connect) -> None:
    """Members of the default rooms see a new account join and an erased one leave, with no gap in the log."""
    one, chatctl = running
    [ana] = named(one, connect, "ana")
    chatctl.add("bob")
    assert ana.wait_event(lambda event: event.get("name") == "bob")["event"] == "joined"
    bob = connect(one, JsonClient)
    bob.login("bob")
    bob.say("general", "hello")
    assert chatctl.json("user", "show", "bob")["name"] == "bob"
    chatctl("user", "erase", "bob", "--messages", "erase", "--yes")
    assert bob.wait_closing()["reason"] == "disabled"
    ana.wait_event("left")
    ana.say("general", "and gone")
    ana.hears("and gone")
    assert [entry["seq"] for entry in ana.rooms["general"]] == [2, 3, 4, 5]
    [erased] = [entry for entry in ana.ok("history", room="general")["entries"] if entry["seq"] == 3]
    assert (erased["erased"], "text" in erased) == (True, False)


def test_a_password(running: Running, connect: Connect) -> None:
    """A new password is valid at once and the old one is not; connections stay."""
    one, chatctl = running
    [ana] = named(one, connect, "ana")
    chatctl("user", "password", "ana", "--password-stdin", typed="other-words\n")
    assert connect(one, JsonClient).refused("login", name="ana", password=PASSWORD) == "bad-credentials"
    connect(one, JsonClient).login("ana", "other-words")
    assert ana.ok("ping")
