"""Rooms and who is in them."""

from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, Select, and_, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from chatserver.errors import ErrorWord, Refused, no_such_room, no_such_user, not_a_member
from chatserver.events import (
    CREATED,
    DIRECT,
    JOINED,
    LEFT,
    PRIVATE,
    PUBLIC,
    TOPIC,
    Entry,
    MemberLine,
    Person,
    RoomFacts,
    RoomLine,
    Standing,
)  # fmt: skip
from chatserver.store.accounts import create as create_account
from chatserver.store.accounts import find
from chatserver.store.messages import append_event
from chatserver.store.schema import Account, Membership, Room

OWNER = "owner"
MEMBER = "member"


class Place(Struct, frozen=True):
    """A room as one person sees it now. `role` is None for who is not in it; `joined` their joining's number."""

    facts: RoomFacts
    seq: int
    topic: str
    active: bool
    role: str | None
    joined: int
    read: int

    @property
    def floor(self) -> int:
        """The first entry that the person may read."""
        return _floor(self.facts.kind, self.joined)

    def floor_after(self, joining: list[Entry]) -> int:
        """The same, once these entries have been added by joining."""
        return _floor(self.facts.kind, joining[0].seq) if joining else self.floor


def _floor(kind: str, joined: int) -> int:
    return joined if kind == PRIVATE else 1


def _open(account_id: Any, room_id: Any = Room.id) -> Any:
    return and_(Membership.room_id == room_id, Membership.account_id == account_id, Membership.left_seq.is_(None))


def find_room(db: Connection, who: Person, name: str, *, lock: bool = False) -> Place:
    """The room that this person calls so. Raises Refused(no-such-room) also where it exists but is not theirs to know.

    This is the one place that answers "may X see Y". With `lock`, the room stays as it is until the transaction ends.
    """
    if name.startswith("@"):
        return _find_direct(db, who, name, lock=lock)
    query = (
        select(Room, Membership.role, Membership.joined_seq, Membership.read_seq)
        .outerjoin(Membership, _open(who.id))
        .where(Room.name == name, Room.deleted_at.is_(None))
    )
    row = _one(db, query, lock=lock)
    if row is None or (row.kind == PRIVATE and row.role is None):
        raise no_such_room(name)
    return _place(row, RoomFacts(row.id, row.name, row.kind))


def _one(db: Connection, query: Select[*tuple[Any, ...]], *, lock: bool) -> Row[Any] | None:
    return db.execute(query.with_for_update(of=Room) if lock else query).one_or_none()


def _place(row: Row[Any], facts: RoomFacts) -> Place:
    active = row.deactivated_at is None
    return Place(facts, row.last_seq, row.topic, active, row.role, row.joined_seq or 0, row.read_seq or 0)


def _pair(who: Person, other: Person) -> tuple[tuple[int, str], tuple[int, str]]:
    first, second = sorted([(who.id, who.name), (other.id, other.name)])
    return first, second


def _other(db: Connection, who: Person, name: str) -> Person:
    account = find(db, name[1:])
    if account is None or account.disabled:
        raise no_such_user(name[1:])
    if account.id == who.id:
        raise Refused(ErrorWord.NOT_ALLOWED, "A direct room has two people: name somebody else.")
    return Person(account.id, account.name)


def _find_direct(db: Connection, who: Person, name: str, *, lock: bool) -> Place:
    pair = _pair(who, _other(db, who, name))
    key = f"@{pair[0][0]}:{pair[1][0]}"
    query = (
        select(Room, Membership.role, Membership.joined_seq, Membership.read_seq)
        .join(Membership, _open(who.id))
        .where(Room.name == key)
    )
    row = _one(db, query, lock=lock)
    if row is None:  # nobody has said anything yet
        return Place(RoomFacts(0, key, DIRECT, pair), 0, "", True, MEMBER, 0, 0)
    return _place(row, RoomFacts(row.id, key, DIRECT, pair))


def open_direct(db: Connection, place: Place, at: datetime) -> RoomFacts:
    """Makes the direct room of `place`, if nobody has; its facts with the id."""
    facts = place.facts
    if facts.id:
        return facts
    assert facts.pair is not None
    try:
        with db.begin_nested():
            id = db.scalar(insert(Room).values(name=facts.name, kind=DIRECT, created_at=at).returning(Room.id))
            assert id is not None
            people = [{"room_id": id, "account_id": account, "joined_seq": 0} for account, _ in facts.pair]
            db.execute(insert(Membership), people)
    except IntegrityError:  # the other one spoke first, just now
        id = db.scalar(select(Room.id).where(Room.name == facts.name))
        assert id is not None
    return RoomFacts(id, facts.name, DIRECT, facts.pair)


def create(
    db: Connection, who: Person, name: str, visibility: str, topic: str, at: datetime
) -> tuple[RoomFacts, list[Entry]]:
    """A new room with its creator as owner; its first entry says so. Raises Refused where the name is taken."""
    try:
        with db.begin_nested():
            id = db.scalar(
                insert(Room)
                .values(name=name, kind=visibility, topic=topic, created_by=who.id, created_at=at)
                .returning(Room.id)
            )
    except IntegrityError:
        raise Refused(ErrorWord.ROOM_TAKEN, f"The name {name} is taken. Choose another, or join the room.") from None
    assert id is not None
    entry = append_event(db, id, CREATED, (who.id, who.name), at, topic)
    db.execute(
        insert(Membership).values(room_id=id, account_id=who.id, role=OWNER, joined_seq=entry.seq, read_seq=entry.seq)
    )
    return RoomFacts(id, name, visibility), [entry]


def ensure(db: Connection, names: list[str], at: datetime) -> None:
    """Makes the public rooms that are to exist from the start and do not yet."""
    known = set(db.scalars(select(Room.name).where(Room.name.in_(names))))
    for name in dict.fromkeys(names):
        if name not in known:
            db.execute(insert(Room).values(name=name, kind=PUBLIC, created_at=at))


def register(
    db: Connection, name: str, password_hash: str, default_rooms: list[str], at: datetime
) -> tuple[Person, list[tuple[RoomFacts, list[Entry]]]]:
    """A new account, in the rooms that take everybody in. Raises Refused where the name is taken."""
    person = Person(create_account(db, name, password_hash, at), name)
    joined = []
    # All rooms at once and in the order of their ids: then nobody can wait for each other.
    places = db.scalars(
        select(Room.name).where(Room.name.in_(default_rooms), Room.deleted_at.is_(None)).order_by(Room.id)
    ).all()
    for room in places:
        place = find_room(db, person, room, lock=True)
        joined.append((place.facts, join(db, person, place, at)))
    return person, joined


def join(db: Connection, who: Person, place: Place, at: datetime) -> list[Entry]:
    """Puts somebody into a room; no entry where they are in it already. `place` is locked."""
    if place.role is not None:
        return []
    entry = append_event(db, place.facts.id, JOINED, (who.id, who.name), at)
    role = MEMBER
    if not place.active:
        role = OWNER
        db.execute(update(Room).where(Room.id == place.facts.id).values(deactivated_at=None))
    # A read mark never moves back, not even by leaving and coming again. Who is new has missed nothing.
    read = db.scalar(
        select(func.max(Membership.read_seq)).where(
            Membership.room_id == place.facts.id, Membership.account_id == who.id
        )
    )
    db.execute(
        insert(Membership).values(
            room_id=place.facts.id, account_id=who.id, role=role, joined_seq=entry.seq, read_seq=read or entry.seq
        )
    )
    return [entry]


def leave(db: Connection, who: Person, name: str, at: datetime) -> tuple[RoomFacts, list[Entry]]:
    """Takes somebody out of a room; a room that nobody is in is not listed, and waits for who joins it again."""
    place = find_room(db, who, name, lock=True)
    facts = place.facts
    if facts.kind == DIRECT:
        raise Refused(ErrorWord.DIRECT_ROOM, "A direct conversation cannot be left or deleted.")
    if place.role is None:
        raise not_a_member(name)
    entry = append_event(db, facts.id, LEFT, (who.id, who.name), at)
    db.execute(update(Membership).where(_open(who.id, facts.id)).values(left_seq=entry.seq))
    if not db.scalar(select(exists().where(Membership.room_id == facts.id, Membership.left_seq.is_(None)))):
        db.execute(update(Room).where(Room.id == facts.id).values(deactivated_at=at))
    return facts, [entry]


def set_topic(db: Connection, who: Person, name: str, topic: str, at: datetime) -> tuple[RoomFacts, list[Entry]]:
    place = find_room(db, who, name, lock=True)
    if place.facts.kind == DIRECT:
        raise Refused(ErrorWord.DIRECT_ROOM, "A direct conversation has no topic.")
    if place.role is None:
        raise not_a_member(name)
    entry = append_event(db, place.facts.id, TOPIC, (who.id, who.name), at, topic)
    db.execute(update(Room).where(Room.id == place.facts.id).values(topic=topic))
    return place.facts, [entry]


def standings(db: Connection, who: Person) -> list[Standing]:
    """All rooms that somebody is in, in the order of names, as of one moment."""
    other, account = aliased(Membership), aliased(Account)
    rows = db.execute(
        select(
            Room.id, Room.name, Room.kind, Room.last_seq, Membership.read_seq, Membership.role, Membership.joined_seq,
            account.id.label("other_id"), account.name.label("other_name"),
        )
        .join(Membership, Membership.room_id == Room.id)
        .outerjoin(other, and_(Room.kind == DIRECT, other.room_id == Room.id, other.account_id != who.id))
        .outerjoin(account, account.id == other.account_id)
        .where(Membership.account_id == who.id, Membership.left_seq.is_(None), Room.deleted_at.is_(None))
        .order_by(Room.name)
    )  # fmt: skip
    found = []
    for row in rows:
        pair = _pair(who, Person(row.other_id, row.other_name)) if row.kind == DIRECT else None
        facts = RoomFacts(row.id, row.name, row.kind, pair)
        found.append(Standing(facts, row.last_seq, row.read_seq, row.role, _floor(row.kind, row.joined_seq)))
    return found


def members(db: Connection, facts: RoomFacts, online: frozenset[int]) -> list[MemberLine]:
    """Who is in a room, in the order of names."""
    if facts.pair is not None:
        return [MemberLine(name, MEMBER, id in online) for id, name in sorted(facts.pair, key=lambda p: p[1].lower())]
    rows = db.execute(
        select(Account.id, Account.name, Membership.role)
        .join(Membership, Membership.account_id == Account.id)
        .where(Membership.room_id == facts.id, Membership.left_seq.is_(None))
        .order_by(Account.name_key)
    )
    return [MemberLine(row.name, row.role, row.id in online) for row in rows]


def member_count(db: Connection, room_id: int) -> int:
    return (
        db.scalar(
            select(func.count()).select_from(Membership).where(
                Membership.room_id == room_id, Membership.left_seq.is_(None)
            )
        )
        or 0
    )  # fmt: skip


def member_names(db: Connection, room_id: int, but: int, limit: int) -> list[str]:
    """Some of those in a room, longest there first."""
    return list(
        db.scalars(
            select(Account.name)
            .join(Membership, Membership.account_id == Account.id)
            .where(Membership.room_id == room_id, Membership.left_seq.is_(None), Account.id != but)
            .order_by(Membership.joined_seq, Account.id)
            .limit(limit)
        )
    )


def listing(db: Connection, who: Person, after: str, limit: int, *, mine: bool) -> tuple[list[RoomLine], bool]:
    """Public rooms and one's own, in the order of names, from behind `after` on, and whether there are more."""
    counted = aliased(Membership)
    count = (
        select(func.count())
        .where(counted.room_id == Room.id, counted.left_seq.is_(None))
        .correlate(Room)
        .scalar_subquery()
    )
    query = (
        select(Room.name, Room.topic, Room.last_seq, Membership.role, count.label("members"))
        .outerjoin(Membership, _open(who.id))
        .where(
            Room.name > after, Room.kind != DIRECT, Room.deleted_at.is_(None), Room.deactivated_at.is_(None),
            Membership.role.is_not(None) if mine else or_(Room.kind == PUBLIC, Membership.role.is_not(None)),
        )
        .order_by(Room.name)
        .limit(limit + 1)
    )  # fmt: skip
    rows = [RoomLine(row.name, row.topic, row.members, row.last_seq, row.role) for row in db.execute(query)]
    return rows[:limit], len(rows) > limit


def mark_read(db: Connection, who: Person, name: str, seq: int) -> tuple[RoomFacts, int]:
    """Moves a read mark forward, never beyond the head; where it stands then."""
    place = find_room(db, who, name)
    if place.role is None:
        raise not_a_member(name)
    mark = min(seq, place.seq)
    if place.facts.id and mark > place.read:
        db.execute(
            update(Membership).where(_open(who.id, place.facts.id), Membership.read_seq < mark).values(read_seq=mark)
        )
    return place.facts, max(mark, place.read)
