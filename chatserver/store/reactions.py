"""Reactions to messages: those of each account follow from the log, and the sum is kept with the message.

The entries `reacted` and `unreacted` about a message record each reaction and its author. They are removed after it
(`store.retention`), and texts that were erased do not count.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, case, func, select, update

from chatserver.store.db.schema import EntryRow
from chatserver.store.entries import append_event
from chatserver.store.visibility import RoomAccess
from chatserver.values.errors import Refused, Why
from chatserver.values.events import ERASED, MESSAGE, REACTED, UNREACTED, Entry, Person

MOST_KINDS: Final = 20
"""Maximum number of different reactions to a message."""

MOST_GIVEN: Final = 10
"""Maximum number of reactions of an account to a message."""

MOST_TIMES: Final = 40
"""Maximum number of reactions of an account to a message, those taken back included: each is an entry."""

_KINDS: Final = (REACTED, UNREACTED)


class Given(Struct, frozen=True):
    """The reactions that an account gives to a message now, and how often it has reacted to it."""

    now: tuple[str, ...]
    times: int


def given(db: Connection, who: Person, room_id: int, seq: int) -> Given:
    about = (EntryRow.room_id == room_id, EntryRow.target_seq == seq, EntryRow.author_id == who.id)
    rows = db.execute(
        select(EntryRow.kind, EntryRow.text).where(*about, EntryRow.kind.in_(_KINDS)).order_by(EntryRow.seq)
    )
    now: dict[str, None] = {}
    times = 0
    for kind, reaction in rows:
        if kind == REACTED:
            now[reaction] = None
            times += 1
        else:
            now.pop(reaction, None)
    return Given(tuple(now), times)


def add(db: Connection, who: Person, access: RoomAccess, message: Entry, reaction: str, at: datetime) -> Entry | None:
    """Adds a reaction to a message; None if the account gives it already. The room must be locked. Raises
    Refused(not-allowed) where there are too many."""
    room_id, seq = access.facts.id, message.seq
    mine = given(db, who, room_id, seq)
    if reaction in mine.now:
        return None
    counts = dict(message.reactions)
    if reaction not in counts and len(counts) >= MOST_KINDS:
        raise Refused(Why.TOO_MANY_KINDS_OF_REACTIONS, seq=seq, most=MOST_KINDS)
    if len(mine.now) >= MOST_GIVEN:
        raise Refused(Why.TOO_MANY_REACTIONS_GIVEN, most=MOST_GIVEN, seq=seq)
    if mine.times >= MOST_TIMES:
        raise Refused(Why.REACTED_TOO_OFTEN, seq=seq, most=MOST_TIMES)
    counts[reaction] = counts.get(reaction, 0) + 1
    _keep(db, room_id, seq, counts)
    return append_event(db, room_id, REACTED, who, at, reaction, of=seq)


def take_back(
    db: Connection, who: Person, access: RoomAccess, message: Entry, reaction: str, at: datetime
) -> Entry | None:
    """Takes a reaction back; None if the account does not give it. The room must be locked."""
    room_id, seq = access.facts.id, message.seq
    if reaction not in given(db, who, room_id, seq).now:
        return None
    counts = dict(message.reactions)
    counts[reaction] = counts.get(reaction, 1) - 1
    _keep(db, room_id, seq, counts)
    return append_event(db, room_id, UNREACTED, who, at, reaction, of=seq)


def _keep(db: Connection, room_id: int, seq: int, counts: dict[str, int]) -> None:
    sums = {reaction: count for reaction, count in counts.items() if count > 0}
    known = msgspec.json.encode(sums).decode() if sums else None
    # The message may be erased at this moment: an erasure of an account locks no rooms.
    message = (EntryRow.room_id == room_id, EntryRow.seq == seq, EntryRow.kind == MESSAGE)
    kept = update(EntryRow).where(*message, EntryRow.state.is_distinct_from(ERASED)).values(reactions=known)
    db.execute(kept)


TIMES: Final = func.sum(case((EntryRow.kind == REACTED, 1), else_=-1))
"""Number of times a reaction is given, in a query over entries grouped by reaction: see `counted`."""


def counted() -> Any:
    """The query for all reactions that are given, from the log: room, message, reaction, how often; in the order of
    the messages, and for each in the order in which they were first given."""
    return (
        select(EntryRow.room_id, EntryRow.target_seq, EntryRow.text, TIMES)
        .where(EntryRow.kind.in_(_KINDS), EntryRow.text != "")
        .group_by(EntryRow.room_id, EntryRow.target_seq, EntryRow.text)
        .having(TIMES > 0)
        .order_by(EntryRow.room_id, EntryRow.target_seq, func.min(EntryRow.seq))
    )


def recount(db: Connection, room_id: int, seqs: Collection[int]) -> None:
    """Sets the sums of these messages to what the log has. The room must be locked, or not be there for others."""
    if not seqs:
        return
    sums: dict[int, dict[str, int]] = {seq: {} for seq in sorted(seqs)}
    about = counted().where(EntryRow.room_id == room_id, EntryRow.target_seq.in_(sums))
    for _, seq, reaction, times in db.execute(about):
        sums[seq][reaction] = times
    for seq, counts in sums.items():
        _keep(db, room_id, seq, counts)
