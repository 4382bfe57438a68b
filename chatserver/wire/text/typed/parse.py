"""Typed lines to commands."""

from collections.abc import Callable

from chatserver.values.commands import (
    CURRENT,
    Command,
    Guest,
    Help,
    Login,
    Quit,
    Register,
    Say,
    Server,
    TypedAnswer,
    TypedName,
    TypedPassword,
)
from chatserver.values.errors import Refused, Why
from chatserver.wire.hygiene import secrets
from chatserver.wire.hygiene.text import message_text, password, user_name
from chatserver.wire.text.shown import help as pages
from chatserver.wire.text.typed import accounts, messages, moderation, people, rooms
from chatserver.wire.text.typed.words import Misused


def parse(line: str) -> Command | None:
    """The command on a line that was typed after login and has passed `clean_line`. None for a blank line.

    Raises Refused. A slash makes a line a command even if blanks precede it, so that a mistyped command is never sent
    to others.
    """
    typed = line.lstrip()
    if not typed:
        return None
    if not typed.startswith("/"):
        _forbid_bare(typed)
        return messages.amend(line) or Say(room=CURRENT, text=message_text(line))
    if typed.startswith("//"):
        return Say(room=CURRENT, text=message_text(typed[1:]))
    word, rest = _word_and_rest(typed)
    if _is_path(word):
        return Say(room=CURRENT, text=message_text(line))
    name = pages.canonical(word)
    try:
        return BUILDERS[name](rest)
    except Misused:
        raise _usage(pages.PAGES[name].usage) from None


def parse_greeting(line: str) -> Command | None:
    """Before login: a name, or one of the few commands that may be used then. None for a blank line.

    Raises Refused, and never quotes what was typed: it might be a password.
    """
    typed = line.strip()
    if not typed:
        return None
    if not typed.startswith("/"):
        first, *more = typed.lower().split(" ", 1)
        meant = BARE.get(first, first)
        if meant in GREETINGS and (more or first in BARE):  # a single word may be a name
            raise Refused(Why.MEANT_NOT_DONE, meant=meant)
        return TypedName(name=user_name(typed))
    word, rest = _word_and_rest(line.lstrip())
    name = pages.ALIASES.get(word.lower(), word.lower())
    if name not in GREETINGS:
        raise Refused(Why.LOGIN_REQUIRED_TYPED)
    try:
        return GREETINGS[name](rest)
    except Misused:
        raise _usage("/token TOKEN" if name == "token" else pages.PAGES[name].usage) from None


def parse_answer(line: str) -> TypedAnswer | Help | Server | Quit:
    """At the question whether to register a new name. Raises Refused, and never quotes what was typed."""
    typed = line.strip().lower()
    if typed in ANSWERS:
        return TypedAnswer(yes=ANSWERS[typed])
    word, rest = _word_and_rest(line.lstrip())
    command = GREETINGS.get(pages.ALIASES.get(word.lower(), word.lower())) if typed.startswith("/") else None
    if command in (accounts.help_first, accounts.server, accounts.quit):
        return command(rest)
    raise Refused(Why.YES_OR_NO)


def parse_password(line: str) -> TypedPassword:
    """At the prompt for a password. Raises Refused."""
    return TypedPassword(password=password(line) if line else "")


def parse_password_or_token(line: str) -> TypedPassword | Login:
    """At the prompt for the password of an account, where a token may be typed, too."""
    word, rest = _word_and_rest(line)
    if line.startswith("/") and word.lower() == "token" and secrets.is_token(rest.strip()):
        return accounts.token_login(rest)
    return parse_password(line)


def _forbid_bare(typed: str) -> None:
    """Raises Refused if the line is a command without its slash, which others should not read."""
    word = typed.strip()
    meant = BARE.get(word.lower())
    if meant is not None:
        raise Refused(Why.MEANT_NOT_SAID, meant=meant, word=word)


def _is_path(word: str) -> bool:
    """Whether this is /etc/hosts or /usr/bin/env, behind its slash, and no command with something stuck to it."""
    first, slash, _ = word.partition("/")
    return bool(slash and first) and pages.ALIASES.get(first.lower(), first.lower()) not in BUILDERS


def _word_and_rest(typed: str) -> tuple[str, str]:
    word, _, rest = typed[1:].partition(" ")
    return word, rest


def _usage(usage: str) -> Refused:
    return Refused(Why.USAGE, usage=usage)


BARE = {"quit": "quit", "exit": "quit", "bye": "quit", "logout": "logout", "help": "help", "?": "help"}
"""Words that people type alone on a line to leave or for help, and the commands that they mean."""

ANSWERS = {"yes": True, "y": True, "no": False, "n": False, "": False}

GREETINGS: dict[str, Callable[[str], Login | Register | Guest | Quit | Help | Server]] = {
    "login": accounts.login,
    "token": accounts.token_login,
    "register": accounts.register,
    "guest": accounts.guest,
    "help": accounts.help_first,
    "server": accounts.server,
    "quit": accounts.quit,
}

BUILDERS: dict[str, Callable[[str], Command]] = {
    "say": messages.say,
    "me": messages.me,
    "paste": messages.paste,
    "msg": messages.msg,
    "query": messages.query,
    "reply": messages.reply,
    "r": messages.respond,
    "thread": messages.thread,
    "react": messages.react,
    "unreact": messages.unreact,
    "reactions": messages.reactions,
    "edit": messages.edit,
    "erase": messages.erase,
    "retry": messages.retry,
    "history": messages.history,
    "search": messages.search,
    "mentions": messages.mentions,
    "unread": messages.unread,
    "read": messages.read,
    "catchup": messages.catchup,
    "pin": messages.pin,
    "unpin": messages.unpin,
    "pins": messages.pins,
    "look": rooms.look,
    "join": rooms.join,
    "leave": rooms.leave,
    "rooms": rooms.rooms,
    "members": rooms.members,
    "create": rooms.create,
    "delete": rooms.delete,
    "topic": rooms.topic,
    "set": rooms.set,
    "notify": rooms.notify,
    "invite": people.invite,
    "uninvite": people.uninvite,
    "who": people.who,
    "away": people.away,
    "back": people.back,
    "nick": people.nick,
    "name": people.name,
    "ignore": people.ignore,
    "unignore": people.unignore,
    "block": people.block,
    "unblock": people.unblock,
    "role": moderation.role,
    "kick": moderation.kick,
    "mute": moderation.mute,
    "unmute": moderation.unmute,
    "ban": moderation.ban,
    "unban": moderation.unban,
    "bans": moderation.bans,
    "gban": moderation.gban,
    "gunban": moderation.gunban,
    "password": accounts.change_password,
    "token": accounts.token,
    "sessions": accounts.sessions,
    "export": accounts.export,
    "forget": accounts.forget,
    "help": accounts.help,
    "server": accounts.server,
    "ping": accounts.ping,
    "logout": accounts.logout,
    "quit": accounts.quit,
    "login": accounts.too_late,
    "register": accounts.too_late,
    "guest": accounts.too_late,
}
