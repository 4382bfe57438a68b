"""The tag and the name of a command on a line that is too long, from the two ends of the line.

The members at the beginning are read forwards. Those at the end are read backwards: the last `}` closes the object, so
the value in front of it, its name and so on are outside of any text, as long as no text there contains a quotation mark
or a backslash. Neither way takes what stands in a text, or in an object inside, for a member.
"""

import re
from typing import Final

import msgspec

from chatserver.values.commands import Tag
from chatserver.values.errors import Refused
from chatserver.wire.jsonl.parse import checked_tag, known

_TEXT: Final = rb'"(?:[^"\\]|\\.)*"'
_PLAIN: Final = rb'"[^"\\]*"'
_OTHER: Final = rb"-?[0-9][0-9.eE+-]*|true|false|null"
_FIRST: Final = re.compile(rb"\s?(" + _TEXT + rb")\s?:\s?(" + _TEXT + rb"|" + _OTHER + rb")\s?,", re.DOTALL)
_LAST: Final = re.compile(rb",\s?(" + _PLAIN + rb")\s?:\s?(" + _PLAIN + rb"|" + _OTHER + rb")\s?$")


def label(start: bytes, end: bytes) -> tuple[Tag | None, str]:
    """The tag and the name, or None and "" where they cannot be read. White space is understood as far as programs
    usually write it: one blank."""
    members: dict[bytes, bytes] = {}
    if start[:1] == b"{":
        at = 1
        while member := _FIRST.match(start, at):
            members[member[1]] = member[2]
            at = member.end()
    end = end.rstrip()
    if end[-1:] == b"}":
        end = end[:-1]
        last: dict[bytes, bytes] = {}
        while member := _LAST.search(end):
            last.setdefault(member[1], member[2])
            end = end[: member.start()]
        members |= last
    return _tag(members.get(b'"tag"')), _cmd(members.get(b'"cmd"'))


def _tag(text: bytes | None) -> Tag | None:
    try:
        tag: Tag | None = None if text is None else msgspec.json.decode(text, type=Tag)
        return None if tag is None else checked_tag(tag)
    except (msgspec.DecodeError, UnicodeDecodeError, Refused):
        return None


def _cmd(text: bytes | None) -> str:
    try:
        return known(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
