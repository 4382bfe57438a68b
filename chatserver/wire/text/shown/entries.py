"""Entries of a room's log as lines for people."""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, groupby
from typing import Final

from chatserver.util.times import parse_rfc3339
from chatserver.values import events
from chatserver.values.events import Entry, EntryKind, RoomFacts
from chatserver.values.mentions import answers, mentions
from chatserver.values.recorded import parse_pace, parse_recorded, parse_renaming
from chatserver.wire.dialect import Form, Rendered
from chatserver.wire.text.shown.about import BOT, called, message, quoted, reacted
from chatserver.wire.text.shown.cells import cut, most_cells
from chatserver.wire.text.shown.layout import date_line, notice, said
from chatserver.wire.text.shown.terminal import Terminal

MARK = "» "
"""Precedes an entry that mentions its reader, or answers them."""

NEW = "--- new ---"
"""Precedes the first entry that its reader has not seen."""

ACTION = "~ "
"""Precedes an action (`/me`). No message and no line of the server begins like this, whatever the name and the words
are."""

LEAST_DISPLAY = 8
"""Minimum width of a display name, in cells."""

BELL = b"\a"
"""Follows the words of an entry, for people who want to hear it. Only the server can send it."""


def rendered(facts: RoomFacts, entries: Sequence[Entry], form: Form, terminal: Terminal) -> Rendered:
    """One line per entry, or more if it is long or a message has several. A date line belongs to the entry that it
    precedes."""
    label, day, mark = facts.label(form.viewer), form.day, MARK if form.marked else ""
    bell = form.screen.bell
    rings = bell == "on" or (bell == "mentions" and (form.marked or facts.pair is not None))
    shown = []
    for entry in entries:
        number = f"#{entry.seq} " if form.screen.numbers else ""
        lines = _line(label, entry, terminal, mark, number, aside=form.aside)
        if rings and (form.marked or entry.kind == events.MESSAGE):
            lines = lines[:-2] + BELL + lines[-2:]
        before, day = day, terminal.day(entry.at)
        if day != before:
            lines = date_line(day, terminal) + lines
        shown.append(lines)
    return Rendered(b"".join(shown), tuple(accumulate(map(len, shown))))


def removed(label: str, first: int, terminal: Terminal) -> bytes:
    """The line for removed messages of a room, before entry `first`."""
    return notice(f"Messages before #{first} in {label} were removed.", terminal)


def log(
    logged: Iterable[tuple[RoomFacts, Entry]],
    viewer_id: int,
    terminal: Terminal,
    me: str = "",
    *,
    numbered: bool = True,
    dated: bool = True,
    new: int = 0,
) -> bytes:
    """Past entries, with a date line above each day. Those that mention `me` are marked; "" marks none.

    `numbered`: with the number of each entry. Not `dated`: without the date line if all entries are of the same day.
    `new`: a line precedes the entry with this number.
    """
    days = [(day, list(of_day)) for day, of_day in groupby(logged, lambda pair: terminal.day(pair[1].at))]
    return b"".join(
        (date_line(day, terminal) if dated or len(days) > 1 else b"")
        + b"".join(
            (notice(NEW, terminal) if new and entry.seq == new else b"")
            + _line(
                facts.label(viewer_id),
                entry,
                terminal,
                MARK if me and (mentions(me, entry) or answers(viewer_id, entry)) else "",
                f"#{entry.seq} " if numbered else "",
            )
            for facts, entry in of_day
        )
        for day, of_day in days
    )


def _line(label: str, entry: Entry, terminal: Terminal, mark: str, number: str = "", *, aside: bool = False) -> bytes:
    if entry.kind == events.GAP:
        return removed(label, entry.seq + 1, terminal)
    time = f"{number}{terminal.clock(entry.at)} {mark}"
    told = _told(entry, named(entry), terminal)
    if (entry.display or len(label) > terminal.short) and most_cells(label + time + told) + 3 > terminal.columns:
        author = named(entry, terminal.most_before - len(entry.author) - len(time))
        label = cut(label, max(terminal.short, terminal.most_before - most_cells(author)))
        told = _told(entry, author, terminal)
    return said(f"({label}) {time}" if aside else f"[{label}] {time}", told, terminal)


def named(entry: Entry, most: int | None = None) -> str:
    """The label of its author. `most`: maximum width of a display name, in cells, where space is short."""
    if not entry.author_id:
        return "the server"
    display = entry.display
    if not display and not entry.bot:  # nearly always
        return entry.author
    if display and most is not None:
        display = cut(display, max(most, LEAST_DISPLAY))
    return called(entry.author, display, BOT if entry.bot else "")


def _told(entry: Entry, author: str, terminal: Terminal) -> str:
    if entry.kind == events.MESSAGE:
        return _message(entry, author, terminal)
    if entry.kind in TOLD:
        return TOLD[entry.kind](entry, author)
    if entry.kind in ABOUT:
        return f"-- {author} {ABOUT[entry.kind]} {message(entry, terminal)}{_why(entry)}"
    if entry.kind == events.MUTED:
        return f"-- {entry.target} was muted by {author}{_until(entry, terminal)}"
    raise ValueError(f"an entry of unknown kind {entry.kind!r}")


def _message(entry: Entry, author: str, terminal: Terminal) -> str:
    if entry.state == events.ERASED:
        return "-- erased"
    after = " (edited)" if entry.state == events.EDITED else ""
    about = ""  # stands in front of the words, so that nobody can type it
    if entry.of:
        about = quoted(entry, terminal)
    if entry.reactions:
        about += reacted(entry, terminal)
    if not entry.author_id:
        return f"{about[1:]} * {entry.text}{after}" if about else f"* {entry.text}{after}"
    if entry.text.startswith("/me "):
        action = f"{ACTION}{author} {entry.text[4:]}{after}"
        return f"{about[1:]} {action}" if about else action
    return f"{author}{about}: {entry.text}{after}"


def _edited(entry: Entry, author: str) -> str:
    if not entry.text:  # the message has been erased since
        return f"-- {author} edited #{entry.of}"
    if entry.text.startswith("/me "):
        return f"{ACTION}{author} {entry.text[4:]} (edited #{entry.of})"
    return f"{author} (edited #{entry.of}): {entry.text}"


def _renamed(entry: Entry, author: str) -> str:
    renaming = parse_renaming(entry.text)
    if not renaming.name:  # the account has been erased since
        return f"-- {author} had another name before"
    if renaming.name == renaming.former and not renaming.display:
        return f"-- {renaming.name} has no display name any more"
    return f"-- {renaming.former} is now called {called(renaming.name, renaming.display)}"


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


def _until(entry: Entry, terminal: Terminal) -> str:
    until = parse_rfc3339(entry.text)
    if until is None:
        return ""
    day = "" if terminal.day(until) == terminal.day(entry.at) else f" on {terminal.date_words(until)}"
    return f" until {terminal.clock(until)}{day}"


def _why(entry: Entry) -> str:
    return f": {entry.text}" if entry.text else ""


TOLD: Final[dict[EntryKind, Callable[[Entry, str], str]]] = {
    events.JOINED: lambda entry, author: f"-- {author} joined",
    events.LEFT: lambda entry, author: f"-- {author} left",
    events.TOPIC: lambda entry, author: (
        f"-- {author} set the topic{_why(entry)}"
        if entry.text or entry.state == events.ERASED
        else f"-- {author} removed the topic"
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
    events.UNREACTED: lambda entry, author: f"-- {author} took back the reaction to #{entry.of}{_why(entry)}",
    events.UNPINNED: lambda entry, author: f"-- {author} unpinned #{entry.of}",
    events.RENAMED: _renamed,
}
"""For each kind of entry but messages, mutes (which need a time zone) and those in ABOUT, the words for it."""

ABOUT: Final[dict[EntryKind, str]] = {
    events.REACTED: "reacted to",
    events.PINNED: "pinned",
}
"""For each kind of entry that is about a message, the words between its author and the message."""
