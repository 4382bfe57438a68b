"""Rooms: creating, joining, leaving, deleting, configuring and listing them."""

from datetime import datetime, timedelta
from math import ceil
from typing import Any

from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, Select, and_, case, exists, func, insert, or_, select, update
from sqlalchemy import delete as sql_delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from chatserver.store import accounts, ignoring, members
from chatserver.store.db import database_clock
from chatserver.store.db.schema import AccountRow, EntryRow, InvitationRow, MembershipRow, NodeRow, RoomRow, SessionRow
from chatserver.store.entries import append_event
from chatserver.store.members import Before
from chatserver.store.names import FORMER_NAME_DAYS, begins_with
from chatserver.store.people import has_blocked, hold_pair
from chatserver.store.visibility import (
    IS_LISTED,
    IS_MEMBER,
    RoomAccess,
    find_room,
    is_only,
    open_membership,
)
from chatserver.values.answers import RoomLine
from chatserver.values.errors import Refused, Why, blocked
from chatserver.values.events import (
    CREATED,
    DELETED,
    DIRECT,
    GUEST,
    JOINED,
    LEFT,
    MEMBER,
    MODERATOR,
    OWNER,
    PUBLIC,
    ROLE,
    SET,
    TOPIC,
    Entry,
    Person,
    Role,
    RoomFacts,
    RoomKind,
)
from chatserver.values.recorded import PACE, recorded

SERVER = Person(0, "")
"""The author of entries that nobody wrote."""

MINUTE = timedelta(minutes=1)

ARRIVING_SECONDS = 60.0
"""How long after its creation the session of a guest may still be unrecorded, if the database was away meanwhile."""


def open_direct(db: Connection, who: Person, access: RoomAccess, at: datetime) -> RoomFacts:
    """Creates the direct room of `access` unless it exists. Returns its facts with its id. Raises Refused(blocked)."""
    facts = access.facts
    assert facts.pair is not None
    if facts.id:
        if access.blocked:
            raise blocked(facts.label(who.id))
        return facts
    first, second = facts.pair[0][0], facts.pair[1][0]
    hold_pair(db, first, second)
    if has_blocked(db, second if first == who.id else first, who.id):
        raise blocked(facts.label(who.id))
    row = {"name": facts.name, "kind": DIRECT, "created_by": who.id, "created_at": at}
    id = db.scalar(insert(RoomRow).values(row).returning(RoomRow.id))
    assert id is not None
    people = [
        {"room_id": id, "account_id": one, "joined_seq": 0, "blocked": has_blocked(db, other, one)}
        for one, other in ((first, second), (second, first))
    ]
    db.execute(insert(MembershipRow), people)
    return RoomFacts(id, facts.name, DIRECT, facts.pair)


def find_created(
    db: Connection, who: Person, name: str, visibility: RoomKind, topic: str, at: datetime
) -> RoomAccess | None:
    """The room, locked, if this person created it like this within RETRY_WINDOW and still owns it: then creating it
    once more is a retry, whose first answer was lost."""
    created = select(
        exists().where(
            RoomRow.name == name,
            RoomRow.deleted_at.is_(None),
            RoomRow.kind == visibility,
            RoomRow.created_by == who.id,
            RoomRow.created_at > at - accounts.RETRY_WINDOW,
            or_(
                exists().where(
                    EntryRow.room_id == RoomRow.id,
                    EntryRow.kind == CREATED,
                    EntryRow.seq == 1,
                    EntryRow.text == topic,
                ),
                and_(RoomRow.first_seq > 1, RoomRow.topic == topic),  # that entry was removed
            ),
        )
    )
    if not db.scalar(created):
        return None
    try:
        access = find_room(db, who, name, lock=True)
    except Refused:  # private, and they are no longer in it
        return None
    return access if access.role == OWNER else None


def create(
    db: Connection, who: Person, name: str, visibility: RoomKind, topic: str, at: datetime
) -> tuple[RoomFacts, list[Entry]]:
    """Creates a room; its creator is the owner. Raises Refused(room-taken)."""
    try:
        with db.begin_nested():
            id = db.scalar(
                insert(RoomRow)
                .values(name=name, kind=visibility, topic=topic, created_by=who.id, created_at=at)
                .returning(RoomRow.id)
            )
    except IntegrityError:
        raise Refused(Why.ROOM_TAKEN, name=name) from None
    assert id is not None
    entry = append_event(db, id, CREATED, who, at, topic)
    _enter(db, id, who.id, OWNER, entry.seq, Before(entry.seq))
    return RoomFacts(id, name, visibility), [entry]


def owned(db: Connection, who: Person) -> int:
    """Number of rooms that an account owns."""
    theirs = (MembershipRow.account_id == who.id, MembershipRow.left_seq.is_(None), MembershipRow.role == OWNER)
    rooms = select(func.count()).join_from(MembershipRow, RoomRow, RoomRow.id == MembershipRow.room_id)
    return db.scalar(rooms.where(*theirs, RoomRow.deleted_at.is_(None))) or 0


def seconds_until_next(db: Connection, who: Person, limit: int, within: timedelta, *, direct: bool) -> int:
    """Number of seconds until an account may create another room, or (`direct`) begin another direct room, of which it
    may create `limit` within that time. 0: now."""
    # Through the memberships of the account, of which there is an index. What a server stamped whose clock was far
    # ahead does not count.
    now, first_seq = database_clock.now(db), 0 if direct else 1
    latest = db.scalar(
        select(RoomRow.created_at)
        .join(MembershipRow, MembershipRow.room_id == RoomRow.id)
        .where(
            MembershipRow.account_id == who.id,
            MembershipRow.joined_seq == first_seq,
            RoomRow.created_by == who.id,
            RoomRow.created_at < now + within,
        )
        .order_by(RoomRow.created_at.desc())
        .offset(limit - 1)
        .limit(1)
    )
    return 0 if latest is None else max(0, ceil((latest + within - now).total_seconds()))


def _enter(db: Connection, room_id: int, account_id: int, role: Role, seq: int, before: Before) -> None:
    db.execute(
        insert(MembershipRow).values(
            room_id=room_id,
            account_id=account_id,
            role=role,
            joined_seq=seq,
            read_seq=before.read,
            read_era=before.era,
            muted_until=before.muted_until,
        )
    )


def ensure(db: Connection, names: list[str], at: datetime) -> None:
    """Creates those of these public rooms that do not exist yet."""
    known = set(db.scalars(select(RoomRow.name).where(RoomRow.name.in_(names), RoomRow.deleted_at.is_(None))))
    for name in dict.fromkeys(names):
        if name not in known:
            db.execute(insert(RoomRow).values(name=name, kind=PUBLIC, created_at=at))


def enter_default(
    db: Connection, person: Person, names: list[str], at: datetime
) -> list[tuple[RoomFacts, list[Entry]]]:
    """Adds a new account to the default rooms, as far as they exist and are public."""
    # In the order of their ids, so that two transactions cannot wait for each other.
    rooms = db.scalars(
        select(RoomRow.name)
        .where(RoomRow.name.in_(names), RoomRow.kind == PUBLIC, RoomRow.deleted_at.is_(None))
        .order_by(RoomRow.id)
    ).all()
    joined = []
    for name in rooms:
        access = find_room(db, person, name, lock=True)
        entries = join(db, person, access, at)
        if entries:
            joined.append((access.facts, entries))
    return joined


def is_default(db: Connection, room_id: int) -> bool:
    """Whether the server itself created this room. Such a room is everybody's: nobody comes to own it by joining or by
    staying, and only operators and `chatctl` give roles in it or delete it."""
    of_server = (RoomRow.id == room_id, RoomRow.created_by.is_(None), RoomRow.kind != DIRECT)
    return bool(db.scalar(select(exists().where(*of_server))))


def register(
    db: Connection,
    name: str,
    password_hash: str,
    default_rooms: list[str],
    at: datetime,
    former_days: float = FORMER_NAME_DAYS,
) -> tuple[Person, list[tuple[RoomFacts, list[Entry]]]]:
    """Creates an account and adds it to the default rooms. Raises Refused as `accounts.create`."""
    person = Person(accounts.create(db, name, password_hash, at, former_days=former_days), name)
    return person, enter_default(db, person, default_rooms, at)


def register_guest(
    db: Connection, default_rooms: list[str], at: datetime
) -> tuple[Person, list[tuple[RoomFacts, list[Entry]]]]:
    """Creates the account of a guest and adds it to the default rooms."""
    person = accounts.create_guest(db, at)
    return person, enter_default(db, person, default_rooms, at)


def join(db: Connection, who: Person, access: RoomAccess, at: datetime) -> list[Entry]:
    """Adds a person to a room, which must be locked. Returns no entry if they are in it already."""
    return enter(db, who, access, at)[0]


def enter(db: Connection, who: Person, access: RoomAccess, at: datetime) -> tuple[list[Entry], datetime | None]:
    """As `join`. Also returns until when a mute lasts that they come back with."""
    if access.role is not None:
        return [], None
    room_id = access.facts.id
    entry = append_event(db, room_id, JOINED, who, at)
    role: Role = MEMBER
    if not access.active:
        if who.kind != GUEST and not is_default(db, room_id):
            role = OWNER
        db.execute(update(RoomRow).where(RoomRow.id == room_id).values(deactivated_at=None))
    # Leaving and joining again neither moves a read mark back nor ends a mute. New members have nothing unread, nor has
    # anybody who may not read earlier entries.
    before = members.before(db, who, room_id)
    read = before.read if access.floor < entry.seq and before.read else entry.seq
    _enter(db, room_id, who.id, role, entry.seq, replace(before, read=read))
    db.execute(sql_delete(InvitationRow).where(InvitationRow.room_id == room_id, InvitationRow.account_id == who.id))
    return [entry], before.muted_until


def check_rejoining(db: Connection, who: Person, access: RoomAccess, per_minute: int, at: datetime) -> None:
    """Raises Refused(slow-down) if a person who is not in a room has joined it so often within the last minute, or in a
    room with a pace once within that or a minute. `per_minute` 0: as often as they like."""
    if access.role is not None:
        return
    times = (
        select(EntryRow.at)
        .join(MembershipRow, and_(MembershipRow.room_id == EntryRow.room_id, MembershipRow.joined_seq == EntryRow.seq))
        .where(MembershipRow.room_id == access.facts.id, MembershipRow.account_id == who.id)
        .order_by(MembershipRow.id.desc())
        .limit(1)
    )
    for most, within in (1, min(timedelta(seconds=access.pace), MINUTE)), (per_minute, MINUTE):
        earliest = db.scalar(times.offset(most - 1)) if most and within else None
        if earliest is not None and earliest > at - within:
            seconds = ceil(min(earliest + within - at, within).total_seconds())
            raise Refused(Why.JOINED_TOO_OFTEN, retry=seconds, room=access.facts.name, seconds=seconds)


def leave(db: Connection, who: Person, name: str, at: datetime) -> tuple[RoomFacts, list[Entry]]:
    """Removes a person from a room. Raises Refused(not-a-member). See `end_membership` for what follows."""
    access = find_room(db, who, name, lock=True)
    access.forbid_direct(Why.DIRECT_STAYS)
    access.require_member(who)
    entry = append_event(db, access.facts.id, LEFT, who, at)
    return access.facts, [entry, *end_membership(db, access, who.id, entry.seq, at)]


def end_membership(db: Connection, access: RoomAccess, account_id: int, seq: int, at: datetime) -> list[Entry]:
    """Ends a membership of a locked room with the entry `seq`. Returns the entries that follow from it.

    After the last owner the longest-standing moderator, or else member, becomes the owner, except in a default room. A
    room that nobody is in is no longer listed.
    """
    room_id = access.facts.id
    db.execute(update(MembershipRow).where(open_membership(account_id, room_id)).values(left_seq=seq, notify=None))
    inside = (MembershipRow.room_id == room_id, MembershipRow.left_seq.is_(None))
    if db.scalar(select(exists().where(*inside, MembershipRow.role == OWNER))):
        return []
    had_owner = db.scalar(
        select(
            exists().where(MembershipRow.room_id == room_id, MembershipRow.role == OWNER, MembershipRow.left_seq == seq)
        )
    )
    heir = db.execute(
        select(MembershipRow.id, AccountRow.id.label("account_id"), AccountRow.name)
        .join(AccountRow, AccountRow.id == MembershipRow.account_id)
        .where(*inside, AccountRow.kind != GUEST)
        .order_by(case((MembershipRow.role == MODERATOR, 0), else_=1), MembershipRow.joined_seq, MembershipRow.id)
        .limit(1)
    ).one_or_none()
    if heir is None:
        if not db.scalar(select(exists().where(*inside))):
            db.execute(update(RoomRow).where(RoomRow.id == room_id).values(deactivated_at=at))
        return []
    if not had_owner or is_default(db, room_id):
        return []
    db.execute(update(MembershipRow).where(MembershipRow.id == heir.id).values(role=OWNER))
    return [append_event(db, room_id, ROLE, SERVER, at, OWNER, target=Person(heir.account_id, heir.name))]


def leave_all(
    db: Connection, who: Person, at: datetime, most: int | None = None
) -> list[tuple[RoomFacts, list[Entry]]]:
    """Removes a person from all rooms except direct ones, or from so many of them."""
    names = db.scalars(
        select(RoomRow.name)
        .join(MembershipRow, open_membership(who.id))
        .where(RoomRow.kind != DIRECT, RoomRow.deleted_at.is_(None))
        .order_by(RoomRow.id)
        .limit(most)
    ).all()
    return [leave(db, who, name, at) for name in names]


def dismiss_guests(db: Connection, at: datetime, node: str = "", *, together: bool = False) -> list[Person]:
    """Ends the accounts of guests whose server is dead: those without an open session on a live node other than `node`.

    `node` is the caller's, which has no connections yet. Call `lease.release_dead` first. `together`: nodes watch each
    other, and one of them looks for guests who were never recorded: see `stray_guests`. If others are alive, it returns
    the guests instead: dismissing all of them at once would lock their rooms for too long, and other members must be
    told that they leave.
    """
    others = select(NodeRow.name).where(NodeRow.name != node, NodeRow.boot != "")
    sessions = select(SessionRow.id).where(SessionRow.account_id == AccountRow.id)
    # Sessions are recorded a little later than guests: a new guest without one may be connected to another node.
    recent = AccountRow.created_at > at - timedelta(seconds=ARRIVING_SECONDS)
    arriving = and_(~sessions.exists(), others.exists(), *([] if together else [recent]))
    guests = _guests(db, ~or_(_connected(others).exists(), arriving))
    if guests and together and db.scalar(select(others.exists())):
        return guests
    for guest in guests:
        dismiss_guest(db, guest, at)
    return []


def guests_of_dead(db: Connection, node: str) -> list[Person]:
    """The guests with an open session on `node`, which is dead, and with none on a live node."""
    alive = select(NodeRow.name).where(NodeRow.name != node, NodeRow.boot != "")
    there = _connected(select(NodeRow.name).where(NodeRow.name == node))
    return _guests(db, and_(there.exists(), ~_connected(alive).exists()))


def stray_guests(db: Connection, at: datetime) -> list[Person]:
    """The guests whom no live node has: whose last session was closed some time ago, or who never had one and were
    created some time ago. A live node has dismissed its own by then."""
    before = at - timedelta(seconds=ARRIVING_SECONDS)
    lately = select(SessionRow.id).where(SessionRow.account_id == AccountRow.id, SessionRow.disconnected_at > before)
    alive = select(NodeRow.name).where(NodeRow.boot != "")
    return _guests(db, and_(AccountRow.created_at < before, ~_connected(alive).exists(), ~lately.exists()))


def _connected(nodes: Select[Any]) -> Select[Any]:
    """The open sessions of an account on these nodes."""
    theirs = (SessionRow.account_id == AccountRow.id, SessionRow.disconnected_at.is_(None))
    return select(SessionRow.id).where(*theirs, SessionRow.node.in_(nodes))


def _guests(db: Connection, which: ColumnElement[bool]) -> list[Person]:
    """In the order of their ids."""
    guest = (AccountRow.kind == GUEST, AccountRow.disabled_at.is_(None))
    found = db.execute(select(AccountRow.id, AccountRow.name).where(*guest, which).order_by(AccountRow.id))
    return [Person(id, name, GUEST) for id, name in found]


def lost_guests(db: Connection, at: datetime) -> list[Person]:
    """The guests who were created at this time and of whom no connection was recorded. If the answer to their creation
    was lost, no process knows that they exist."""
    recorded = exists().where(SessionRow.account_id == AccountRow.id)
    return _guests(db, and_(AccountRow.created_at == at, ~recorded))


def dismiss_guest(db: Connection, who: Person, at: datetime) -> list[tuple[RoomFacts, list[Entry]]]:
    """Ends the account of a guest and removes it from all rooms. Returns no entry if another node has done that."""
    # First of all, so that of two nodes the second one waits here, and then finds no room.
    db.execute(update(AccountRow).where(AccountRow.id == who.id).values(disabled_at=at))
    left = leave_all(db, who, at)
    db.execute(sql_delete(InvitationRow).where(InvitationRow.account_id == who.id))
    ignoring.forget(db, who.id)
    return left


def delete(db: Connection, who: Person, access: RoomAccess, at: datetime) -> list[Entry]:
    """Deletes a locked room: its members leave, its log stays, its name is free again."""
    entry = append_event(db, access.facts.id, DELETED, who, at)
    inside = (MembershipRow.room_id == access.facts.id, MembershipRow.left_seq.is_(None))
    db.execute(update(MembershipRow).where(*inside).values(left_seq=entry.seq))
    db.execute(update(RoomRow).where(RoomRow.id == access.facts.id).values(deleted_at=at))
    db.execute(sql_delete(InvitationRow).where(InvitationRow.room_id == access.facts.id))
    return [entry]


def set_topic(db: Connection, who: Person, access: RoomAccess, topic: str, at: datetime) -> list[Entry]:
    db.execute(update(RoomRow).where(RoomRow.id == access.facts.id).values(topic=topic))
    return [append_event(db, access.facts.id, TOPIC, who, at, topic)]


def configure(
    db: Connection,
    who: Person,
    access: RoomAccess,
    past: str | None,
    invites: str | None,
    pace: int | None,
    at: datetime,
) -> list[Entry]:
    """Changes the settings of a room that are not None; see `values.recorded`."""
    values = {"past_open": None if past is None else past == "open", "invites": invites, "pace_seconds": pace}
    changed = {name: value for name, value in values.items() if value is not None}
    db.execute(update(RoomRow).where(RoomRow.id == access.facts.id).values(changed))
    said = recorded({"past": past, "invites": invites, PACE: pace})
    return [append_event(db, access.facts.id, SET, who, at, said)]


def pace(db: Connection, room_id: int) -> int:
    """Minimum seconds between two messages or changes of a member; 0: none."""
    return db.scalar(select(RoomRow.pace_seconds).where(RoomRow.id == room_id)) or 0


def listing(
    db: Connection, who: Person, after: str, limit: int, *, mine: bool, prefix: str = "", only: int = 0
) -> tuple[list[RoomLine], bool]:
    """The rooms after `after` whose names begin with `prefix`, by name, that may be listed for a person (with `mine`:
    that they are in; `only`: see `visibility.is_only`), and whether there are more. Rooms that nobody is in are left
    out."""
    counted = aliased(MembershipRow)
    count = (
        select(func.count())
        .where(counted.room_id == RoomRow.id, counted.left_seq.is_(None))
        .correlate(RoomRow)
        .scalar_subquery()
    )
    query = (
        select(RoomRow.id, RoomRow.name, RoomRow.topic, RoomRow.last_seq, MembershipRow.role, count.label("members"))
        .outerjoin(MembershipRow, open_membership(who.id))
        .where(
            RoomRow.name > after,
            begins_with(RoomRow.name, prefix),
            RoomRow.kind != DIRECT,
            RoomRow.deactivated_at.is_(None),
            and_(IS_LISTED, IS_MEMBER) if mine or only else IS_LISTED,
            is_only(only),
        )
        .order_by(RoomRow.name)
        .limit(limit + 1)
    )
    rows = [RoomLine(row.name, row.topic, row.members, row.last_seq, row.role, row.id) for row in db.execute(query)]
    return rows[:limit], len(rows) > limit
