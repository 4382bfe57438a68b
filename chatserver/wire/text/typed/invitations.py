"""Typed commands about invitations."""

from chatserver.values.commands import Command, Invite, Uninvite
from chatserver.wire.text.typed import words as w


def invite(rest: str) -> Command:
    name, room = w.name_and_room(rest)
    return Invite(room=room, name=name)


def uninvite(rest: str) -> Command:
    name, room = w.name_and_room(rest)
    return Uninvite(room=room, name=name)
