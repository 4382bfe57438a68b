"""Typed commands about messages: sending, finding, changing and reading them."""

import re
from typing import Any, Final, cast

from chatserver.values.commands import (
    CURRENT,
    Amend,
    Command,
    Edit,
    Erase,
    Has,
    History,
    Look,
    Mentions,
    Missed,
    Paste,
    Pin,
    Pins,
    React,
    Reactions,
    Read,
    ReadAll,
    Replies,
    Reply,
    Respond,
    Retry,
    Say,
    Search,
    ToLast,
    Unpin,
    Unread,
)
from chatserver.wire.hygiene.text import message_text, reaction_text, search_text
from chatserver.wire.text.typed import words as w

_AMENDED = re.compile(r"\s*s/((?:\\.|[^/\\])+)/((?:\\.|[^/\\])*)/(g?)\s*")
_ESCAPED = re.compile(r"\\([/\\])")


def say(rest: str) -> Command:
    room, text = w.split(rest, 2, 2)
    return Say(room=w.room(room), text=message_text(text))


def me(rest: str) -> Command:
    [action] = w.split(rest, 1, 1)
    return Say(room=CURRENT, text=message_text(f"/me {action}"))


def paste(rest: str) -> Command:
    w.nothing(rest)
    return Paste()


def msg(rest: str) -> Command:
    name, text = w.split(rest, 2, 2)
    return Say(room=w.direct(name), text=message_text(text))


def query(rest: str) -> Command:
    words = w.split(rest, 1, 2)
    return msg(rest) if len(words) == 2 else Look(room=w.direct(words[0]))


def reply(rest: str) -> Command:
    room, seq, text = w.addressed(rest)
    if not text:
        raise w.Misused
    if seq is None:
        return ToLast(what="reply", room=room, words=message_text(text))
    return Reply(room=room, seq=seq, text=message_text(text))


def respond(rest: str) -> Command:
    [text] = w.split(rest, 1, 1)
    return Respond(text=message_text(text))


def thread(rest: str) -> Command:
    chosen, words = w.options(rest.split(), "after")
    room, seq = w.room_and_seq(words)
    if seq is None:
        raise w.Misused
    return Replies(room=room, seq=seq, after=w.seq(chosen["after"]) if chosen else 0)


def react(rest: str) -> Command:
    return _react(rest, remove=False)


def unreact(rest: str) -> Command:
    return _react(rest, remove=True)


def _react(rest: str, *, remove: bool) -> Command:
    room, seq, text = w.addressed(rest)
    if seq is not None and text:
        return React(room=room, seq=seq, reaction=reaction_text(text), remove=remove)
    *name, word = w.only(text, 1, 2)
    words = " ".join([*(w.short(one, "name") for one in name), reaction_text(word)])
    return ToLast(what="unreact" if remove else "react", room=room, words=words)


def reactions(rest: str) -> Command:
    room, seq = w.room_and_seq(rest.split())
    if seq is None:
        raise w.Misused
    return Reactions(room=room, seq=seq)


def pin(rest: str) -> Command:
    room, seq = w.room_and_seq(rest.split())
    if seq is None:
        raise w.Misused
    return Pin(room=room, seq=seq)


def unpin(rest: str) -> Command:
    room, seq = w.room_and_seq(rest.split())
    if seq is None:
        raise w.Misused
    return Unpin(room=room, seq=seq)


def pins(rest: str) -> Command:
    chosen, words = w.options(rest.split(), "before")
    return Pins(room=w.optional_room(" ".join(words)), before=w.seq(chosen["before"]) if chosen else None)


def edit(rest: str) -> Command:
    """Without a number, the text replaces that of one's last message. A number alone lacks the text."""
    room, seq, text = w.addressed(rest)
    if not text:
        raise w.Misused
    return Edit(room=room, seq=seq, text=message_text(text))


def erase(rest: str) -> Command:
    room, seq = w.room_and_seq(rest.split())
    return Erase(room=room, seq=seq)


def amend(line: str) -> Command | None:
    """The command for `s/old/new/` alone on a line; None for any other line. Within the words, a slash is `\\/` and a
    backslash may be `\\\\`."""
    found = _AMENDED.fullmatch(line)
    if found is None:
        return None
    old, new = (_ESCAPED.sub(r"\1", words) for words in found.group(1, 2))
    return Amend(old=old, new=new, every=bool(found[3]))


def history(rest: str) -> Command:
    chosen, words = w.options(rest.split(), "before", "after", "since")
    room, limit = w.room_and_number(words)
    if limit == 0 or len(chosen) > 1:
        raise w.Misused
    fields: dict[str, Any] = {"limit": limit} if limit is not None else {}
    for name, value in chosen.items():
        fields[name] = w.short(value, name) if name == "since" else w.seq(value)
    return History(room=room, **fields)


def search(rest: str) -> Command:
    words = rest.split()
    room = None
    # `@bob` alone is the text to search for; before other words it is the room to search.
    if words and (words[0].startswith("#") or (words[0].startswith("@") and len(words) > 1)):
        room, words = w.room(words[0]), words[1:]
    fields: dict[str, Any] = {}
    has: list[Has] = []
    text: list[str] = []
    for found in _SEARCHED.finditer(" ".join(words)):
        name, value = (found["name"] or "").lower(), (found["value"] or "").strip('"')
        if name == "has" and value in ("link", "reply"):
            has.append(cast(Has, value))
        elif not name or (name == "before" and text):
            text.append(found[0])
        elif name in fields or (name == "order" and value not in ("newest", "best")) or name == "has":
            raise w.Misused
        elif name == "before":
            fields[name] = w.seq(value)
        elif name == "from":
            fields["author"] = w.name(value)
        else:
            fields[name] = value if name == "order" else w.short(value, name)
    if not text and not has and "author" not in fields:
        raise w.Misused
    words_and_phrases = search_text(" ".join(text)) if text else ""
    return Search(text=words_and_phrases, room=room, has=tuple(has), **fields)


_SEARCHED: Final = re.compile(
    r"(?P<name>from|since|until|has|order|before)(?:(?<!before):|=)(?P<value>\"[^\"]+\"|[^\s\"]+)(?!\S)|\"[^\"]*\"|[^\s\"]+|\"",
    re.IGNORECASE,
)
"""An option of a search, a phrase or a word."""


def mentions(rest: str) -> Command:
    chosen, words = w.options(rest.split(), "before")
    w.nothing(" ".join(words))
    return Mentions(before=w.seq(chosen["before"]) if chosen else None)


def read(rest: str) -> Command:
    """Up to an entry; with `back` behind it, what comes after it is unread again."""
    words = rest.split()
    back = len(words) > 1 and words[-1].lower() == "back"
    room, seq = w.room_and_seq(words[:-1] if back else words)
    if back and seq is None:
        raise w.Misused
    return Read(room=room, seq=w.NEWEST if seq is None else seq, back=back)


def catchup(rest: str) -> Command:
    words = w.only(rest, 0, 1)
    return Read(room=w.room(words[0]), seq=w.NEWEST) if words else ReadAll()


def unread(rest: str) -> Command:
    """A room's unread messages; without a room, the rooms with any, a page at a time."""
    chosen, words = w.options(w.only(rest, 0, 1), "after")
    if words:
        return Missed(room=w.room(words[0]))
    return Unread(after=w.room(chosen["after"]) if chosen else "")


def retry(rest: str) -> Command:
    w.nothing(rest)
    return Retry()
