"""Checks that a database is consistent by replaying every log from its beginning."""

from typing import Any

from sqlalchemy import Connection, and_, select

from chatserver.store.db.schema import BanRow, BlockRow, EntryRow, InvitationRow, MembershipRow, RoomRow
from chatserver.values.events import BANNED, CREATED, DELETED, DIRECT, JOINED, KICKED, LEFT, MESSAGE, ROLE


def check_whole(db: Connection) -> None:
    """Raises AssertionError if memberships, roles or invitations disagree with the logs, or a log has a gap."""
    for room in db.execute(select(RoomRow)).all():
        log = db.execute(select(EntryRow).where(EntryRow.room_id == room.id).order_by(EntryRow.seq)).all()
        what = f"{room.name}: {[(e.seq, e.kind, e.author_id, e.target_id, e.text) for e in log]}"
        assert [entry.seq for entry in log] == list(range(1, room.last_seq + 1)), what
        inside = db.execute(
            select(MembershipRow.account_id, MembershipRow.role, MembershipRow.blocked).where(
                MembershipRow.room_id == room.id, MembershipRow.left_seq.is_(None)
            )
        ).all()
        if room.kind == DIRECT:
            assert len(inside) == 2, what
            _check_blocks(db, {row.account_id: row.blocked for row in inside})
            continue
        told = _read(log, what)
        assert {row.account_id: row.role for row in inside} == told, what
        if log and room.created_by is not None and room.deleted_at is None:
            assert not told or "owner" in told.values(), what
        if room.deleted_at is None and log:
            assert (room.deactivated_at is None) is bool(told), what
    _check_invitations(db)


def _read(log: Any, what: str) -> dict[int, str]:
    """The members and their roles after a log. Checks that authors of messages were members."""
    roles: dict[int, str] = {}
    for entry in log:
        match entry.kind:
            case kind if kind in (CREATED, JOINED):
                assert entry.author_id not in roles, what
                roles[entry.author_id] = "member" if roles else "owner"
            case kind if kind == LEFT:
                del roles[entry.author_id]
            case kind if kind == KICKED:
                del roles[entry.target_id]
            case kind if kind == BANNED:
                roles.pop(entry.target_id, None)
            case kind if kind == ROLE:
                assert entry.target_id in roles, what
                roles[entry.target_id] = entry.text
            case kind if kind == DELETED:
                assert entry is log[-1], what
                roles = {}
            case kind if kind == MESSAGE:
                assert entry.author_id in roles, what
    return roles


def _check_blocks(db: Connection, blocked: dict[int, bool]) -> None:
    """The memberships of a direct room agree with the blocks."""
    for one, other in (list(blocked), list(blocked)[::-1]):
        block = db.scalar(select(BlockRow.at).where(BlockRow.account_id == other, BlockRow.blocked_id == one))
        assert blocked[one] is (block is not None), f"{other} has blocked {one}: {block is not None}"


def _check_invitations(db: Connection) -> None:
    """No invitation is to a deleted room, or for a member or a banned person."""
    mine = InvitationRow.account_id
    inside = and_(
        MembershipRow.room_id == RoomRow.id, MembershipRow.account_id == mine, MembershipRow.left_seq.is_(None)
    )
    rows = db.execute(
        select(RoomRow.name, mine, RoomRow.deleted_at, MembershipRow.joined_seq, BanRow.at)
        .select_from(InvitationRow)
        .join(RoomRow, RoomRow.id == InvitationRow.room_id)
        .outerjoin(MembershipRow, inside)
        .outerjoin(BanRow, and_(BanRow.room_id == RoomRow.id, BanRow.account_id == mine))
    ).all()
    assert [tuple(row) for row in rows if any(row[2:])] == []
