"""The state of the database, and a check that everybody at every node has heard just that."""

from typing import NamedTuple

from sqlalchemy import Connection, select

from chaos.log import Broken
from chatserver.delivery.room import Room
from chatserver.store.db.schema import AccountRow, EntryRow, MembershipRow, RoomRow
from tests.cluster.devices import Program, Terminal
from tests.support.cluster import NodeHall


class Row(NamedTuple):
    kind: str
    author: str
    text: str
    id: str | None


class Stored:
    """`logs` and `members`: by room. A direct room is called `@` and both names, with a colon."""

    def __init__(self, db: Connection) -> None:
        self.logs: dict[str, list[Row]] = {}
        self.members: dict[str, set[str]] = {}
        people = {id: name for id, name in db.execute(select(AccountRow.id, AccountRow.name)).all()}  # noqa: C416
        names: dict[int, str] = {}
        for id, name, last in db.execute(select(RoomRow.id, RoomRow.name, RoomRow.last_seq)).all():
            shown = "@" + ":".join(sorted(people[int(one)] for one in name[1:].split(":"))) if name[0] == "@" else name
            names[id] = shown
            self.members[shown] = set()
            columns = (EntryRow.seq, EntryRow.kind, EntryRow.author_id, EntryRow.text, EntryRow.client_id)
            rows = db.execute(select(*columns).where(EntryRow.room_id == id).order_by(EntryRow.seq)).all()
            if [row.seq for row in rows] != list(range(1, last + 1)):
                raise Broken(f"The log of {shown} has holes")
            self.logs[shown] = [Row(row.kind, people.get(row.author_id, ""), row.text, row.client_id) for row in rows]
        inside = select(MembershipRow.room_id, MembershipRow.account_id).where(MembershipRow.left_seq.is_(None))
        for room, account in db.execute(inside).all():
            self.members[names[room]].add(people[account])

    def check_sent(self, acknowledged: dict[tuple[str, str, str], int]) -> None:
        """Each acknowledged message is there once. By account, id and room: the number in the answer."""
        for (account, id, label), seq in acknowledged.items():
            log = self.logs[full(label, account)]
            where = [number for number, row in enumerate(log, 1) if (row.author, row.id) == (account, id)]
            if where != [seq]:
                raise Broken(f"{id} of {account} was acknowledged as {label} {seq}, and is stored as {where}")

    def check_program(self, one: Program) -> None:
        """It has its answers, and has heard all rooms that it is in."""
        if one.busy:
            raise Broken(f"{one} has no answer")
        for room, inside in self.members.items():
            if one.account in inside:
                heard = one.logs[mine(room, one.account)].heard if mine(room, one.account) in one.logs else 0
                if heard < len(self.logs[room]):
                    raise Broken(f"{one} has heard {room} up to {heard} of {len(self.logs[room])}")
        for label, log in one.logs.items():
            for seen in log.entries:
                row = self.logs[full(label, one.account)][seen.seq - 1]
                if seen.kind != row.kind or (row.kind in ("message", "topic") and seen.text != row.text):
                    raise Broken(f"{one} was told {label} {seen}, stored is {row.kind} {row.text[:40]}")

    def check_terminal(self, one: Terminal) -> None:
        """It shows messages in the order of their log, and the newest one of a room where others speak."""
        last: dict[str, int] = {}
        newest: dict[str, str] = {}
        for label, text in one.shown:
            if not label:
                last.clear()
                continue
            room = full(label, one.account)
            newest[room] = text
            if "-" in text:  # the first word is the message's id
                words = [row.text.split(" ")[0] for row in self.logs[room]]
                seq = words.index(text.split(" ")[0]) + 1
                if seq <= last.get(room, 0):
                    raise Broken(f"{one} is shown {room} {seq} after {last[room]}")
                last[room] = seq
        for room, text in newest.items():
            row = self.logs[room][-1]
            theirs = row.kind == "message" and row.author != one.account and one.account in self.members[room]
            if theirs and not row.text.startswith(text):
                raise Broken(f"{one} is not shown {row.text[:20]} of {room}")

    def check_hall(self, hall: NodeHall) -> None:
        """All subscribers are live, at the end of the log."""
        for room in hall.registry.rooms:
            end = len(self.logs[name_of(room)])
            if room.subscribers and (room.early or room.behind or room.head != end):
                raise Broken(f"{hall.name} is at {room.head} of {end} in {name_of(room)}: {room.early} {room.behind}")


def full(label: str, account: str) -> str:
    """The name in `Stored` of what an account calls a room."""
    return "@" + ":".join(sorted((label[1:], account))) if label.startswith("@") else label


def mine(room: str, account: str) -> str:
    """The name that an account has for a room."""
    if not room.startswith("@"):
        return room
    one, other = room[1:].split(":")
    return "@" + (other if one == account else one)


def name_of(room: Room) -> str:
    pair = room.facts.pair
    return room.facts.name if pair is None else "@" + ":".join(sorted(name for _, name in pair))
