"""Where somebody stands towards a room: the one place that answers "may X see Y"."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, func, or_, select

from chatserver.errors import ErrorWord, Refused, no_such_room, no_such_user, not_a_member
from chatserver.events import DIRECT, PRIVATE, PUBLIC, Person, RoomFacts, Standing
from chatserver.store.accounts import find, find_shown
from chatserver.store.schema import Account, Ban, Block, Invitation, Membership, Room

OWNER = "owner"
MODERATOR = "moderator"
MEMBER = "member"
GUEST = "guest"
OPERATOR = "operator"


class Place(Struct, frozen=True):
    """A room as one person sees it now. `role` is None for who is not in it.

    `floor`: the first entry that they may read; `read`: up to where they have.
    """

    facts: RoomFacts
    seq: int = 0
    topic: str = ""
    active: bool = True
    invites: str = "members"
    past_open: bool = False
    role: str | None = None
    floor: int = 1
    read: int = 0
    muted: bool = False
    blocked: bool = False
    invited: bool = False

    def require_member(self, who: Person) -> None:
        if self.role is None:
            raise not_a_member(self.facts.label(who.id))

    def forbid_direct(self, what: str) -> None:
        if self.facts.kind == DIRECT:
            raise Refused(ErrorWord.DIRECT_ROOM, f"A direct conversation {what}.")


def open_membership(account_id: Any, room_id: Any = Room.id) -> ColumnElement[bool]:
    """Joins the interval in which somebody is in a room now."""
    return and_(Membership.room_id == room_id, Membership.account_id == account_id, Membership.left_seq.is_(None))


def active_ban(account_id: int, room_id: Any, at: datetime) -> ColumnElement[bool]:
    """Whether somebody is banned from a room, or (None) from the server."""
    where = Ban.room_id.is_(None) if room_id is None else Ban.room_id == room_id
    return exists().where(where, Ban.account_id == account_id, or_(Ban.until.is_(None), Ban.until > at))


def may_read(who: Person, at: datetime) -> ColumnElement[bool]:
    """For queries over rooms with the person's open membership outer-joined: whether there is anything to read."""
    public = and_(Room.kind == PUBLIC, ~active_ban(who.id, Room.id, at))
    return and_(Room.deleted_at.is_(None), or_(public, Membership.role.is_not(None)))


def find_room(
    db: Connection, who: Person, name: str, at: datetime, *, lock: bool = False, joining: bool = False
) -> Place:
    """The room that this person calls so. Raises Refused(no-such-room) also where it exists but is not theirs to know.

    With `lock`, the room and who is in it stay as they are until the transaction ends. `joining`: an invitation is
    enough. An operator of the server finds every room, to keep order there, but reads what anybody may read.
    """
    if name.startswith("@"):
        return _find_direct(db, who, name, lock=lock)
    named = and_(Room.name == name, Room.deleted_at.is_(None))
    # Alone and first: what is read after it is as of now, and not of when the waiting began. Where the room was deleted
    # meanwhile there may be another one, which is not locked.
    if lock and db.execute(select(Room.id).where(named).with_for_update()).one_or_none() is None:
        raise no_such_room(name)
    row = db.execute(
        select(
            Room,
            Membership.role,
            Membership.joined_seq,
            Membership.read_seq,
            Membership.muted_until,
            active_ban(who.id, Room.id, at).label("banned"),
            exists().where(Invitation.room_id == Room.id, Invitation.account_id == who.id).label("invited"),
        )
        .outerjoin(Membership, open_membership(who.id))
        .where(named)
    ).one_or_none()
    if row is None:
        raise no_such_room(name)
    if row.role is None and who.kind != OPERATOR:
        if row.kind == PRIVATE and not (joining and row.invited and not row.banned and who.kind != GUEST):
            raise no_such_room(name)
        if row.banned:
            raise Refused(ErrorWord.BANNED, f"You are banned from {name}. Its moderators can lift that.")
    return _place(row, RoomFacts(row.id, row.name, row.kind), at)


def _place(row: Any, facts: RoomFacts, at: datetime) -> Place:
    return Place(
        facts,
        row.last_seq,
        row.topic,
        row.deactivated_at is None,
        row.invites,
        row.past_open,
        row.role,
        first_readable(facts.kind, row.past_open, row.joined_seq, row.last_seq),
        row.read_seq or 0,
        row.muted_until is not None and row.muted_until > at,
        invited=row.invited,
    )


def first_readable(kind: str, past_open: bool, joined: int | None, last: int) -> int:
    """A private room's log can be read from one's joining on, unless its past is open; from outside, not at all."""
    if kind != PRIVATE:
        return 1
    if joined is None:
        return last + 1
    return 1 if past_open else joined


def pair(who: Person, other: Person) -> tuple[tuple[int, str], tuple[int, str]]:
    """The two people of a direct room, by id."""
    first, second = sorted([(who.id, who.name), (other.id, other.name)])
    return first, second


def hold_pair(db: Connection, one: int, other: int) -> None:
    """Until the transaction ends nobody else opens the direct room of these two, or blocks one for the other: the room
    keeps who is blocked, and before there is a room there is no row to lock. (SQLite has one writer in any case.)"""
    if db.dialect.name == "postgresql":
        first, second = sorted((one, other))
        db.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"@{first}:{second}", 0))))


def has_blocked(db: Connection, account_id: int, other_id: int) -> bool:
    """Whether the first one hears nothing from the other."""
    return bool(db.scalar(select(exists().where(Block.account_id == account_id, Block.blocked_id == other_id))))


def find_person(db: Connection, name: str) -> Person:
    """Who is called so. Raises Refused(no-such-user)."""
    account = find(db, name)
    if account is None or account.disabled:
        raise no_such_user(name)
    return Person(account.id, account.name, account.kind)


def _find_direct(db: Connection, who: Person, name: str, *, lock: bool) -> Place:
    account = find_shown(db, name[1:])
    if account is None:
        raise no_such_user(name[1:])
    other = account.person
    if other.id == who.id:
        raise Refused(ErrorWord.NOT_ALLOWED, "A direct room has two people: name somebody else.")
    if GUEST in (who.kind, other.kind):
        raise Refused(ErrorWord.NOT_ALLOWED, "Guests take part in public rooms only. Register to talk in private.")
    both = pair(who, other)
    key = f"@{both[0][0]}:{both[1][0]}"
    if lock:
        db.execute(select(Room.id).where(Room.name == key).with_for_update()).one_or_none()
    row = db.execute(
        select(Room.id, Room.last_seq, Membership.read_seq, Membership.blocked)
        .join(Membership, open_membership(who.id))
        .where(Room.name == key)
    ).one_or_none()
    if row is None and account.disabled:
        raise no_such_user(name[1:])
    if row is None:  # nobody has said anything yet
        return Place(RoomFacts(0, key, DIRECT, both), role=MEMBER)
    facts = RoomFacts(row.id, key, DIRECT, both)
    return Place(facts, row.last_seq, role=MEMBER, read=row.read_seq, blocked=row.blocked)


_NAMING = (Room.id, Room.name, Room.kind)
_STANDINGS = (
    select(
        *_NAMING, Room.last_seq, Room.past_open, Membership.account_id, Membership.read_seq, Membership.role,
        Membership.joined_seq,
    )
    .join(Membership, Membership.room_id == Room.id)
    .where(
        Membership.account_id.in_(bindparam("ids", expanding=True)), Membership.left_seq.is_(None),
        Room.deleted_at.is_(None),
    )
    .order_by(Room.name)
)  # fmt: skip


def standings(db: Connection, who: Person) -> list[Standing]:
    """All rooms that somebody is in, in the order of names."""
    return standings_of(db, {who.id: who})[who.id]


def standings_of(db: Connection, people: Mapping[int, Person]) -> dict[int, list[Standing]]:
    """For each of these people, by id, all rooms that they are in, in the order of names."""
    rows = db.execute(_STANDINGS, {"ids": list(people)}).all()
    facts = _facts(db, [(people[row.account_id], row) for row in rows])
    found: dict[int, list[Standing]] = {id: [] for id in people}
    for row, known in zip(rows, facts, strict=True):
        floor = first_readable(row.kind, row.past_open, row.joined_seq, row.last_seq)
        found[row.account_id].append(Standing(known, row.last_seq, row.read_seq, row.role, floor, row.joined_seq))
    return found


def facts_of(db: Connection, who: Person, room_ids: set[int]) -> dict[int, RoomFacts]:
    """What rooms are called, for somebody who has entries of them already."""
    rows = db.execute(select(*_NAMING).where(Room.id.in_(room_ids))).all()
    return {facts.id: facts for facts in _facts(db, [(who, row) for row in rows])}


def _facts(db: Connection, seen: Sequence[tuple[Person, Any]]) -> list[RoomFacts]:
    """The facts of each of these rooms, as that person sees it. The people of direct rooms are named by a statement of
    their own, which most have no need of: joined to the first one, it would visit every member of every room."""
    others = [_other_id(who, row.name) if row.kind == DIRECT else None for who, row in seen]
    names: dict[int, str] = {}
    if wanted := {other for other in others if other is not None}:
        names = {row.id: row.name for row in db.execute(select(Account.id, Account.name).where(Account.id.in_(wanted)))}
    return [
        RoomFacts(row.id, row.name, row.kind, None if other is None else pair(who, Person(other, names[other])))
        for (who, row), other in zip(seen, others, strict=True)
    ]


def _other_id(who: Person, name: str) -> int:
    """Who the other one is in the direct room of this name, `@id:id`."""
    first, second = (int(id) for id in name[1:].split(":"))
    return second if first == who.id else first
