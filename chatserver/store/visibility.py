"""May X see Y: the one place that answers it, for rooms, their entries, members and names.

The rules, from docs/protocol.md. A *member* is in the room now; a former member has no special rights.

=================  =======================================  ========================================================
question           public room                              private room
=================  =======================================  ========================================================
is it listed       for everybody                            for members
can it be found    by everybody; those who are banned are   by members and operators of the server; to join it, also
                   refused with `banned`                    by the invited, unless they are banned or guests
can it be read     by everybody who is not banned           by members only
from which entry   the first                                the one with which the member joined, or the first if
                                                            the room's past is open; see below
=================  =======================================  ========================================================

- Reading means a room's history, its members and searches in it. Who may join, write or moderate: `handlers.rights`.
- Nobody finds or reads a deleted room.
- The oldest entries of a room may have been removed (`store.retention`). Accounts that might have read them learn that
they were removed; nobody learns that of entries that they could never read.
- A ban does not bind operators, who could lift it. Otherwise operators read what anybody may.
- A direct room exists only for its two people, even before its first message, and never for guests. It remains when one
  of them is erased, but nobody can begin one with an account that is erased already.
- The entries that an account wrote are its own: it may export them from rooms that it can no longer find.
- A request about a room that the person cannot find is answered by the same statements, and in the same words, as if it
  did not exist. Only creating a room tells that its name is taken.
- If one of two accounts has blocked the other, they are *apart*: neither sees when the other is online, away or was
  last seen. `roster` knows that for those who are online.
- A room's name is known to all who have a membership, an invitation or an entry of it.

`chatctl` is for administrators, and sees everything: see `store.directory`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, case, exists, false, func, or_, select, true

from chatserver.store import abouts
from chatserver.store.accounts import find_shown
from chatserver.store.db.database_clock import NOW, lasts
from chatserver.store.db.schema import AccountRow, BanRow, BlockRow, EntryRow, InvitationRow, MembershipRow, RoomRow
from chatserver.store.names import unknown
from chatserver.values.commands import PAGE_LIMIT
from chatserver.values.errors import Refused, Why, no_such_room, no_such_user, not_a_member
from chatserver.values.events import (
    DIRECT,
    GUEST,
    MEMBER,
    OPERATOR,
    PRIVATE,
    PUBLIC,
    Membership,
    Person,
    Role,
    RoomFacts,
)
from chatserver.values.seen import Run, Seen, as_seen


class RoomAccess(Struct, frozen=True):
    """A room as one person sees it now. `role` is None for those who are not in it.

    `readable`: whether they may read it; `allowed`: the first entry that they may read, now or as soon as they join;
    `floor`: the first of those that were not removed; `read`: their read mark; `runs`: what they have seen behind it,
    both in this `era`; `pace`: in seconds; `joined`: the entry with which they became a member, 0 for others, and in a
    direct room.
    """

    facts: RoomFacts
    seq: int = 0
    topic: str = ""
    active: bool = True
    invites: Literal["members", "moderators"] = "members"
    past_open: bool = False
    role: Role | None = None
    readable: bool = True
    floor: int = 1
    read: int = 0
    muted: bool = False
    blocked: bool = False
    invited: bool = False
    allowed: int = 1
    runs: tuple[Run, ...] = ()
    pace: int = 0
    joined: int = 0
    era: int = 0

    @property
    def seen(self) -> Seen:
        return Seen(self.read, self.runs, self.era)

    def was_removed(self, seq: int) -> bool:
        """Whether they could read an entry with this number if it had not been removed."""
        return self.readable and self.allowed <= seq < self.floor

    def may_read(self, seq: int) -> bool:
        return self.readable and seq >= self.floor

    def require_member(self, who: Person) -> None:
        """Raises Refused(not-a-member)."""
        if self.role is None:
            raise not_a_member(self.facts.label(who.id))

    def forbid_direct(self, why: Why) -> None:
        """Raises Refused(direct-room)."""
        if self.facts.kind == DIRECT:
            raise Refused(why)


# The rules as SQL, for queries over rooms into which the open membership of the viewer is outer-joined


def open_membership(account_id: Any, room_id: Any = RoomRow.id) -> ColumnElement[bool]:
    """The condition that joins an account's present membership of a room."""
    return and_(
        MembershipRow.room_id == room_id, MembershipRow.account_id == account_id, MembershipRow.left_seq.is_(None)
    )


def active_ban(account_id: int, room_id: Any) -> ColumnElement[bool]:
    """Whether an account is banned from a room."""
    return exists().where(BanRow.room_id == room_id, BanRow.account_id == account_id, lasts(BanRow.until))


IS_MEMBER: Final = MembershipRow.role.is_not(None)
IS_LISTED: Final = and_(RoomRow.deleted_at.is_(None), or_(RoomRow.kind == PUBLIC, IS_MEMBER))
IS_PAST_OPEN: Final = or_(RoomRow.kind != PRIVATE, RoomRow.past_open)
"""Whether members may read what was said before they joined."""
FIRST_ALLOWED: Final = case(
    (IS_PAST_OPEN, 1),
    else_=func.coalesce(MembershipRow.joined_seq, RoomRow.last_seq + 1),
)
"""The seq from which a person may read, or may as soon as they join, whether or not that entry was removed."""

FIRST_READABLE: Final = case((RoomRow.first_seq > FIRST_ALLOWED, RoomRow.first_seq), else_=FIRST_ALLOWED)
"""The first seq that they can read."""


def is_apart(one: Any, other: Any) -> ColumnElement[bool]:
    """Whether one of two accounts has blocked the other: neither sees the other's presence."""
    return exists().where(
        or_(
            and_(BlockRow.account_id == one, BlockRow.blocked_id == other),
            and_(BlockRow.account_id == other, BlockRow.blocked_id == one),
        )
    )


def is_only(room_id: int) -> ColumnElement[bool]:
    """The room is the one that a token is for, and no other exists for its session. 0: the token is for all rooms."""
    return RoomRow.id == room_id if room_id else true()


def is_banned(who: Person) -> ColumnElement[bool]:
    return false() if who.kind == OPERATOR else active_ban(who.id, RoomRow.id)


def is_readable(who: Person) -> ColumnElement[bool]:
    return and_(IS_LISTED, or_(IS_MEMBER, ~is_banned(who)))


def is_entry_readable(who: Person) -> ColumnElement[bool]:
    """For queries over entries and their rooms."""
    # Not a bound on `seq` itself, for which PostgreSQL might walk through a room's log and not use the index of words.
    return and_(is_readable(who), EntryRow.seq - FIRST_READABLE >= 0)


def is_own_entry(who: Person) -> ColumnElement[bool]:
    """For queries over entries: what an account may export, wherever it is."""
    return and_(EntryRow.author_id == who.id, EntryRow.room_id > 0)  # not those that `store.retention` has spent


# One room, as a person sees it


def find_room(db: Connection, who: Person, name: str, *, lock: bool = False, joining: bool = False) -> RoomAccess:
    """The room that this person knows by this name. Raises Refused: no-such-room, also if it exists but they may not
    know; banned; for a direct room no-such-user and not-allowed.

    With `lock`, the room and its memberships do not change until the transaction ends. `joining`: an invitation is
    enough. To be found does not mean to be readable: for reading use `find_readable_room`.
    """
    if name.startswith("@"):
        return _find_direct(db, who, name, lock=lock)
    named = is_called(name)
    # A statement of its own, and the first one: the next one then sees the state after the wait for the lock. If the
    # room was deleted meanwhile there may be a new one with its name, which is not locked. A hidden room is not locked
    # either: an account that may not know of it does not wait for
    # it, and causes the same statements as if it did not exist.
    if lock and db.execute(_lock(who, named, joining=joining)).one_or_none() is None:
        raise no_such_room(name)
    row = db.execute(
        select(
            RoomRow,
            MembershipRow.role,
            MembershipRow.joined_seq,
            MembershipRow.read_seq,
            MembershipRow.read_era,
            MembershipRow.seen,
            (MembershipRow.muted_until > NOW).label("muted"),  # null for those who are not muted
            IS_LISTED.label("listed"),
            FIRST_READABLE.label("floor"),
            FIRST_ALLOWED.label("allowed"),
            is_readable(who).label("readable"),
            is_banned(who).label("banned"),
            _is_invited(who).label("invited"),
        )
        .outerjoin(MembershipRow, open_membership(who.id))
        .where(named)
    ).one_or_none()
    if row is None:
        raise no_such_room(name)
    seen = as_seen(row.read_seq or 0, row.seen, row.read_era or 0)
    may_join = joining and row.invited and not row.banned and who.kind != GUEST
    if not (row.listed or who.kind == OPERATOR or may_join):
        raise no_such_room(name)
    if row.banned and row.role is None:
        raise Refused(Why.BANNED_FROM_ROOM, name=name)
    return RoomAccess(
        RoomFacts(row.id, row.name, row.kind),
        row.last_seq,
        row.topic,
        row.deactivated_at is None,
        row.invites,
        row.past_open,
        row.role,
        row.readable,
        row.floor,
        seen.mark,
        bool(row.muted),
        invited=row.invited,
        allowed=row.allowed,
        runs=seen.runs,
        pace=row.pace_seconds,
        joined=row.joined_seq or 0,
        era=seen.era,
    )


def _lock(who: Person, named: ColumnElement[bool], *, joining: bool) -> Select[int]:
    """The statement that locks a room if this person may find it."""
    locked = select(RoomRow.id).where(named).with_for_update()
    if who.kind == OPERATOR:
        return locked
    found = [RoomRow.kind == PUBLIC, exists().where(open_membership(who.id))]
    if joining and who.kind != GUEST:
        found.append(_is_invited(who))
    return locked.where(or_(*found))


def _is_invited(who: Person) -> ColumnElement[bool]:
    return exists().where(InvitationRow.room_id == RoomRow.id, InvitationRow.account_id == who.id)


def find_readable_room(db: Connection, who: Person, name: str) -> RoomAccess:
    """As `find_room`, for history, search and members. Also raises Refused(not-a-member), to operators."""
    access = find_room(db, who, name)
    if not access.readable:
        access.require_member(who)
    return access


def is_called(name: str) -> ColumnElement[bool]:
    """Whether this is the name of a room in the database. The index of names has no rooms that were deleted."""
    return and_(RoomRow.name == name, RoomRow.deleted_at.is_(None))


def direct_name(one: int, other: int) -> str:
    """The name of the direct room of two accounts, in the database."""
    first, second = sorted((one, other))
    return f"@{first}:{second}"


def _pair(who: Person, other: Person) -> tuple[tuple[int, str], tuple[int, str]]:
    """The two people of a direct room, by id."""
    first, second = sorted([(who.id, who.name), (other.id, other.name)])
    return first, second


def _find_direct(db: Connection, who: Person, name: str, *, lock: bool) -> RoomAccess:
    account = find_shown(db, name[1:])
    # Only erased accounts answer to another name than their own: `erased-` and their id.
    if account is None or not (account.erased or account.name.lower() == name[1:].lower()):
        raise unknown(db, name[1:], who)
    other = account.person
    if other.id == who.id:
        raise Refused(Why.DIRECT_WITH_SELF)
    if GUEST in (who.kind, other.kind):
        raise Refused(Why.NO_DIRECT_FOR_GUESTS)
    key, both = direct_name(who.id, other.id), _pair(who, other)
    if lock:
        db.execute(select(RoomRow.id).where(is_called(key)).with_for_update()).one_or_none()
    row = db.execute(
        select(
            RoomRow.id,
            RoomRow.last_seq,
            RoomRow.first_seq,
            MembershipRow.read_seq,
            MembershipRow.read_era,
            MembershipRow.seen,
            MembershipRow.blocked,
        )
        .join(MembershipRow, open_membership(who.id))
        .where(is_called(key))
    ).one_or_none()
    if row is None and account.disabled:
        raise no_such_user(name[1:])
    if row is None:  # there is no room before its first message
        return RoomAccess(RoomFacts(0, key, DIRECT, both), role=MEMBER)
    facts = RoomFacts(row.id, key, DIRECT, both)
    seen = as_seen(row.read_seq, row.seen, row.read_era)
    return RoomAccess(
        facts,
        row.last_seq,
        role=MEMBER,
        floor=row.first_seq,
        read=seen.mark,
        blocked=row.blocked,
        runs=seen.runs,
        era=seen.era,
    )


# All rooms of a person, and the names of rooms

_NAMING = (RoomRow.id, RoomRow.name, RoomRow.kind)
MOST_TOLD_ABOUT: Final = PAGE_LIMIT
"""Maximum number of rooms of an account for which a login reads what `About` has."""

_OPEN = (
    select(
        *_NAMING,
        RoomRow.last_seq,
        MembershipRow.account_id,
        MembershipRow.read_seq,
        MembershipRow.read_era,
        MembershipRow.seen,
        MembershipRow.role,
        MembershipRow.joined_seq,
        MembershipRow.muted_until,
        MembershipRow.notify,
        FIRST_READABLE.label("floor"),
        FIRST_ALLOWED.label("allowed"),
    )
    .join(MembershipRow, MembershipRow.room_id == RoomRow.id)
    .where(
        MembershipRow.account_id.in_(bindparam("ids", expanding=True)),
        MembershipRow.left_seq.is_(None),
        RoomRow.deleted_at.is_(None),
    )
)
_MEMBERSHIPS = _OPEN.order_by(RoomRow.name)


def _with_about() -> Select[Any]:
    """`_MEMBERSHIPS` with the columns of `abouts`, which are null for accounts in very many rooms."""
    count = func.count().over(partition_by=MembershipRow.account_id)
    mine = _OPEN.add_columns(RoomRow.topic, count.label("rooms")).subquery("mine").c
    known = [column for column in mine if column.name not in ("topic", "rooms")]
    more = abouts.columns(mine, mine.account_id, mine.floor, mine.rooms <= MOST_TOLD_ABOUT)
    return select(*known, *more).order_by(mine.name)


_MEMBERSHIPS_WITH_ABOUT = _with_about()


def memberships(db: Connection, who: Person) -> list[Membership]:
    """All rooms that a person is in, by name."""
    return memberships_of(db, {who.id: who})[who.id]


def memberships_of(db: Connection, people: Mapping[int, Person], *, about: bool = False) -> dict[int, list[Membership]]:
    """For each of these people, by id, all rooms that they are in, by name; `about`: see `Membership`."""
    rows = db.execute(_MEMBERSHIPS_WITH_ABOUT if about else _MEMBERSHIPS, {"ids": list(people)}).all()
    facts = _facts(db, [(people[row.account_id], row) for row in rows])
    found: dict[int, list[Membership]] = {id: [] for id in people}
    for row, known in zip(rows, facts, strict=True):
        seen = as_seen(row.read_seq, row.seen, row.read_era)
        more = abouts.about(row) if about else None
        found[row.account_id].append(
            Membership(
                known,
                row.last_seq,
                seen.mark,
                row.role,
                row.floor,
                row.joined_seq,
                row.allowed,
                seen.runs,
                more,
                row.muted_until,
                row.notify,
                row.read_era,
            )
        )
    return found


def facts_of(db: Connection, who: Person, room_ids: set[int]) -> dict[int, RoomFacts]:
    """The names of rooms as a person sees them, for entries that the person has received."""
    rows = db.execute(select(*_NAMING).where(RoomRow.id.in_(room_ids))).all()
    return {facts.id: facts for facts in _facts(db, [(who, row) for row in rows])}


def _facts(db: Connection, seen: Sequence[tuple[Person, Any]]) -> list[RoomFacts]:
    """The facts of each of these rooms, as seen by that person.

    The names of the people in direct rooms take a second statement, and only if there are direct rooms: as a join in
    the first statement they would make it visit every member of every room.
    """
    others = [_other_id(who, row.name) if row.kind == DIRECT else None for who, row in seen]
    names: dict[int, str] = {}
    if wanted := {other for other in others if other is not None}:
        names = {
            row.id: row.name
            for row in db.execute(select(AccountRow.id, AccountRow.name).where(AccountRow.id.in_(wanted)))
        }
    return [
        RoomFacts(row.id, row.name, row.kind, None if other is None else _pair(who, Person(other, names[other])))
        for (who, row), other in zip(seen, others, strict=True)
    ]


def _other_id(who: Person, name: str) -> int:
    """The id of the other person in the direct room of this name, `@id:id`."""
    first, second = (int(id) for id in name[1:].split(":"))
    return second if first == who.id else first
