"""`chatctl user rename`: another name for an account, also while a server runs."""

from tests.chatctl.conftest import PASSWORD, Chatctl
from tests.conftest import Connect, StartServer
from tests.support.client import JsonClient


def test_renaming(chatctl: Chatctl) -> None:
    """The account has the new name and what it has had before; names that others have or had are refused, and so are
    those of the server. A bot can be renamed, too."""
    chatctl.add("ana", "bob")
    told = chatctl.json("user", "rename", "ANA", "anna", "--display", "Ana María")
    assert told == {"former": "ANA", "name": "anna", "display": "Ana María"}
    shown = chatctl.json("user", "show", "anna")
    assert (shown["name"], shown["display"], shown["former_names"]) == ("anna", "Ana María", ["ana"])
    assert "Former names: ana\n" in chatctl("user", "show", "anna")
    assert "it is called anna now" in chatctl.fails("user", "show", "ana")
    for name, why in (("anna", "taken"), ("ana", "until lately"), ("Adm1n", "reserved"), ("b b", "A name is")):
        assert why in chatctl.fails("user", "rename", "bob", name)
    assert "columns wide" in chatctl.fails("user", "rename", "bob", "--display", "x" * 40)
    assert "Give a new name" in chatctl.misused("user", "rename", "bob")
    assert chatctl("user", "rename", "anna", "--display", "") == "anna is now called anna.\n"
    chatctl("user", "add", "deploy", "--bot", "--owner", "bob")
    assert chatctl.json("user", "rename", "deploy", "builder")["name"] == "builder"
    assert "kept" not in chatctl("verify")


def test_a_running_server(server: StartServer, connect: Connect) -> None:
    """Everybody in a room of the account is told, and its open connections have the new name."""
    running = server()
    ana, bob = connect(running, JsonClient), connect(running, JsonClient)
    ana.register("ana", PASSWORD)
    bob.register("bob", PASSWORD)
    bob.ok("say", room="@ana", text="psst")
    Chatctl(running.database)("user", "rename", "ana", "anna", "--display", "Ana")
    bob.wait_seq("@ana", 2)
    bob.wait_seq("general", 3)
    told = [event for event in bob.events if event["event"] == "renamed"]
    assert {event["room"] for event in told} == {"general", "@ana"}
    assert {(event["name"], event["to"], event["display"]) for event in told} == {("ana", "anna", "Ana")}
    ana.ok("say", room="general", text="hello")
    said = bob.hears("hello")
    assert (said["from"], said["display"]) == ("anna", "Ana")
    bob.ok("say", room="@anna", text="hello")
