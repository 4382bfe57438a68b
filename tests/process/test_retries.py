"""Retries: the same id is used on several connections."""

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK, stored
from tests.support.client import JsonClient


def test_an_id_on_two_connections_at_once(database_url: str, server: StartServer, connect: Connect) -> None:
    """A message that is sent on two connections at the same time is stored once, and both are answered with its number;
    this also holds for a message that creates a direct room."""
    chat = server(database_url, config=QUICK)
    bob = connect(chat, JsonClient)
    bob.register("bob")
    links = [connect(chat, JsonClient) for _ in range(2)]
    links[0].register("ana")
    links[1].login("ana")
    for room in ("general", "@bob"):
        pairs = []
        for n in range(50):
            pairs.append([link.post("say", room=room, text=f"text {n}", id=f"{room}{n}") for link in links])
        seqs = []
        for tags in pairs:
            answers = [link.answer(tag) for link, tag in zip(links, tags, strict=True)]
            assert all(answer["ok"] for answer in answers), answers
            assert sorted("dup" in answer for answer in answers) == [False, True]
            assert answers[0]["seq"] == answers[1]["seq"]
            assert answers[0]["at"] == answers[1]["at"]
            seqs.append(answers[0]["seq"])
        log = bob.wait_seq("@ana" if room == "@bob" else room, seqs[-1])
        assert [entry["seq"] for entry in log if entry["event"] == "message"] == seqs
        assert seqs == sorted(set(seqs))
    ids = [id for log in stored(database_url).values() for _, _, _, id in log if id is not None]
    assert len(ids) == len(set(ids)) == 100


def test_an_id_in_two_rooms_at_once(database_url: str, server: StartServer, connect: Connect) -> None:
    """If an id is used in two rooms at once, one message is stored, and the other is refused with id-conflict."""
    chat = server(database_url, config=QUICK + "[limits]\nstrikes = 0\n")
    links = [connect(chat, JsonClient) for _ in range(2)]
    links[0].register("ana")
    links[1].login("ana")
    rooms = [f"room{n}" for n in range(6)]
    for room in rooms:
        links[0].ok("create", room=room)
    pairs = []
    for n in range(40):
        for first, second in ((n % 6, (n + 1) % 6), (n % 6, (n + 2) % 6)):
            id = f"{n}-{second}"
            tags = [
                link.post("say", room=rooms[room], text="text", id=id)
                for link, room in zip(links, (first, second), strict=True)
            ]
            pairs.append(tags)
    for tags in pairs:
        answers = [link.answer(tag) for link, tag in zip(links, tags, strict=True)]
        assert sorted(answer.get("error", "") for answer in answers) == ["", "id-conflict"]
    ids = [id for log in stored(database_url).values() for _, _, _, id in log if id is not None]
    assert len(ids) == len(set(ids)) == 80


def test_ids_are_private_to_their_sender(server: StartServer, connect: Connect) -> None:
    """Only the sender's sessions see an id, live and in history, and two people may use the same id."""
    chat = server(config=QUICK)
    ana, other, bob = (connect(chat, JsonClient) for _ in range(3))
    ana.register("ana")
    other.login("ana")
    bob.register("bob")
    first = ana.say("general", "hello", "k1")
    assert bob.say("general", "hello", "k1")["seq"] == first["seq"] + 1
    ids = []
    for client in (ana, other, bob):
        heard = client.wait_seq("general", first["seq"] + 1)[-2:]
        ids.append([entry.get("id") for entry in heard])
        assert client.ok("history", room="general", limit=2)["entries"] == heard
    assert ids == [["k1", None], ["k1", None], [None, "k1"]]
