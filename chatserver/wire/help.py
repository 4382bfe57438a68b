"""What people may type after a slash: every command's usage and a sentence about it."""

from difflib import get_close_matches

from msgspec import Struct

from chatserver.errors import ErrorWord, Refused

FIRST = "first"
"""What `help` is about before login."""

ALL = "all"


class Page(Struct, frozen=True):
    usage: str
    sentence: str


GROUPS: dict[str, dict[str, Page]] = {
    "Talking": {
        "say": Page("/say ROOM TEXT", "Says it in a room that need not be the one you look at."),
        "me": Page("/me ACTION", "Tells what you do: /me waves."),
        "msg": Page("/msg NAME TEXT", "Says it to one person, in the room the two of you have."),
        "query": Page("/query NAME [TEXT]", "Turns to one person: what you type then goes to them."),
        "edit": Page("/edit [ROOM] SEQ TEXT", "Puts another text for what you said; /history shows the SEQ: #41."),
        "erase": Page("/erase [ROOM] SEQ", "Takes back what you said; /history shows the SEQ: #41."),
        "history": Page("/history [ROOM] [LIMIT] [before=SEQ]", "Shows what was said in a room."),
        "search": Page("/search [#ROOM] [before=NUMBER] WORDS", "Finds what was said, with all of these words in it."),
        "unread": Page("/unread", "Lists the rooms with something new for you."),
        "read": Page("/read [ROOM] [SEQ]", "Marks a room as read, all of it or up to an entry."),
    },
    "Rooms": {
        "join": Page("/join ROOM [SINCE]", "Enters a room; with a number, shows everything after that entry."),
        "leave": Page("/leave [ROOM]", "Leaves a room. What you said there stays."),
        "look": Page("/look ROOM", "Turns to a room you are in: what you type then goes there."),
        "rooms": Page("/rooms [AFTER]", "Lists the rooms; with a name, those after it."),
        "create": Page("/create ROOM [public|private] [TOPIC]", "Makes a room that is yours."),
        "topic": Page("/topic [#ROOM] TEXT", "Says what a room is about."),
        "invite": Page("/invite NAME [ROOM]", "Asks somebody in; a private room is open to nobody else."),
        "uninvite": Page("/uninvite NAME [ROOM]", "Takes an invitation back."),
        "set": Page(
            "/set [ROOM] past open|closed, /set [ROOM] invites members|moderators",
            "Sets whether new people read what was said before, and who may invite.",
        ),
        "delete": Page("/delete ROOM", "Ends a room of yours, with all that was said there, for good."),
    },
    "People": {
        "who": Page("/who [NAME]", "Lists who is here, or tells about one person."),
        "members": Page("/members [ROOM]", "Lists who belongs to a room."),
        "away": Page("/away [TEXT]", "Tells others that you are away; without a text, that you are back."),
        "back": Page("/back", "Tells others that you are back."),
        "block": Page("/block NAME", "Keeps somebody's direct messages and invitations from you."),
        "unblock": Page("/unblock NAME", "Lets somebody reach you again."),
    },
    "Keeping order": {
        "kick": Page("/kick [#ROOM] NAME [REASON]", "Puts somebody out of a room; they may come back."),
        "mute": Page("/mute [#ROOM] NAME [TIME]", "Lets somebody only read, for a time: 90s, 10m, 2h, 7d."),
        "unmute": Page("/unmute NAME [ROOM]", "Lets somebody talk again."),
        "ban": Page("/ban [#ROOM] NAME [TIME] [REASON]", "Puts somebody out of a room, and keeps them out."),
        "unban": Page("/unban NAME [ROOM]", "Lets somebody come back to a room."),
        "bans": Page("/bans [ROOM|server]", "Lists who is kept out of a room, or of the whole server."),
        "role": Page("/role NAME owner|moderator|member [ROOM]", "Gives somebody a role in a room."),
        "gban": Page("/gban NAME|ADDRESS [TIME] [REASON]", "Keeps somebody off the whole server; for its operators."),
        "gunban": Page("/gunban NAME|ADDRESS", "Lets somebody back to the server; for its operators."),
    },
    "Yourself": {
        "login": Page("/login NAME PASSWORD", "Comes in, in one line; only before you are in."),
        "register": Page(
            "/register NAME PASSWORD [code=CODE]", "Makes an account and comes in, in one line; only before you are in."
        ),
        "guest": Page("/guest", "Comes in without an account, where the server lets guests in."),
        "password": Page("/password OLD NEW [others]", "Changes your password; with others, ends your other logins."),
        "token": Page(
            "/token LABEL, /token list, /token revoke LABEL",
            "Makes a token for a program, which comes in with /token TOKEN; lists them; takes one back.",
        ),
        "export": Page("/export [NEXT]", "Shows all that the server keeps of you, a page at a time."),
        "forget": Page("/forget PASSWORD [erase]", "Ends your account for good; with erase, what you said goes too."),
        "help": Page("/help [COMMAND|all]", "Lists the commands you need first, or all, or tells about one."),
        "ping": Page("/ping", "Asks whether the server is still there."),
        "logout": Page("/logout", "Ends this login and the connection."),
        "quit": Page("/quit", "Ends the connection."),
    },
}

PAGES: dict[str, Page] = {name: page for group in GROUPS.values() for name, page in group.items()}

ALIASES: dict[str, str] = {
    "j": "join",
    "part": "leave",
    "list": "rooms",
    "names": "members",
    "whois": "who",
    "room": "look",
    "switch": "look",
    "ignore": "block",
    "unignore": "unblock",
    "exit": "quit",
    "bye": "quit",
}

OVERVIEW = """\
Type to talk in the room you look at. //TEXT says what begins with a slash.
/join ROOM, /leave, /rooms         enters, leaves, lists rooms
/look ROOM, /say ROOM TEXT         turns to a room; says something in one
/query NAME, /msg NAME TEXT        turns to a person; tells one something
/who, /members, /away TEXT         who is here; who belongs here; you are away
/unread, /history, /search WORDS   what is new; what was said; where it was
/edit SEQ TEXT, /erase SEQ         changes what you said; takes it back
/create ROOM, /invite NAME         makes a room; asks somebody in
/password OLD NEW, /logout, /quit  changes your password; ends this
/help COMMAND, /help all           more about one of these; all there are"""

GREETING = """\
Type your name to come in; then you are asked for a password.
/login NAME PASSWORD               comes in, in one line
/register NAME PASSWORD            comes in for the first time, in one line
/token TOKEN, /guest               comes in as a program; without an account
/quit                              ends this"""

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


def also(name: str) -> str:
    """Other words for this command, in a sentence."""
    aliases = [f"/{alias}" for alias, known in ALIASES.items() if known == name]
    return f" Also: {', '.join(aliases)}." if aliases else ""
