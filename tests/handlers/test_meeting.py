"""Invitations, blocks and presence, as people see them on the wire."""

from tests.handlers.conftest import House, Resident
from tests.support.client import Message
from tests.support.process import wait_until


def presences(one: Resident, of: Resident) -> list[tuple[bool, str | None]]:
    """The notices about another person's presence that a person has received so far."""
    one.ok("ping")
    events = [event for event in one.link.events if event["event"] == "presence" and event["name"] == of.name]
    return [(event["online"], event.get("away")) for event in events]


def wait_presence(one: Resident, of: Resident, **wanted: object) -> None:
    """Waits until a person is told this about the presence of another."""
    told = {"event": "presence", "name": of.name, **wanted}
    one.link.wait_event(lambda event: event == told)


def seen(one: Resident, of: Resident) -> Message:
    [user] = one.ok("who", name=of.name)["users"]
    return dict(user)


def test_invitations(house: House) -> None:
    """Invitations are shown at once, and at each login until they are used, withdrawn, or the inviter is kicked."""
    ana, bob, cai = (house.person(name) for name in ("ana", "bob", "cai"))
    den, vault = ana.room("den", private=True), ana.room("vault", private=True)
    ids = {room: ana.ok("invite", room=room, name=bob.name.upper())["room_id"] for room in (den, vault)}
    assert {bob.link.wait_event("invited")["room"] for _ in range(2)} == {den, vault}
    bob.again()
    assert bob.welcome["invitations"] == [
        {"room": room, "room_id": ids[room], "by": ana.name} for room in sorted((den, vault))
    ]
    bob.ok("join", room=den)
    assert ana.refused("uninvite", room=vault, name=cai.name) == "no-such-user"
    ana.ok("uninvite", room=vault, name=bob.name)
    assert bob.refused("join", room=vault) == "no-such-room"
    bob.again()
    assert "invitations" not in bob.welcome
    bob.ok("leave", room=den)
    assert bob.refused("join", room=den) == "no-such-room"
    bob.ok("invite", room=ana.room("hall", bob), name=cai.name)
    assert cai.link.wait_event("invited")["by"] == bob.name


def test_invitations_of_whom_one_wants_nothing(house: House) -> None:
    """Blocking a person deletes their invitations, and a ban from a room deletes those to that room."""
    ana, bob = house.person("ana"), house.person("bob")
    den, vault, hall = ana.room("den", private=True), ana.room("vault", private=True), ana.room("hall")
    ids = {room: ana.ok("invite", room=room, name=bob.name)["room_id"] for room in (den, vault, hall)}
    for room in (vault, hall):
        ana.ok("ban", room=room, name=bob.name)
        ana.ok("unban", room=room, name=bob.name)
    bob.again()
    assert bob.welcome["invitations"] == [{"room": den, "room_id": ids[den], "by": ana.name}]
    bob.ok("block", name=ana.name)
    bob.again()
    assert "invitations" not in bob.welcome
    assert bob.refused("join", room=den) == "no-such-room"
    assert ana.refused("invite", room=den, name=bob.name) == "blocked"
    ana.ok("say", room=hall, text="last")
    assert [event["room"] for event in bob.link.events if event["event"] == "invited"] == []


def test_who_may_invite(house: House) -> None:
    """Members may invite until the owner reserves it for moderators. Newcomers read the past if the owner opens it."""
    ana, bob, cai = (house.person(name) for name in ("ana", "bob", "cai"))
    den = ana.room("den", bob, private=True)
    ana.ok("say", room=den, text="before")
    ana.ok("set", room=den, invites="moderators")
    assert bob.refused("invite", room=den, name=cai.name) == "not-allowed"
    ana.ok("role", room=den, name=bob.name, role="moderator")
    bob.ok("invite", room=den, name=cai.name)
    joined = cai.ok("join", room=den)["seq"]
    assert [entry["seq"] for entry in cai.ok("history", room=den)["entries"]] == [joined]
    assert cai.ok("search", text="before")["entries"] == []
    ana.ok("set", room=den, past="open")
    assert cai.ok("history", room=den)["entries"][0]["seq"] == 1
    assert [entry["text"] for entry in cai.ok("search", text="before")["entries"]] == ["before"]


def test_coming_back_to_a_private_room(house: House) -> None:
    """After joining a private room again, messages from meanwhile can neither be read nor count as unread."""
    ana, bob = house.person("ana"), house.person("bob")
    den = ana.room("den", bob, private=True)
    bob.ok("leave", room=den)
    for n in range(3):
        ana.ok("say", room=den, text=f"{n}")
    ana.ok("invite", room=den, name=bob.name)
    joined = bob.ok("join", room=den, since=0)
    seq, id = joined["seq"], joined["room_id"]
    assert bob.link.wait_event("live")["seq"] == seq
    assert [entry["seq"] for entry in bob.link.rooms[den] if entry["seq"] > 2 and entry["event"] == "message"] == []
    none = {"unread": 0, "messages": 0, "mentions": 0}
    room = {"room": den, "room_id": id, "seq": seq, "read": seq, "role": "member"}
    assert bob.ok("unread")["rooms"] == [room | none]


def test_away(house: House) -> None:
    """People who share a room are told when somebody is away and is back; so is anybody who asks."""
    ana, bob, cai = (house.person(name) for name in ("ana", "bob", "cai"))
    ana.room("hall", bob)
    bob.ok("away", text="at lunch")
    bob.ok("away", text="at lunch")
    wait_presence(ana, bob, online=True, away="at lunch")
    assert seen(ana, bob)["away"] == "at lunch"
    [user] = [user for user in ana.ok("who")["users"] if user["name"] == bob.name]
    assert user["away"] == "at lunch"
    bob.ok("away")
    wait_presence(ana, bob, online=True)
    told = presences(ana, bob)
    if house.nodes > 1 and told[0] == (True, None):
        del told[0]  # at another node, that he came may be told only once they share a room
    assert told == [(True, "at lunch"), (True, None)]
    assert presences(cai, bob) == []
    bob.ok("away", text="gone")
    bob.ok("quit")
    wait_presence(ana, bob, online=False)
    bob.again()
    assert "away" not in seen(ana, bob)


def test_blocked(house: House) -> None:
    """Neither person of a block sees whether the other is or was online or away. Nobody is told of the block."""
    ana, bob, cai = (house.person(name) for name in ("ana", "bob", "cai"))
    hall = ana.room("hall", bob, cai)
    ana.ok("block", name=bob.name)
    for one, other in ((ana, bob), (bob, ana)):
        known = presences(one, other)
        other.ok("away", text="thinking")
        other.ok("quit")
        wait_presence(cai, other, online=False)
        other.again()
        other.ok("away", text="thinking")
        wait_presence(cai, other, online=True, away="thinking")
        assert presences(one, other) == known
        known_to_ana = {"blocked": True} if one is ana else {}
        assert seen(one, other) == {"name": other.name, "online": False, **known_to_ana}
        wait_until(lambda other=other: seen(cai, other).get("away") == "thinking", what="others see why")  # type: ignore[misc]
        assert other.name not in [user["name"] for user in one.ok("who")["users"]]
        assert {m["name"]: m["online"] for m in one.ok("members", room=hall)["members"]}[other.name] is False
    assert bob.refused("say", room=f"@{ana.name}", text="hello?") == "blocked"
    ana.ok("say", room=hall, text="in the room all are heard")
    bob.link.hears("in the room all are heard")
    ana.ok("unblock", name=bob.name)
    wait_until(lambda: seen(bob, ana)["online"] is True)
    bob.ok("say", room=f"@{ana.name}", text="hello!")
    ana.link.hears("hello!")
