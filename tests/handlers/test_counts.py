"""What one account can make many of is counted: rooms, people it writes to first, and pending invitations."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import structs
from sqlalchemy import Engine, insert, update

from chatserver.handlers.people import MAX_BLOCKED
from chatserver.pipeline.outcomes import INVITATIONS_TOLD
from chatserver.store import invitations, rooms, sessions
from chatserver.store.db.schema import AccountRow, BlockRow, RoomRow
from chatserver.values import commands as c
from chatserver.values.errors import ErrorWord, Refused
from chatserver.values.events import GUEST, OPERATOR
from chatserver.wire.sentences import english
from tests.handlers.world import OFF, World, undone
from tests.support.hall import PASSWORD, Hall


@pytest.fixture
def world(engine: Engine) -> Iterator[World]:
    """Rooms are created at the database's time, by which their number is judged."""
    with undone(engine) as db:
        one = World(db, datetime.now(UTC))
        for name in ("ana", "bob", "cai"):
            one.person(name)
        one.person("root", OPERATOR)
        yield one


def refusal(world: World, who: str, command: c.Command) -> Refused:
    with pytest.raises(Refused) as refused:
        world.do(who, command)
    return refused.value


def test_rooms_owned(world: World) -> None:
    """An account owns so many rooms at most: it deletes or leaves one to create another. A retry gets its answer."""
    world.limits = structs.replace(OFF, rooms_per_account=3)
    for n in range(3):
        world.do("ana", c.Create(room=f"r{n}"))
        world.do("root", c.Create(room=f"s{n}"))
    assert world.do("ana", c.Create(room="r1")).seq == 1
    refused = refusal(world, "ana", c.Create(room="r3"))
    assert refused.error is ErrorWord.NOT_ALLOWED
    assert english(refused.sentence) == "You own 3 rooms, the most an account may own. Delete or leave one first."
    world.do("bob", c.Join(room="r0"))
    world.do("ana", c.Leave(room="r0"))
    world.do("ana", c.Create(room="r3"))
    assert world.word("ana", c.Create(room="r4")) == "not-allowed"
    world.do("ana", c.Delete(room="r3"))
    assert world.word("ana", c.Create(room="r4")) == "ok"
    assert world.word("bob", c.Create(room="r5")) == "ok"
    assert world.word("root", c.Create(room="s3")) == "ok"


def pass_minutes(world: World, minutes: int) -> None:
    for room_id, at in world.db.execute(RoomRow.__table__.select().with_only_columns(RoomRow.id, RoomRow.created_at)):
        earlier = at - timedelta(minutes=minutes)
        world.db.execute(update(RoomRow).where(RoomRow.id == room_id).values(created_at=earlier))


def test_rooms_created(world: World) -> None:
    """Whoever has created so many rooms within an hour, deleted ones too, is told when to come back."""
    world.limits = structs.replace(OFF, rooms_per_hour=2)
    world.do("ana", c.Create(room="r0"))
    pass_minutes(world, 40)
    world.do("ana", c.Create(room="r1"))
    world.do("ana", c.Delete(room="r1"))
    refused = refusal(world, "ana", c.Create(room="r2"))
    assert refused.error is ErrorWord.SLOW_DOWN
    assert refused.retry is not None
    assert 19 * 60 < refused.retry < 21 * 60
    assert english(refused.sentence).startswith("You have created 2 rooms within an hour. Try again in ")
    for who in ("bob", "root"):
        assert world.word(who, c.Create(room=f"of-{who}")) == "ok"
    pass_minutes(world, 21)
    assert world.word("ana", c.Create(room="r2")) == "ok"
    assert world.word("ana", c.Create(room="r3")) == "slow-down"


def test_people_written_to(world: World) -> None:
    """Within an hour an account writes to ten times as many new people; those it knows already it can always reach."""
    world.limits = structs.replace(OFF, rooms_per_hour=1)
    world.do("bob", c.Say(room="@ana", text="hello"))
    for n in range(10):
        world.person(f"p{n}")
        world.do("ana", c.Say(room=f"@p{n}", text="hello", id=str(n)))
    refused = refusal(world, "ana", c.Say(room="@cai", text="hello"))
    assert (refused.error, refused.retry is not None) == (ErrorWord.SLOW_DOWN, True)
    assert world.do("ana", c.Say(room="@p3", text="hello", id="3")).dup
    assert world.word("ana", c.Say(room="@bob", text="hello")) == "ok"
    assert world.word("ana", c.Create(room="r0")) == "ok"  # which is counted apart
    assert world.word("cai", c.Say(room="@ana", text="hello")) == "ok"
    assert world.word("ana", c.Say(room="@cai", text="hello")) == "ok"


def test_invitations(world: World) -> None:
    """So many invitations of an account are pending, and so many to it, of which one other account gives a tenth."""
    world.limits = structs.replace(OFF, invitations_sent=4, invitations_received=20)
    for n in range(5):
        world.do("ana", c.Create(room=f"r{n}"))
        world.person(f"p{n}")
    for room in ("r0", "r1"):
        world.do("ana", c.Invite(room=room, name="bob"))
    assert english(refusal(world, "ana", c.Invite(room="r2", name="bob")).sentence) == (
        "bob has 2 invitations from you, the most there may be. Withdraw one first."
    )
    assert world.word("ana", c.Invite(room="r1", name="bob")) == "ok"  # a retry
    for name in ("p0", "p1"):
        world.do("ana", c.Invite(room="r0", name=name))
    refused = refusal(world, "ana", c.Invite(room="r0", name="p2"))
    assert refused.error is ErrorWord.NOT_ALLOWED
    assert english(refused.sentence) == (
        "4 of your invitations have not been accepted yet, the most there may be. Withdraw some first."
    )
    world.do("ana", c.Uninvite(room="r0", name="p0"))
    assert world.word("ana", c.Invite(room="r0", name="p2")) == "ok"
    world.do("bob", c.Join(room="r0"))
    assert world.word("ana", c.Invite(room="r0", name="p3")) == "ok"


def test_invitations_nobody_can_withdraw(world: World) -> None:
    """Invitations to rooms that one has left, and to guests who have gone, count no more."""
    world.limits = structs.replace(OFF, invitations_sent=2)
    guest = world.person("visitor", GUEST)
    world.do("ana", c.Create(room="r0"))
    world.do("ana", c.Create(room="r1"))
    world.do("ana", c.Invite(room="r0", name="bob"))
    world.do("ana", c.Invite(room="r1", name=guest.name))
    assert world.word("ana", c.Invite(room="r1", name="bob")) == "not-allowed"
    rooms.dismiss_guest(world.db, guest, world.at)
    assert world.word("ana", c.Invite(room="r1", name="bob")) == "ok"
    assert world.word("ana", c.Invite(room="r1", name="cai")) == "not-allowed"
    world.do("ana", c.Leave(room="r0"))
    assert world.word("ana", c.Invite(room="r1", name="cai")) == "ok"


def test_invitations_of_many(world: World) -> None:
    """Nobody has more invitations than that, whoever they are from, until they accept some."""
    world.limits = structs.replace(OFF, invitations_received=3)
    for n in range(4):
        world.person(f"p{n}")
        world.do(f"p{n}", c.Create(room=f"r{n}"))
        assert world.word(f"p{n}", c.Invite(room=f"r{n}", name="cai")) == ("ok" if n < 3 else "not-allowed")
    assert english(refusal(world, "p3", c.Invite(room="r3", name="cai")).sentence) == (
        "cai has too many invitations already. Ask them to join one of the rooms first."
    )
    world.do("cai", c.Join(room="r0"))
    assert world.word("p3", c.Invite(room="r3", name="cai")) == "ok"


def come_from(world: World, name: str, address: str) -> None:
    """An account that comes from there, and owns a room for each invitation that it may give."""
    person = world.person(name)
    sessions.record(world.db, [sessions.Opened(name, person.id, "main", address, world.at)])
    for n in range(3):
        world.do(name, c.Create(room=f"{name}-{n}"))


def invited(world: World, name: str) -> Counter[str]:
    """How many invitations an account has, by whom."""
    person = world.people[name]
    return Counter(one.by for one in invitations.pending(world.db, {person.id})[person.id])


@pytest.mark.parametrize(
    ("thieves", "friend"),
    [
        ("192.0.2.{}", "198.51.100.1"),  # elsewhere
        ("2001:db8:0:{}::1", "2001:db8:1::1"),
        ("192.0.2.1", "192.0.2.2"),  # in the same network
        ("192.0.2.1", "192.0.2.1"),  # behind the same address
    ],
)
def test_invitations_by_accounts_of_one_place(thieves: str, friend: str, world: World) -> None:
    """However many accounts of a network, or of an address, have used up somebody's invitations, those of people at
    other places come in, and the oldest of the place with the most make way; but no further than to a fair share."""
    world.limits = structs.replace(OFF, invitations_received=20)
    for number in range(10):
        come_from(world, f"thief{number}", thieves.format(number))
        for n in range(2):
            world.do(f"thief{number}", c.Invite(room=f"thief{number}-{n}", name="cai"))
    come_from(world, "friend", friend)
    word = world.word("friend", c.Invite(room="friend-0", name="cai"))
    if thieves == friend:  # where each account is one of many, each has a share
        assert (word, invited(world, "cai")["friend"]) == ("ok", 1)
        return
    assert world.word("friend", c.Invite(room="friend-1", name="cai")) == word == "ok"
    after = invited(world, "cai")
    assert (after["friend"], after["thief0"], after.total()) == (2, 1, 20)
    assert world.word("thief0", c.Invite(room="thief0-2", name="cai")) == "not-allowed"
    assert invited(world, "cai") == after


def test_the_same_invitation(world: World) -> None:
    """Somebody who is invited to a room already is not notified again, whoever repeats the invitation."""
    world.do("ana", c.Create(room="den", visibility="private"))
    world.do("ana", c.Invite(room="den", name="bob"))
    world.do("bob", c.Join(room="den"))
    first = world.outcome("ana", c.Invite(room="den", name="cai"))
    assert len(first.effects) == 1
    for who in ("ana", "bob"):
        again = world.outcome(who, c.Invite(room="den", name="cai"))
        assert (again.effects, again.answer) == ([], first.answer)
    assert invited(world, "cai") == {"ana": 1}
    world.do("ana", c.Uninvite(room="den", name="cai"))
    assert len(world.outcome("bob", c.Invite(room="den", name="cai")).effects) == 1


def test_an_invitation_that_is_withdrawn_again_and_again(tmp_path: Path) -> None:
    """The invited account is notified a few times; all invitations are stored, and a login shows them."""
    hall = Hall(tmp_path)
    ana, bob = hall.program("ana"), hall.program("bob")
    ana.post("create", room="den")
    for _ in range(2 * INVITATIONS_TOLD):
        ana.post("invite", room="den", name="bob").post("uninvite", room="den", name="bob")
    ana.post("invite", room="den", name="bob")
    assert [answer["ok"] for answer in ana.answers[1:]] == [True] * (4 * INVITATIONS_TOLD + 2)
    assert [event["event"] for event in bob.events].count("invited") == INVITATIONS_TOLD
    again = hall.client().post("login", name="bob", password=PASSWORD)
    assert again.answers[-1]["invitations"] == [{"room": "den", "room_id": 2, "by": "ana"}]
    hall.close()


def test_blocks(world: World) -> None:
    """An account blocks a thousand others at most. Blocking one of them again changes nothing."""
    numbers = range(10_000, 10_000 + MAX_BLOCKED)
    people = [{"id": n, "name": f"p{n}", "name_key": f"p{n}", "created_at": world.at} for n in numbers]
    world.db.execute(insert(AccountRow), people)
    ana = world.people["ana"].id
    world.db.execute(insert(BlockRow), [{"account_id": ana, "blocked_id": n, "at": world.at} for n in numbers])
    assert english(refusal(world, "ana", c.Block(name="bob")).sentence) == (
        "You have blocked 1000 accounts, the most there may be. Unblock one of them first."
    )
    assert world.word("ana", c.Block(name="p10000")) == "ok"
    world.do("ana", c.Unblock(name="p10000"))
    assert world.word("ana", c.Block(name="bob")) == "ok"
