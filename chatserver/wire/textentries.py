"""Entries of a room's log, as people read them."""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo
from itertools import groupby
from typing import Final

from chatserver import events
from chatserver.events import Entry, RoomFacts
from chatserver.wire.recorded import moment, settings
from chatserver.wire.textlines import clock, date_line, date_words, line

MARK = "» "
"""Before what mentions its reader."""

_SPOKEN = (events.MESSAGE, events.EDITED)
_WORD = re.compile(r"[\w~-]+")


def entries(facts: RoomFacts, entries: Sequence[Entry], viewer_id: int, zone: tzinfo | None, me: str = "") -> bytes:
    """A line for each, or more where a message has more. `zone` None is the server's.

    With `me`, the name of who reads it, what mentions them is marked.
    """
    label = facts.label(viewer_id)
    return b"".join([_line(label, "", entry, zone, me) for entry in entries])


def log(
    logged: Iterable[tuple[RoomFacts, Entry]],
    viewer_id: int,
    zone: tzinfo | None,
    me: str = "",
    *,
    numbered: bool = True,
    dated: bool = True,
) -> bytes:
    """What is past, each day's with its date above, and where wanted with its numbers.

    Not `dated`: without a date if it is all of one day.
    """
    days = [(day, list(of_day)) for day, of_day in groupby(logged, lambda pair: pair[1].at.astimezone(zone).date())]
    return b"".join(
        (date_line(day) if dated or len(days) > 1 else b"")
        + b"".join(
            _line(facts.label(viewer_id), f"#{entry.seq} " if numbered else "", entry, zone, me)
            for facts, entry in of_day
        )
        for day, of_day in days
    )


def mentioned(entries: Iterable[Entry]) -> frozenset[str]:
    """All words that are said in these, in the form of `str.casefold`: whose name is none of them is not mentioned."""
    said = "\n".join([entry.text for entry in entries if entry.kind in _SPOKEN]).casefold()
    words = frozenset(_WORD.findall(said))
    return words.union([word.strip("_-") for word in words])


def mentions(name: str, entries: Iterable[Entry]) -> bool:
    """Whether somebody else says this name in one of these, as a whole word, with or without an `@`."""
    key = name.casefold()
    return key in mentioned(
        entry for entry in entries if key in entry.text.casefold() and entry.author.casefold() != key
    )


def _line(label: str, number: str, entry: Entry, zone: tzinfo | None, me: str) -> bytes:
    mark = MARK if me and mentions(me, (entry,)) else ""
    return line(f"[{label}] {number}{clock(entry.at, zone)} {mark}{_told(entry, zone)}")


def _told(entry: Entry, zone: tzinfo | None) -> str:
    author = entry.author if entry.author_id else "the server"
    if entry.kind == events.MESSAGE:
        return _message(entry, author)
    if entry.kind in TOLD:
        return TOLD[entry.kind](entry, author)
    if entry.kind == events.MUTED:
        return f"-- {entry.target} was muted by {author}{_until(entry, zone)}"
    raise ValueError(f"an entry of unknown kind {entry.kind!r}")


def _message(entry: Entry, author: str) -> str:
    if entry.state == events.ERASED:
        return "-- erased"
    after = " (edited)" if entry.state == events.EDITED else ""
    if not entry.author_id:
        return f"* {entry.text}{after}"
    if entry.text.startswith("/me "):
        return f"* {author} {entry.text[4:]}{after}"
    return f"{author}: {entry.text}{after}"


def _edited(entry: Entry, author: str) -> str:
    if not entry.text:  # erased since
        return f"-- {author} edited #{entry.of}"
    if entry.text.startswith("/me "):
        return f"* {author} {entry.text[4:]} (edited #{entry.of})"
    return f"{author} (edited #{entry.of}): {entry.text}"


def _set(entry: Entry, author: str) -> str:
    chosen = [f"{name} {value}" for name, value in settings(entry.text).items()]
    return f"-- {author} set: {', '.join(chosen)}"


def _role(entry: Entry, author: str) -> str:
    article = "an" if entry.text.startswith("o") else "a"
    by = f" (by {author})" if entry.author_id else ""
    return f"-- {entry.target} is {article} {entry.text} now{by}"


def _until(entry: Entry, zone: tzinfo | None) -> str:
    until = moment(entry.text)
    if until is None:
        return ""
    local = until.astimezone(zone)
    day = "" if local.date() == entry.at.astimezone(zone).date() else f" on {date_words(local)}"
    return f" until {clock(until, zone)}{day}"


def _why(entry: Entry) -> str:
    return f": {entry.text}" if entry.text else ""


TOLD: Final[dict[str, Callable[[Entry, str], str]]] = {
    events.JOINED: lambda entry, author: f"-- {author} joined",
    events.LEFT: lambda entry, author: f"-- {author} left",
    events.TOPIC: lambda entry, author: (
        f"-- {author} set the topic: {entry.text}" if entry.text else f"-- {author} removed the topic"
    ),
    events.CREATED: lambda entry, author: f"-- {author} created the room{_why(entry)}",
    events.DELETED: lambda entry, author: f"-- {author} deleted the room",
    events.SET: _set,
    events.KICKED: lambda entry, author: f"-- {entry.target} was kicked by {author}{_why(entry)}",
    events.BANNED: lambda entry, author: f"-- {entry.target} was banned by {author}{_why(entry)}",
    events.UNBANNED: lambda entry, author: f"-- {entry.target} was unbanned by {author}",
    events.UNMUTED: lambda entry, author: f"-- {entry.target} was unmuted by {author}",
    events.ROLE: _role,
    events.EDITED: _edited,
    events.ERASED: lambda entry, author: f"-- {author} erased #{entry.of}",
}
"""What happened, by kind. A mute also needs a time zone."""
