"""What people type: a line to a command."""

from collections.abc import Callable

from chatserver.commands import CURRENT, Command, Guest, Help, Login, Quit, Register, Say
from chatserver.errors import ErrorWord, Refused
from chatserver.wire import help as pages
from chatserver.wire import textaccount, textpeople, textrooms, texttalk
from chatserver.wire.hygiene import message_text, user_name
from chatserver.wire.textwords import Misused


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
    except Misused:
        raise _usage(pages.PAGES[name].usage) from None


def parse_greeting(line: str) -> Login | Register | Guest | Quit | Help | str:
    """Before login: one of the few commands there are, or the name that was typed. Raises Refused, quoting nothing."""
    typed = line.strip()
    if not typed.startswith("/"):
        return user_name(typed)
    word, rest = _word_and_rest(line.lstrip())
    name = pages.ALIASES.get(word.lower(), word.lower())
    if name not in GREETINGS:
        raise Refused(
            ErrorWord.LOGIN_REQUIRED, "Come in first: type your name, or /login NAME PASSWORD. Nothing was sent."
        )
    try:
        return GREETINGS[name](rest)
    except Misused:
        raise _usage("/token TOKEN" if name == "token" else pages.PAGES[name].usage) from None


def _word_and_rest(typed: str) -> tuple[str, str]:
    word, _, rest = typed[1:].partition(" ")
    return word, rest


def _usage(usage: str) -> Refused:
    return Refused(ErrorWord.BAD_COMMAND, f"Usage: {usage}")


GREETINGS: dict[str, Callable[[str], Login | Register | Guest | Quit | Help]] = {
    "login": textaccount.login,
    "token": textaccount.token_login,
    "register": textaccount.register,
    "guest": textaccount.guest,
    "help": textaccount.help_first,
    "quit": textaccount.quit,
}

BUILDERS: dict[str, Callable[[str], Command]] = {
    "say": texttalk.say,
    "me": texttalk.me,
    "msg": texttalk.msg,
    "query": texttalk.query,
    "edit": texttalk.edit,
    "erase": texttalk.erase,
    "history": texttalk.history,
    "search": texttalk.search,
    "read": texttalk.read,
    "unread": texttalk.unread,
    "look": textrooms.look,
    "join": textrooms.join,
    "leave": textrooms.leave,
    "rooms": textrooms.rooms,
    "members": textrooms.members,
    "create": textrooms.create,
    "delete": textrooms.delete,
    "topic": textrooms.topic,
    "set": textrooms.set,
    "invite": textrooms.invite,
    "uninvite": textrooms.uninvite,
    "who": textpeople.who,
    "away": textpeople.away,
    "back": textpeople.back,
    "block": textpeople.block,
    "unblock": textpeople.unblock,
    "role": textpeople.role,
    "kick": textpeople.kick,
    "mute": textpeople.mute,
    "unmute": textpeople.unmute,
    "ban": textpeople.ban,
    "unban": textpeople.unban,
    "bans": textpeople.bans,
    "gban": textpeople.gban,
    "gunban": textpeople.gunban,
    "password": textaccount.change_password,
    "token": textaccount.token,
    "export": textaccount.export,
    "forget": textaccount.forget,
    "help": textaccount.help,
    "ping": textaccount.ping,
    "logout": textaccount.logout,
    "quit": textaccount.quit,
    "login": textaccount.too_late,
    "register": textaccount.too_late,
    "guest": textaccount.too_late,
}
