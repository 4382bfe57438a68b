"""What programs send: lines of JSON to commands."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Final, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Raw, structs

from chatserver.commands import COMMANDS, Command, Tag
from chatserver.errors import Refused
from chatserver.wire.gates import bad, gated, missing
from chatserver.wire.hygiene import one_line
from chatserver.wire.lines import Undecodable

MAX_TAG = 64
BY_CMD: Final[dict[str, type[Command]]] = {str(kind.__struct_config__.tag): kind for kind in COMMANDS}


class Rejected(Exception):
    """A JSON object that is no command. `tag` is for the answer, None where there is no usable one."""

    def __init__(self, tag: Tag | None, refusal: Refused) -> None:
        super().__init__(tag, refusal)
        self.tag = tag
        self.refusal = refusal


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
        return gated(command)
    except Refused as refused:
        raise Rejected(tag, refused) from None


def _check_tag(tag: Tag) -> None:
    if type(tag) is str and (len(tag) > MAX_TAG or one_line(tag, "tag") != tag):
        raise bad(f"The field tag has {MAX_TAG} characters at most, in NFC.")


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
            raise missing("cmd")
        cmd = _checked_field(given, "cmd", str)
        if cmd not in BY_CMD:
            raise bad(_no_command(cmd))
        for known in structs.fields(BY_CMD[cmd]):
            if known.encode_name in given:
                _checked_field(given, known.encode_name, known.type)
            elif known.required:
                raise missing(known.encode_name)
    except Refused as refused:
        return Rejected(tag, refused)
    return Rejected(tag, bad("A field is in this object twice."))


def _checked_field(given: dict[str, Raw], name: str, kind: Any) -> Any:
    """One field, decoded. The reason names what may be sent, never what was."""
    if name not in given:
        return None
    try:
        return msgspec.json.decode(given[name], type=kind)
    except msgspec.ValidationError as error:
        choices = _choices(kind)
        if choices:
            raise bad(f"The field {name} is {', '.join(choices[:-1])} or {choices[-1]}.") from None
        reason = str(error).partition(" - at ")[0].replace("`", "")
        raise bad(f"The field {name} is wrong: {reason[:1].lower()}{reason[1:]}.") from None


def _choices(kind: Any) -> list[str]:
    literals = [part for part in (kind, *get_args(kind)) if get_origin(part) is Literal]
    return [choice for literal in literals for choice in get_args(literal)]


def _no_command(cmd: str) -> str:
    near = get_close_matches(cmd[:32], BY_CMD, n=1)
    return f"There is no such command. Did you mean {near[0]}?" if near else "There is no such command."


def _not_an_object() -> Undecodable:
    return Undecodable("This line is not one JSON object.")
