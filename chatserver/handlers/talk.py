"""What is said in rooms, and reading it."""

from chatserver import commands as c
from chatserver.errors import ErrorWord, Refused, not_a_member
from chatserver.events import (
    DIRECT,
    MESSAGE,
    Entry,
    Log,
    Marked,
    Person,
    ReadMark,
    RoomFacts,
    RoomStatus,
    Said,
    UnreadList,
)
from chatserver.handlers.outcome import Ask, Outcome
from chatserver.store import Connection, messages, rooms
from chatserver.store.messages import Draft, Verdict

MOST_ENTRIES = 500


def say(db: Connection, ask: Ask, command: c.Say) -> Outcome:
    """A message to a room that the session does not hear: the first one to somebody, a retry, or a mistake."""
    place = rooms.find_room(db, ask.who, command.room)
    facts = place.facts
    if facts.kind == DIRECT:
        facts = rooms.open_direct(db, place, ask.at)
    draft = Draft(facts.id, ask.who.id, command.text, command.id)
    verdict = messages.append(db, [draft], ask.at)[0]
    answer = said(facts.label(ask.who.id), verdict)
    return Outcome(answer, facts, [] if answer.dup else [as_entry(draft, ask.who, verdict)])


def said(label: str, verdict: Verdict) -> Said:
    """The answer to a `say`. Raises Refused where the message was not stored."""
    if verdict.outcome in ("kept", "dup"):
        return Said(label, verdict.seq, verdict.at, verdict.outcome == "dup")
    if verdict.outcome == "id-conflict":
        raise Refused(ErrorWord.ID_CONFLICT, "This id was used for another message. Choose a new one for each message.")
    if verdict.outcome == "muted":
        raise Refused(ErrorWord.MUTED, f"You are muted in {label}. Others cannot hear you there for now.")
    raise not_a_member(label)


def as_entry(draft: Draft, who: Person, verdict: Verdict) -> Entry:
    return Entry(verdict.seq, MESSAGE, who.id, who.name, verdict.at, draft.text, draft.client_id)


def history(db: Connection, ask: Ask, command: c.History) -> Outcome:
    if command.before is not None and command.after is not None:
        raise Refused(ErrorWord.BAD_COMMAND, "The fields before and after exclude each other: send one of them.")
    place = rooms.find_room(db, ask.who, command.room)
    limit = min(command.limit, MOST_ENTRIES)
    if command.after is not None:
        entries, more = messages.after(db, place.facts.id, max(command.after, place.floor - 1), limit)
    else:
        entries, more = messages.before(db, place.facts.id, command.before, place.floor, limit)
    return Outcome(Log(place.facts, entries, more))


def read(db: Connection, ask: Ask, command: c.Read) -> Outcome:
    facts, seq = rooms.mark_read(db, ask.who, command.room, command.seq)
    label = facts.label(ask.who.id)
    return Outcome(Marked(label, seq), mark=ReadMark(label, seq))


def unread(db: Connection, ask: Ask, command: c.Unread) -> Outcome:
    lines = []
    for s in rooms.standings(db, ask.who):
        read = max(s.read, ask.shown.get(s.facts.id, 0))
        lines.append(status(s.facts, ask.who, max(s.seq, read), read, s.role))
    return Outcome(UnreadList(lines))


def status(facts: RoomFacts, who: Person, seq: int, read: int, role: str) -> RoomStatus:
    """One's own line on a room; in a direct one nobody has a role."""
    return RoomStatus(facts.label(who.id), seq, read, None if facts.kind == DIRECT else role)
