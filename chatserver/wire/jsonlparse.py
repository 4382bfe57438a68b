"""What programs send: lines of JSON to commands."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Final, Union

import msgspec
from msgspec import Raw, structs

from chatserver import commands, events
from chatserver.commands import COMMANDS, CURRENT, Command, Tag
from chatserver.errors import ErrorWord, Refused
from chatserver.wire.hygiene import message_text, one_line, password, room_name, topic_text, user_name
from chatserver.wire.lines import Undecodable

MAX_TAG = 64
BY_CMD: Final[dict[str, type[Command]]] = {str(kind.__struct_config__.tag): kind for kind in COMMANDS}


class Rejected(Exception):
    """A JSON object that is no command. `tag` is for the answer, None where there is no usable one."""

    def __init__(self, tag: Tag | None, refusal: Refused) -> None:
        super().__init__(tag, refusal)
        self.tag = tag
        self.refusal = refusal


def _named_room(text: str) -> str:
    if text == CURRENT:  # a program looks at no room
        raise _bad("The field room is missing.")
    return room_name(text)


def _after(text: str) -> str:
    return room_name(text) if text else ""


def _visibility(text: str) -> str:
    if text not in (events.PUBLIC, events.PRIVATE):
        raise _bad("The field visibility is public or private.")
    return text


def _resume(since: dict[str, int]) -> dict[str, int]:
    return {room_name(room): seq for room, seq in since.items()}


def _client_id(text: str) -> str:
    return one_line(text, "id")


def _about(text: str) -> str:
    return one_line(text, "about")


GATES: Final[dict[type[Command], tuple[tuple[str, Callable[[Any], Any]], ...]]] = {
    commands.Register: (("name", user_name), ("password", password)),
    commands.Login: (("name", user_name), ("password", password), ("resume", _resume)),
    commands.Logout: (),
    commands.Quit: (),
    commands.Ping: (),
    commands.Help: (("about", _about),),
    commands.Password: (("old", password), ("new", password)),
    commands.Rooms: (("after", _after),),
    commands.Create: (("room", room_name), ("visibility", _visibility), ("topic", topic_text)),
    commands.Join: (("room", room_name),),
    commands.Leave: (("room", _named_room),),
    commands.Say: (("room", _named_room), ("text", message_text), ("id", _client_id)),
    commands.History: (("room", _named_room),),
    commands.Members: (("room", _named_room),),
    commands.Who: (("name", user_name),),
    commands.Read: (("room", _named_room),),
    commands.Unread: (),
    commands.Topic: (("room", _named_room), ("text", topic_text)),
}
"""What each text of a command has to pass. Numbers are checked by their types."""


_decode: Final[Callable[[str], Command]] = msgspec.json.Decoder(type=Union[COMMANDS]).decode  # noqa: UP007
_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode


def parse(line: str) -> Command:
    """The command of a line that has passed `clean_line`. Raises Undecodable and Rejected."""
    try:
        command = _decode(line)
    except msgspec.ValidationError:
        raise _rejected(line) from None
    except (msgspec.DecodeError, RecursionError):
        raise _not_an_object() from None
    tag = command.tag
    try:
        if tag is not None:
            _check_tag(tag)
    except Refused as refused:
        raise Rejected(None, refused) from None
    try:
        return _gated(command)
    except Refused as refused:
        raise Rejected(tag, refused) from None


def _gated(command: Command) -> Command:
    changed = {}
    for name, gate in GATES[type(command)]:
        given = getattr(command, name)
        if given is not None:
            kept = gate(given)
            if kept != given:
                changed[name] = kept
    return structs.replace(command, **changed) if changed else command


def _check_tag(tag: Tag) -> None:
    if type(tag) is str and (len(tag) > MAX_TAG or one_line(tag, "tag") != tag):
        raise _bad(f"The field tag has {MAX_TAG} characters at most, in NFC.")


def _rejected(line: str) -> Exception:
    """Finds what is wrong with JSON that is no command, and says it in our words."""
    try:
        given = _decode_fields(line)
    except (msgspec.DecodeError, RecursionError):
        return _not_an_object()
    tag: Tag | None = None
    try:
        tag = _checked_field(given, "tag", Tag | None)
        if tag is not None:
            _check_tag(tag)
    except Refused as refused:
        return Rejected(None, refused)
    try:
        if "cmd" not in given:
            raise _bad("The field cmd is missing.")
        cmd = _checked_field(given, "cmd", str)
        if cmd not in BY_CMD:
            raise _bad(_no_command(cmd))
        for known in structs.fields(BY_CMD[cmd]):
            if known.encode_name in given:
                _checked_field(given, known.encode_name, known.type)
            elif known.required:
                raise _bad(f"The field {known.encode_name} is missing.")
    except Refused as refused:
        return Rejected(tag, refused)
    return Rejected(tag, _bad("A field is in this object twice."))


def _checked_field(given: dict[str, Raw], name: str, kind: Any) -> Any:
    """One field, decoded. msgspec's reason names types only, never what was sent."""
    if name not in given:
        return None
    try:
        return msgspec.json.decode(given[name], type=kind)
    except msgspec.ValidationError as error:
        reason = str(error).partition(" - at ")[0].replace("`", "")
        raise _bad(f"The field {name} is wrong: {reason[:1].lower()}{reason[1:]}.") from None


def _no_command(cmd: str) -> str:
    near = get_close_matches(cmd[:32], BY_CMD, n=1)
    return f"There is no such command. Did you mean {near[0]}?" if near else "There is no such command."


def _bad(text: str) -> Refused:
    return Refused(ErrorWord.BAD_COMMAND, text)


def _not_an_object() -> Undecodable:
    return Undecodable("This line is not one JSON object.")
