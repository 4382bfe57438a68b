"""Typed commands about people: who is here, and who may stay."""

from typing import Any

from chatserver.commands import (
    Away,
    Ban,
    Bans,
    Block,
    Command,
    Kick,
    Mute,
    Role,
    Unban,
    Unblock,
    Unmute,
    Who,
)
from chatserver.errors import ErrorWord, Refused
from chatserver.wire import textwords as w
from chatserver.wire.addresses import address, is_address
from chatserver.wire.hygiene import away_text, reason_text

SERVER = "server"
"""In the place of a room's name: all of them. A room of that name is #server."""


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
    who, seconds, reason = _sentence(rest)
    return Ban(name=_no_address(who, "gban"), room=room, seconds=seconds, reason=reason)


def gban(rest: str) -> Command:
    who, seconds, reason = _sentence(rest)
    return Ban(**_whom(who), seconds=seconds, reason=reason)


def unban(rest: str) -> Command:
    place, rest = w.placed(rest)
    who, *room = w.only(rest, 1, 1 if place else 2)
    return Unban(name=_no_address(who, "gunban"), room=place or w.optional_room("".join(room)))


def gunban(rest: str) -> Command:
    [who] = w.only(rest, 1, 1)
    return Unban(**_whom(who))


def bans(rest: str) -> Command:
    words = w.only(rest, 0, 1)
    if words and words[0].lower() == SERVER:
        return Bans()
    return Bans(room=w.optional_room(rest))


def _sentence(rest: str) -> tuple[str, int | None, str]:
    """Who, for how long, and why."""
    who, *more = w.split(rest, 1, 2)
    words = "".join(more).split(maxsplit=1)
    if words and w.is_span(words[0]):
        return who, w.seconds(words[0]), reason_text("".join(words[1:]))
    return who, None, reason_text("".join(more))


def _no_address(word: str, everywhere: str) -> str:
    if is_address(word):
        raise Refused(
            ErrorWord.BAD_COMMAND, f"An address is banned from the whole server, by its operators: /{everywhere}."
        )
    return w.name(word)


def _whom(word: str) -> dict[str, Any]:
    return {"address": address(word)} if is_address(word) else {"name": w.name(word)}
