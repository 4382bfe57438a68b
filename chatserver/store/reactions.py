"""Reactions to messages: those of each account follow from the log, and the sum is kept with the message.

The entries `reacted` and `unreacted` about a message record each reaction and its author. They are removed after it
(`store.retention`), and texts that were erased do not count.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct, structs
from sqlalchemy import Connection, and_, case, func, select, tuple_, update

from chatserver.store.db.schema import AccountRow, EntryRow
from chatserver.store.entries import append_event
from chatserver.store.visibility import RoomAccess
from chatserver.values.errors import Refused, Why
from chatserver.values.events import ERASED, MESSAGE, REACTED, REACTING, UNREACTED, Entry, Person, RoomFacts

MOST_KINDS: Final = 20
"""Maximum number of different reactions to a message."""

MOST_GIVEN: Final = 10
"""Maximum number of reactions of an account to a message."""

MOST_TIMES: Final = 40
"""Maximum number of reactions of an account to a message, those taken back included: each is an entry."""


TIMES: Final = func.sum(case((EntryRow.kind == REACTED, 1), else_=-1))
"""Number of times a reaction is given, in a query over entries grouped by reaction: see `counted`."""


class Given(Struct, frozen=True):
    """The reactions that an account gives to a message now, and how often it has reacted to it."""

    now: tuple[str, ...]
    times: int


def given(db: Connection, who: Person, room_id: int, seq: int) -> Given:
    about = (EntryRow.room_id == room_id, EntryRow.target_seq == seq, EntryRow.author_id == who.id)
    rows = db.execute(
        select(EntryRow.kind, EntryRow.text).where(*about, EntryRow.kind.in_(REACTING)).order_by(EntryRow.seq)
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


Place = tuple[int, int]
"""The room and the seq of a message."""


Givings = dict[int, dict[int, tuple[str, ...]]]
"""By account and by message of a room, the reactions that the account gives."""


def with_own(db: Connection, who: Person, found: Sequence[tuple[RoomFacts, Entry]]) -> list[tuple[RoomFacts, Entry]]:
    """Entries with their rooms, in which messages name the reactions that this person gives. No statement if none has
    reactions."""
    places = {(facts.id, entry.seq) for facts, entry in found if _has_reactions(entry)}
    mine = _given_to(db, [who.id], places).get(who.id, {})
    return [(facts, _with_mine(entry, mine.get((facts.id, entry.seq)))) for facts, entry in found]


def given_on(db: Connection, account_ids: Collection[int], room_id: int, page: Sequence[Entry]) -> Givings:
    """By account and by message, the reactions that these accounts give to messages of this page."""
    places = {(room_id, entry.seq) for entry in page if _has_reactions(entry)}
    given = _given_to(db, account_ids, places)
    return {one: {seq: tuple(said) for (_, seq), said in theirs.items()} for one, theirs in given.items()}


def own_of(page: Sequence[Entry], mine: Mapping[int, tuple[str, ...]]) -> list[Entry]:
    """The page for the account that gives these reactions."""
    return [_with_mine(entry, mine.get(entry.seq)) for entry in page]


def _has_reactions(entry: Entry) -> bool:
    return bool(entry.reactions) and entry.kind == MESSAGE


def _with_mine(entry: Entry, mine: Collection[str] | None) -> Entry:
    """What was given since the message was read is not among its reactions, and an entry that is still to come."""
    if not mine or entry.kind != MESSAGE:
        return entry
    return structs.replace(entry, mine=tuple(said for said, _ in entry.reactions if said in mine))


def _given_to(
    db: Connection, account_ids: Collection[int], places: Collection[Place]
) -> dict[int, dict[Place, dict[str, None]]]:
    """By account and by message, the reactions that these accounts give now."""
    found: dict[int, dict[Place, dict[str, None]]] = {}
    if not places or not account_ids:
        return found
    rooms = {room_id for room_id, _ in places}
    if len(rooms) == 1:
        there = and_(EntryRow.room_id == rooms.pop(), EntryRow.target_seq.in_(sorted(seq for _, seq in places)))
    else:
        there = tuple_(EntryRow.room_id, EntryRow.target_seq).in_(sorted(places))
    query = select(EntryRow.room_id, EntryRow.target_seq, EntryRow.author_id, EntryRow.kind, EntryRow.text)
    theirs = (EntryRow.kind.in_(REACTING), EntryRow.author_id.in_(sorted(account_ids)), EntryRow.text != "")
    for room_id, seq, account_id, kind, reaction in db.execute(query.where(there, *theirs).order_by(EntryRow.seq)):
        assert account_id is not None
        assert seq is not None
        now = found.setdefault(account_id, {}).setdefault((room_id, seq), {})
        if kind == REACTED:
            now[reaction] = None
        else:
            now.pop(reaction, None)
    return found


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
    now = ((reaction, counts[reaction]),)
    return append_event(db, room_id, REACTED, who, at, reaction, of=seq, reactions=now)


def take_back(
    db: Connection, who: Person, access: RoomAccess, message: Entry, reaction: str, at: datetime
) -> Entry | None:
    """Takes a reaction back; None if the account does not give it. The room must be locked."""
    room_id, seq = access.facts.id, message.seq
    if reaction not in given(db, who, room_id, seq).now:
        return None
    counts = dict(message.reactions)
    counts[reaction] = max(counts.get(reaction, 1) - 1, 0)
    _keep(db, room_id, seq, counts)
    now = ((reaction, counts[reaction]),)
    return append_event(db, room_id, UNREACTED, who, at, reaction, of=seq, reactions=now)


class Givers(Struct, frozen=True):
    """Those who give a reaction to a message: how many there are, and the ids and names of some. `more`: there are
    others behind these."""

    reaction: str
    count: int
    people: list[tuple[int, str]]
    more: bool


def givers(
    db: Connection, room_id: int, message: Entry, limit: int, reaction: str | None = None, after: str = ""
) -> list[Givers]:
    """For each reaction to a message, or for one of them, up to `limit` of those who give it, by name; with `after`
    those behind this name."""
    name = AccountRow.name_key if db.dialect.name == "sqlite" else AccountRow.name_key.collate("C")
    about = (EntryRow.room_id == room_id, EntryRow.target_seq == message.seq, EntryRow.kind.in_(REACTING))
    now = (
        select(EntryRow.text.label("said"), EntryRow.author_id.label("giver_id"))
        .where(*about, EntryRow.text != "" if reaction is None else EntryRow.text == reaction)
        .group_by(EntryRow.text, EntryRow.author_id)
        .having(TIMES > 0)
        .subquery()
    )
    sums = db.execute(select(now.c.said, func.count()).group_by(now.c.said))
    counts = {row[0]: row[1] for row in sums}
    place = func.row_number().over(partition_by=now.c.said, order_by=name).label("place")
    ranked = select(now.c.said, now.c.giver_id, AccountRow.name, place)
    page = ranked.join(AccountRow, AccountRow.id == now.c.giver_id).where(name > after.lower()).subquery()
    found: dict[str, list[tuple[int, str]]] = {}
    for said, giver_id, called in db.execute(
        select(page.c.said, page.c.giver_id, page.c.name).where(page.c.place <= limit + 1).order_by(page.c.place)
    ):
        found.setdefault(said, []).append((giver_id, called))
    known = [said for said, _ in message.reactions]
    return [
        Givers(said, counts[said], found.get(said, [])[:limit], len(found.get(said, [])) > limit)
        for said in sorted(counts, key=lambda said: known.index(said) if said in known else len(known))
    ]


def _keep(db: Connection, room_id: int, seq: int, counts: dict[str, int]) -> None:
    sums = {reaction: count for reaction, count in counts.items() if count > 0}
    known = msgspec.json.encode(sums).decode() if sums else None
    # The message may be erased at this moment: an erasure of an account locks no rooms.
    message = (EntryRow.room_id == room_id, EntryRow.seq == seq, EntryRow.kind == MESSAGE)
    kept = update(EntryRow).where(*message, EntryRow.state.is_distinct_from(ERASED)).values(reactions=known)
    db.execute(kept)


def counted() -> Any:
    """The query for all reactions that are given, from the log: room, message, reaction, how often; in the order of
    the messages, and for each in the order in which they were first given."""
    return (
        select(EntryRow.room_id, EntryRow.target_seq, EntryRow.text, TIMES)
        .where(EntryRow.kind.in_(REACTING), EntryRow.text != "")
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
