"""The lifecycle of rooms and messages, as members see it on the wire, at once and later."""

from tests.conftest import Connect, StartServer
from tests.handlers.conftest import House, Resident
from tests.process.load import QUICK
from tests.support.client import JsonClient, Message


def tail(one: Resident, room: str, limit: int = 50) -> list[tuple[int, str]]:
    return [(entry["seq"], entry["event"]) for entry in one.ok("history", room=room, limit=limit)["entries"]]


def test_rooms_that_nobody_is_in(house: House) -> None:
    """A room without members is not listed, but keeps its name and log. Whoever joins it, if it is public, owns it."""
    ana, bob = house.person("ana"), house.person("bob")
    hall, den = ana.room("hall"), ana.room("den", private=True)
    ana.ok("say", room=hall, text="before")
    for room in (hall, den):
        ana.ok("leave", room=room)
    assert not {hall, den} & {line["room"] for line in bob.ok("rooms", limit=500)["rooms"]}
    assert bob.refused("create", room=hall) == "room-taken"
    bob.ok("join", room=hall)
    assert bob.ok("history", room=hall)["entries"][1]["text"] == "before"
    assert bob.ok("rooms", mine=True)["rooms"][0]["role"] == "owner"
    assert bob.refused("join", room=den) == ana.refused("join", room=den) == "no-such-room"
    bob.ok("delete", room=hall)


def test_heirs(house: House) -> None:
    """After the last owner the longest-standing moderator becomes the owner, and after them a member."""
    ana, bob, cai, dan = (house.person(name) for name in ("ana", "bob", "cai", "dan"))
    hall = ana.room("hall", bob, cai, dan)
    ana.ok("role", room=hall, name=dan.name, role="moderator")
    ana.ok("leave", room=hall)
    event = bob.link.wait_event(lambda event: event.get("role") == "owner")
    assert (event["name"], event.get("by")) == (dan.name, None)
    dan.ok("leave", room=hall)
    assert bob.link.wait_event(lambda event: event.get("role") == "owner")["name"] == bob.name
    assert {line["name"]: line["role"] for line in cai.ok("members", room=hall)["members"]} == {
        bob.name: "owner",
        cai.name: "member",
    }


def test_deleting(house: House) -> None:
    """All members are told and are out. A new room can have the name, and shows nothing of the deleted one."""
    ana, bob = house.person("ana"), house.person("bob")
    hall = ana.room("hall", bob)
    ana.ok("say", room=hall, text="old words", id="1")
    seq = ana.ok("delete", room=hall)["seq"]
    assert [entry["event"] for entry in bob.link.wait_seq(hall, seq)][-1] == "deleted"
    assert bob.refused("say", room=hall, text="anybody?") == "no-such-room"
    assert bob.ok("unread")["rooms"] == []
    bob.ok("create", room=hall)
    ana.ok("join", room=hall)
    assert tail(ana, hall) == [(1, "created"), (2, "joined")]
    assert ana.ok("search", text="old")["entries"] == []
    assert ana.refused("say", room=hall, text="new words", id="1") == "id-conflict"
    assert bob.ok("say", room=hall, text="new words")["seq"] == 3
    assert ana.link.hears("new words")["seq"] == 3


def test_kicked_and_banned(house: House) -> None:
    """A kicked or banned member is told, and nothing after it. A ban holds until it is lifted or expires."""
    ana, bob = house.person("ana"), house.person("bob")
    hall = ana.room("hall", bob)
    other = house.stranger()
    other.login(bob.name)
    ana.ok("kick", room=hall, name=bob.name, reason="noise")
    ana.ok("say", room=hall, text="unheard")
    for link in (bob.link, other):
        event = link.wait_event("kicked")
        assert (event["name"], event["by"], event["reason"]) == (bob.name, ana.name, "noise")
    bob.ok("join", room=hall)
    ana.ok("ban", room=hall, name=bob.name)
    ana.ok("say", room=hall, text="unheard")
    assert bob.link.wait_event("banned")["name"] == bob.name
    for command in ("join", "members", "history", "leave"):
        assert bob.refused(command, room=hall) == "banned"
    assert "unheard" not in [event.get("text") for event in [*bob.link.events, *other.events]]
    [ban] = ana.ok("bans", room=hall)["bans"]
    assert (ban["name"], ban["by"]) == (bob.name, ana.name)
    ana.ok("unban", room=hall, name=bob.name)
    bob.ok("join", room=hall)


def test_muted(house: House) -> None:
    """A muted member can read but not write, also after leaving and joining again."""
    ana, bob = house.person("ana"), house.person("bob")
    hall = ana.room("hall", bob)
    ana.ok("mute", room=hall, name=bob.name, seconds=3600)
    assert "until" in bob.link.wait_event("muted")
    bob.ok("leave", room=hall)
    bob.ok("join", room=hall)
    assert bob.refused("say", room=hall, text="hm") == "muted"
    ana.ok("unmute", room=hall, name=bob.name)
    bob.ok("say", room=hall, text="thanks")
    ana.link.hears("thanks")


def test_edited_and_erased(house: House) -> None:
    """A change is a new entry. History and resume show the message as it is now; erased texts are gone."""
    ana, bob = house.person("ana"), house.person("bob")
    hall = ana.room("hall", bob)
    first, second = (ana.ok("say", room=hall, text=text, id=text)["seq"] for text in ("frist", "secret"))
    edited = ana.ok("edit", room=hall, seq=first, text="first")["seq"]
    ana.ok("edit", room=hall, seq=second, text="sekret")
    erased = ana.ok("erase", room=hall, seq=second)["seq"]
    live = bob.link.wait_seq(hall, erased)
    assert [(entry["event"], entry.get("of"), entry.get("text")) for entry in live[-3:]] == [
        ("edited", first, "first"), ("edited", second, "sekret"), ("erased", second, None)
    ]  # fmt: skip
    bob.link.close()
    link = house.stranger()
    link.ok("login", name=bob.name, password="s3cret-words", resume={hall: 2})
    link.wait_event("live")
    asked: list[Message] = link.ok("history", room=hall)["entries"]
    for entries in (link.rooms[hall], [entry for entry in asked if entry["seq"] > 2]):
        assert [entry["seq"] for entry in entries] == list(range(first, erased + 1))
        assert (entries[0]["text"], entries[0]["edited"]) == ("first", True)
        assert (entries[1].get("text"), entries[1]["erased"]) == (None, True)
        assert [entry.get("of") for entry in entries[2:]] == [first, second, second]
        assert "ekret" not in str(entries)
    assert edited == second + 1
    assert link.ok("search", text="secret")["entries"] == link.ok("search", text="frist")["entries"] == []
    assert ana.ok("say", room=hall, text="secret", id="secret")["dup"] is True


def test_searching(house: House) -> None:
    """A search finds messages with all the words, newest first, in pages, in one room or in all, each message once."""
    ana, bob = house.person("ana"), house.person("bob")
    hall, den = ana.room("hall", bob), ana.room("den", private=True)
    for n in range(11):
        ana.ok("say", room=den if n % 3 == 0 else hall, text=f"Apfel {n}, Grüße")
    ana.ok("say", room=hall, text="Apfel allein")

    def found(who: Resident, limit: int, **fields: object) -> list[int]:
        numbers: list[int] = []
        times: list[str] = []
        more: dict[str, object] = {}
        while True:
            page = who.ok("search", text="grüße APFEL", limit=limit, **fields, **more)
            assert len(page["entries"]) <= limit
            numbers += [int(entry["text"].split()[1].strip(",")) for entry in page["entries"]]
            times += [entry["at"] for entry in page["entries"]]
            if not page["more"]:
                assert times == sorted(times, reverse=True)
                return numbers
            more = {"before": page["before"]}

    down = list(range(10, -1, -1))
    for limit in (3, 50):
        assert sorted(found(ana, limit), reverse=True) == down  # messages of two rooms may have the same millisecond
        assert found(ana, limit, room=den) == [n for n in down if n % 3 == 0]
        assert found(bob, limit) == found(bob, limit, room=hall) == [n for n in down if n % 3]
    assert bob.refused("search", text="Apfel", room=den) == "no-such-room"


def test_operators(house: House) -> None:
    """An operator moderates rooms they are not in, and the whole server. A banned person is disconnected at once, and
    cannot log in until the ban is lifted."""
    root, ana, bob = house.operator("root"), house.person("ana"), house.person("bob")
    den = ana.room("den", bob, private=True)
    root.ok("kick", room=den, name=bob.name)
    assert ana.link.wait_event("kicked")["by"] == root.name
    for command in ("history", "members"):
        assert root.refused(command, room=den) == "not-a-member"
    assert den not in str(root.ok("rooms", limit=500))
    other = house.stranger()
    other.login(bob.name)
    root.ok("ban", name=bob.name, reason="spam")
    for link in (bob.link, other):
        closing = link.wait_closing()
        assert (closing["reason"], "spam" in closing["text"]) == ("banned", True)
    assert house.stranger().refused("login", name=bob.name, password="s3cret-words") == "banned"
    assert [(ban["name"], ban["reason"]) for ban in root.ok("bans")["bans"]] == [(bob.name, "spam")]
    root.ok("unban", name=bob.name)
    bob.again()
    root.ok("delete", room=den)
    ana.link.wait_event("deleted")
    assert ana.refused("ban", name=bob.name) == "not-allowed"


def test_banning_addresses(server: StartServer, connect: Connect, sqlite_url: str) -> None:
    """A banned network's connections end at once, and new ones are told why before anything else."""
    one = server(config=QUICK)
    home = House(one)
    root, ana = home.operator("root"), home.person("ana")
    root.link.post("ban", address="127.0.0.0/8", reason="flood", yes=True)
    assert ana.link.wait_closing()["reason"] == "banned"
    late = connect(one, JsonClient)
    late.drain()
    assert "flood" in late.notices[0]
    home.close()
