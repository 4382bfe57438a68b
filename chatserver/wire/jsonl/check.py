"""Validation of a decoded command: every text in canonical form, and fields that go together."""

from collections.abc import Callable
from typing import Any, Final

from msgspec import structs

from chatserver.values import commands as c
from chatserver.values.commands import CURRENT, Command
from chatserver.values.errors import ErrorWord, Refused
from chatserver.wire.addresses import address
from chatserver.wire.hygiene.text import (
    away_text,
    display_name,
    label_text,
    message_text,
    one_line,
    password,
    person_name,
    reaction_text,
    reason_text,
    room_name,
    search_text,
    secret,
    topic_text,
    user_name,
)


def bad(text: str) -> Refused:
    return Refused(ErrorWord.BAD_COMMAND, text)


def missing(field: str) -> Refused:
    return bad(f"The field {field} is missing.")


def checked(command: Command) -> Command:
    """The command with its names and texts in canonical form. Raises Refused."""
    kind = type(command)
    if kind in COMBINATIONS:
        command = COMBINATIONS[kind](command)
    changed = {}
    for name, check in CHECKS[kind]:
        given = getattr(command, name)
        if given is not None:
            canonical = check(given)
            if canonical != given:
                changed[name] = canonical
    return structs.replace(command, **changed) if changed else command


# Checks of one field


def _room(text: str) -> str:
    if text == CURRENT:  # programs have no current room
        raise missing("room")
    return room_name(text)


def _unless_empty(check: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: check(text) if text else ""


def _secret(field: str) -> tuple[str, Callable[[str], str]]:
    return field, lambda text: secret(text, field)


def _line(field: str) -> tuple[str, Callable[[str], str]]:
    return field, lambda text: one_line(text, field)


def _resume(since: dict[str, int]) -> dict[str, int]:
    return {room_name(room): seq for room, seq in since.items()}


_ROOM: Final = ("room", _room)
_PERSON: Final = ("name", person_name)
_REASON: Final = ("reason", reason_text)
_ADDRESS: Final = ("address", address)

CHECKS: Final[dict[type[Command], tuple[tuple[str, Callable[[Any], Any]], ...]]] = {
    c.Register: (("name", user_name), ("password", password), _secret("code")),
    c.Login: (("name", _unless_empty(user_name)), ("password", password), _secret("token"), ("resume", _resume)),
    c.Guest: (),
    c.Logout: (),
    c.Quit: (),
    c.Ping: (),
    c.Help: (_line("about"),),
    c.Password: (("old", password), ("new", password)),
    c.Token: (("label", label_text), ("revoke", label_text), ("password", password), ("room", _room)),
    c.Forget: (("password", password),),
    c.Export: (_secret("after"),),
    c.Rooms: (("after", _unless_empty(room_name)),),
    c.Create: (("room", room_name), ("topic", topic_text)),
    c.Set: (_ROOM,),
    c.Delete: (_ROOM,),
    c.Join: (("room", room_name),),
    c.Leave: (_ROOM,),
    c.Invite: (_ROOM, _PERSON),
    c.Uninvite: (_ROOM, _PERSON),
    c.Say: (_ROOM, ("text", message_text), _line("id")),
    c.Reply: (_ROOM, ("text", message_text), _line("id")),
    c.Edit: (_ROOM, ("text", message_text)),
    c.Erase: (_ROOM,),
    c.React: (_ROOM, ("reaction", reaction_text)),
    c.Pin: (_ROOM,),
    c.Unpin: (_ROOM,),
    c.Pins: (_ROOM,),
    c.History: (_ROOM, _line("since")),
    c.Mentions: (),
    c.ReadAll: (),
    c.Search: (("text", search_text), _ROOM),
    c.Members: (_ROOM, ("after", _unless_empty(person_name))),
    c.Who: (_PERSON,),
    c.Away: (("text", away_text),),
    c.Read: (_ROOM,),
    c.Unread: (("after", _unless_empty(room_name)),),
    c.Topic: (_ROOM, ("text", topic_text)),
    c.Role: (_ROOM, _PERSON),
    c.Kick: (_ROOM, _PERSON, _REASON),
    c.Ban: (_PERSON, _ADDRESS, _ROOM, _REASON),
    c.Unban: (_PERSON, _ADDRESS, _ROOM),
    c.Bans: (_ROOM,),
    c.Mute: (_ROOM, _PERSON),
    c.Unmute: (_ROOM, _PERSON),
    c.Block: (_PERSON,),
    c.Unblock: (_PERSON,),
    c.Ignore: (_PERSON,),
    c.Unignore: (_PERSON,),
    c.Rename: (("name", user_name), ("display", display_name)),
    c.Prefer: (_line("timezone"),),
}
"""For each command, its text fields and the function that checks each one. Decoding has checked numbers and choices
by their types."""


# Checks of fields together


def _login(command: c.Login) -> Command:
    if command.token:
        return structs.replace(command, name="", password="")
    if not command.name:
        raise missing("name")
    return command  # without a password, a certificate may do


def _token(command: c.Token) -> Command:
    if [command.label is not None, command.revoke is not None, command.list].count(True) != 1:
        raise bad("Give exactly one of the fields label, revoke and list.")
    if command.label is not None and not command.password:
        raise missing("password")
    return command


def _numbered(command: c.Edit | c.Erase) -> Command:
    if command.seq is None:
        raise missing("seq")
    return command


def _set(command: c.Set) -> Command:
    if command.past is None and command.invites is None and command.pace is None:
        raise bad("Give at least one of the fields past, invites and pace.")
    return command


def _ban(command: c.Ban | c.Unban) -> Command:
    if (command.name is None) == (command.address is None):
        raise bad("Give exactly one of the fields name and address.")
    if command.address is not None and command.room is not None:
        raise bad("A ban of an address applies to the whole server. Leave out the field room.")
    return command


COMBINATIONS: Final[dict[type[Command], Callable[[Any], Command]]] = {
    c.Login: _login,
    c.Token: _token,
    c.Set: _set,
    c.Edit: _numbered,
    c.Erase: _numbered,
    c.Ban: _ban,
    c.Unban: _ban,
}
"""For each command whose fields depend on each other, the function that checks the combination."""
