"""Presence: who is online, as others see it."""

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.support.client import JsonClient, Message


def presences(client: JsonClient) -> list[tuple[str, bool]]:
    return [(event["name"], event["online"]) for event in client.events if event["event"] == "presence"]


def is_presence(event: Message) -> bool:
    return bool(event["event"] == "presence")


def test_coming_and_going(server: StartServer, connect: Connect) -> None:
    """Only those who share a room with an account are told when its first session begins and when its last one ends."""
    chat = server(config=QUICK + "[limits]\npresence_seconds = 0.1\n[server]\ndefault_rooms = []\n")
    ana, dan = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    ana.ok("create", room="books")
    dan.register("dan")
    first = connect(chat, JsonClient)
    first.register("bob")
    first.ok("join", room="books")
    first.ok("quit")
    first.drain()
    ana.wait_event(is_presence)
    links = [connect(chat, JsonClient) for _ in range(2)]
    links[0].login("bob")
    ana.wait_event(is_presence)
    links[1].login("bob")
    links[0].ok("quit")
    links[0].drain()
    links[1].say("books", "still here")
    ana.hears("still here")
    links[1].abort()
    ana.wait_event(is_presence)
    assert presences(ana) == [("bob", False), ("bob", True), ("bob", False)]
    dan.ok("ping")
    assert presences(dan) == []


def test_a_changing_away_text(server: StartServer, connect: Connect) -> None:
    """Somebody who changes their away text all the time is heard of once in `news_seconds`, and the last text wins."""
    chat = server(config=QUICK + "[limits]\nnews_seconds = 1\n", limits="default")
    ana, bob = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    bob.register("bob")
    for n in range(100):
        ana.ok("away", text=f"number {n}")
    bob.wait_event(lambda event: event.get("away") == "number 99")
    texts = [event["away"] for event in bob.events if "away" in event]
    assert len(texts) <= 5, texts


def test_a_flapping_connection(server: StartServer, connect: Connect) -> None:
    """An account that reconnects within `presence_seconds` causes no presence events."""
    chat = server(config=QUICK + "[limits]\npresence_seconds = 60\n")
    ana, bob = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    bob.register("bob")
    for n in range(10):
        bob.abort()
        bob = connect(chat, JsonClient)
        bob.login("bob")
        bob.say("general", f"back {n}")
        ana.hears(f"back {n}")
    assert presences(ana) == [("bob", True)]
    assert {user["name"] for user in ana.ok("who")["users"]} == {"ana", "bob"}
