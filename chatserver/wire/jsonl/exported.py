"""Reading an export of a room: lines of JSON back to values. The counterpart of `entries.py`."""

import re
from datetime import datetime
from typing import Final, Literal, TypeVar, get_args

import msgspec
from msgspec import Struct, field

from chatserver.util.times import parse_rfc3339, rfc3339
from chatserver.values import events
from chatserver.values.events import EntryKind, Role, RoomKind
from chatserver.values.recorded import PACE, Renaming, recorded, recorded_renaming
from chatserver.wire.hygiene.text import MAX_FIELD

LONGEST_TEXT: Final = 16_384
"""Maximum number of characters of a text, in all versions."""

_UNSTORABLE: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_NAME: Final = re.compile(r"~?[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_KINDS: Final = frozenset(get_args(EntryKind))

Line = TypeVar("Line", bound=Struct)


class WrongLine(Exception):
    """The line is not of an export. The text says why."""


class RoomHead(Struct, frozen=True):
    """The room, in the first line. `entries`, `first`: the minimum number of entries, and the first seq."""

    name: str
    kind: RoomKind
    created: str
    topic: str = ""
    entries: int = 0
    first: int = 1
    deactivated: str | None = None
    created_by: str | None = None
    past: Literal["open", "closed"] = "closed"
    invites: Literal["members", "moderators"] = "members"
    pace: int = 0
    keep_days: float | None = None
    keep_entries: int | None = None


class MemberHead(Struct, frozen=True):
    name: str
    role: Role
    joined: int
    read: int
    bot: bool = False


class Head(Struct, frozen=True):
    """The first line."""

    room: RoomHead
    members: list[MemberHead] = []


class _EntryLine(Struct, frozen=True):
    event: str
    seq: int
    at: str
    from_: str = field(name="from", default="")
    name: str = ""
    by: str = ""
    role: str = ""
    reason: str = ""
    until: str = ""
    past: str | None = None
    invites: str | None = None
    pace: int | None = None
    text: str = ""
    of: int | None = None
    re: int | None = None
    reaction: str = ""
    to: str = ""
    display: str = ""
    id: str | None = None
    edited: bool = False
    erased: bool = False
    bot: bool = False


class EntryRead(Struct, frozen=True):
    """An entry as a row has it, but with names for accounts; "": none. `bot`: the author is a bot."""

    seq: int
    kind: str
    author: str
    target: str
    at: datetime
    text: str
    of: int | None
    state: str | None
    client_id: str | None
    bot: bool = False


_head = msgspec.json.Decoder(Head)
_entry = msgspec.json.Decoder(_EntryLine)


def head(line: bytes) -> Head:
    """Raises WrongLine."""
    found = _decoded(_head, line, "This is no export of a room")
    _check_text(found.room.topic)
    moment(found.room.created)
    return found


def entry(line: bytes) -> EntryRead:
    """Raises WrongLine."""
    read = _decoded(_entry, line, "This is no entry")
    if read.event not in _KINDS:
        raise WrongLine(f"there are no entries of the kind {read.event}")
    author, target, text = _meaning(read)
    _check_text(text)
    for name in (author, target):
        if name and not _NAME.fullmatch(name):
            raise WrongLine("the name of an account has characters that names do not have")
    if read.id is not None and (len(read.id) > MAX_FIELD or _UNSTORABLE.search(read.id) or "\n" in read.id):
        raise WrongLine("the id is too long, or has characters that cannot be stored")
    of = read.re if read.event == events.MESSAGE else read.of
    if not 1 <= read.seq < 1 << 36 or (of is not None and not 1 <= of < read.seq):
        raise WrongLine("its number, or that of the message that it is about, is wrong")
    state = events.ERASED if read.erased else events.EDITED if read.edited else None
    client_id = read.id if read.event == events.MESSAGE else None
    return EntryRead(read.seq, read.event, author, target, moment(read.at), text, of, state, client_id, read.bot)


def moment(text: str) -> datetime:
    """Raises WrongLine."""
    at = parse_rfc3339(text)
    if at is None:
        raise WrongLine(f"{text[:40]} is no time in the form 2026-03-02T10:02:00.123Z")
    return at


def _meaning(read: _EntryLine) -> tuple[str, str, str]:
    """The author, the target and the text of an entry."""
    match read.event:
        case events.MESSAGE:
            return read.from_, "", "" if read.erased else read.text
        case events.JOINED | events.LEFT:
            return read.name, "", ""
        case events.SET:
            settings = {"past": read.past, "invites": read.invites, PACE: read.pace}
            return read.by, "", recorded(settings)
        case events.KICKED | events.BANNED:
            return read.by, read.name, read.reason
        case events.MUTED:
            return read.by, read.name, rfc3339(moment(read.until)) if read.until else ""
        case events.ROLE:
            return read.by, read.name, read.role
        case events.UNBANNED | events.UNMUTED:
            return read.by, read.name, ""
        case events.RENAMED:
            return read.to, "", recorded_renaming(Renaming(read.name, read.to, read.display))
        case events.REACTED | events.UNREACTED:
            return read.by, "", read.reaction
        case _:
            return read.by, "", read.text


def _decoded(decoder: msgspec.json.Decoder[Line], line: bytes, what: str) -> Line:
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise WrongLine(f"{what} ({error})") from None


def _check_text(text: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise WrongLine(f"the text has more than {LONGEST_TEXT:,} characters")
    bad = _UNSTORABLE.search(text)
    if bad is not None:
        raise WrongLine(f"the text has the character U+{ord(bad[0]):04X}")
