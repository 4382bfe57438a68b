"""Moderation: roles, kicks, mutes, and bans from a room or from the server."""

from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network

from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.orm import aliased

from chatserver.store import bots, change_rows, members
from chatserver.store.db.database_clock import NOW, lasts
from chatserver.store.db.schema import AccountRow, BanRow, InvitationRow, MembershipRow
from chatserver.store.entries import append_event
from chatserver.store.rooms import end_membership
from chatserver.store.visibility import RoomAccess, active_ban, open_membership
from chatserver.util.times import rfc3339
from chatserver.values.answers import BanLine
from chatserver.values.events import BANNED, FOREVER, KICKED, MUTED, ROLE, UNBANNED, UNMUTED, Entry, Person, Role

RETRY_SECONDS = 60
"""Maximum time by which a repeated ban or mute ends later than the first: by then the client knows that the answer was
lost, and has connected again. After longer, it is a new one."""


def _is_same_end(known: datetime | None, asked: datetime | None) -> bool:
    """Whether a request that would end at `asked` may be a retry of the one that ends at `known`. None: no end."""
    if known is None or asked is None:
        return known is asked
    return timedelta(0) <= asked - known <= timedelta(seconds=RETRY_SECONDS)


def is_banned_so(db: Connection, access: RoomAccess, target: Person, until: datetime | None, reason: str) -> bool:
    """Whether a person is banned from a room already, until then and for this reason: to ban them is then a retry."""
    of_target = (BanRow.room_id == access.facts.id, BanRow.account_id == target.id, lasts(BanRow.until))
    known = db.execute(select(BanRow.until, BanRow.reason).where(*of_target)).one_or_none()
    if known is None or known.reason != reason or members.role_of(db, access, target.id) is not None:
        return False
    return _is_same_end(known.until, until)


def is_muted(db: Connection, access: RoomAccess, target: Person) -> bool:
    return _muted_until(db, access, target) is not None


def is_muted_so(db: Connection, access: RoomAccess, target: Person, until: datetime | None) -> bool:
    """Whether a person is muted in a room already, until then: to mute them is then a retry."""
    known = _muted_until(db, access, target)
    return known is not None and _is_same_end(None if known == FOREVER else known, until)


def _muted_until(db: Connection, access: RoomAccess, target: Person) -> datetime | None:
    mine = open_membership(target.id, access.facts.id)
    return db.scalar(select(MembershipRow.muted_until).where(mine, MembershipRow.muted_until > NOW))


def set_role(db: Connection, who: Person, access: RoomAccess, target: Person, role: Role, at: datetime) -> list[Entry]:
    db.execute(update(MembershipRow).where(open_membership(target.id, access.facts.id)).values(role=role))
    return [append_event(db, access.facts.id, ROLE, who, at, role, target=target)]


def kick(db: Connection, who: Person, access: RoomAccess, target: Person, reason: str, at: datetime) -> list[Entry]:
    entry = append_event(db, access.facts.id, KICKED, who, at, reason, target=target)
    return [entry, *end_membership(db, access, target.id, entry.seq, at)]


def ban(
    db: Connection, who: Person, access: RoomAccess, target: Person, until: datetime | None, reason: str, at: datetime
) -> list[Entry]:
    """Bans a person from a room, replacing an earlier ban. If they are in it, this ends their membership."""
    room_id = access.facts.id
    db.execute(delete(BanRow).where(BanRow.room_id == room_id, BanRow.account_id == target.id))
    db.execute(
        insert(BanRow).values(
            account_id=target.id, room_id=room_id, until=until, reason=reason, by=who.id or None, at=at
        )
    )
    db.execute(delete(InvitationRow).where(InvitationRow.room_id == room_id, InvitationRow.account_id == target.id))
    inside = members.role_of(db, access, target.id) is not None
    entry = append_event(db, room_id, BANNED, who, at, reason, target=target)
    return [entry, *(end_membership(db, access, target.id, entry.seq, at) if inside else [])]


def unban(db: Connection, who: Person, access: RoomAccess, target: Person, at: datetime) -> list[Entry]:
    """Lifts a ban from a room. Returns no entry if there is no ban."""
    gone = db.execute(delete(BanRow).where(BanRow.room_id == access.facts.id, BanRow.account_id == target.id))
    return [append_event(db, access.facts.id, UNBANNED, who, at, target=target)] if gone.rowcount else []


def mute(
    db: Connection, who: Person, access: RoomAccess, target: Person, until: datetime | None, at: datetime
) -> list[Entry]:
    """Keeps a person from writing in a room; `until` None: forever. Lasts when they leave and join again."""
    db.execute(
        update(MembershipRow).where(open_membership(target.id, access.facts.id)).values(muted_until=until or FOREVER)
    )
    said = "" if until is None else rfc3339(until)
    return [append_event(db, access.facts.id, MUTED, who, at, said, target=target)]


def unmute(db: Connection, who: Person, access: RoomAccess, target: Person, at: datetime) -> list[Entry]:
    db.execute(
        update(MembershipRow)
        .where(MembershipRow.room_id == access.facts.id, MembershipRow.account_id == target.id)
        .values(muted_until=None)
    )
    return [append_event(db, access.facts.id, UNMUTED, who, at, target=target)]


def ban_from_server(
    db: Connection,
    by: int | None,
    target: Person | None,
    network: str | None,
    until: datetime | None,
    reason: str,
    at: datetime,
) -> None:
    """Bans an account with its bots, or an address or network, from the server; replaces an earlier ban. Notifies
    running servers."""
    unban_from_server(db, target, network, at)
    values = {"account_id": target.id if target else None, "network": network}
    db.execute(insert(BanRow).values(**values, until=until, reason=reason, by=by, at=at))
    if target is not None:
        change_rows.note(db, "account", target.id, at)
        bots.note_all(db, target.id, at)


def unban_from_server(db: Connection, target: Person | None, network: str | None, at: datetime) -> bool:
    """Lifts a ban of an account, or of an address or network. Returns whether there was one."""
    which = BanRow.account_id == target.id if target is not None else BanRow.network == network
    gone = db.execute(delete(BanRow).where(BanRow.room_id.is_(None), which))
    change_rows.note(db, "bans", 0, at)
    return bool(gone.rowcount)


def is_banned_from_room(db: Connection, account_id: int, room_id: int) -> bool:
    return bool(db.scalar(select(active_ban(account_id, room_id))))


class NetworkBan(Struct, frozen=True):
    """An address or network that is banned from the server. `seconds_left`: for how long, from the moment at which it
    was read; None if forever."""

    network: IPv4Network | IPv6Network
    seconds_left: float | None
    reason: str


def banned_networks(db: Connection) -> list[NetworkBan]:
    """The bans of addresses and networks that are in force."""
    rows = db.execute(
        select(BanRow.network, BanRow.until, BanRow.reason, NOW.label("now")).where(
            BanRow.network.is_not(None), BanRow.room_id.is_(None), lasts(BanRow.until)
        )
    )
    return [
        NetworkBan(
            ip_network(row.network, strict=False),
            None if row.until is None else (row.until - row.now).total_seconds(),
            row.reason,
        )
        for row in rows
    ]


def bans(db: Connection, room_id: int | None) -> list[BanLine]:
    """All bans in force from a room, or (None) from the server; newest first."""
    return [line for _, line in page_of_bans(db, room_id, None, None)]


def page_of_bans(
    db: Connection, room_id: int | None, before: int | None, limit: int | None
) -> list[tuple[int, BanLine]]:
    """The bans in force from a room, or (None) from the server, newest first, each with its number; with `before`, only
    those with a lower number."""
    by = aliased(AccountRow)
    query = (
        select(BanRow.id, AccountRow.name, BanRow.network, BanRow.until, by.name.label("by"), BanRow.reason)
        .outerjoin(AccountRow, AccountRow.id == BanRow.account_id)
        .outerjoin(by, by.id == BanRow.by)
        .where(
            BanRow.room_id.is_(None) if room_id is None else BanRow.room_id == room_id,
            lasts(BanRow.until),
        )
        .order_by(BanRow.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(BanRow.id < before)
    return [(row.id, BanLine(row.name, row.network, row.until, row.by or "", row.reason)) for row in db.execute(query)]
