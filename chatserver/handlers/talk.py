"""What is said in rooms, and reading it."""

from chatserver import commands as c
from chatserver.errors import ErrorWord, Refused, blocked, muted, not_a_member
from chatserver.events import (
    DIRECT,
    MESSAGE,
    PRIVATE,
    Changed,
    Entry,
    Found,
    Log,
    Marked,
    Person,
    ReadMark,
    RoomFacts,
    RoomStatus,
    Said,
    UnreadList,
)  # fmt: skip
from chatserver.handlers.outcome import Ask, Outcome, Tell
from chatserver.handlers.rights import require
from chatserver.store import Connection, messages, rooms
from chatserver.store import search as finding
from chatserver.store.messages import Draft, Verdict
from chatserver.store.places import Place, find_room, standings

MOST_ENTRIES = 500


def say(db: Connection, ask: Ask, command: c.Say) -> Outcome:
    """A message to a room that the session does not hear: the first one to somebody, a retry, or a mistake."""
    stored = messages.find_said(db, ask.who.id, command.id) if command.id else None
    try:
        facts = _place_to_say(db, ask, command.room)
    except Refused:
        # A retry gets its first answer, even if one may not say anything there any more.
        if stored is None or messages.room_name(db, stored[0]) != command.room:
            raise
        facts = RoomFacts(stored[0], command.room)
    draft = Draft(facts.id, ask.who.id, command.text, command.id)
    verdict = messages.append(db, [draft], ask.at)[0]
    answer = said(facts.label(ask.who.id), verdict)
    return Outcome(answer, facts, [] if answer.dup else [as_entry(draft, ask.who, verdict)])


def _place_to_say(db: Connection, ask: Ask, name: str) -> RoomFacts:
    place = find_room(db, ask.who, name, ask.at)
    return rooms.open_direct(db, ask.who, place, ask.at) if place.facts.kind == DIRECT else place.facts


def id_conflict(label: str) -> Refused:
    return Refused(ErrorWord.ID_CONFLICT, "This id was used for another message. Choose a new one for each message.")


REFUSALS = {"id-conflict": id_conflict, "not-a-member": not_a_member, "muted": muted, "blocked": blocked}
"""By the outcome of a verdict, what to say of the room."""


def said(label: str, verdict: Verdict) -> Said:
    """The answer to a `say`. Raises Refused where the message was not stored."""
    if verdict.outcome in ("kept", "dup"):
        return Said(label, verdict.seq, verdict.at, verdict.outcome == "dup")
    raise REFUSALS[verdict.outcome](label)


def as_entry(draft: Draft, who: Person, verdict: Verdict) -> Entry:
    return Entry(verdict.seq, MESSAGE, who.id, who.name, verdict.at, draft.text, draft.client_id)


def edit(db: Connection, ask: Ask, command: c.Edit) -> Outcome:
    place = _place_to_change(db, ask, command.room, "edit")
    author_id, _ = messages.find_message(db, place, command.seq)
    if author_id != ask.who.id:
        raise Refused(ErrorWord.NOT_ALLOWED, "You can edit your own messages only.")
    entry = messages.edit(db, ask.who, place, command.seq, command.text, ask.at)
    return Outcome(Changed(place.facts.label(ask.who.id), entry.seq, "It is changed."), place.facts, [entry])


def erase(db: Connection, ask: Ask, command: c.Erase) -> Outcome:
    place = find_room(db, ask.who, command.room, ask.at, lock=True)
    author_id, _ = messages.find_message(db, place, command.seq)
    own = author_id == ask.who.id
    if not own:
        place.forbid_direct("has no moderators: one erases one's own messages")
    require(ask.who, place, "erase" if own else "erase of others")
    entry = messages.erase(db, ask.who, place, command.seq, ask.at)
    return Outcome(Changed(place.facts.label(ask.who.id), entry.seq, "It is erased."), place.facts, [entry])


def _place_to_change(db: Connection, ask: Ask, name: str, act: str) -> Place:
    """A room in which somebody has a voice, locked."""
    place = find_room(db, ask.who, name, ask.at, lock=True)
    require(ask.who, place, act)
    if place.muted:
        raise muted(name)
    if place.blocked:
        raise blocked(name)
    return place


def _place_to_read(db: Connection, ask: Ask, name: str) -> Place:
    place = find_room(db, ask.who, name, ask.at)
    if place.facts.kind == PRIVATE:
        place.require_member(ask.who)  # an operator keeps order, but is no listener
    return place


def history(db: Connection, ask: Ask, command: c.History) -> Outcome:
    if command.before is not None and command.after is not None:
        raise Refused(ErrorWord.BAD_COMMAND, "The fields before and after exclude each other: send one of them.")
    place = _place_to_read(db, ask, command.room)
    limit = min(command.limit, MOST_ENTRIES)
    if command.after is not None:
        entries, more = messages.after(db, place.facts.id, max(command.after, place.floor - 1), limit)
    else:
        entries, more = messages.before(db, place.facts.id, command.before, place.floor, limit)
    return Outcome(Log(place.facts, entries, more))


def search(db: Connection, ask: Ask, command: c.Search) -> Outcome:
    wanted = finding.words(command.text)
    if not wanted:
        raise Refused(ErrorWord.EMPTY, "There is no word in that to search for.")
    place = None if command.room is None else _place_to_read(db, ask, command.room)
    if place is not None and not place.facts.id:
        return Outcome(Found([], False))
    found, before = finding.search(db, ask.who, place, wanted, command.before, min(command.limit, MOST_ENTRIES), ask.at)
    return Outcome(Found(found, before is not None, before))


def read(db: Connection, ask: Ask, command: c.Read) -> Outcome:
    place = find_room(db, ask.who, command.room, ask.at)
    require(ask.who, place, "read")
    label, seq = place.facts.label(ask.who.id), rooms.mark_read(db, ask.who, place, command.seq)
    return Outcome(Marked(label, seq), effects=[Tell(ask.who.id, ReadMark(label, seq))])


def unread(db: Connection, ask: Ask, command: c.Unread) -> Outcome:
    lines = []
    for s in standings(db, ask.who):
        read = max(s.read, ask.shown.get(s.facts.id, 0))
        lines.append(status(s.facts, ask.who, max(s.seq, read), read, s.role))
    return Outcome(UnreadList(lines))


def status(facts: RoomFacts, who: Person, seq: int, read: int, role: str) -> RoomStatus:
    """One's own line on a room; in a direct one nobody has a role."""
    return RoomStatus(facts.label(who.id), seq, read, None if facts.kind == DIRECT else role)
