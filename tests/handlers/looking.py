"""Compares what everybody sees in the store with the model, and checks invariants."""

from collections.abc import Callable

from sqlalchemy import select

from chatserver.store import invitations, quotes
from chatserver.store.db.schema import EntryRow, MembershipRow, RoomRow
from chatserver.values import commands as c
from tests.handlers.model import Message, ModelRoom
from tests.handlers.world import World


class Looking:
    """The state so far: in the store (`world`), and in the model (the rest)."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World
        self.rooms: dict[str, ModelRoom] = {}
        self.direct: dict[frozenset[str], list[Message]] = {}
        self.marks: dict[tuple[str, str], int] = {}
        self.erased: set[str] = set()

    def check(self, who: str) -> None:
        """A person sees everything that they may see, and nothing else."""
        world = self.world
        lines = world.do(who, c.Rooms(limit=500)).rooms
        assert {line.room: (line.members, line.seq, line.role) for line in lines} == {
            name: (len(room.roles), room.seq, room.roles.get(who))
            for name, room in self.rooms.items()
            if room.roles and room.knows(who)
        }
        mine: dict[str, tuple[int, str | None]] = {
            name: (room.seq, room.roles[who]) for name, room in self.rooms.items() if who in room.roles
        }
        mine |= {f"@{other}": (len(said), None) for other, said in self.heard(who).items()}
        unread = world.do(who, c.Unread()).rooms
        assert {line.room: (line.seq, line.role) for line in unread} == mine
        for line in unread:
            assert self.marks.get((who, line.room), 0) <= line.read <= line.seq
            self.marks[who, line.room] = line.read
        me = world.people[who].id
        invited = invitations.pending(world.db, [me])[me]
        assert {(one.room, one.by) for one in invited} == {
            (name, room.invited[who]) for name, room in self.rooms.items() if who in room.invited
        }
        open_to = {name: room.first(who) for name, room in self.rooms.items()}
        found = world.do(who, c.Search(text="secret", limit=500)).entries
        assert sorted((facts.label(world.people[who].id), entry.text) for facts, entry in found) == sorted(
            [(f"@{other}", one.text) for other, said in self.heard(who).items() for one in said]
            + [
                (name, one.text)
                for name, first in open_to.items()
                for seq, one in self.rooms[name].messages.items()
                if first is not None and seq >= first and not one.erased
            ]
        )
        exported = world.do(who, c.Export()).entries
        assert {entry.author for _, entry in exported} <= {who}
        for name, first in open_to.items():
            self.check_room(who, name, first)
        for other, said in self.heard(who).items():
            log = world.do(who, c.History(room=f"@{other}", limit=500)).entries
            assert [(entry.seq, entry.author, entry.text) for entry in log] == [
                (n, one.author, one.text) for n, one in enumerate(said, 1)
            ]

    def check_room(self, who: str, name: str, first: int | None) -> None:
        world, room = self.world, self.rooms[name]
        looks: tuple[Callable[[str], c.Command], ...] = (
            lambda name: c.History(room=name, limit=500),
            lambda name: c.Members(room=name),
            lambda name: c.Search(text="secret", room=name),
            lambda name: c.Look(room=name),
            lambda name: c.Join(room=name, since=0),
        )
        if not room.knows(who):
            for look in looks[: 4 if who in room.invited else 5]:
                told = str(world.told(who, look(name)))
                assert told.replace(f"room {name}", "room nowhere") == str(world.told(who, look("nowhere")))
        elif first is None:
            assert {world.word(who, look(name)) for look in looks} == {"banned"}
        else:
            looked = world.do(who, looks[0](name))
            log = looked.entries
            assert [entry.seq for entry in log] == list(range(first, room.seq + 1))
            said = [entry for entry in log if entry.kind == "message"]
            seen = {seq: one for seq, one in room.messages.items() if seq >= first}
            assert {one.seq: (one.author, one.text, one.of, dict(one.reactions)) for one in said} == {
                seq: (one.author, one.text, one.of, {word: len(by) for word, by in one.given.items()})
                for seq, one in seen.items()
            }
            pinned = world.do(who, c.Pins(room=name)).entries
            assert [entry.seq for _, entry in pinned] == [seq for seq, one in seen.items() if one.pinned][::-1]
            quoted = quotes.quoted(world.db, world.people[who], looked.facts.id, said)
            assert quotes.quoted_for_all(world.db, looked.facts.id, said) in (None, quoted)
            assert {one.seq: one.quote.text for one in quoted if one.quote} == {
                seq: seen[one.of].text for seq, one in seen.items() if one.of in seen and not one.erased
            }
            members = world.do(who, looks[1](name)).members
            assert [(line.name, line.role) for line in members] == sorted(room.roles.items())

    def heard(self, who: str) -> dict[str, list[Message]]:
        """A person's direct messages, by the other person."""
        return {other: said for pair, said in self.direct.items() if who in pair for other in pair - {who}}

    def whole(self) -> None:
        """Logs have no gaps and no erased texts, rooms with members have an owner, direct rooms have two people."""
        db = self.world.db
        inside = MembershipRow.left_seq.is_(None)
        for room in db.execute(select(RoomRow)).all():
            seqs = list(db.scalars(select(EntryRow.seq).where(EntryRow.room_id == room.id).order_by(EntryRow.seq)))
            assert seqs == list(range(1, room.last_seq + 1))
            roles = list(db.scalars(select(MembershipRow.role).where(MembershipRow.room_id == room.id, inside)))
            if room.kind == "direct":
                assert len(roles) == 2
            else:
                assert ("owner" in roles) is bool(roles)
        assert not self.erased & set(db.scalars(select(EntryRow.text)))
