"""Messages: saying, changing, reading and searching them."""

from collections.abc import Callable

from chatserver import commands as c
from chatserver.answers import Changed, Found, Log, Marked, RoomStatus, Said, UnreadList
from chatserver.errors import ErrorWord, Refused, blocked, muted, not_a_member
from chatserver.events import DIRECT, ERASED, MESSAGE, Entry, Person, ReadMark, Role, RoomFacts
from chatserver.handlers.outcome import Announcement, Ask, Hears, Outcome, Tell, hears
from chatserver.handlers.rights import Act, require
from chatserver.store import Connection, entries, members, messages, rooms
from chatserver.store import search as searching
from chatserver.store.messages import Draft, Judgement, Verdict
from chatserver.store.visibility import RoomAccess, find_readable_room, find_room, memberships


def say(db: Connection, ask: Ask, command: c.Say) -> Outcome:
    """A message to a room that the session does not hear: the first one to a person, a retry, a mistake, or a message
    to a room whose `join` was committed without an answer.

    Messages to rooms that the session hears are stored in batches by the processor, with the same rules.
    """
    stored = messages.find_said(db, ask.who.id, command.id) if command.id else None
    access: RoomAccess | None = None
    try:
        access = find_room(db, ask.who, command.room)
        facts = access.facts
        if facts.kind == DIRECT and not facts.id:
            facts = rooms.open_direct(db, ask.who, access, ask.at)
    except Refused:
        # A retry gets its first answer, even if the asker may no longer write there.
        if stored is None or messages.room_name(db, stored[0]) != command.room:
            raise
        facts = RoomFacts(stored[0], command.room)
    draft = Draft(facts.id, ask.who.id, command.text, command.id)
    verdict = messages.append(db, [draft], ask.at)[0]
    answer = said(facts.label(ask.who.id), verdict)
    heard = None
    if access is not None and access.role is not None:
        # Also after a retry the sender receives the message like everybody else, if they may still read it.
        position = max(verdict.seq, access.floor) - 1
        heard = Hears(facts, position, max(access.seq, position))
    if answer.dup:
        return Outcome(answer, hears=heard)
    announced = Announcement(facts, [as_entry(draft, ask.who, verdict)])
    return Outcome(answer, hears=heard, announced=[announced], echo="elsewhere")


def id_conflict(label: str) -> Refused:
    return Refused(ErrorWord.ID_CONFLICT, "You used this id for another message. Use a new id for each message.")


REFUSALS: dict[Judgement, Callable[[str], Refused]] = {
    "id-conflict": id_conflict,
    "not-a-member": not_a_member,
    "muted": muted,
    "blocked": blocked,
}
"""For each outcome of a verdict, the function that makes the refusal from the room's name."""


def said(label: str, verdict: Verdict) -> Said:
    """The answer to a `say`. Raises Refused if the message was not stored."""
    if verdict.outcome in ("stored", "dup"):
        return Said(label, verdict.seq, verdict.at, verdict.outcome == "dup")
    raise REFUSALS[verdict.outcome](label)


def as_entry(draft: Draft, who: Person, verdict: Verdict) -> Entry:
    """The entry of a message that was stored."""
    return Entry(verdict.seq, MESSAGE, who.id, who.name, verdict.at, draft.text, draft.client_id)


def edit(db: Connection, ask: Ask, command: c.Edit) -> Outcome:
    access = _room_to_change(db, ask, command.room, "edit")
    message = _find_message(db, access, command.seq)
    if message.state == ERASED:
        raise _no_message(command.seq)
    if message.author_id != ask.who.id:
        raise Refused(ErrorWord.NOT_ALLOWED, "You can edit only your own messages.")
    if message.text == command.text:
        return _unchanged(ask, access, "This is the text of the message already.")
    entry = messages.edit(db, ask.who, access, command.seq, command.text, ask.at)
    return _changed(ask, access, entry, "You edited the message.")


def erase(db: Connection, ask: Ask, command: c.Erase) -> Outcome:
    access = find_room(db, ask.who, command.room, lock=True)
    message = _find_message(db, access, command.seq)
    own = message.author_id == ask.who.id
    if not own:
        access.forbid_direct("has no moderators: you can erase only your own messages")
    require(ask.who, access, "erase" if own else "erase of others")
    if message.state == ERASED:
        return _unchanged(ask, access, "The message is erased already.")
    entry = messages.erase(db, ask.who, access, command.seq, ask.at)
    return _changed(ask, access, entry, "You erased the message.")


def _find_message(db: Connection, access: RoomAccess, seq: int) -> Entry:
    """A message that the asker may read, or could before it was erased. Raises Refused if there is none."""
    found = entries.before(db, access.facts.id, seq + 1, seq, 1)[0] if access.may_read(seq) else []
    if not found or found[0].kind != MESSAGE:
        raise _no_message(seq)
    return found[0]


def _no_message(seq: int) -> Refused:
    return Refused(
        ErrorWord.BAD_COMMAND, f"There is no message with the seq {seq}. The command history shows the numbers."
    )


def _changed(ask: Ask, access: RoomAccess, entry: Entry, note: str) -> Outcome:
    answer = Changed(access.facts.label(ask.who.id), entry.seq, note)
    return Outcome(answer, hears=hears(access), announced=[Announcement(access.facts, [entry])])


def _unchanged(ask: Ask, access: RoomAccess, note: str) -> Outcome:
    return Outcome(Changed(access.facts.label(ask.who.id), None, note), hears=hears(access))


def _room_to_change(db: Connection, ask: Ask, name: str, act: Act) -> RoomAccess:
    """The room, locked. Raises Refused unless the asker may write there."""
    access = find_room(db, ask.who, name, lock=True)
    require(ask.who, access, act)
    if access.muted:
        raise muted(name)
    if access.blocked:
        raise blocked(name)
    return access


def history(db: Connection, ask: Ask, command: c.History) -> Outcome:
    if command.before is not None and command.after is not None:
        raise Refused(ErrorWord.BAD_COMMAND, "Give only one of the fields before and after.")
    access = find_readable_room(db, ask.who, command.room)
    limit = min(command.limit, c.PAGE_LIMIT)
    if command.after is not None:
        page, more = entries.after(db, access.facts.id, max(command.after, access.floor - 1), limit)
    else:
        page, more = entries.before(db, access.facts.id, command.before, access.floor, limit)
    return Outcome(Log(access.facts, page, more))


def search(db: Connection, ask: Ask, command: c.Search) -> Outcome:
    wanted = searching.words(command.text)
    if not wanted:
        raise Refused(ErrorWord.EMPTY, "There is nothing to search for. Give at least one word.")
    access = None if command.room is None else find_readable_room(db, ask.who, command.room)
    if access is not None and not access.facts.id:
        return Outcome(Found([], False))
    found, before = searching.search(db, ask.who, access, wanted, command.before, min(command.limit, c.PAGE_LIMIT))
    return Outcome(Found(found, before is not None, before))


def read(db: Connection, ask: Ask, command: c.Read) -> Outcome:
    access = find_room(db, ask.who, command.room)
    require(ask.who, access, "read")
    label, seq = access.facts.label(ask.who.id), members.mark_read(db, ask.who, access, command.seq)
    return Outcome(Marked(label, seq), hears=hears(access), effects=[Tell(ask.who.id, ReadMark(label, seq))])


def unread(db: Connection, ask: Ask, command: c.Unread) -> Outcome:
    shown = ask.shown or {}
    lines = []
    for membership in memberships(db, ask.who):
        read = max(membership.read, shown.get(membership.facts.id, 0))
        lines.append(status(membership.facts, ask.who, max(membership.seq, read), read, membership.role))
    return Outcome(UnreadList(lines))


def status(facts: RoomFacts, who: Person, seq: int, read: int, role: Role) -> RoomStatus:
    """A member's own line about a room. In a direct room nobody has a role."""
    return RoomStatus(facts.label(who.id), seq, read, None if facts.kind == DIRECT else role)
