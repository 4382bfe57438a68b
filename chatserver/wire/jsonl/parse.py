"""JSON Lines to commands: decoded, every text in canonical form, and fields that go together."""

from collections.abc import Callable
from typing import Any, Final, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Raw, structs

from chatserver.values import commands as c
from chatserver.values.commands import COMMANDS, CURRENT, Command, Tag
from chatserver.values.errors import Refused, Rejected, Why
from chatserver.values.stages import Stage
from chatserver.wire.addresses import address
from chatserver.wire.framing.lines import Undecodable
from chatserver.wire.hygiene.text import (
    away_text,
    device_name,
    display_name,
    label_text,
    message_text,
    one_line,
    password,
    person_name,
    person_prefix,
    reaction_text,
    reason_text,
    room_name,
    search_text,
    secret,
    topic_text,
    user_name,
)
from chatserver.wire.typos import alike

MAX_TAG = 64
"""Maximum length of a tag, in characters."""

BY_CMD: Final[dict[str, type[Command]]] = {str(kind.__struct_config__.tag): kind for kind in COMMANDS}

_decode: Final[Callable[[str], Command]] = msgspec.json.Decoder(type=Union[COMMANDS]).decode  # noqa: UP007
_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode


def parse(line: str, stage: Stage) -> Command | Rejected:
    """The command on a line that has passed `clean_line`; the stage makes no difference.

    Raises Undecodable if the line is not one JSON object.
    """
    try:
        command = _decode(line)
    except msgspec.ValidationError:
        return _rejected(line)
    except (msgspec.DecodeError, RecursionError):
        raise _not_an_object() from None
    tag: Tag | None = None
    try:
        if command.tag is not None:
            tag = checked_tag(command.tag)
        return checked(command)
    except Refused as refused:
        return Rejected(refused, tag, command.cmd)


def checked_tag(tag: Tag) -> Tag:
    if type(tag) is str and (len(tag) > MAX_TAG or one_line(tag, "tag") != tag):
        raise Refused(Why.BAD_TAG, most=MAX_TAG)
    if type(tag) is int and not -(2**63) <= tag < 2**64:
        raise Refused(Why.TAG_TOO_LARGE)
    return tag


def _rejected(line: str) -> Rejected:
    """Finds what is wrong with JSON that is not a command, to explain it in the protocol's words, not msgspec's."""
    try:
        given = _decode_fields(line)
    except (msgspec.DecodeError, RecursionError):
        raise _not_an_object() from None
    tag: Tag | None = None
    cmd = known(given.get("cmd"))
    try:
        sent = _checked_field(given, "tag", Tag | None)
        if sent is not None:
            tag = checked_tag(sent)
        if "cmd" not in given:
            raise Refused(Why.FIELD_MISSING, field="cmd")
        if not cmd:
            raise _no_command(_checked_field(given, "cmd", str))
        for one in structs.fields(BY_CMD[cmd]):
            if one.encode_name in given:
                _checked_field(given, one.encode_name, one.type)
            elif one.required:
                raise Refused(Why.FIELD_MISSING, field=one.encode_name)
    except Refused as refused:
        return Rejected(refused, tag, cmd)
    return Rejected(Refused(Why.FIELD_TWICE), tag, cmd)


def known(cmd: Raw | bytes | None) -> str:
    """The name of a command, decoded; "" if there is no such command."""
    if cmd is None:
        return ""
    try:
        name = msgspec.json.decode(cmd, type=str)
    except msgspec.ValidationError:
        return ""
    return name if name in BY_CMD else ""


def _checked_field(given: dict[str, Raw], name: str, kind: Any) -> Any:
    """One field, decoded; None if it is absent. The refusal names what is allowed and never quotes what was sent."""
    if name not in given:
        return None
    try:
        return msgspec.json.decode(given[name], type=kind)
    except msgspec.ValidationError as error:
        choices = _choices(kind)
        if choices:
            raise Refused(Why.FIELD_OUT_OF, field=name, others=", ".join(choices[:-1]), last=choices[-1]) from None
        reason = str(error).partition(" - at ")[0].replace("`", "")
        raise Refused(Why.FIELD_WRONG, field=name, problem=reason[:1].lower() + reason[1:]) from None


def _choices(kind: Any) -> list[str]:
    literals = [part for part in (kind, *get_args(kind)) if get_origin(part) is Literal]
    if kind not in literals and len(get_args(kind)) > len(literals) + 1:  # not only these, and None
        return []
    return [choice for literal in literals for choice in get_args(literal)]


def _no_command(cmd: str) -> Refused:
    near = alike(cmd.lower(), BY_CMD)
    return Refused(Why.NO_SUCH_COMMAND_BUT, near=near[0]) if near else Refused(Why.NO_SUCH_COMMAND)


def _not_an_object() -> Undecodable:
    return Undecodable("This line is not a JSON object.")


# Fields in canonical form


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
        raise Refused(Why.FIELD_MISSING, field="room")
    return room_name(text)


def _unless_empty(check: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: check(text) if text else ""


def _secret(field: str) -> tuple[str, Callable[[str], str]]:
    return field, lambda text: secret(text, field)


def _line(field: str) -> tuple[str, Callable[[str], str]]:
    return field, lambda text: one_line(text, field)


def _resume(since: dict[str, int | c.Stretch]) -> dict[str, int | c.Stretch]:
    return {room_name(room): seq for room, seq in since.items()}


_ROOM: Final = ("room", _room)
_PERSON: Final = ("name", person_name)
_PREFIX: Final = ("prefix", _unless_empty(person_prefix))
_REASON: Final = ("reason", reason_text)
_ADDRESS: Final = ("address", address)

CHECKS: Final[dict[type[Command], tuple[tuple[str, Callable[[Any], Any]], ...]]] = {
    c.Register: (("name", user_name), ("password", password), _secret("code"), ("keep", device_name)),
    c.Login: (
        ("name", _unless_empty(user_name)),
        ("password", password),
        _secret("token"),
        _secret("secret"),
        ("keep", device_name),
        ("resume", _resume),
        _secret("epoch"),
    ),
    c.Guest: (),
    c.Logout: (),
    c.Quit: (),
    c.Ping: (),
    c.Help: (_line("about"),),
    c.Server: (),
    c.Password: (("old", password), ("new", password)),
    c.Token: (("label", label_text), ("revoke", label_text), ("password", password), ("room", _room)),
    c.Sessions: (),
    c.Forget: (("password", password),),
    c.Export: (_secret("after"),),
    c.Rooms: (("after", _unless_empty(room_name)), ("prefix", _unless_empty(room_name))),
    c.Create: (("room", room_name), ("topic", topic_text)),
    c.Set: (_ROOM,),
    c.Delete: (_ROOM,),
    c.Join: (("room", room_name), _secret("epoch")),
    c.Leave: (_ROOM,),
    c.Invite: (_ROOM, _PERSON),
    c.Uninvite: (_ROOM, _PERSON),
    c.Say: (_ROOM, ("text", message_text), _line("id")),
    c.Reply: (_ROOM, ("text", message_text), _line("id")),
    c.Edit: (_ROOM, ("text", message_text)),
    c.Erase: (_ROOM,),
    c.React: (_ROOM, ("reaction", reaction_text)),
    c.Reactions: (_ROOM, ("reaction", reaction_text), ("after", _unless_empty(person_name))),
    c.Pin: (_ROOM,),
    c.Unpin: (_ROOM,),
    c.Pins: (_ROOM,),
    c.Replies: (_ROOM,),
    c.History: (_ROOM, _line("since")),
    c.Mentions: (),
    c.ReadAll: (),
    c.Search: (("text", _unless_empty(search_text)), _ROOM, ("author", person_name), _line("since"), _line("until")),
    c.Members: (_ROOM, ("after", _unless_empty(person_name)), _PREFIX),
    c.Who: (_PERSON, _PREFIX),
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
    c.Rename: (("name", user_name), ("display", display_name), ("password", password)),
    c.Prefer: (_line("timezone"), _ROOM),
    c.Typing: (_ROOM,),
}
"""For each command, its text fields and the function that checks each one. Decoding has checked numbers and choices
by their types."""


# Checks of fields together


def _login(command: c.Login) -> Command:
    if command.cookie:
        return structs.replace(command, name="", password="", token="", secret="")
    if command.token:
        if command.keep is not None:
            raise Refused(Why.TOKEN_NOT_KEPT)
        return structs.replace(command, name="", password="", secret="")
    if command.secret:
        return structs.replace(command, name="", password="")
    if command.keep is not None and not command.password:
        raise Refused(Why.FIELD_MISSING, field="password")
    if not command.name:
        raise Refused(Why.FIELD_MISSING, field="name")
    return command  # without a password, a certificate may do


def _token(command: c.Token) -> Command:
    if [command.label is not None, command.revoke is not None, command.list].count(True) != 1:
        raise Refused(Why.LABEL_REVOKE_OR_LIST)
    if command.label is not None and not command.password:
        raise Refused(Why.FIELD_MISSING, field="password")
    return command


def _numbered(command: c.Edit | c.Erase) -> Command:
    if command.seq is None:
        raise Refused(Why.FIELD_MISSING, field="seq")
    return command


def _reactions(command: c.Reactions) -> Command:
    if command.after and command.reaction is None:
        raise Refused(Why.FIELD_MISSING, field="reaction")
    return command


def _search(command: c.Search) -> Command:
    if not (command.text or command.author is not None or command.has):
        raise Refused(Why.NOTHING_TO_SEARCH)
    return command


def _ban(command: c.Ban | c.Unban) -> Command:
    if (command.name is None) == (command.address is None):
        raise Refused(Why.NAME_OR_ADDRESS)
    if command.address is not None and command.room is not None:
        raise Refused(Why.BAN_OF_ADDRESS_IN_ROOM)
    return command


def _prefer(command: c.Prefer) -> Command:
    if command.notify is not None and command.room is None:
        raise Refused(Why.FIELD_MISSING, field="room")
    return command


COMBINATIONS: Final[dict[type[Command], Callable[[Any], Command]]] = {
    c.Login: _login,
    c.Token: _token,
    c.Prefer: _prefer,
    c.Edit: _numbered,
    c.Search: _search,
    c.Erase: _numbered,
    c.Reactions: _reactions,
    c.Ban: _ban,
    c.Unban: _ban,
}
"""For each command whose fields depend on each other, the function that checks the combination."""
