"""What people may type after a slash: every command's usage and a sentence about it."""

from difflib import get_close_matches

from msgspec import Struct

from chatserver.errors import ErrorWord, Refused


class Page(Struct, frozen=True):
    usage: str
    sentence: str


PAGES: dict[str, Page] = {
    "say": Page("/say ROOM TEXT", "Says it in a room that need not be the one you look at."),
    "me": Page("/me ACTION", "Tells what you do: /me waves."),
    "msg": Page("/msg NAME TEXT", "Says it to one person, in the room the two of you have."),
    "query": Page("/query NAME [TEXT]", "Turns to one person: what you type then goes to them."),
    "look": Page("/look ROOM", "Turns to a room you are in: what you type then goes there."),
    "join": Page("/join ROOM [SINCE]", "Enters a room; with a number, shows everything after that entry."),
    "leave": Page("/leave [ROOM]", "Leaves a room. What you said there stays."),
    "create": Page("/create ROOM [public|private] [TOPIC]", "Makes a room that is yours."),
    "topic": Page("/topic [#ROOM] TEXT", "Says what a room is about."),
    "rooms": Page("/rooms [AFTER]", "Lists the rooms; with a name, those after it."),
    "members": Page("/members [ROOM]", "Lists who belongs to a room."),
    "who": Page("/who [NAME]", "Lists who is here, or tells about one person."),
    "history": Page("/history [ROOM] [LIMIT]", "Shows what was said in a room."),
    "unread": Page("/unread", "Lists the rooms with something new for you."),
    "read": Page("/read [ROOM] [SEQ]", "Marks a room as read, all of it or up to an entry."),
    "password": Page("/password OLD NEW", "Changes your password."),
    "ping": Page("/ping", "Asks whether the server is still there."),
    "help": Page("/help [COMMAND]", "Lists the commands, or tells about one of them."),
    "logout": Page("/logout", "Ends this login and the connection."),
    "quit": Page("/quit", "Ends the connection."),
    "login": Page("/login NAME PASSWORD", "Comes in, in one line; only before you are in."),
    "register": Page("/register NAME PASSWORD", "Makes an account and comes in, in one line; only before you are in."),
}

ALIASES: dict[str, str] = {
    "j": "join",
    "part": "leave",
    "list": "rooms",
    "names": "members",
    "whois": "who",
    "room": "look",
    "switch": "look",
    "exit": "quit",
    "bye": "quit",
}

OVERVIEW = """\
Type to talk in the room you look at. //TEXT says what begins with a slash.
/join ROOM, /leave, /create ROOM   enters, leaves, makes a room
/look ROOM, /say ROOM TEXT         turns to a room; says something in one
/query NAME, /msg NAME TEXT        turns to a person; tells one something
/rooms, /members, /who             the rooms; who belongs to one; who is here
/unread, /history, /read           what is new; what was said; marks as read
/topic TEXT, /me ACTION            what the room is about; what you do
/login, /register NAME PASSWORD    comes in with a known name, a new one
/password OLD NEW, /logout, /quit  changes your password; ends this
/help COMMAND                      more about one of these"""

LONGEST_WORD = max(map(len, [*PAGES, *ALIASES]))


def canonical(word: str) -> str:
    """The command that this word, in any case, calls. Raises Refused, with the nearest there is."""
    name = word.lower()
    name = ALIASES.get(name, name)
    if name in PAGES:
        return name
    shown = word if len(word) <= 32 else word[:32] + "…"
    near = get_close_matches(name[: 2 * LONGEST_WORD], [*PAGES, *ALIASES], n=1)
    remedy = f"Did you mean /{near[0]}?" if near else "/help lists the commands."
    raise Refused(ErrorWord.BAD_COMMAND, f"There is no /{shown}. {remedy} Nothing was sent.")


def page(about: str) -> list[str]:
    """Lines about one command, or about all."""
    if about not in PAGES:
        return OVERVIEW.split("\n")
    aliases = [f"/{alias}" for alias, name in ALIASES.items() if name == about]
    also = f" Also: {', '.join(aliases)}." if aliases else ""
    return [f"{PAGES[about].usage} - {PAGES[about].sentence}{also}"]
