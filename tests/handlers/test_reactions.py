"""Reactions and pinned messages, as their commands leave them in the store."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from chatserver.store import entries, erasure, pins, reactions, retention
from chatserver.store.db.schema import EntryRow
from chatserver.values import commands as c
from chatserver.values.errors import Refused
from chatserver.values.events import PERSON, Entry, Person
from chatserver.wire.sentences import english
from tests.handlers.world import World, undone


class Square(World):
    """Ana owns the private room `books`, where bob and cai are; ana has said `hello` before cai joined."""

    def __init__(self, db: Any) -> None:
        super().__init__(db)
        for name in ("ana", "bob", "cai"):
            self.person(name, PERSON)
        self.do("ana", c.Create(room="books", visibility="private"))
        self.enter("bob")
        self.hello = self.do("ana", c.Say(room="books", text="hello")).seq
        self.enter("cai")
        self.news = self.do("ana", c.Say(room="books", text="news")).seq

    def enter(self, name: str) -> None:
        self.do("ana", c.Invite(room="books", name=name))
        self.do(name, c.Join(room="books"))

    def react(self, who: str, seq: int, reaction: str, *, remove: bool = False) -> Any:
        return self.do(who, c.React(room="books", seq=seq, reaction=reaction, remove=remove))

    def refusal(self, who: str, command: c.Command) -> str:
        try:
            self.do(who, command)
        except Refused as refused:
            return english(refused.sentence)
        raise AssertionError("It was not refused.")

    def entry(self, seq: int, who: str = "ana") -> Entry:
        found: Entry = self.do(who, c.History(room="books", before=seq + 1, limit=1)).entries[0]
        assert found.seq == seq
        return found

    def sums(self, seq: int) -> dict[str, int]:
        return dict(self.entry(seq).reactions)

    @property
    def last(self) -> Entry:
        last: Entry = self.do("ana", c.History(room="books", limit=1)).entries[-1]
        return last

    def pinned(self, who: str, **fields: Any) -> list[int]:
        return [entry.seq for _, entry in self.do(who, c.Pins(room="books", **fields)).entries]


@pytest.fixture
def square(engine: Engine) -> Iterator[Square]:
    with undone(engine) as db:
        yield Square(db)


def test_reacting(square: Square) -> None:
    """A reaction is an entry, and the message has the sum, in the order in which reactions were first given. What is
    given already, or taken back already, changes nothing."""
    for who, reaction in (("ana", "+1"), ("bob", "🎉"), ("bob", "+1"), ("cai", "+1")):
        assert square.react(who, square.news, reaction).seq == square.last.seq
    assert (square.last.kind, square.last.of, square.last.text, square.last.author) == (
        "reacted", square.news, "+1", "cai"
    )  # fmt: skip
    assert square.entry(square.news).reactions == (("+1", 3), ("🎉", 1))
    last = square.last.seq
    assert square.react("bob", square.news, "+1").seq is None
    assert square.react("ana", square.news, "🎉", remove=True).seq is None
    assert square.last.seq == last
    assert square.react("bob", square.news, "🎉", remove=True).seq == last + 1
    assert (square.last.kind, square.last.text) == ("unreacted", "🎉")
    assert square.react("bob", square.news, "🎉", remove=True).seq is None
    assert square.react("ana", square.news, "+1", remove=True).seq == last + 2
    assert square.sums(square.news) == {"+1": 2}
    assert square.react("ana", square.news, "+1").seq == last + 3
    assert square.sums(square.news) == {"+1": 3}


def test_counts_of_reactions(square: Square) -> None:
    """An entry about a reaction says how often it is given: as of this entry where it is announced, and as of its
    reading where it is read. An erased message has none, and a removed one no longer says."""

    def announced(who: str, reaction: str, *, remove: bool = False) -> int:
        outcome = square.outcome(who, c.React(room="books", seq=square.news, reaction=reaction, remove=remove))
        [[entry]] = [one.entries for one in outcome.announced]
        [(word, count)] = entry.reactions
        assert word == reaction
        return count

    assert [announced(who, "+1") for who in ("ana", "bob", "cai")] == [1, 2, 3]
    first = square.last.seq - 2
    assert announced("bob", "+1", remove=True) == 2
    assert announced("cai", "🎉") == 1
    assert announced("cai", "🎉", remove=True) == 0

    def read(seq: int = first) -> list[tuple[tuple[str, int], ...]]:
        return [entry.reactions for entry in square.do("bob", c.History(room="books", after=seq - 1)).entries]

    assert read() == [(("+1", 2),)] * 4 + [(("🎉", 0),)] * 2
    square.do("ana", c.Erase(room="books", seq=square.news))
    assert read()[:-1] == [(("+1", 0),)] * 4 + [(("🎉", 0),)] * 2
    retention.remove(square.db, square.do("ana", c.History(room="books")).facts.id, 1, square.news + 1)
    assert read()[:-1] == [()] * 6


def test_as_of(square: Square) -> None:
    """Pages of messages say up to which entry edits, erasures and reactions are folded into them: the room's last one
    when they were read."""
    square.do("ana", c.Say(room="books", text="news for bob"))
    square.do("ana", c.Pin(room="books", seq=square.news))
    last = square.react("cai", square.news, "+1").seq
    for fields in ({}, {"before": square.news}, {"after": square.news}, {"limit": 1}, {"after": 10**6}):
        assert square.do("bob", c.History(room="books", **fields)).as_of == last
    for command in (c.Search(text="news"), c.Search(text="news", room="books"), c.Pins(room="books"), c.Mentions()):
        found = square.do("bob", command).entries
        assert found, command
        assert {entry.as_of for _, entry in found} == {last}, command


def test_own_reactions(square: Square) -> None:
    """A message names those of its reactions that the reader gives, in answers to programs."""
    square.do("ana", c.Pin(room="books", seq=square.news))
    for who, reaction in (("bob", "🎉"), ("ana", "+1"), ("bob", "+1"), ("bob", "no")):
        square.react(who, square.news, reaction)
    square.react("bob", square.news, "no", remove=True)
    square.react("bob", square.hello, "no")
    for who, mine in (("ana", ("+1",)), ("bob", ("🎉", "+1")), ("cai", ())):
        assert square.entry(square.news, who).mine == mine
        for command in (c.Search(text="news"), c.Search(text="news", room="books"), c.Pins(room="books")):
            assert [entry.mine for _, entry in square.do(who, command).entries] == [mine]
    square.do("ana", c.Erase(room="books", seq=square.news))
    assert square.entry(square.news, "bob").mine == ()


def test_who_reacts(square: Square) -> None:
    """Who gave which reaction is listed by name, a part of each at a time, and the rest of one behind a name. Somebody
    who may not read the message is refused."""
    for who, reaction in (("cai", "+1"), ("bob", "🎉"), ("ana", "+1"), ("bob", "+1"), ("ana", "🎉"), ("cai", "no")):
        square.react(who, square.news, reaction)
    square.react("ana", square.news, "🎉", remove=True)
    square.react("cai", square.news, "no", remove=True)

    def given(who: str = "cai", **fields: Any) -> list[tuple[str, int, list[str], bool]]:
        answer = square.do(who, c.Reactions(room="books", seq=square.news, **fields))
        return [(line.reaction, line.count, line.names, line.more) for line in answer.reactions]

    assert given() == [("+1", 3, ["ana", "bob", "cai"], False), ("🎉", 1, ["bob"], False)]
    assert given(limit=2) == [("+1", 3, ["ana", "bob"], True), ("🎉", 1, ["bob"], False)]
    assert given(reaction="+1", after="Bob", limit=2) == [("+1", 3, ["cai"], False)]
    assert given(reaction="+1", after="cai") == [("+1", 3, [], False)]
    assert given(reaction="no") == []
    assert square.do("ana", c.Reactions(room="books", seq=square.hello)).reactions == []
    assert square.word("cai", c.Reactions(room="books", seq=square.hello)) == "bad-command"
    assert square.word("ana", c.Reactions(room="books", seq=1)) == "bad-command"
    square.do("ana", c.Erase(room="books", seq=square.news))
    assert square.word("ana", c.Reactions(room="books", seq=square.news)) == "bad-command"
    square.person("dan", PERSON)
    assert square.word("dan", c.Reactions(room="books", seq=square.news)) == "no-such-room"


def test_limits_of_reactions(square: Square) -> None:
    """A message has at most so many different reactions, and somebody gives it at most so many at a time, and so many
    in the course of time. Others can go on with those that are there, and what was given can be taken back."""
    for number in range(reactions.MOST_GIVEN):
        square.react("ana", square.news, f"a{number}")
        square.react("bob", square.news, f"b{number}")
    assert len(square.sums(square.news)) == reactions.MOST_KINDS
    assert "20 different" in square.refusal("cai", c.React(room="books", seq=square.news, reaction="c"))
    square.react("cai", square.news, "a1")
    assert "Take one back" in square.refusal("ana", c.React(room="books", seq=square.news, reaction="b1"))
    square.react("ana", square.news, "a0", remove=True)
    square.react("cai", square.news, "c")
    for _ in range(reactions.MOST_TIMES - 2):
        square.react("cai", square.news, "c", remove=True)
        square.react("cai", square.news, "c")
    square.react("cai", square.news, "c", remove=True)
    assert "40 times" in square.refusal("cai", c.React(room="books", seq=square.news, reaction="c"))
    assert square.sums(square.news)["a1"] == 2


def test_what_one_can_react_to(square: Square) -> None:
    """Only to messages that one may read and that are there."""
    for who, seq in (("cai", square.hello), ("cai", 1), ("bob", 999), ("bob", 0)):
        for command in (
            c.React(room="books", seq=seq, reaction="+1"),
            c.React(room="books", seq=seq, reaction="+1", remove=True),
            c.Pin(room="books", seq=seq),
            c.Unpin(room="books", seq=seq),
        ):
            assert square.word(who, command) == "bad-command"
    square.do("ana", c.Erase(room="books", seq=square.news))
    assert square.word("bob", c.React(room="books", seq=square.news, reaction="+1")) == "bad-command"
    assert square.word("bob", c.Pin(room="books", seq=square.news)) == "bad-command"


def test_in_a_direct_room(square: Square) -> None:
    """In a direct room the two people can reply, react and pin; whoever is blocked cannot."""
    first = square.do("ana", c.Say(room="@bob", text="psst")).seq
    assert square.do("bob", c.Reply(room="@ana", seq=first, text="yes?")).seq == first + 1
    assert square.do("bob", c.React(room="@ana", seq=first, reaction="+1")).seq == first + 2
    assert square.do("bob", c.Pin(room="@ana", seq=first)).seq == first + 3
    assert [entry.seq for _, entry in square.do("ana", c.Pins(room="@bob")).entries] == [first]
    square.do("ana", c.Block(name="bob"))
    for command in (
        c.Reply(room="@ana", seq=first, text="hello?"),
        c.React(room="@ana", seq=first, reaction="-1"),
        c.Unpin(room="@ana", seq=first),
    ):
        assert square.word("bob", command) == "blocked"
    assert square.word("cai", c.Reply(room="@bob", seq=1, text="hi")) == "bad-command"
    assert square.do("cai", c.Say(room="@bob", text="hi")).seq == 1


def test_pinning(square: Square) -> None:
    """A pinned message is listed for those who may read it, newest first and a page at a time, until it is unpinned or
    erased. What is pinned already, or not pinned, changes nothing."""
    assert square.do("bob", c.Pin(room="books", seq=square.news)).seq == square.last.seq
    assert (square.last.kind, square.last.of, square.last.author) == ("pinned", square.news, "bob")
    last = square.do("ana", c.Pin(room="books", seq=square.hello)).seq
    assert square.do("bob", c.Pin(room="books", seq=square.hello)).seq is None
    more = [square.do("bob", c.Say(room="books", text=f"{n}")).seq for n in range(3)]
    for seq in more:
        square.do("bob", c.Pin(room="books", seq=seq))
    every = [*more[::-1], square.news, square.hello]
    assert square.pinned("bob") == every
    assert square.pinned("cai") == every[:-1]
    page = square.do("bob", c.Pins(room="books", limit=2))
    assert (len(page.entries), page.more, page.before) == (2, True, more[1])
    assert square.pinned("bob", before=page.before) == every[2:]
    assert square.do("bob", c.Pins(room="books", limit=5)).before is None
    square.do("bob", c.Erase(room="books", seq=more[0]))
    assert square.do("cai", c.Unpin(room="books", seq=square.news)).seq == square.last.seq
    assert (square.last.kind, square.last.of) == ("unpinned", square.news)
    assert square.do("cai", c.Unpin(room="books", seq=square.news)).seq is None
    assert square.do("bob", c.Unpin(room="books", seq=more[0])).seq is None
    assert square.pinned("ana") == [more[2], more[1], square.hello]
    assert last < square.last.seq


def test_a_room_has_so_many_pins(square: Square, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a room has as many pinned messages as it may have, one has to be unpinned first."""
    monkeypatch.setattr(pins, "MOST", 1)
    square.do("ana", c.Pin(room="books", seq=square.hello))
    assert "Unpin one first" in square.refusal("ana", c.Pin(room="books", seq=square.news))
    square.do("ana", c.Unpin(room="books", seq=square.hello))
    square.do("ana", c.Pin(room="books", seq=square.news))


def test_an_erased_message(square: Square) -> None:
    """An erased message has no reactions, and erasing it leaves replies to it as they are. Edits of a reply change
    nothing but its text."""
    reply = square.do("bob", c.Reply(room="books", seq=square.hello, text="hi")).seq
    square.react("bob", square.hello, "+1")
    square.do("ana", c.Edit(room="books", seq=square.hello, text="hullo"))
    assert square.sums(square.hello) == {"+1": 1}
    square.do("bob", c.Edit(room="books", seq=reply, text="hi there"))
    square.do("ana", c.Erase(room="books", seq=square.hello))
    assert square.sums(square.hello) == {}
    assert (square.entry(reply).text, square.entry(reply).of) == ("hi there", square.hello)
    found = square.do("ana", c.Search(text="there", room="books")).entries
    assert [(entry.seq, entry.of) for _, entry in found] == [(reply, square.hello)]
    exported = [entry for _, entry in square.do("bob", c.Export()).entries if entry.of]
    assert [(entry.kind, entry.of) for entry in exported] == [
        ("message", square.hello), ("reacted", square.hello), ("edited", reply)
    ]  # fmt: skip
    square.do("bob", c.Erase(room="books", seq=reply))
    assert (square.entry(reply).text, square.entry(reply).of) == ("", square.hello)


@pytest.mark.parametrize("messages", [True, False])
def test_an_erased_account(square: Square, messages: bool) -> None:
    """Reactions of an erased account stay, unless its messages are erased too: then it has reacted to nothing, and no
    text of its reactions is left. The sums are right, and its own messages have none and are not pinned."""
    mine = square.do("bob", c.Say(room="books", text="mine")).seq
    square.do("ana", c.Pin(room="books", seq=mine))
    square.react("ana", mine, "+1")
    for who, reaction in (("ana", "+1"), ("bob", "+1"), ("bob", "secret"), ("bob", "gone")):
        square.react(who, square.news, reaction)
    square.react("bob", square.news, "gone", remove=True)
    bob = square.people["bob"]
    erasure.erase(square.db, bob, square.at, messages=messages)
    while (found := erasure.places(square.db, bob.id)) is not None:
        for some in erasure.steps(found):
            erasure.step(square.db, bob.id, some, square.at)
    texts = square.db.scalars(select(EntryRow.text).where(EntryRow.kind.in_(("reacted", "unreacted")))).all()
    assert square.sums(square.news) == ({"+1": 1} if messages else {"+1": 2, "secret": 1})
    assert {"secret", "gone"}.isdisjoint(texts) == messages
    assert square.sums(mine) == ({} if messages else {"+1": 1})
    assert square.pinned("ana") == ([] if messages else [mine])
    before = square.sums(square.news)
    counted = {row[1]: row[3] for row in square.db.execute(reactions.counted())}
    assert counted[square.news] in before.values()


def test_a_removed_message(square: Square) -> None:
    """Of a message that was removed nothing is left: neither a pin nor reactions, though the entries about it stay."""
    for seq in (square.hello, square.news):
        square.do("ana", c.Pin(room="books", seq=seq))
        square.do("ana", c.React(room="books", seq=seq, reaction="+1"))
    room_id = square.do("ana", c.History(room="books")).facts.id
    known = square.do("ana", c.Say(room="books", text="with an id", id="k1")).seq
    square.do("ana", c.Pin(room="books", seq=known))
    square.react("bob", known, "+1")
    retention.remove(square.db, room_id, 1, known + 1)
    assert square.pinned("ana") == []
    kept = square.db.execute(select(EntryRow.reactions, EntryRow.pinned).where(EntryRow.room_id == -room_id)).all()
    assert [tuple(row) for row in kept] == [(None, None)]
    assert {entry.of for entry in entries.after(square.db, room_id, 0, 100)[0]} == {known}
    assert "was removed" in square.refusal("ana", c.React(room="books", seq=known, reaction="+1"))


def test_while_a_message_is_erased(square: Square) -> None:
    """A sum that was read before the message was erased is not kept with it."""
    access = square.entry(square.news)
    room = square.do("ana", c.History(room="books")).facts
    square.db.execute(update(EntryRow).where(EntryRow.seq == square.news).values(text="", state="erased"))
    reactions._keep(square.db, room.id, access.seq, {"+1": 1})
    pins._set(square.db, room.id, access.seq, pinned=True)
    row = square.db.execute(select(EntryRow.reactions, EntryRow.pinned).where(EntryRow.seq == square.news)).one()
    assert tuple(row) == (None, None)


def test_guests_react_where_they_speak(engine: Engine) -> None:
    """A guest reacts, replies and pins in public rooms, and whoever is muted does not."""
    with undone(engine) as db:
        world = World(db)
        world.person("ana", PERSON)
        guest: Person = world.person("guest", "guest")
        world.do("ana", c.Create(room="hall"))
        hello = world.do("ana", c.Say(room="hall", text="hello")).seq
        tries = (
            c.Reply(room="hall", seq=hello, text="hi"),
            c.React(room="hall", seq=hello, reaction="+1"),
            c.Pin(room="hall", seq=hello),
            c.Unpin(room="hall", seq=hello),
        )
        assert [world.word("guest", one) for one in tries] == ["not-a-member"] * 4
        world.do("guest", c.Join(room="hall"))
        assert [world.word("guest", one) for one in tries] == ["ok"] * 4
        world.do("ana", c.Mute(room="hall", name=guest.name))
        assert [world.word("guest", one) for one in tries] == ["muted"] * 4
        assert world.word("guest", c.Pins(room="hall")) == "ok"
