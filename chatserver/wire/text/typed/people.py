"""Typed commands about people: presence, names, ignoring, and invitations."""

from chatserver.values.commands import Away, Block, Command, Ignore, Invite, Rename, Unblock, Unignore, Uninvite, Who
from chatserver.wire.hygiene.text import away_text, display_name, user_name
from chatserver.wire.text.typed import words as w
from chatserver.wire.text.typed.rooms import NONE


def who(rest: str) -> Command:
    words = w.only(rest, 0, 1)
    return Who(name=w.name(words[0]) if words else None)


def away(rest: str) -> Command:
    return Away(text=away_text(rest))


def back(rest: str) -> Command:
    w.nothing(rest)
    return Away()


def block(rest: str) -> Command:
    [name] = w.only(rest, 1, 1)
    return Block(name=w.name(name))


def unblock(rest: str) -> Command:
    [name] = w.only(rest, 1, 1)
    return Unblock(name=w.name(name))


def ignore(rest: str) -> Command:
    words = w.only(rest, 0, 1)
    return Ignore(name=w.name(words[0]) if words else None)


def unignore(rest: str) -> Command:
    [name] = w.only(rest, 1, 1)
    return Unignore(name=w.name(name))


def nick(rest: str) -> Command:
    [name] = w.only(rest, 1, 1)
    return Rename(name=user_name(name.removeprefix("@")))


def name(rest: str) -> Command:
    """A display name. Only `-` removes it, so that asking for it does not."""
    [words] = w.split(rest, 1, 1)
    return Rename(display="" if words.strip() == NONE else display_name(words))


def invite(rest: str) -> Command:
    name, room = w.name_and_room(rest)
    return Invite(room=room, name=name)


def uninvite(rest: str) -> Command:
    name, room = w.name_and_room(rest)
    return Uninvite(room=room, name=name)
