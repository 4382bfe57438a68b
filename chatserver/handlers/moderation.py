"""Moderation: roles, kicks, bans and mutes. `rights` has the roles."""

from datetime import datetime
from ipaddress import ip_network

from chatserver.handlers.outcome import Announcement, Ask, BansChanged, Effect, HangUp, Outcome, changed
from chatserver.handlers.rights import Act, require, require_above, require_operator
from chatserver.store import Connection, members, moderation, reach, rooms
from chatserver.store.db import database_clock
from chatserver.store.people import find_person
from chatserver.store.visibility import RoomAccess, find_room
from chatserver.values import commands as c
from chatserver.values.answer_size import ban_size
from chatserver.values.answers import BanList, Done
from chatserver.values.errors import Note, Refused, Sentence, Why, no_such_user
from chatserver.values.events import OWNER, Person, Role


def locked_room(db: Connection, ask: Ask, room: str, act: Act) -> RoomAccess:
    """The room, locked. Raises Refused if the asker may not do this there, and for direct rooms."""
    access = find_room(db, ask.who, room, lock=True)
    access.forbid_direct(Why.DIRECT_HAS_NO_MODERATORS)
    require(ask.who, access, act)
    return access


def _target(db: Connection, ask: Ask, access: RoomAccess, name: str) -> tuple[Person, Role]:
    """A member of the room who ranks below the asker, and their role. Raises Refused: no-such-user, not-allowed."""
    target = find_person(db, ask.who, name)
    role = members.role_of(db, access, target.id)
    if role is None:
        raise Refused(Why.NOT_IN_ROOM, name=target.name, room=access.facts.name)
    require_above(ask.who, access, target, role)
    return target, role


def role(db: Connection, ask: Ask, command: c.Role) -> Outcome:
    access = locked_room(db, ask, command.room, "role")
    target, old = _target(db, ask, access, command.name)
    if old == command.role:
        note = Sentence(Note.ROLE_IS_ALREADY, name=target.name, room=access.facts.name, role=old)
        return changed(ask, access, [], note)
    if old == OWNER and members.owner_count(db, access) == 1 and not rooms.is_default(db, access.facts.id):
        raise Refused(Why.NEEDS_AN_OWNER, room=access.facts.name)
    entries = moderation.set_role(db, ask.who, access, target, command.role, ask.at)
    return changed(
        ask, access, entries, Sentence(Note.ROLE_SET, name=target.name, room=access.facts.name, role=command.role)
    )


def kick(db: Connection, ask: Ask, command: c.Kick) -> Outcome:
    access = locked_room(db, ask, command.room, "kick")
    target, _ = _target(db, ask, access, command.name)
    entries = moderation.kick(db, ask.who, access, target, command.reason, ask.at)
    return changed(ask, access, entries, Sentence(Note.KICKED, name=target.name, room=access.facts.name))


def ban(db: Connection, ask: Ask, command: c.Ban) -> Outcome:
    until = database_clock.until(db, command.seconds)
    if command.room is None:
        return _ban_from_server(db, ask, command, until)
    access = locked_room(db, ask, command.room, "ban")
    assert command.name is not None  # the dialects' parsers require it
    target = find_person(db, ask.who, command.name)
    require_above(ask.who, access, target, members.role_of(db, access, target.id))
    if target.id == ask.who.id:
        raise Refused(Why.BANS_SELF)
    if moderation.is_banned_so(db, access, target, until, command.reason):
        return changed(ask, access, [], Sentence(Note.BANNED_ALREADY, name=target.name, room=access.facts.name))
    entries = moderation.ban(db, ask.who, access, target, until, command.reason, ask.at)
    return changed(ask, access, entries, Sentence(Note.BANNED, name=target.name, room=access.facts.name))


def _ban_from_server(db: Connection, ask: Ask, command: c.Ban, until: datetime | None) -> Outcome:
    require_operator(ask.who)
    target = None
    effects: list[Effect] = [BansChanged()]
    if command.name is not None:
        target = find_person(db, ask.who, command.name)
        if target.kind == ask.who.kind:
            raise Refused(Why.BANS_OPERATOR, name=target.name)
        effects.append(HangUp(target.id, "banned", Sentence(Note.YOU_ARE_BANNED, reason=command.reason)))
    elif command.address and not command.yes:
        network = ip_network(command.address)
        if doubts := reach.doubts(network, reach.hit_by(db, network)):
            raise Refused(Why.DOUBTFUL_BAN, doubts=doubts)
    moderation.ban_from_server(db, ask.who.id, target, command.address, until, command.reason, ask.at)
    return Outcome(Done(Sentence(Note.BANNED_FROM_SERVER, who=command.name or str(command.address))), effects=effects)


def unban(db: Connection, ask: Ask, command: c.Unban) -> Outcome:
    if command.room is None:
        require_operator(ask.who)
        target = find_person(db, ask.who, command.name) if command.name is not None else None
        if not moderation.unban_from_server(db, target, command.address, ask.at):
            raise Refused(Why.NO_SUCH_BAN)
        return Outcome(Done(Sentence(Note.BAN_LIFTED)), effects=[BansChanged()])
    access = locked_room(db, ask, command.room, "unban")
    if command.name is None:
        raise no_such_user(str(command.address))
    target = find_person(db, ask.who, command.name)
    entries = moderation.unban(db, ask.who, access, target, ask.at)
    if not entries:
        raise Refused(Why.NOT_BANNED, name=target.name, room=access.facts.name)
    note = Done(Sentence(Note.UNBANNED, name=target.name, room=access.facts.name))
    return Outcome(note, announced=[Announcement(access.facts, entries)])


def bans(db: Connection, ask: Ask, command: c.Bans) -> Outcome:
    room_id = None
    if command.room is None:
        require_operator(ask.who)
    else:
        access = find_room(db, ask.who, command.room)
        access.forbid_direct(Why.DIRECT_HAS_NO_BANS)
        require(ask.who, access, "bans")
        room_id = access.facts.id
    limit = ask.page(command.limit)
    found = moderation.page_of_bans(db, room_id, command.before, limit + 1)
    shown = ask.portion.head(found[:limit], lambda ban: ban_size(ban[1]))
    before = shown[-1][0] if len(shown) < len(found) else None
    return Outcome(BanList([line for _, line in shown], command.room, before))


def mute(db: Connection, ask: Ask, command: c.Mute) -> Outcome:
    access = locked_room(db, ask, command.room, "mute")
    target, _ = _target(db, ask, access, command.name)
    until = database_clock.until(db, command.seconds)
    if moderation.is_muted_so(db, access, target, until):
        return changed(ask, access, [], Sentence(Note.MUTED_ALREADY, name=target.name, room=access.facts.name))
    entries = moderation.mute(db, ask.who, access, target, until, ask.at)
    return changed(ask, access, entries, Sentence(Note.MUTED, name=target.name, room=access.facts.name))


def unmute(db: Connection, ask: Ask, command: c.Unmute) -> Outcome:
    access = locked_room(db, ask, command.room, "unmute")
    target, _ = _target(db, ask, access, command.name)
    if not moderation.is_muted(db, access, target):
        return changed(ask, access, [], Sentence(Note.NOT_MUTED, name=target.name, room=access.facts.name))
    entries = moderation.unmute(db, ask.who, access, target, ask.at)
    return changed(ask, access, entries, Sentence(Note.UNMUTED, name=target.name, room=access.facts.name))
