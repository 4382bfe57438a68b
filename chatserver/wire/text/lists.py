"""Answers that are lists, on lines of at most 80 cells."""

from collections.abc import Iterator
from datetime import tzinfo

from chatserver import answers
from chatserver.wire.text import help as pages
from chatserver.wire.text.layout import GAP, WIDTH, clock, cut, date_words, folded, names, short_time, table, wrapped

NAME_COLUMN = 32


def rooms(answer: answers.RoomList) -> Iterator[str]:
    if not answer.rooms:
        yield "There are no rooms to list. /create ROOM creates one."
        return
    column = min(max(len(line.room) for line in answer.rooms), NAME_COLUMN)
    yield f"{'Room':{column}}  People  Topic (+ you are in it)"
    for line in answer.rooms:
        mark = "+" if line.role else " "
        yield cut(f"{line.room:{column}} {mark}{line.members:6}  {line.topic}").rstrip()
    if answer.more:
        yield f"More: /rooms {answer.rooms[-1].room}"


def unread(answer: answers.UnreadList) -> Iterator[str]:
    rows = [(str(status.unread), status.room) for status in answer.rooms if status.unread]
    if rows:
        yield from table(("Unread", "Room"), rows)
        yield from (
            f"Messages before #{status.gap.first} in {status.room} were removed."
            for status in answer.rooms
            if status.gap is not None and status.unread
        )
        if answer.more:
            yield f"More: /unread {answer.rooms[-1].room}"
    else:
        yield "You have read everything."


def members(answer: answers.MemberList) -> Iterator[str]:
    for online, heading in ((True, "here"), (False, "not here")):
        lines = [
            line.name + (f" ({line.role})" if line.role not in ("", "member") else "")
            for line in answer.members
            if line.online == online
        ]
        if lines:
            count = f"{len(lines)} " if answer.whole else ""  # on a page it would be of no use
            yield from names(f"{answer.room}, {count}{heading}:", lines)
    if answer.more and answer.members:
        yield f"{answer.more} more: /members {answer.room} {answer.members[-1].name}"
    elif not answer.members:
        yield f"There are no more members of {answer.room}."


def users(answer: answers.UserList, zone: tzinfo | None) -> Iterator[str]:
    if len(answer.users) == 1 and not answer.more:
        yield _user(answer.users[0], zone)
        return
    here = [user.name for user in answer.users if user.online]
    yield from names(f"{len(here)} here:", here) if here else ["Nobody is here."]
    away = [(user.name, user.away) for user in answer.users if user.online and user.away]
    if away:
        yield from table(("Away", "Why"), away)
    gone = [
        (user.name, short_time(user.last_seen, zone) if user.last_seen else "")
        for user in answer.users
        if not user.online
    ]
    if gone:
        yield from table(("Not here", "Last seen"), gone)
    if answer.more:
        yield "There are more. /who NAME tells about one person, /members lists a room."


def _user(user: answers.UserLine, zone: tzinfo | None) -> str:
    if user.online:
        return f"{user.name} is away: {user.away}" if user.away else f"{user.name} is here."
    if user.last_seen is None:
        return f"{user.name} is not here."
    day = date_words(user.last_seen.astimezone(zone))
    return f"{user.name} is not here, last seen on {day} at {clock(user.last_seen, zone)}."


def tokens(answer: answers.TokenList, zone: tzinfo | None) -> Iterator[str]:
    if not answer.tokens:
        yield "You have no tokens. /token LABEL creates one."
        return
    yield from table(
        ("Created", "Last used", "Label"),
        [
            (
                short_time(line.created, zone),
                short_time(line.last_used, zone) if line.last_used else "never",
                line.label + _restrictions(line, zone),
            )
            for line in answer.tokens
        ],
    )


def _restrictions(line: answers.TokenLine, zone: tzinfo | None) -> str:
    what = [
        f"until {short_time(line.expires, zone)}" if line.expires else "",
        f"only {line.room}" if line.room else "",
        "read-only" if line.read_only else "",
    ]
    return f" ({', '.join(filter(None, what))})" if any(what) else ""


def bans(answer: answers.BanList, zone: tzinfo | None) -> Iterator[str]:
    if not answer.bans:
        yield "Nobody is banned here."
        return
    yield from table(
        ("Who", "Until", "By whom, and why"),
        [
            (
                line.name or line.address or "",
                short_time(line.until, zone) if line.until else "permanent",
                f"{line.by}: {line.reason}" if line.reason else line.by,
            )
            for line in answer.bans
        ],
    )
    if answer.before is not None:
        yield f"More: /bans {answer.room or 'server'} before={answer.before}"


def help(about: str) -> Iterator[str]:
    """The page of one command, the list of all, or an overview."""
    if about == pages.ALL:
        for group, commands in pages.GROUPS.items():
            yield from wrapped(f"{group}: ", [f"/{name}" for name in commands])
    elif about in pages.PAGES:
        yield pages.PAGES[about].usage
        yield from (GAP + piece for piece in folded(pages.PAGES[about].sentence + pages.also(about), WIDTH - len(GAP)))
    else:
        yield from (pages.GREETING if about == pages.FIRST else pages.OVERVIEW).split("\n")
