"""Keeping order: roles, kicks, bans, mutes, invitations. Who may do it stands in `rights`."""

from datetime import datetime, timedelta

from chatserver import commands as c
from chatserver.errors import ErrorWord, Refused, no_such_user
from chatserver.events import PRIVATE, BanList, Changed, Done, Entry, Invited, Person
from chatserver.handlers.outcome import Ask, BansChanged, Effect, HangUp, Outcome, Tell
from chatserver.handlers.rights import RANKS, RIGHTS, forbid_guest, rank, require, require_above, require_operator
from chatserver.store import Connection, moderation
from chatserver.store.places import OWNER, Place, find_person, find_room, has_blocked


def _place(db: Connection, ask: Ask, room: str, act: str) -> Place:
    """The room, locked, in which the asker may do this."""
    place = find_room(db, ask.who, room, ask.at, lock=True)
    place.forbid_direct("has no moderators: /block is for that")
    require(ask.who, place, act)
    return place


def _target(db: Connection, ask: Ask, place: Place, name: str) -> tuple[Person, str]:
    """Somebody below the asker in the room, and their role there. Raises Refused(no-such-user) for who is not in it."""
    target = find_person(db, name)
    role = moderation.role_of(db, place, target.id)
    if role is None:
        raise Refused(ErrorWord.NO_SUCH_USER, f"{target.name} is not in {place.facts.name}.")
    require_above(ask.who, place, target, role)
    return target, role


def _until(ask: Ask, seconds: int | None) -> datetime | None:
    return None if seconds is None else ask.at + timedelta(seconds=seconds)


def _changed(place: Place, entries: list[Entry], note: str, effects: list[Effect] | None = None) -> Outcome:
    seq = entries[0].seq if entries else None
    return Outcome(Changed(place.facts.name, seq, note), place.facts, entries, effects=effects or [])


def role(db: Connection, ask: Ask, command: c.Role) -> Outcome:
    place = _place(db, ask, command.room, "role")
    target, old = _target(db, ask, place, command.name)
    if old == command.role:
        return _changed(place, [], f"{target.name} is {old} already.")
    if old == OWNER and moderation.owners(db, place) == 1:
        raise Refused(ErrorWord.NOT_ALLOWED, f"{place.facts.name} needs an owner. Make somebody else one first.")
    entries = moderation.set_role(db, ask.who, place, target, command.role, ask.at)
    return _changed(place, entries, f"{target.name} is {command.role} now.")


def kick(db: Connection, ask: Ask, command: c.Kick) -> Outcome:
    place = _place(db, ask, command.room, "kick")
    target, _ = _target(db, ask, place, command.name)
    entries = moderation.kick(db, ask.who, place, target, command.reason, ask.at)
    return _changed(place, entries, f"{target.name} is out of {place.facts.name}.")


def ban(db: Connection, ask: Ask, command: c.Ban) -> Outcome:
    until = _until(ask, command.seconds)
    if command.room is None:
        return _ban_from_server(db, ask, command, until)
    place = _place(db, ask, command.room, "ban")
    assert command.name is not None  # the grammars see to that
    target = find_person(db, command.name)
    require_above(ask.who, place, target, moderation.role_of(db, place, target.id))
    if target.id == ask.who.id:
        raise Refused(ErrorWord.NOT_ALLOWED, "You cannot ban yourself. To go, leave.")
    entries = moderation.ban(db, ask.who, place, target, until, command.reason, ask.at)
    return _changed(place, entries, f"{target.name} is banned from {place.facts.name}.")


def _ban_from_server(db: Connection, ask: Ask, command: c.Ban, until: datetime | None) -> Outcome:
    require_operator(ask.who)
    target = None
    effects: list[Effect] = [BansChanged()]
    if command.name is not None:
        target = find_person(db, command.name)
        if target.kind == ask.who.kind:
            raise Refused(ErrorWord.NOT_ALLOWED, f"{target.name} is an operator too.")
        effects.append(HangUp(target.id, "banned", banned_text(command.reason)))
    moderation.ban_from_server(db, ask.who.id, target, command.address, until, command.reason, ask.at)
    return Outcome(Done(f"{command.name or command.address} is banned from the server."), effects=effects)


def banned_text(reason: str) -> str:
    return f"You are banned from this server{': ' + reason if reason else ''}."


def unban(db: Connection, ask: Ask, command: c.Unban) -> Outcome:
    if command.room is None:
        require_operator(ask.who)
        target = find_person(db, command.name) if command.name is not None else None
        if not moderation.unban_from_server(db, target, command.address, ask.at):
            raise Refused(ErrorWord.NO_SUCH_USER, "There is no such ban. The command bans lists those there are.")
        return Outcome(Done("The ban is lifted."), effects=[BansChanged()])
    place = _place(db, ask, command.room, "unban")
    if command.name is None:
        raise no_such_user(str(command.address))
    target = find_person(db, command.name)
    entries = moderation.unban(db, ask.who, place, target, ask.at)
    if not entries:
        raise Refused(ErrorWord.NO_SUCH_USER, f"{target.name} is not banned from {place.facts.name}.")
    return Outcome(Done(f"{target.name} may come again."), place.facts, entries)


def bans(db: Connection, ask: Ask, command: c.Bans) -> Outcome:
    if command.room is None:
        require_operator(ask.who)
        return Outcome(BanList(moderation.bans(db, None, ask.at)))
    place = find_room(db, ask.who, command.room, ask.at)
    place.forbid_direct("has no bans")
    require(ask.who, place, "bans")
    return Outcome(BanList(moderation.bans(db, place.facts.id, ask.at)))


def mute(db: Connection, ask: Ask, command: c.Mute) -> Outcome:
    place = _place(db, ask, command.room, "mute")
    target, _ = _target(db, ask, place, command.name)
    entries = moderation.mute(db, ask.who, place, target, _until(ask, command.seconds), ask.at)
    return _changed(place, entries, f"{target.name} is muted in {place.facts.name}.")


def unmute(db: Connection, ask: Ask, command: c.Unmute) -> Outcome:
    place = _place(db, ask, command.room, "unmute")
    target, _ = _target(db, ask, place, command.name)
    entries = moderation.unmute(db, ask.who, place, target, ask.at)
    return _changed(place, entries, f"{target.name} may speak in {place.facts.name}.")


def invite(db: Connection, ask: Ask, command: c.Invite) -> Outcome:
    forbid_guest(ask.who)
    place = _place(db, ask, command.room, "invite")
    target = find_person(db, command.name)
    if has_blocked(db, target.id, ask.who.id):
        raise Refused(ErrorWord.BLOCKED, f"{target.name} does not take invitations from you.")
    if place.facts.kind == PRIVATE:
        forbid_guest(target)
    if moderation.role_of(db, place, target.id) is not None:
        return Outcome(Changed(command.room, None, f"{target.name} is in {command.room} already."))
    if moderation.is_banned(db, target.id, place.facts.id, ask.at):
        raise Refused(ErrorWord.BANNED, f"{target.name} is banned from {command.room}. Lift that first.")
    moderation.invite(db, ask.who, place, target, ask.at)
    invited = Tell(target.id, Invited(command.room, ask.who.name))
    return Outcome(Changed(command.room, None, f"{target.name} is invited."), effects=[invited])


def uninvite(db: Connection, ask: Ask, command: c.Uninvite) -> Outcome:
    place = _place(db, ask, command.room, "uninvite")
    target = find_person(db, command.name)
    any_of_them = rank(ask.who, place) >= RANKS[RIGHTS["uninvite of others"]]
    if not moderation.uninvite(db, place, target, None if any_of_them else ask.who.id):
        raise Refused(ErrorWord.NO_SUCH_USER, f"{target.name} has no invitation of yours to {command.room}.")
    return Outcome(Changed(command.room, None, f"{target.name} is invited no more."))
