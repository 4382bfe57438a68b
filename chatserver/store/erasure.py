"""Erasing accounts: identifying data leaves the database, and on request also messages.

The account is unusable after the first transaction. What is left then is done in steps, each a short transaction, so
that nobody waits for an account with many messages. A step that never came is done by the next server, or when the
command is given again.

Where nodes work together, the account is first disabled (`begin`), and then erased once all of them have noticed, so
that what its sessions had sent is stored before that (see `changes.behind`). If the process that began it has died, the
next server that looks for unfinished erasures goes on (`claim`).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, delete, or_, select, text, tuple_, update

from chatserver.store import accounts, change_rows, ignoring, mentions, names, reactions, rooms
from chatserver.store.accounts import ERASED_NAME
from chatserver.store.db import database_clock
from chatserver.store.db.schema import (
    AccountRow,
    BanRow,
    BlockRow,
    CertificateRow,
    EntryRow,
    ErasureRow,
    InvitationRow,
    MembershipRow,
    PreferenceRow,
    RoomRow,
    SessionRow,
    TokenRow,
)
from chatserver.store.messages import ERASED_VALUES
from chatserver.values.events import (
    BANNED,
    BOT,
    CREATED,
    DIRECT,
    EDITED,
    ERASED,
    KICKED,
    MESSAGE,
    PERSON,
    REACTED,
    RENAMED,
    TOPIC,
    UNREACTED,
    EntryKind,
    Person,
)

STEP_ROOMS: Final = 10
STEP_SESSIONS: Final = 1000
STEP_TEXTS: Final = 100
"""Maximum number of texts in one transaction: some hundredths of a second."""

PAUSE_SECONDS: Final = 0.05
"""Interval between two steps, for others: on SQLite a second process looks for its turn, at first every few
milliseconds."""

PAGE: Final = 10_000
"""Number of entries looked up at a time."""

ABANDONED: Final = timedelta(seconds=30)
"""A process that has done no step for this long has died."""

Place = tuple[int, int]
"""The room and the seq of an entry."""


_PENDING: Final = text(
    "INSERT INTO erasure (account_id, messages) VALUES (:account_id, :messages) "
    "ON CONFLICT (account_id) DO UPDATE SET messages = excluded.messages"
)


def begin(db: Connection, who: Person, at: datetime, origin: str = "", *, messages: bool, detail: str = "") -> int:
    """Disables an account that is about to be erased, and its bots. Returns the id of the change by which other servers
    learn of it. `origin`, `detail`: see `schema.ChangeRow`.

    Until `claim` gives it to others, the caller alone goes on with it.
    """
    able = (AccountRow.id == who.id, AccountRow.disabled_at.is_(None))
    db.execute(update(AccountRow).where(*able).values(disabled_at=at))
    db.execute(_PENDING, {"account_id": who.id, "messages": messages})
    db.execute(update(ErasureRow).where(ErasureRow.account_id == who.id).values(taken_at=database_clock.now(db)))
    accounts.disable_bots(db, who.id, at)
    return change_rows.note(db, "account", who.id, at, detail=detail or None, origin=origin)


def erase(db: Connection, who: Person, at: datetime, *, messages: bool) -> None:
    """Makes an account unusable, removes identifying data, and begins to remove the rest: memberships, addresses,
    former names and, with `messages`, the texts of messages. What takes more than a step stays `pending`.

    The name stays reserved. Notifies running servers.
    """
    for table, mine in (
        (InvitationRow, (InvitationRow.account_id == who.id) | (InvitationRow.invited_by == who.id)),
        (BlockRow, (BlockRow.account_id == who.id) | (BlockRow.blocked_id == who.id)),
        (TokenRow, TokenRow.account_id == who.id),
        (CertificateRow, CertificateRow.account_id == who.id),
        (PreferenceRow, PreferenceRow.account_id == who.id),
        (BanRow, BanRow.account_id == who.id),
    ):
        db.execute(delete(table).where(mine))
    if messages:
        db.execute(update(BanRow).where(BanRow.by == who.id).values(reason=""))
    # Nobody can write to the account in a direct room any more.
    direct = (
        select(MembershipRow.room_id)
        .join(RoomRow, RoomRow.id == MembershipRow.room_id)
        .where(MembershipRow.account_id == who.id, RoomRow.kind == DIRECT)
    )
    others = (MembershipRow.room_id.in_(direct), MembershipRow.account_id != who.id)
    db.execute(update(MembershipRow).where(*others).values(blocked=True))
    db.execute(update(MembershipRow).where(MembershipRow.account_id == who.id).values(notify=None))
    erased = {
        "name": f"{ERASED_NAME}{who.id}",
        "password_hash": None,
        "kind": BOT if who.kind == BOT else PERSON,  # messages of a bot remain a bot's
        "erased_at": at,
        "last_seen_at": None,
        "owner_id": None,
    }
    db.execute(update(AccountRow).where(AccountRow.id == who.id).values(**erased))
    names.forget(db, who.id)
    ignoring.forget(db, who.id)
    change_rows.note(db, "account", who.id, at)
    accounts.disable_bots(db, who.id, at)
    db.execute(_PENDING, {"account_id": who.id, "messages": messages})
    step(db, who.id, places(db, who.id, STEP_TEXTS) or [], at)
    db.execute(update(ErasureRow).where(ErasureRow.account_id == who.id).values(taken_at=None))


def pending(db: Connection) -> list[int]:
    """The accounts whose erasure is not finished and that nobody works on."""
    return list(db.scalars(select(ErasureRow.account_id).where(_is_idle(db)).order_by(ErasureRow.account_id)))


def claim(db: Connection, account_id: int) -> bool:
    """Whether nobody else works on this erasure; then nobody will before ABANDONED. If it was only begun, the
    account is erased first."""
    mine = ErasureRow.account_id == account_id
    take = update(ErasureRow).values(taken_at=database_clock.now(db)).returning(ErasureRow.messages)
    taken = db.execute(take.where(mine, _is_idle(db))).one_or_none()
    if taken is None:
        return False
    begun = (AccountRow.id == account_id, AccountRow.erased_at.is_(None))
    account = db.execute(select(AccountRow.name, AccountRow.kind).where(*begun)).one_or_none()
    if account is not None:
        erase(db, Person(account_id, account.name, account.kind), database_clock.now(db), messages=taken.messages)
        db.execute(take.where(mine))
    return True


def _is_idle(db: Connection) -> Any:
    return or_(ErasureRow.taken_at.is_(None), ErasureRow.taken_at < database_clock.now(db) - ABANDONED)


def places(db: Connection, account_id: int, limit: int = PAGE) -> list[Place] | None:
    """Entries whose texts are still to be erased, in order, though not all of them; None if the erasure is finished."""
    messages = db.scalar(select(ErasureRow.messages).where(ErasureRow.account_id == account_id))
    if messages is None:
        return None
    if not messages and not names.had_others(db, account_id):
        return []
    left = and_(
        EntryRow.kind.in_((*_SAID, RENAMED) if messages else (RENAMED,)), EntryRow.state.is_distinct_from(ERASED)
    )
    if messages:  # the ids of messages are theirs, too: of erased ones, and of those that retention has removed
        left = or_(left, EntryRow.client_id.is_not(None))
    theirs = select(EntryRow.room_id, EntryRow.seq).where(EntryRow.author_id == account_id, left)
    rows = db.execute(theirs.limit(limit))
    return sorted((room_id, seq) for room_id, seq in rows)


def steps(found: list[Place]) -> Iterator[list[Place]]:
    """The portions for `step`, in order: at least one, even if no text is left."""
    for first in range(0, max(len(found), 1), STEP_TEXTS):
        yield found[first : first + STEP_TEXTS]


def step(db: Connection, account_id: int, found: Sequence[Place], at: datetime) -> None:
    """Does a part of an erasure: these texts, or a part of the rest. Finishes it if nothing is left. Doing it twice
    changes nothing. Notifies running servers of the rooms that the account has left."""
    taken = update(ErasureRow).where(ErasureRow.account_id == account_id).values(taken_at=database_clock.now(db))
    if not db.execute(taken).rowcount:
        return
    if _leave_some(db, account_id, at):
        return  # rooms are locked, for as short a time as possible
    known = select(SessionRow.id).where(SessionRow.account_id == account_id, SessionRow.address != "")
    blank = update(SessionRow).where(SessionRow.id.in_(known.limit(STEP_SESSIONS))).values(address="")
    blanked = db.execute(blank).rowcount
    more = mentions.forget_some(db, account_id, STEP_SESSIONS)
    if found:
        _erase_texts(db, found)
    if not more and blanked < STEP_SESSIONS and len(found) < STEP_TEXTS and not places(db, account_id, 1):
        db.execute(delete(ErasureRow).where(ErasureRow.account_id == account_id))


def _leave_some(db: Connection, account_id: int, at: datetime) -> bool:
    """Leaves up to STEP_ROOMS rooms. Returns whether there were any."""
    left = rooms.leave_all(db, Person(account_id, f"{ERASED_NAME}{account_id}"), at, STEP_ROOMS)
    change_rows.grown(db, [facts.id for facts, _ in left], at)
    return bool(left)


def _erase_texts(db: Connection, found: Sequence[Place]) -> None:
    """Erases the texts at these places. Reactions among them are no longer counted."""
    here = tuple_(EntryRow.room_id, EntryRow.seq).in_(list(found))
    about = select(EntryRow.room_id, EntryRow.target_seq).where(here, EntryRow.kind.in_((REACTED, UNREACTED)))
    targets: dict[int, set[int]] = {}
    for room_id, seq in db.execute(about):
        if seq is not None:
            targets.setdefault(room_id, set()).add(seq)
    if targets:  # concurrent reactions must not keep an older sum
        db.execute(select(RoomRow.id).where(RoomRow.id.in_(targets)).order_by(RoomRow.id).with_for_update()).all()
    # A negative room: what retention keeps of a message.
    for change, spent in ((_ERASE, False), (_REMOVE, True)):
        if which := [{"in_room": room_id, "with_seq": seq} for room_id, seq in found if (room_id < 0) == spent]:
            db.execute(change, which)
    mentions.forget_places(db, found)
    for room_id, seqs in targets.items():
        reactions.recount(db, room_id, seqs)


_SAID: Final[tuple[EntryKind, ...]] = (MESSAGE, EDITED, REACTED, UNREACTED, CREATED, TOPIC, KICKED, BANNED)
"""The kinds of entries that have a text which their author wrote."""

_PLACE: Final = (EntryRow.room_id == bindparam("in_room"), EntryRow.seq == bindparam("with_seq"))
_ERASE: Final = update(EntryRow).where(*_PLACE).values({**ERASED_VALUES, "client_id": None})
_REMOVE: Final = delete(EntryRow).where(*_PLACE)
