"""Inviting people to a room, and withdrawing an invitation."""

from chatserver.handlers.moderation import locked_room
from chatserver.handlers.outcome import Ask, Effect, Outcome, Tell
from chatserver.handlers.rights import forbid_guest, may
from chatserver.store import Connection, invitations, members, moderation
from chatserver.store.people import find_person, has_blocked
from chatserver.store.visibility import RoomAccess
from chatserver.values import commands as c
from chatserver.values.answers import Changed
from chatserver.values.errors import Note, Refused, Sentence, Why
from chatserver.values.events import PRIVATE, Invited, Person

SENDERS = 10
"""Minimum number of senders that can fill the invitations of an account."""


def invite(db: Connection, ask: Ask, command: c.Invite) -> Outcome:
    forbid_guest(ask.who)
    access = locked_room(db, ask, command.room, "invite")
    target = find_person(db, ask.who, command.name)
    if has_blocked(db, target.id, ask.who.id):
        raise Refused(Why.INVITATIONS_BLOCKED, name=target.name)
    if access.facts.kind == PRIVATE:
        forbid_guest(target)
    if members.role_of(db, access, target.id) is not None:
        return _answered(access, Sentence(Note.ALREADY_IN_ROOM, name=target.name, room=command.room))
    if moderation.is_banned_from_room(db, target.id, access.facts.id):
        raise Refused(Why.INVITED_IS_BANNED, name=target.name, room=command.room)
    note = Sentence(Note.INVITED, name=target.name, room=command.room)
    if invitations.is_invited(db, access, target):  # once is enough, whoever it was by
        return _answered(access, note)
    _make_room(db, ask, target)
    invitations.create(db, ask.who, access, target, ask.at)
    return _answered(access, note, Tell(target.id, Invited(command.room, ask.who.name, access.facts.id)))


def _answered(access: RoomAccess, note: Sentence, *effects: Effect) -> Outcome:
    return Outcome(Changed(access.facts.name, None, note, access.facts.id), effects=list(effects))


def _make_room(db: Connection, ask: Ask, target: Person) -> None:
    """Raises Refused if too many invitations are pending: of the asker, or to the target. Neither one account nor the
    accounts of one network can use up those of the target."""
    most_sent, most_received = ask.limits.invitations_sent, ask.limits.invitations_received
    if not most_sent and not most_received:
        return
    pending = invitations.count(db, ask.who, target)
    if 0 < most_sent <= pending.sent:
        raise Refused(Why.TOO_MANY_INVITATIONS_SENT, most=most_sent)
    if most_received and pending.between >= max(1, most_received // SENDERS):
        raise Refused(Why.TOO_MANY_INVITATIONS_BETWEEN, name=target.name, most=pending.between)
    if 0 < most_received <= pending.received and not invitations.make_way(db, ask.who, target):
        raise Refused(Why.TOO_MANY_INVITATIONS_TO, name=target.name)


def uninvite(db: Connection, ask: Ask, command: c.Uninvite) -> Outcome:
    access = locked_room(db, ask, command.room, "uninvite")
    target = find_person(db, ask.who, command.name)
    by = None if may(ask.who, access, "uninvite of others") else ask.who.id
    if not invitations.withdraw(db, access, target, by):
        raise Refused(Why.NO_SUCH_INVITATION, name=target.name, room=command.room)
    return _answered(access, Sentence(Note.INVITATION_WITHDRAWN, name=target.name, room=command.room))
