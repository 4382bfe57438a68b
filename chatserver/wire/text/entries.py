"""Entries of a room's log as lines for people."""

from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo
from itertools import accumulate, groupby
from typing import Final

from chatserver import events
from chatserver.events import Entry, EntryKind, RoomFacts
from chatserver.mentions import mentions
from chatserver.roomsettings import parse_pace, parse_recorded
from chatserver.times import parse_rfc3339
from chatserver.wire.dialect import Form, Rendered
from chatserver.wire.text.layout import LINE, clock, cut, date_line, date_words, line, local_day, notice

MARK = "» "
"""Precedes an entry that mentions its reader."""

ACTION = "~ "
"""Precedes what somebody does (`/me`). Nothing else begins like this, neither what is said nor what the server says,
whatever the name and the words are."""

MOST_BEFORE = 48
"""Cells of a room's label and an author's name, in front of a text that needs further lines."""
SHORT = 16


def rendered(facts: RoomFacts, entries: Sequence[Entry], form: Form, zone: tzinfo | None) -> Rendered:
    """One line per entry, or more if it is long or a message has several. A date line belongs to the entry that it
    precedes."""
    label, day, mark = facts.label(form.viewer), form.day, MARK if form.marked else ""
    shown = []
    for entry in entries:
        lines = _line(label, "", entry, zone, mark)
        before, day = day, local_day(entry.at, zone)
        if day != before:
            lines = date_line(day) + lines
        shown.append(lines)
    return Rendered(b"".join(shown), tuple(accumulate(map(len, shown))))


def removed(label: str, first: int) -> bytes:
    """The line that says that the entries of a room before this one are gone."""
    return notice(f"Messages before #{first} in {label} were removed.")


def log(
    logged: Iterable[tuple[RoomFacts, Entry]],
    viewer_id: int,
    zone: tzinfo | None,
    me: str = "",
    *,
    numbered: bool = True,
    dated: bool = True,
) -> bytes:
    """Past entries, with a date line above each day. Those that mention `me` are marked; "" marks none.

    `numbered`: with the number of each entry. Not `dated`: without the date line if all entries are of the same day.
    """
    days = [(day, list(of_day)) for day, of_day in groupby(logged, lambda pair: local_day(pair[1].at, zone))]
    return b"".join(
        (date_line(day) if dated or len(days) > 1 else b"")
        + b"".join(
            _line(
                facts.label(viewer_id),
                f"#{entry.seq} " if numbered else "",
                entry,
                zone,
                MARK if me and mentions(me, entry) else "",
            )
            for facts, entry in of_day
        )
        for day, of_day in days
    )


def _line(label: str, number: str, entry: Entry, zone: tzinfo | None, mark: str) -> bytes:
    if entry.kind == events.GAP:
        return removed(label, entry.seq + 1)
    text = f"[{label}] {number}{clock(entry.at, zone)} {mark}{_told(entry, zone)}"
    if len(text) > LINE and len(label) > SHORT:
        text = f"[{_short(label, entry)}{text[len(label) + 1 :]}"
    return line(text)


def _short(label: str, entry: Entry) -> str:
    """A label that leaves room on the first line for the author's name, of which nobody is to be in doubt."""
    return cut(label, max(SHORT, MOST_BEFORE - len(entry.author)))


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
        return f"{ACTION}{author} {entry.text[4:]}{after}"
    return f"{author}: {entry.text}{after}"


def _edited(entry: Entry, author: str) -> str:
    if not entry.text:  # the message has been erased since
        return f"-- {author} edited #{entry.of}"
    if entry.text.startswith("/me "):
        return f"{ACTION}{author} {entry.text[4:]} (edited #{entry.of})"
    return f"{author} (edited #{entry.of}): {entry.text}"


def _set(entry: Entry, author: str) -> str:
    chosen = [f"{name} {value}" for name, value in parse_recorded(entry.text).items()]
    pace = parse_pace(entry.text)
    if pace is not None:
        chosen.append(f"pace {pace} s" if pace else "pace off")
    return f"-- {author} set: {', '.join(chosen)}"


def _role(entry: Entry, author: str) -> str:
    article = "an" if entry.text.startswith("o") else "a"
    by = f" (by {author})" if entry.author_id else ""
    return f"-- {entry.target} is now {article} {entry.text}{by}"


def _until(entry: Entry, zone: tzinfo | None) -> str:
    until = parse_rfc3339(entry.text)
    if until is None:
        return ""
    local = until.astimezone(zone)
    day = "" if local.date() == local_day(entry.at, zone) else f" on {date_words(local)}"
    return f" until {clock(until, zone)}{day}"


def _why(entry: Entry) -> str:
    return f": {entry.text}" if entry.text else ""


TOLD: Final[dict[EntryKind, Callable[[Entry, str], str]]] = {
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
"""For each kind of entry but messages and mutes (which need a time zone), the words for it."""
