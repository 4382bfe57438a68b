"""What must be so in a database whatever happened at once, found by reading every log from its beginning."""

from typing import Any

from sqlalchemy import Connection, and_, select

from chatserver.events import BANNED, CREATED, DELETED, DIRECT, JOINED, KICKED, LEFT, MESSAGE, ROLE
from chatserver.store.schema import Ban, Block, EntryRow, Invitation, Membership, Room


def check_whole(db: Connection) -> None:
    """Raises AssertionError where memberships, roles or invitations are not what the logs say, or a log has a hole."""
    for room in db.execute(select(Room)).all():
        log = db.execute(select(EntryRow).where(EntryRow.room_id == room.id).order_by(EntryRow.seq)).all()
        what = f"{room.name}: {[(e.seq, e.kind, e.author_id, e.target_id, e.text) for e in log]}"
        assert [entry.seq for entry in log] == list(range(1, room.last_seq + 1)), what
        inside = db.execute(
            select(Membership.account_id, Membership.role, Membership.blocked).where(
                Membership.room_id == room.id, Membership.left_seq.is_(None)
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
    """Who is in a room after all this, and as what; those who spoke were in it."""
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
    """In a direct room each is marked whom the other has blocked."""
    for one, other in (list(blocked), list(blocked)[::-1]):
        block = db.scalar(select(Block.at).where(Block.account_id == other, Block.blocked_id == one))
        assert blocked[one] is (block is not None), f"{other} has blocked {one}: {block is not None}"


def _check_invitations(db: Connection) -> None:
    """None into a room that is deleted, that one is in, or that one is banned from."""
    mine = Invitation.account_id
    inside = and_(Membership.room_id == Room.id, Membership.account_id == mine, Membership.left_seq.is_(None))
    rows = db.execute(
        select(Room.name, mine, Room.deleted_at, Membership.joined_seq, Ban.at)
        .select_from(Invitation)
        .join(Room, Room.id == Invitation.room_id)
        .outerjoin(Membership, inside)
        .outerjoin(Ban, and_(Ban.room_id == Room.id, Ban.account_id == mine))
    ).all()
    assert [tuple(row) for row in rows if any(row[2:])] == []
