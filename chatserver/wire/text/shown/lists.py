"""Answers that are lists, laid out to the width of a terminal."""

from collections.abc import Iterator
from typing import Final

from chatserver.util.times import now
from chatserver.values import answers
from chatserver.wire.text.shown import help as pages
from chatserver.wire.text.shown.about import BOT, called
from chatserver.wire.text.shown.cells import cut, folded
from chatserver.wire.text.shown.columns import GAP, beside, names, table, wrapped
from chatserver.wire.text.shown.terminal import Terminal

NAME_COLUMN = 32
NUMBER_COLUMN = 6
BESIDE = 60
"""Minimum width of a terminal, in cells, on which the topic of a room stands beside its name."""

SCREENFUL = 15
"""Maximum number of lines of an outline: the first ones would scroll off a small screen."""


def rooms(answer: answers.RoomList, terminal: Terminal) -> Iterator[str]:
    if not answer.rooms:
        yield "There are no rooms to list. /create ROOM creates one."
        return
    wide = terminal.columns >= BESIDE
    most = NAME_COLUMN if wide else terminal.width - NUMBER_COLUMN - len(GAP)
    column = min(max(len(line.room) for line in answer.rooms), most)
    yield f"{'Room':{column}}  People  " + ("Topic (+ you are in it)" if wide else "(+ you are in it)")
    for line in answer.rooms:
        mark = "+" if line.role else " "
        shown = f"{line.room:{column}} {mark}{line.members:{NUMBER_COLUMN}}"
        if wide:
            yield cut(f"{shown}  {line.topic}", terminal.width).rstrip()
        else:
            yield "\n".join([shown, *(GAP + piece for piece in folded(line.topic, terminal.behind - len(GAP)))])
    if answer.more:
        yield f"More: /rooms {answer.rooms[-1].room}"


def at_least(unread: answers.Unread) -> str:
    """The number of unread messages, with a `+` if not all were counted."""
    return f"{unread.messages}+" if unread.partial else str(unread.messages)


def unread(answer: answers.UnreadList, terminal: Terminal) -> Iterator[str]:
    unread = [(status.unread, status.room) for status in answer.rooms if status.unread is not None]
    rows = [(at_least(one), str(one.mentions or ""), room) for one, room in unread]
    if any(mentions for _, mentions, _ in rows):
        yield from table(("Unread", "For you", "Room"), rows, terminal)
    elif rows:
        yield from table(("Unread", "Room"), [(count, room) for count, _, room in rows], terminal)
    if rows:
        yield from (
            f"Messages before #{status.gap.first} in {status.room} were removed."
            for status in answer.rooms
            if status.gap is not None and status.unread
        )
        if answer.more:
            yield f"More: /unread after={answer.rooms[-1].room}"
    else:
        yield "You have read everything."


def members(answer: answers.MemberList, terminal: Terminal) -> Iterator[str]:
    for online, heading in ((True, "here"), (False, "not here")):
        lines = [
            called(line.name, line.display, "" if line.role == "member" else line.role, BOT if line.bot else "")
            for line in answer.members
            if line.online == online
        ]
        if lines:
            count = f"{len(lines)} " if answer.whole else ""  # on a page it would be of no use
            yield from names(f"{answer.room}, {count}{heading}:", lines, terminal)
    if answer.more and answer.members:
        yield f"{answer.more} more: /members {answer.room} {answer.members[-1].name}"
    elif not answer.members:
        yield f"There are no more members of {answer.room}."


def users(answer: answers.UserList, terminal: Terminal) -> Iterator[str]:
    if len(answer.users) == 1 and not answer.more:
        yield _user(answer.users[0], terminal)
        return
    here = [_called(user) for user in answer.users if user.online]
    yield from names(f"{len(here)} here:", here, terminal) if here else ["Nobody is here."]
    away = [(_called(user), user.away) for user in answer.users if user.online and user.away]
    if away:
        yield from table(("Away", "Why"), away, terminal)
    gone = [
        (_called(user), terminal.short_time(user.last_seen) if user.last_seen else "")
        for user in answer.users
        if not user.online
    ]
    if gone:
        yield from table(("Not here", "Last seen"), gone, terminal)
    if answer.more:
        yield "There are more. /who NAME tells about one person, /members lists a room."


def _user(user: answers.UserLine, terminal: Terminal) -> str:
    name = _called(user)
    if user.online:
        return f"{name} is away: {user.away}" if user.away else f"{name} is here."
    if user.last_seen is None:
        return f"{name} is not here."
    day, time = terminal.date_words(user.last_seen), terminal.clock(user.last_seen)
    return f"{name} is not here, last seen on {day} at {time}."


def _called(user: answers.UserLine) -> str:
    return called(user.name, user.display, BOT if user.bot else "")


def tokens(answer: answers.TokenList, terminal: Terminal) -> Iterator[str]:
    if not answer.tokens:
        yield "You have no tokens. /token LABEL creates one."
        return
    yield from table(
        ("Created", "Last used", "Label"),
        [
            (
                terminal.short_time(line.created),
                terminal.short_time(line.last_used) if line.last_used else "never",
                line.label + _restrictions(line, terminal),
            )
            for line in answer.tokens
        ],
        terminal,
    )


def _restrictions(line: answers.TokenLine, terminal: Terminal) -> str:
    what = [
        f"until {terminal.short_time(line.expires)}" if line.expires else "",
        f"only {line.room}" if line.room else "",
        "read-only" if line.read_only else "",
    ]
    return f" ({', '.join(filter(None, what))})" if any(what) else ""


def sessions(answer: answers.SessionList, terminal: Terminal) -> Iterator[str]:
    if not answer.sessions:
        yield "No device of yours stays logged in."
        return
    yield from table(
        ("Number", "Last used", "From", "Device"),
        [(str(line.id), terminal.short_time(line.last_used), line.address, line.name) for line in answer.sessions],
        terminal,
    )


def bans(answer: answers.BanList, terminal: Terminal) -> Iterator[str]:
    if not answer.bans:
        yield "Nobody is banned here."
        return
    yield from table(
        ("Who", "Until", "By whom, and why"),
        [
            (
                line.name or line.address or "",
                terminal.short_time(line.until) if line.until else "permanent",
                f"{line.by}: {line.reason}" if line.reason else line.by,
            )
            for line in answer.bans
        ],
        terminal,
    )
    if answer.before is not None:
        yield f"More: /bans {answer.room or 'server'} before={answer.before}"


def reactions(answer: answers.ReactionList, terminal: Terminal) -> Iterator[str]:
    if not answer.reactions:
        yield f"Nobody reacts to #{answer.seq}."
    for line in answer.reactions:
        others = line.count - len(line.names)
        more = [f"{others} more" if line.names else str(others)] if others > 0 else []
        yield from wrapped(f"{line.reaction} ×{line.count}: ", [*line.names, *more], terminal)


def preferences(answer: answers.Preferences, terminal: Terminal) -> Iterator[str]:
    """The preferences of an account, and the defaults where it has set none."""
    at = answer.now or now()
    rows = [
        ("timezone", answer.timezone or f"{terminal.zone_words(at)} (as the server)"),
        ("clock", answer.clock or f"{terminal.hours} (default)"),
        ("bell", answer.bell or "off (default)"),
        ("numbers", answer.numbers or "off (default)"),
    ]
    if answer.room is not None:
        rows.append((f"notify in {answer.room}", answer.notify or "as the bell (default)"))
    yield from table(("Setting", "Value"), rows, terminal)
    yield f"It is {terminal.clock(at)} on {terminal.date_words(at)}. /help set explains these."


REGISTRATION: Final = {
    "open": "Anybody can register.",
    "code": "To register, you need a code: /register NAME PASSWORD code=CODE",
    "closed": "Nobody can register: the administrators create accounts.",
}


def server(answer: answers.ServerFacts) -> Iterator[str]:
    yield f"This is {answer.name} (chatserver {answer.version})."
    yield REGISTRATION[answer.registration] + (" Guests can log in: /guest" if answer.guests else "")
    if answer.tls_required:
        yield "Passwords are accepted over TLS only."
    yield f"Your connection is {'' if answer.tls else 'not '}encrypted."
    limits = answer.limits
    yield f"A message has at most {limits['text']} characters on {limits['lines']} lines."
    yield f"A password has at least {limits['password_least']} characters."
    if answer.contact:
        yield f"Contact: {answer.contact}"
    yield from filter(None, [answer.motd])


def help(about: str, terminal: Terminal) -> Iterator[str]:
    """The page of one command, the list of all, or an overview."""
    if about == pages.ALL:
        for group, commands in pages.GROUPS.items():
            yield from wrapped(f"{group}: ", [f"/{name}" for name in commands], terminal)
    elif about in pages.PAGES:
        page = pages.PAGES[about]
        yield page.usage
        pieces = folded(page.sentence + pages.also(about), terminal.width - len(GAP))
        yield from (GAP + piece for piece in pieces)
    else:
        outline = pages.GREETING if about == pages.FIRST else pages.OVERVIEW
        yield outline.sentence
        rows = list(beside(outline.rows, terminal))
        if sum(row.count("\n") + 1 for row in rows) > SCREENFUL:
            rows = list(wrapped("", [usage for usages, _ in outline.rows for usage in usages.split(", ")], terminal))
        yield from rows
