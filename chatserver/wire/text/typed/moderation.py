"""Typed commands about moderation: roles, kicks, mutes and bans."""

from typing import Any

from chatserver.values.commands import Ban, Bans, Command, Kick, Mute, Role, Unban, Unmute
from chatserver.values.errors import Refused, Why
from chatserver.wire.addresses import address, is_address
from chatserver.wire.hygiene.text import reason_text
from chatserver.wire.text.typed import words as w

SERVER = "server"
"""Means the whole server in place of a room. A room of that name is typed as #server."""

YES = "--yes"
"""Confirms a ban that looks like a mistake."""


def role(rest: str) -> Command:
    place, rest = w.placed(rest)
    name, word, *room = w.only(rest, 2, 2 if place else 3)
    chosen: Any = w.choice(word, "owner", "moderator", "member")
    return Role(room=place or w.optional_room("".join(room)), name=w.name(name), role=chosen)


def kick(rest: str) -> Command:
    room, rest = w.placed(rest)
    name, *reason = w.split(rest, 1, 2)
    return Kick(room=room, name=w.name(name), reason=reason_text("".join(reason)))


def mute(rest: str) -> Command:
    room, rest = w.placed(rest)
    name, *span = w.only(rest, 1, 2)
    return Mute(room=room, name=w.name(name), seconds=w.seconds(span[0]) if span else None)


def unmute(rest: str) -> Command:
    name, room = w.name_and_room(rest)
    return Unmute(room=room, name=name)


def ban(rest: str) -> Command:
    room, rest = w.placed(rest)
    who, seconds, reason = _who_how_long_why(rest)
    return Ban(name=_name_only(who, "gban"), room=room, seconds=seconds, reason=reason)


def gban(rest: str) -> Command:
    first, *more = w.split(rest, 1, 2)
    yes = first == YES
    who, seconds, reason = _who_how_long_why("".join(more) if yes else rest)
    return Ban(**_name_or_address(who), seconds=seconds, reason=reason, yes=yes)


def unban(rest: str) -> Command:
    place, rest = w.placed(rest)
    who, *room = w.only(rest, 1, 1 if place else 2)
    return Unban(name=_name_only(who, "gunban"), room=place or w.optional_room("".join(room)))


def gunban(rest: str) -> Command:
    [who] = w.only(rest, 1, 1)
    return Unban(**_name_or_address(who))


def bans(rest: str) -> Command:
    words = w.only(rest, 0, 2)
    before, _ = w.before(words[-1:])
    if before is not None:
        words.pop()
    [room] = w.only(" ".join(words), 0, 1) or [""]
    return Bans(room=None if room.lower() == SERVER else w.optional_room(room), before=before)


def _who_how_long_why(rest: str) -> tuple[str, int | None, str]:
    """The target, the seconds (None: no end) and the reason."""
    who, *more = w.split(rest, 1, 2)
    words = "".join(more).split(maxsplit=1)
    if words and w.is_span(words[0]):
        return who, w.seconds(words[0]), reason_text("".join(words[1:]))
    return who, None, reason_text("".join(more))


def _name_only(word: str, everywhere: str) -> str:
    """A name. An address is refused with a pointer to `everywhere`, the command that takes one."""
    if is_address(word):
        raise Refused(Why.BAN_OF_ADDRESS, everywhere=everywhere)
    return w.name(word)


def _name_or_address(word: str) -> dict[str, Any]:
    return {"address": address(word)} if is_address(word) else {"name": w.name(word)}
