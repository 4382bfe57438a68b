"""Rooms: making them, coming in, going out, lists of them."""

from datetime import datetime

from sqlalchemy import Connection, case, exists, func, insert, or_, select, update
from sqlalchemy import delete as sql_delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from chatserver.errors import ErrorWord, Refused, blocked
from chatserver.events import (
    CREATED,
    DELETED,
    DIRECT,
    JOINED,
    LEFT,
    PRIVATE,
    PUBLIC,
    ROLE,
    SET,
    TOPIC,
    Entry,
    MemberLine,
    Person,
    RoomFacts,
    RoomLine,
)  # fmt: skip
from chatserver.store import accounts
from chatserver.store.messages import append_event
from chatserver.store.places import (
    GUEST,
    MEMBER,
    MODERATOR,
    OWNER,
    Place,
    find_room,
    has_blocked,
    hold_pair,
    open_membership,
)
from chatserver.store.schema import Account, Invitation, Membership, Room

SERVER = Person(0, "")


def open_direct(db: Connection, who: Person, place: Place, at: datetime) -> RoomFacts:
    """Makes the direct room of `place`, if nobody has; its facts with the id. Raises Refused(blocked)."""
    facts = place.facts
    assert facts.pair is not None
    if facts.id:
        if place.blocked:
            raise blocked(facts.label(who.id))
        return facts
    first, second = facts.pair[0][0], facts.pair[1][0]
    hold_pair(db, first, second)
    if has_blocked(db, second if first == who.id else first, who.id):
        raise blocked(facts.label(who.id))
    id = db.scalar(insert(Room).values(name=facts.name, kind=DIRECT, created_at=at).returning(Room.id))
    assert id is not None
    people = [
        {"room_id": id, "account_id": one, "joined_seq": 0, "blocked": has_blocked(db, other, one)}
        for one, other in ((first, second), (second, first))
    ]
    db.execute(insert(Membership), people)
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
    entry = append_event(db, id, CREATED, who, at, topic)
    _enter(db, id, who.id, OWNER, entry.seq, entry.seq)
    return RoomFacts(id, name, visibility), [entry]


def _enter(
    db: Connection, room_id: int, account_id: int, role: str, seq: int, read: int, muted: datetime | None = None
) -> None:
    db.execute(
        insert(Membership).values(
            room_id=room_id, account_id=account_id, role=role, joined_seq=seq, read_seq=read, muted_until=muted
        )
    )


def ensure(db: Connection, names: list[str], at: datetime) -> None:
    """Makes the public rooms that are to exist from the start and do not yet."""
    known = set(db.scalars(select(Room.name).where(Room.name.in_(names), Room.deleted_at.is_(None))))
    for name in dict.fromkeys(names):
        if name not in known:
            db.execute(insert(Room).values(name=name, kind=PUBLIC, created_at=at))


def enter_default(
    db: Connection, person: Person, names: list[str], at: datetime
) -> list[tuple[RoomFacts, list[Entry]]]:
    """Puts somebody new into the rooms that take everybody in."""
    # In the order of their ids: then nobody can wait for each other.
    rooms = db.scalars(
        select(Room.name).where(Room.name.in_(names), Room.kind == PUBLIC, Room.deleted_at.is_(None)).order_by(Room.id)
    ).all()
    joined = []
    for name in rooms:
        place = find_room(db, person, name, at, lock=True)
        entries = join(db, person, place, at)
        if entries:
            joined.append((place.facts, entries))
    return joined


def register(
    db: Connection, name: str, password_hash: str, default_rooms: list[str], at: datetime
) -> tuple[Person, list[tuple[RoomFacts, list[Entry]]]]:
    """A new account, in the rooms that take everybody in. Raises Refused where the name is taken."""
    person = Person(accounts.create(db, name, password_hash, at), name)
    return person, enter_default(db, person, default_rooms, at)


def register_guest(
    db: Connection, default_rooms: list[str], at: datetime
) -> tuple[Person, list[tuple[RoomFacts, list[Entry]]]]:
    """An account without a password, called by a number that nobody had before."""
    person = accounts.create_guest(db, at)
    return person, enter_default(db, person, default_rooms, at)


def join(db: Connection, who: Person, place: Place, at: datetime) -> list[Entry]:
    """Puts somebody into a room; no entry where they are in it already. `place` is locked."""
    if place.role is not None:
        return []
    room_id = place.facts.id
    entry = append_event(db, room_id, JOINED, who, at)
    role = MEMBER
    if not place.active:
        role = MEMBER if who.kind == GUEST else OWNER
        db.execute(update(Room).where(Room.id == room_id).values(deactivated_at=None))
    # Leaving and coming again neither moves a read mark back nor ends being muted. Who is new has missed nothing.
    read = read_before(db, who, room_id) or entry.seq
    if place.facts.kind == PRIVATE and not place.past_open:
        read = entry.seq  # what was before is not theirs to read
    muted = db.scalar(
        select(Membership.muted_until)
        .where(Membership.room_id == room_id, Membership.account_id == who.id)
        .order_by(Membership.id.desc())
        .limit(1)
    )
    _enter(db, room_id, who.id, role, entry.seq, read, muted)
    db.execute(sql_delete(Invitation).where(Invitation.room_id == room_id, Invitation.account_id == who.id))
    return [entry]


def leave(db: Connection, who: Person, name: str, at: datetime) -> tuple[RoomFacts, list[Entry]]:
    """Takes somebody out of a room. The last owner passes it on; a room that nobody is in waits, unlisted."""
    place = find_room(db, who, name, at, lock=True)
    place.forbid_direct("cannot be left or deleted")
    place.require_member(who)
    entry = append_event(db, place.facts.id, LEFT, who, at)
    return place.facts, [entry, *end_membership(db, place, who.id, entry.seq, at)]


def end_membership(db: Connection, place: Place, account_id: int, seq: int, at: datetime) -> list[Entry]:
    """Ends somebody's being in a room (which is locked) with the entry `seq`, and what follows from that."""
    room_id = place.facts.id
    db.execute(update(Membership).where(open_membership(account_id, room_id)).values(left_seq=seq))
    inside = (Membership.room_id == room_id, Membership.left_seq.is_(None))
    if db.scalar(select(exists().where(*inside, Membership.role == OWNER))):
        return []
    had_owner = db.scalar(
        select(exists().where(Membership.room_id == room_id, Membership.role == OWNER, Membership.left_seq == seq))
    )
    heir = db.execute(
        select(Membership.id, Account.id.label("account_id"), Account.name)
        .join(Account, Account.id == Membership.account_id)
        .where(*inside, Account.kind != GUEST)
        .order_by(case((Membership.role == MODERATOR, 0), else_=1), Membership.joined_seq, Membership.id)
        .limit(1)
    ).one_or_none()
    if heir is None:
        if not db.scalar(select(exists().where(*inside))):
            db.execute(update(Room).where(Room.id == room_id).values(deactivated_at=at))
        return []
    if not had_owner:  # it never had one, as the rooms that exist from the start
        return []
    db.execute(update(Membership).where(Membership.id == heir.id).values(role=OWNER))
    return [append_event(db, room_id, ROLE, SERVER, at, OWNER, target=Person(heir.account_id, heir.name))]


def leave_all(db: Connection, who: Person, at: datetime) -> list[tuple[RoomFacts, list[Entry]]]:
    """Takes somebody out of all rooms but the direct ones."""
    names = db.scalars(
        select(Room.name)
        .join(Membership, open_membership(who.id))
        .where(Room.kind != DIRECT, Room.deleted_at.is_(None))
        .order_by(Room.id)
    ).all()
    return [leave(db, who, name, at) for name in names]


def dismiss_guests(db: Connection, at: datetime) -> None:
    """Takes those guests out of all rooms whose connections ended with a crash."""
    for id, name in db.execute(
        select(Account.id, Account.name).where(Account.kind == "guest", Account.disabled_at.is_(None))
    ).all():
        dismiss_guest(db, Person(id, name, "guest"), at)


def dismiss_guest(db: Connection, who: Person, at: datetime) -> list[tuple[RoomFacts, list[Entry]]]:
    """A guest is gone for good: out of all rooms."""
    left = leave_all(db, who, at)
    db.execute(update(Account).where(Account.id == who.id).values(disabled_at=at))
    return left


def delete(db: Connection, who: Person, place: Place, at: datetime) -> list[Entry]:
    """Ends a room, which is locked, for good: its log stays, its name is free again."""
    entry = append_event(db, place.facts.id, DELETED, who, at)
    inside = (Membership.room_id == place.facts.id, Membership.left_seq.is_(None))
    db.execute(update(Membership).where(*inside).values(left_seq=entry.seq))
    db.execute(update(Room).where(Room.id == place.facts.id).values(deleted_at=at))
    db.execute(sql_delete(Invitation).where(Invitation.room_id == place.facts.id))
    return [entry]


def set_topic(db: Connection, who: Person, place: Place, topic: str, at: datetime) -> list[Entry]:
    db.execute(update(Room).where(Room.id == place.facts.id).values(topic=topic))
    return [append_event(db, place.facts.id, TOPIC, who, at, topic)]


def set_ways(
    db: Connection, who: Person, place: Place, past: str | None, invites: str | None, at: datetime
) -> list[Entry]:
    """Whether a private room's past may be read by who joins, and who may invite."""
    if past is not None:
        db.execute(update(Room).where(Room.id == place.facts.id).values(past_open=past == "open"))
    if invites is not None:
        db.execute(update(Room).where(Room.id == place.facts.id).values(invites=invites))
    said = ",".join(f"{key}={value}" for key, value in (("past", past), ("invites", invites)) if value)
    return [append_event(db, place.facts.id, SET, who, at, said)]


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
    inside = (Membership.room_id == room_id, Membership.left_seq.is_(None))
    return db.scalar(select(func.count()).select_from(Membership).where(*inside)) or 0


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
    own = Membership.role.is_not(None)
    query = (
        select(Room.name, Room.topic, Room.last_seq, Membership.role, count.label("members"))
        .outerjoin(Membership, open_membership(who.id))
        .where(
            Room.name > after, Room.kind != DIRECT, Room.deleted_at.is_(None), Room.deactivated_at.is_(None),
            own if mine else or_(Room.kind == PUBLIC, own),
        )
        .order_by(Room.name)
        .limit(limit + 1)
    )  # fmt: skip
    rows = [RoomLine(row.name, row.topic, row.members, row.last_seq, row.role) for row in db.execute(query)]
    return rows[:limit], len(rows) > limit


def read_before(db: Connection, who: Person, room_id: int) -> int:
    """Up to where somebody had read a room when they last left it; 0 where they never were in it."""
    theirs = (Membership.room_id == room_id, Membership.account_id == who.id)
    return db.scalar(select(func.max(Membership.read_seq)).where(*theirs)) or 0


def mark_read(db: Connection, who: Person, place: Place, seq: int) -> int:
    """Moves a read mark forward, never beyond the head; where it stands then."""
    mark = min(seq, place.seq)
    if place.facts.id and mark > place.read:
        mine = open_membership(who.id, place.facts.id)
        db.execute(update(Membership).where(mine, Membership.read_seq < mark).values(read_seq=mark))
    return max(mark, place.read)
