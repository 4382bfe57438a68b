"""Importing a room from an export: a new room with the same numbers, times, kinds and authors.

The room is created as a deleted one, which nobody sees, and filled step by step, so that no writer waits for long. The
last step makes it appear. If anything fails before, `undo` removes it.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from secrets import token_hex
from typing import Final, Literal

from sqlalchemy import Connection, delete, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from chatserver.store import accounts, change_rows, mentions, names, reactions
from chatserver.store.accounts import ERASED_NAME
from chatserver.store.db.schema import AccountRow, EntryRow, MembershipRow, MentionRow, RoomRow, UnscannedRow
from chatserver.values.errors import Refused
from chatserver.values.events import (
    BOT,
    ERASED,
    GUEST,
    MESSAGE,
    PERSON,
    PINNED,
    REACTED,
    UNPINNED,
    UNREACTED,
    AccountKind,
)
from chatserver.wire.hygiene.text import user_name
from chatserver.wire.jsonl.exported import EntryRead, Head, WrongLine, moment
from chatserver.wire.sentences import english

STEP: Final = 500
"""Number of entries in one transaction: some hundredths of a second."""

PAUSE_SECONDS: Final = 0.01
"""Interval between two steps, for others: on SQLite a second process looks for its turn, at first every few
milliseconds."""

Authors = Literal["create", "refuse"]
"""For names that no account has: create accounts that nobody can use, or refuse the import."""


class NoAccount(WrongLine):
    """An account is needed and neither exists nor can be created."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class NameTaken(Exception):
    """There is a room with this name."""


def open_log(db: Connection, name: str, head: Head, at: datetime) -> int:
    """Creates the room, which nobody sees yet. Returns its id. Raises NameTaken."""
    kept = (RoomRow.name == name, RoomRow.deleted_at.is_(None))
    if db.execute(select(RoomRow.id).where(*kept)).first() is not None:
        raise NameTaken
    room = head.room
    kind = "private" if room.kind == "direct" else room.kind
    values = {
        "name": name, "kind": kind, "topic": room.topic, "created_at": moment(room.created), "deleted_at": at,
        "first_seq": room.first, "last_seq": room.first - 1, "past_open": room.past == "open", "invites": room.invites,
        "pace_seconds": room.pace, "keep_days": room.keep_days, "keep_entries": room.keep_entries,
    }  # fmt: skip
    id: int | None = db.scalar(insert(RoomRow).values(values).returning(RoomRow.id))
    assert id is not None
    return id


def add(db: Connection, room_id: int, found: Sequence[EntryRead], ids: Mapping[str, int]) -> None:
    """Adds entries behind the last one. `ids` has the account of each name. The id of a message is left out where the
    account has another message with it."""
    rows = [
        {
            "room_id": room_id, "seq": one.seq, "kind": one.kind, "author_id": ids.get(one.author), "text": one.text,
            "target_seq": one.of, "target_id": ids.get(one.target), "state": one.state, "client_id": one.client_id,
            "at": one.at,
        }
        for one in found
    ]  # fmt: skip
    taken = _taken_ids(db, {(row["author_id"], row["client_id"]) for row in rows if row["client_id"] is not None})
    for row in rows:
        if row["client_id"] is not None:
            mine = (row["author_id"], row["client_id"])
            if mine in taken:
                row["client_id"] = None
            taken.add(mine)
    db.execute(insert(EntryRow), rows)
    _add_sums(db, room_id, found)
    last = {"last_seq": rows[-1]["seq"], "last_at": rows[-1]["at"]}
    db.execute(update(RoomRow).where(RoomRow.id == room_id).values(last))


def _add_sums(db: Connection, room_id: int, found: Sequence[EntryRead]) -> None:
    """Adds the columns of messages that follow from later entries: reactions, and whether they are pinned."""
    about = {one.seq: one for one in found if one.of is not None}
    reactions.recount(db, room_id, {one.of for one in about.values() if one.of and one.kind in (REACTED, UNREACTED)})
    pinned = {one.of: one.kind == PINNED or None for one in about.values() if one.of and one.kind in (PINNED, UNPINNED)}
    for seq, value in pinned.items():
        message = (EntryRow.room_id == room_id, EntryRow.seq == seq, EntryRow.kind == MESSAGE)
        kept = update(EntryRow).where(*message, EntryRow.state.is_distinct_from(ERASED))
        db.execute(kept.values(pinned=value))


def _taken_ids(db: Connection, wanted: Collection[tuple[object, object]]) -> set[tuple[object, object]]:
    """Those of these pairs of an account and an id that messages have already."""
    pair = tuple_(EntryRow.author_id, EntryRow.client_id)
    rows = db.execute(select(EntryRow.author_id, EntryRow.client_id).where(pair.in_(list(wanted))))
    return {(row[0], row[1]) for row in rows}


def appear(
    db: Connection, room_id: int, head: Head, ids: Mapping[str, int], at: datetime, *, with_members: bool
) -> None:
    """The last step: the room has its members, and everybody who may see it does. Raises NameTaken."""
    room = head.room
    inside = {ids[one.name]: one for one in head.members if ids.get(one.name)} if with_members else {}
    if inside:
        db.execute(insert(MembershipRow), [
            {"room_id": room_id, "account_id": account_id, "role": one.role, "joined_seq": one.joined,
             "read_seq": one.read}
            for account_id, one in inside.items()
        ])  # fmt: skip
    empty = moment(room.deactivated) if room.deactivated else at if room.created_by and not inside else None
    values = {"deleted_at": None, "deactivated_at": empty, "created_by": ids.get(room.created_by or "")}
    try:
        with db.begin_nested():
            db.execute(update(RoomRow).where(RoomRow.id == room_id).values(values))
    except IntegrityError:
        raise NameTaken from None
    mentions.leave_unscanned(db, room_id)
    change_rows.grown(db, [room_id], at)


def undo(db: Connection, room_id: int, created: Collection[int]) -> bool:
    """One step of removing what was imported. Returns whether there is more."""
    first = select(EntryRow.seq).where(EntryRow.room_id == room_id).order_by(EntryRow.seq.desc()).limit(STEP)
    low = min(db.scalars(first), default=None)
    if low is not None:
        db.execute(delete(EntryRow).where(EntryRow.room_id == room_id, EntryRow.seq >= low))
        db.execute(update(RoomRow).where(RoomRow.id == room_id).values(last_seq=low - 1))
        return True
    db.execute(delete(MembershipRow).where(MembershipRow.room_id == room_id))
    for table in (MentionRow, UnscannedRow):
        db.execute(delete(table).where(table.room_id == room_id))
    db.execute(delete(EntryRow).where(EntryRow.room_id == -room_id))  # see `store.retention`; SQLite reuses room ids
    db.execute(delete(RoomRow).where(RoomRow.id == room_id))
    db.execute(delete(AccountRow).where(AccountRow.id.in_(created)))
    return False


def accounts_of(
    db: Connection, names: Collection[str], at: datetime, authors: Authors, bots: Collection[str] = ()
) -> dict[str, tuple[int, bool]]:
    """For each name an account, and whether it was created here: those of `bots` as bots without an owner. Raises
    NoAccount."""
    return {name: _account(db, name, at, authors, BOT if name in bots else PERSON) for name in names if name}


def _account(db: Connection, name: str, at: datetime, authors: Authors, kind: AccountKind) -> tuple[int, bool]:
    lower = name.lower()
    guest, erased = lower.startswith("~"), lower.startswith(ERASED_NAME)
    found = accounts.find_shown(db, name) if erased else accounts.find(db, name)
    if found is not None and (found.erased or not erased):
        return found.id, False
    former = None if erased else names.last_holder(db, name)
    if former is not None:  # who wrote this has another name by now
        return former.id, False
    if authors == "refuse":
        raise NoAccount(name, f"there is no user {name}")
    if guest:
        one = accounts.create_guest(db, at)
        db.execute(update(AccountRow).where(AccountRow.id == one.id).values(disabled_at=at))
        return one.id, True
    if erased:
        return _create_erased(db, at), True
    try:
        id = accounts.create(db, user_name(name), "", at, kind, alike=True)
    except Refused as refused:
        raise NoAccount(name, f"the name {name} cannot be used: {english(refused.sentence)}") from None
    db.execute(update(AccountRow).where(AccountRow.id == id).values(disabled_at=at, last_seen_at=None))
    return id, True


def _create_erased(db: Connection, at: datetime) -> int:
    """An account that looks like one that was erased."""
    key = f"~{token_hex(16)}"
    values = {"name": key, "name_key": key, "kind": "person", "created_at": at, "erased_at": at}
    id: int | None = db.scalar(insert(AccountRow).values(values).returning(AccountRow.id))
    assert id is not None
    db.execute(update(AccountRow).where(AccountRow.id == id).values(name=f"{ERASED_NAME}{id}"))
    return id


def extras(db: Connection, room_id: int) -> dict[str, object]:
    """The fields of an export's first line that `directory.RoomInfo` does not have, without those that are null."""
    row = db.execute(
        select(
            AccountRow.name.label("created_by"), RoomRow.past_open, RoomRow.invites, RoomRow.pace_seconds,
            RoomRow.keep_days, RoomRow.keep_entries,
        ).outerjoin(AccountRow, AccountRow.id == RoomRow.created_by).where(RoomRow.id == room_id)
    ).one()  # fmt: skip
    said = {
        "created_by": row.created_by,
        "past": "open" if row.past_open else "closed",
        "invites": row.invites,
        "pace": row.pace_seconds,
        "keep_days": row.keep_days,
        "keep_entries": row.keep_entries,
    }
    return {name: value for name, value in said.items() if value is not None}


def inside(db: Connection, room_id: int) -> list[dict[str, object]]:
    """Everybody who is in a room, but guests, who are not carried over."""
    query = (
        select(AccountRow.name, MembershipRow.role, MembershipRow.joined_seq, MembershipRow.read_seq, AccountRow.kind)
        .join(AccountRow, AccountRow.id == MembershipRow.account_id)
        .where(MembershipRow.room_id == room_id, MembershipRow.left_seq.is_(None), AccountRow.kind != GUEST)
        .order_by(MembershipRow.joined_seq, AccountRow.name)
    )
    return [
        {"name": row[0], "role": row[1], "joined": row[2], "read": row[3]} | ({"bot": True} if row[4] == BOT else {})
        for row in db.execute(query)
    ]
