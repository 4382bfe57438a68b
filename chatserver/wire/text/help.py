"""The help pages: for every typed command its usage and a sentence about it."""

from difflib import get_close_matches

from msgspec import Struct

from chatserver.errors import ErrorWord, Refused

FIRST = "first"
"""The topic of `help` before login."""

ALL = "all"


class Page(Struct, frozen=True):
    usage: str
    sentence: str


GROUPS: dict[str, dict[str, Page]] = {
    "Messages": {
        "say": Page("/say ROOM TEXT", "Sends a message to a room, which need not be your current one."),
        "me": Page("/me ACTION", "Describes what you do: /me waves."),
        "msg": Page("/msg NAME TEXT", "Sends a message to one person, in your direct room with them."),
        "query": Page(
            "/query NAME [TEXT]", "Switches to your direct room with a person; with a text, sends it without switching."
        ),
        "edit": Page("/edit [ROOM] SEQ TEXT", "Replaces the text of a message of yours; /history shows its SEQ: #41."),
        "erase": Page("/erase [ROOM] SEQ", "Erases a message of yours; /history shows its SEQ: #41."),
        "history": Page("/history [ROOM] [LIMIT] [before=SEQ]", "Shows what was said in a room."),
        "search": Page("/search [#ROOM] [before=NUMBER] WORDS", "Finds messages that contain all of these words."),
        "unread": Page("/unread [AFTER]", "Lists the rooms in which you have unread messages."),
        "read": Page("/read [ROOM] [SEQ]", "Marks a room as read, all of it or up to an entry."),
    },
    "Rooms": {
        "join": Page("/join ROOM [SINCE]", "Joins a room; with a number, shows everything after that entry."),
        "leave": Page("/leave [ROOM]", "Leaves a room. What you said there stays."),
        "look": Page("/look ROOM", "Switches to a room that you are in: what you type then goes there."),
        "rooms": Page("/rooms [AFTER]", "Lists the rooms; with a name, only those after it."),
        "create": Page("/create ROOM [public|private] [TOPIC]", "Creates a room that you own."),
        "topic": Page("/topic [#ROOM] TEXT", "Sets the topic of a room."),
        "invite": Page(
            "/invite NAME [ROOM]", "Invites someone to a room; a private room is open only to those invited."
        ),
        "uninvite": Page("/uninvite NAME [ROOM]", "Withdraws an invitation."),
        "set": Page(
            "/set [ROOM] past open|closed, invites members|moderators, pace SECONDS",
            "Sets whether new members can read what was said before, who may invite, and how many seconds have to pass "
            "between two messages of a member (0: none).",
        ),
        "delete": Page("/delete ROOM", "Deletes a room that you own: nobody can find, join or read it any more."),
    },
    "People": {
        "who": Page("/who [NAME]", "Lists who is here, or tells you about one person."),
        "members": Page("/members [ROOM [AFTER]]", "Lists the members of a room; with a name, only those after it."),
        "away": Page("/away [TEXT]", "Tells others that you are away; without a text, that you are back."),
        "back": Page("/back", "Tells others that you are back."),
        "block": Page("/block NAME", "Blocks someone's direct messages and invitations."),
        "unblock": Page("/unblock NAME", "Lets someone write to you and invite you again."),
    },
    "Moderation": {
        "kick": Page("/kick [#ROOM] NAME [REASON]", "Removes someone from a room; they can join it again."),
        "mute": Page(
            "/mute [#ROOM] NAME [TIME]",
            "Stops someone from writing in a room, permanently or for a time: 90s, 10m, 2h, 7d.",
        ),
        "unmute": Page("/unmute NAME [ROOM]", "Lets someone write in a room again."),
        "ban": Page(
            "/ban [#ROOM] NAME [TIME] [REASON]",
            "Removes someone from a room and keeps them out, permanently or for a time.",
        ),
        "unban": Page("/unban NAME [ROOM]", "Lets someone join a room again."),
        "bans": Page(
            "/bans [ROOM|server] [before=NUMBER]", "Lists who is banned from a room, or from the whole server."
        ),
        "role": Page("/role NAME owner|moderator|member [ROOM]", "Gives someone a role in a room."),
        "gban": Page(
            "/gban [--yes] NAME|ADDRESS [TIME] [REASON]", "Bans someone from the whole server; only for its operators."
        ),
        "gunban": Page("/gunban NAME|ADDRESS", "Lifts a ban from the whole server; only for its operators."),
    },
    "Account and connection": {
        "login": Page("/login NAME PASSWORD", "Logs in with one line; only before you are logged in."),
        "register": Page(
            "/register NAME PASSWORD [code=CODE]",
            "Creates an account and logs in, with one line; only before you are logged in.",
        ),
        "guest": Page("/guest", "Logs in without an account, if the server admits guests."),
        "password": Page(
            "/password OLD NEW [others]",
            "Changes your password; with others, also ends your other connections, and revokes your tokens and "
            "certificates.",
        ),
        "token": Page(
            "/token LABEL [OPTIONS], /token list, /token revoke LABEL",
            "Creates a token, with which a program logs in (/token TOKEN); lists your tokens; revokes one. Options: "
            "for=30d, room=ROOM, read-only.",
        ),
        "export": Page("/export [NEXT]", "Shows all data that the server has about you, a page at a time."),
        "forget": Page("/forget PASSWORD [erase]", "Erases your account permanently; with erase, your messages too."),
        "help": Page("/help [COMMAND|all]", "Lists the commands you need first, or all commands, or explains one."),
        "ping": Page("/ping", "Checks whether the server still answers."),
        "logout": Page("/logout", "Logs you out and closes the connection."),
        "quit": Page("/quit", "Closes the connection."),
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
What you type goes to your current room; //TEXT if it begins with a slash.
/join ROOM, /leave, /rooms         join a room; leave it; list rooms
/look ROOM, /say ROOM TEXT         switch to a room; say something in another
/query NAME, /msg NAME TEXT        switch to a person; send one a message
/who, /members, /away TEXT         who is here; who is a member; you are away
/unread, /history, /search WORDS   what is new; what was said; find messages
/edit SEQ TEXT, /erase SEQ         edit a message of yours; erase it
/create ROOM, /invite NAME         create a room; invite someone
/password OLD NEW, /logout, /quit  change your password; log out; disconnect
/help COMMAND, /help all           explain a command; list all commands"""

GREETING = """\
Type your name to log in; the server then asks for your password.
/login NAME PASSWORD               log in with one line
/register NAME PASSWORD            create an account and log in, with one line
/token TOKEN, /guest               log in as a program; log in as a guest
/quit                              disconnect"""

LONGEST_WORD = max(map(len, [*PAGES, *ALIASES]))


def canonical(word: str) -> str:
    """The name of the command that this word stands for, in any case. Raises Refused, suggesting the closest match."""
    name = word.lower()
    name = ALIASES.get(name, name)
    if name in PAGES:
        return name
    shown = word if len(word) <= 32 else word[:32] + "…"
    near = get_close_matches(name[: 2 * LONGEST_WORD], [*PAGES, *ALIASES], n=1)
    remedy = f"Did you mean /{near[0]}?" if near else "/help lists the commands."
    raise Refused(ErrorWord.BAD_COMMAND, f"There is no /{shown}. {remedy} Nothing was sent.")


def also(name: str) -> str:
    """A sentence that lists the aliases of this command, or nothing."""
    aliases = [f"/{alias}" for alias, known in ALIASES.items() if known == name]
    return f" Also: {', '.join(aliases)}." if aliases else ""
