"""What people type: a line to a command."""

from collections.abc import Callable

from chatserver import events
from chatserver.commands import (
    CURRENT,
    Command,
    Create,
    Help,
    History,
    Join,
    Leave,
    Login,
    Logout,
    Look,
    Members,
    Password,
    Ping,
    Quit,
    Read,
    Register,
    Rooms,
    Say,
    Topic,
    Unread,
    Who,
)
from chatserver.errors import ErrorWord, Refused
from chatserver.wire import help as pages
from chatserver.wire.hygiene import message_text, password, room_name, topic_text, user_name

NEWEST = 2**53
"""A seq beyond all there are."""


class _Misused(Exception):
    """Too few arguments, or too many, or not of the right kind."""


def parse(line: str) -> Command | None:
    """The command of somebody logged in, from a line that has passed `clean_line`. Raises Refused.

    None: the line is empty. Blanks before a slash do not make it something to be said to others.
    """
    typed = line.lstrip()
    if not typed:
        return None
    if not typed.startswith("/"):
        return Say(room=CURRENT, text=message_text(line))
    if typed.startswith("//"):
        return Say(room=CURRENT, text=message_text(typed[1:]))
    word, rest = _word_and_rest(typed)
    name = pages.canonical(word)
    try:
        return BUILDERS[name](rest)
    except _Misused:
        raise Refused(ErrorWord.BAD_COMMAND, f"Usage: {pages.PAGES[name].usage}") from None


def parse_greeting(line: str) -> Login | Register | Quit | Help | str:
    """Before login: one of the few commands there are, or the name that was typed. Raises Refused, quoting nothing."""
    typed = line.strip()
    if not typed.startswith("/"):
        return user_name(typed)
    word, rest = _word_and_rest(line.lstrip())
    match word.lower():
        case "login" | "register" as name:
            words = rest.split(maxsplit=1)
            if len(words) < 2:
                raise Refused(ErrorWord.BAD_COMMAND, f"Usage: {pages.PAGES[name].usage}")
            kind = Login if name == "login" else Register
            return kind(name=user_name(words[0]), password=password(words[1]))
        case "quit" | "exit" | "bye":
            return Quit()
        case "help":
            return Help()
    raise Refused(ErrorWord.LOGIN_REQUIRED, "Come in first: type your name, or /login NAME PASSWORD. Nothing was sent.")


def _word_and_rest(typed: str) -> tuple[str, str]:
    word, _, rest = typed[1:].partition(" ")
    return word, rest


def _words(rest: str, least: int, most: int) -> list[str]:
    """`most` words at most, the last of them with all that follows."""
    words = rest.split(maxsplit=most - 1)
    if len(words) < least:
        raise _Misused
    return words


def _only(rest: str, least: int, most: int) -> list[str]:
    words = rest.split()
    if not least <= len(words) <= most:
        raise _Misused
    return words


def _nothing(rest: str) -> None:
    if rest.strip():
        raise _Misused


def _room(word: str) -> str:
    return room_name(word.removeprefix("#"))  # as IRC writes it


def _name(word: str) -> str:
    return user_name(word.removeprefix("@"))


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) <= 16


def _number(word: str) -> int:
    if not _is_number(word) or int(word) > NEWEST:
        raise _Misused
    return int(word)


def _room_and_number(rest: str) -> tuple[str, int | None]:
    """Either may be missing, and they may change places. One number alone is no room's name, unless it has a #."""
    words = _only(rest, 0, 2)
    if len(words) == 2 and _is_number(words[0]) and not _is_number(words[1]):
        words.reverse()
    if not words:
        return CURRENT, None
    if len(words) == 2:
        return _room(words[0]), _number(words[1])
    if _is_number(words[0]):
        return CURRENT, _number(words[0])
    return _room(words[0]), None


def _say(rest: str) -> Command:
    room, text = _words(rest, 2, 2)
    return Say(room=_room(room), text=message_text(text))


def _me(rest: str) -> Command:
    [action] = _words(rest, 1, 1)
    return Say(room=CURRENT, text=message_text(f"/me {action}"))


def _msg(rest: str) -> Command:
    name, text = _words(rest, 2, 2)
    return Say(room="@" + _name(name), text=message_text(text))


def _query(rest: str) -> Command:
    words = _words(rest, 1, 2)
    return _msg(rest) if len(words) == 2 else Look(room="@" + _name(words[0]))


def _look(rest: str) -> Command:
    [room] = _only(rest, 1, 1)
    return Look(room=_room(room))


def _join(rest: str) -> Command:
    room, *since = _only(rest, 1, 2)
    return Join(room=_room(room), since=_number(since[0]) if since else None)


def _leave(rest: str) -> Command:
    return Leave(room=_optional_room(rest))


def _members(rest: str) -> Command:
    return Members(room=_optional_room(rest))


def _optional_room(rest: str) -> str:
    words = _only(rest, 0, 1)
    return _room(words[0]) if words else CURRENT


def _create(rest: str) -> Command:
    words = _words(rest, 1, 3)
    if len(words) > 1 and words[1].lower() in (events.PUBLIC, events.PRIVATE):
        return Create(room=_room(words[0]), visibility=words[1].lower(), topic=topic_text("".join(words[2:])))
    room, *topic = _words(rest, 1, 2)
    return Create(room=_room(room), topic=topic_text("".join(topic)))


def _topic(rest: str) -> Command:
    if rest.lstrip().startswith("#"):
        room, text = _words(rest, 2, 2)
        return Topic(room=_room(room), text=topic_text(text))
    [text] = _words(rest, 1, 1)
    return Topic(room=CURRENT, text=topic_text(text))


def _rooms(rest: str) -> Command:
    words = _only(rest, 0, 1)
    return Rooms(after=_room(words[0]) if words else "")


def _who(rest: str) -> Command:
    words = _only(rest, 0, 1)
    return Who(name=_name(words[0]) if words else None)


def _history(rest: str) -> Command:
    room, limit = _room_and_number(rest)
    if limit == 0:
        raise _Misused
    return History(room=room) if limit is None else History(room=room, limit=limit)


def _read(rest: str) -> Command:
    room, seq = _room_and_number(rest)
    return Read(room=room, seq=NEWEST if seq is None else seq)


def _unread(rest: str) -> Command:
    _nothing(rest)
    return Unread()


def _password(rest: str) -> Command:
    old, new = _words(rest, 2, 2)
    return Password(old=password(old), new=password(new))


def _ping(rest: str) -> Command:
    return Ping()


def _help(rest: str) -> Command:
    words = _only(rest, 0, 1)
    return Help(about=pages.canonical(words[0].removeprefix("/")) if words else "")


def _logout(rest: str) -> Command:
    return Logout()


def _quit(rest: str) -> Command:
    return Quit()  # whatever last words IRC's habit adds


def _too_late(rest: str) -> Command:
    raise Refused(ErrorWord.BAD_COMMAND, "You are logged in already. To come in as somebody else, /logout first.")


BUILDERS: dict[str, Callable[[str], Command]] = {
    "say": _say,
    "me": _me,
    "msg": _msg,
    "query": _query,
    "look": _look,
    "join": _join,
    "leave": _leave,
    "create": _create,
    "topic": _topic,
    "rooms": _rooms,
    "members": _members,
    "who": _who,
    "history": _history,
    "unread": _unread,
    "read": _read,
    "password": _password,
    "ping": _ping,
    "help": _help,
    "logout": _logout,
    "quit": _quit,
    "login": _too_late,
    "register": _too_late,
}
