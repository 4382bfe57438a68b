"""Keeping order: roles, bans, mutes, invitations, blocks."""

from collections.abc import Collection
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network

from msgspec import Struct
from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update
from sqlalchemy.orm import aliased

from chatserver.events import (
    BANNED,
    KICKED,
    MUTED,
    ROLE,
    UNBANNED,
    UNMUTED,
    BanLine,
    Entry,
    Invited,
    Person,
)  # fmt: skip
from chatserver.store.messages import append_event
from chatserver.store.places import OWNER, Place, active_ban, hold_pair, open_membership
from chatserver.store.rooms import end_membership
from chatserver.store.schema import Account, Ban, Block, Change, Invitation, Membership, Room


def role_of(db: Connection, place: Place, account_id: int) -> str | None:
    return db.scalar(select(Membership.role).where(open_membership(account_id, place.facts.id)))


def owners(db: Connection, place: Place) -> int:
    inside = (Membership.room_id == place.facts.id, Membership.left_seq.is_(None), Membership.role == OWNER)
    return len(db.scalars(select(Membership.id).where(*inside)).all())


def set_role(db: Connection, who: Person, place: Place, target: Person, role: str, at: datetime) -> list[Entry]:
    db.execute(update(Membership).where(open_membership(target.id, place.facts.id)).values(role=role))
    return [append_event(db, place.facts.id, ROLE, who, at, role, target=target)]


def kick(db: Connection, who: Person, place: Place, target: Person, reason: str, at: datetime) -> list[Entry]:
    entry = append_event(db, place.facts.id, KICKED, who, at, reason, target=target)
    return [entry, *end_membership(db, place, target.id, entry.seq, at)]


def ban(
    db: Connection, who: Person, place: Place, target: Person, until: datetime | None, reason: str, at: datetime
) -> list[Entry]:
    """Bans somebody from a room; who is in it is out of it with that."""
    room_id = place.facts.id
    db.execute(delete(Ban).where(Ban.room_id == room_id, Ban.account_id == target.id))
    db.execute(
        insert(Ban).values(account_id=target.id, room_id=room_id, until=until, reason=reason, by=who.id or None, at=at)
    )
    db.execute(delete(Invitation).where(Invitation.room_id == room_id, Invitation.account_id == target.id))
    inside = role_of(db, place, target.id) is not None
    entry = append_event(db, room_id, BANNED, who, at, reason, target=target)
    return [entry, *(end_membership(db, place, target.id, entry.seq, at) if inside else [])]


def unban(db: Connection, who: Person, place: Place, target: Person, at: datetime) -> list[Entry]:
    """Lifts a ban from a room; no entry where there is none."""
    gone = db.execute(delete(Ban).where(Ban.room_id == place.facts.id, Ban.account_id == target.id))
    return [append_event(db, place.facts.id, UNBANNED, who, at, target=target)] if gone.rowcount else []


def mute(
    db: Connection, who: Person, place: Place, target: Person, until: datetime | None, at: datetime
) -> list[Entry]:
    """Lets somebody not say anything in a room; `until` None: for ever."""
    ever = datetime.max.replace(tzinfo=at.tzinfo, microsecond=0)
    db.execute(update(Membership).where(open_membership(target.id, place.facts.id)).values(muted_until=until or ever))
    said = "" if until is None else until.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return [append_event(db, place.facts.id, MUTED, who, at, said, target=target)]


def unmute(db: Connection, who: Person, place: Place, target: Person, at: datetime) -> list[Entry]:
    db.execute(
        update(Membership)
        .where(Membership.room_id == place.facts.id, Membership.account_id == target.id)
        .values(muted_until=None)
    )
    return [append_event(db, place.facts.id, UNMUTED, who, at, target=target)]


def invite(db: Connection, who: Person, place: Place, target: Person, at: datetime) -> None:
    mine = (Invitation.room_id == place.facts.id, Invitation.account_id == target.id)
    db.execute(delete(Invitation).where(*mine))
    db.execute(insert(Invitation).values(room_id=place.facts.id, account_id=target.id, invited_by=who.id, at=at))


def uninvite(db: Connection, place: Place, target: Person, by: int | None) -> bool:
    """Takes an invitation back, `by`: only one that this account gave. Whether there was one."""
    mine = [Invitation.room_id == place.facts.id, Invitation.account_id == target.id]
    if by is not None:
        mine.append(Invitation.invited_by == by)
    return bool(db.execute(delete(Invitation).where(*mine)).rowcount)


_INVITATIONS = (
    select(Invitation.account_id, Room.name, Account.name)
    .join(Room, Room.id == Invitation.room_id)
    .join(Account, Account.id == Invitation.invited_by)
    .where(Invitation.account_id.in_(bindparam("ids", expanding=True)), Room.deleted_at.is_(None))
    .order_by(Room.name)
)


def invitations(db: Connection, account_ids: Collection[int]) -> dict[int, list[Invited]]:
    """For each of these accounts the rooms they are asked into, in the order of names."""
    found: dict[int, list[Invited]] = {id: [] for id in account_ids}
    if not found:
        return {}
    for account_id, room, by in db.execute(_INVITATIONS, {"ids": list(found)}):
        found[account_id].append(Invited(room, by))
    return found


def ban_from_server(
    db: Connection,
    by: int | None,
    target: Person | None,
    network: str | None,
    until: datetime | None,
    reason: str,
    at: datetime,
) -> None:
    """Bans an account, or an address or network, from the whole server. Running servers take note."""
    unban_from_server(db, target, network, at)
    values = {"account_id": target.id if target else None, "network": network}
    db.execute(insert(Ban).values(**values, until=until, reason=reason, by=by, at=at))
    if target is not None:
        db.execute(insert(Change).values(kind="account", subject=target.id, at=at))


def unban_from_server(db: Connection, target: Person | None, network: str | None, at: datetime) -> bool:
    """Whether there was a ban to lift."""
    which = Ban.account_id == target.id if target is not None else Ban.network == network
    gone = db.execute(delete(Ban).where(Ban.room_id.is_(None), which))
    db.execute(insert(Change).values(kind="bans", subject=0, at=at))
    return bool(gone.rowcount)


def is_banned(db: Connection, account_id: int, room_id: int, at: datetime) -> bool:
    return bool(db.scalar(select(active_ban(account_id, room_id, at))))


class NetworkBan(Struct, frozen=True):
    """An address or network that may not come onto the server."""

    network: IPv4Network | IPv6Network
    until: datetime | None
    reason: str


def banned_networks(db: Connection, at: datetime) -> list[NetworkBan]:
    """The addresses and networks that may not come onto the server."""
    rows = db.execute(
        select(Ban.network, Ban.until, Ban.reason).where(
            Ban.network.is_not(None), Ban.room_id.is_(None), or_(Ban.until.is_(None), Ban.until > at)
        )
    )
    return [NetworkBan(ip_network(row.network, strict=False), row.until, row.reason) for row in rows]


def bans(db: Connection, room_id: int | None, at: datetime) -> list[BanLine]:
    """Bans in force, from a room or (None) from the server; newest first."""
    by = aliased(Account)
    rows = db.execute(
        select(Account.name, Ban.network, Ban.until, by.name.label("by"), Ban.reason)
        .outerjoin(Account, Account.id == Ban.account_id)
        .outerjoin(by, by.id == Ban.by)
        .where(
            Ban.room_id.is_(None) if room_id is None else Ban.room_id == room_id,
            or_(Ban.until.is_(None), Ban.until > at),
        )
        .order_by(Ban.id.desc())
    )
    return [BanLine(row.name, row.network, row.until, row.by or "", row.reason) for row in rows]


def block(db: Connection, who: Person, target: Person, at: datetime) -> None:
    hold_pair(db, who.id, target.id)
    known = db.scalar(select(Block.at).where(Block.account_id == who.id, Block.blocked_id == target.id))
    if known is None:
        db.execute(insert(Block).values(account_id=who.id, blocked_id=target.id, at=at))
    _mark_blocked(db, who, target, blocked=True)
    theirs = select(Invitation.room_id).where(Invitation.account_id == who.id, Invitation.invited_by == target.id)
    db.execute(delete(Invitation).where(Invitation.account_id == who.id, Invitation.room_id.in_(theirs)))


def unblock(db: Connection, who: Person, target: Person) -> None:
    hold_pair(db, who.id, target.id)
    db.execute(delete(Block).where(Block.account_id == who.id, Block.blocked_id == target.id))
    _mark_blocked(db, who, target, blocked=False)


def _mark_blocked(db: Connection, who: Person, target: Person, *, blocked: bool) -> None:
    """In their direct room too, where each message looks."""
    first, second = sorted((who.id, target.id))
    room = select(Room.id).where(Room.name == f"@{first}:{second}").scalar_subquery()
    db.execute(update(Membership).where(open_membership(target.id, room)).values(blocked=blocked))


_BLOCKS = select(Block.account_id, Block.blocked_id).where(
    or_(
        Block.account_id.in_(bindparam("ids", expanding=True)), Block.blocked_id.in_(bindparam("ids", expanding=True))
    )
)  # fmt: skip


def blocks(db: Connection, account_ids: Collection[int]) -> dict[int, frozenset[int]]:
    """For each of these accounts whom they have blocked, and who has blocked them: neither sees the other's
    presence."""
    apart: dict[int, set[int]] = {id: set() for id in account_ids}
    if not apart:
        return {}
    for one, other in db.execute(_BLOCKS, {"ids": list(apart)}):
        for id, blocked in ((one, other), (other, one)):
            if id in apart:
                apart[id].add(blocked)
    return {id: frozenset(others) for id, others in apart.items()}
