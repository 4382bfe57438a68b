"""JSON Lines to commands."""

from collections.abc import Callable
from typing import Any, Final, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Raw, structs

from chatserver.values.commands import COMMANDS, Command, Tag
from chatserver.values.errors import Refused, Rejected
from chatserver.values.stages import Stage
from chatserver.wire.framing.lines import Undecodable
from chatserver.wire.hygiene.text import one_line
from chatserver.wire.jsonl.check import bad, checked, missing
from chatserver.wire.typos import alike

MAX_TAG = 64
"""In characters."""

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
            tag = _checked_tag(command.tag)
        return checked(command)
    except Refused as refused:
        return Rejected(refused, tag)


def _checked_tag(tag: Tag) -> Tag:
    if type(tag) is str and (len(tag) > MAX_TAG or one_line(tag, "tag") != tag):
        raise bad(f"The field tag can have at most {MAX_TAG} characters and must be in NFC.")
    if type(tag) is int and not -(2**63) <= tag < 2**64:
        raise bad("The field tag is too large a number: it can have 64 bits.")
    return tag


def _rejected(line: str) -> Rejected:
    """Finds what is wrong with JSON that is not a command, to explain it in the protocol's words, not msgspec's."""
    try:
        given = _decode_fields(line)
    except (msgspec.DecodeError, RecursionError):
        raise _not_an_object() from None
    tag: Tag | None = None
    try:
        sent = _checked_field(given, "tag", Tag | None)
        if sent is not None:
            tag = _checked_tag(sent)
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
        return Rejected(refused, tag)
    return Rejected(bad("This object has the same field twice."), tag)


def _checked_field(given: dict[str, Raw], name: str, kind: Any) -> Any:
    """One field, decoded; None if it is absent. The refusal names what is allowed and never quotes what was sent."""
    if name not in given:
        return None
    try:
        return msgspec.json.decode(given[name], type=kind)
    except msgspec.ValidationError as error:
        choices = _choices(kind)
        if choices:
            raise bad(f"The field {name} must be {', '.join(choices[:-1])} or {choices[-1]}.") from None
        reason = str(error).partition(" - at ")[0].replace("`", "")
        raise bad(f"The field {name} is wrong: {reason[:1].lower()}{reason[1:]}.") from None


def _choices(kind: Any) -> list[str]:
    literals = [part for part in (kind, *get_args(kind)) if get_origin(part) is Literal]
    return [choice for literal in literals for choice in get_args(literal)]


def _no_command(cmd: str) -> str:
    near = alike(cmd.lower(), BY_CMD)
    return f"There is no such command. Did you mean {near[0]}?" if near else "There is no such command."


def _not_an_object() -> Undecodable:
    return Undecodable("This line is not a JSON object.")
