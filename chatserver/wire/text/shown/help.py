"""The help pages: for every typed command its usage and a sentence about it."""

from msgspec import Struct

from chatserver.values.errors import Note, Refused, Why
from chatserver.wire.text.typed import suggestions

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
        "paste": Page(
            "/paste", "Sends a message of several lines: type or paste them, and then a line with only a dot."
        ),
        "msg": Page("/msg NAME TEXT", "Sends a message to one person, in your direct room with them."),
        "query": Page(
            "/query NAME [TEXT]", "Switches to your direct room with a person; with a text, sends it without switching."
        ),
        "r": Page("/r TEXT", "Answers whoever wrote to you privately last."),
        "reply": Page(
            "/reply [NAME] TEXT, /reply [ROOM] SEQ TEXT",
            "Answers a message, whose first words are shown with yours: the last one here by somebody else or by NAME, "
            "or the one with a number: /reply 41 yes.",
        ),
        "thread": Page(
            "/thread [ROOM] SEQ [after=SEQ]", "Shows a message and what answers it, oldest first: /thread 41."
        ),
        "react": Page(
            "/react [NAME] REACTION, /react [ROOM] SEQ REACTION",
            "Reacts to a message with one word or emoji: to the last one here by somebody else, or by NAME, or to the "
            "one with a number: /react 41 +1.",
        ),
        "unreact": Page(
            "/unreact [NAME] REACTION, /unreact [ROOM] SEQ REACTION", "Takes a reaction of yours back, as with /react."
        ),
        "reactions": Page("/reactions [ROOM] SEQ", "Lists who reacted to a message."),
        "edit": Page(
            "/edit [ROOM] [SEQ] TEXT",
            "Replaces the text of a message of yours; without a number, of your last one in the room. s/old/new/ alone "
            "on a line replaces words in it.",
        ),
        "erase": Page("/erase [ROOM] [SEQ]", "Erases a message of yours; without a number, your last one in the room."),
        "retry": Page("/retry", "Sends again what you said while the server could not store it."),
        "history": Page(
            "/history [ROOM] [LIMIT] [before=SEQ|after=SEQ|since=WHEN]",
            "Shows what was said in a room, each line with its number SEQ. WHEN is today, yesterday, monday, 2h, 3d, "
            "10:30, 2026-03-02 or 2026-03-02T10:30.",
        ),
        "search": Page(
            "/search [#ROOM] [OPTION]... WORDS",
            'Finds messages that contain all of these words, the last of which may go on, or "a phrase in quotes". '
            "Options: from:NAME, since:WHEN, until:WHEN, has:link, has:reply, order:best, before=NUMBER.",
        ),
        "mentions": Page(
            "/mentions [before=NUMBER]", "Lists the messages that mention your name or answer you, newest first."
        ),
        "unread": Page(
            "/unread [ROOM], /unread after=ROOM",
            "Lists the rooms in which you have unread messages (after=ROOM: those after it), or shows all that is "
            "unread in one room.",
        ),
        "read": Page(
            "/read [ROOM] [SEQ] [back]",
            "Marks a room as read, all of it or up to an entry; with back, what comes after that is unread again.",
        ),
        "catchup": Page("/catchup [ROOM]", "Marks everything as read, in all rooms or in one."),
        "pin": Page("/pin [ROOM] SEQ", "Pins a message, so that everyone finds it with /pins."),
        "unpin": Page("/unpin [ROOM] SEQ", "Unpins a message."),
        "pins": Page("/pins [ROOM] [before=SEQ]", "Lists the pinned messages of a room, newest first."),
    },
    "Rooms": {
        "join": Page("/join ROOM [SINCE]", "Joins a room; with a number, shows everything after that entry."),
        "leave": Page("/leave [ROOM]", "Leaves a room. What you said there stays."),
        "look": Page(
            "/look [ROOM]",
            "Switches to a room that you are in: what you type then goes there. Without a room, tells you which one "
            "that is.",
        ),
        "rooms": Page("/rooms [AFTER]", "Lists the rooms; with a name, only those after it."),
        "create": Page("/create ROOM [public|private] [TOPIC]", "Creates a room that you own."),
        "topic": Page("/topic [#ROOM] [TEXT|-]", "Shows the topic of a room, sets it, or with - removes it."),
        "invite": Page(
            "/invite NAME [ROOM]", "Invites someone to a room; a private room is open only to those invited."
        ),
        "uninvite": Page("/uninvite NAME [ROOM]", "Withdraws an invitation."),
        "set": Page(
            "/set [NAME VALUE], /set [ROOM] past|invites|pace VALUE",
            "Lists or sets how you see things: timezone Europe/Berlin, bell on|off|mentions, clock 12|24, numbers "
            "on|off, columns 40. Or for a room: past open|closed to new members, invites by members|moderators, "
            "pace SECONDS between messages or changes. default undoes a choice.",
        ),
        "notify": Page(
            "/notify [ROOM] all|mentions|nothing|default",
            "Sets when your bell rings for a room. With /set bell off it rings for none.",
        ),
        "delete": Page("/delete ROOM", "Deletes a room that you own: nobody can find, join or read it any more."),
    },
    "People": {
        "who": Page("/who [NAME]", "Lists who is here, or tells you about one person."),
        "members": Page("/members [ROOM [AFTER]]", "Lists the members of a room; with a name, only those after it."),
        "away": Page("/away [TEXT]", "Tells others that you are away; without a text, that you are back."),
        "back": Page("/back", "Tells others that you are back."),
        "nick": Page("/nick NAME", "Changes your name. Nobody else can take the old one for a while."),
        "name": Page(
            "/name WORDS, /name -", "Sets a name of any words and letters that is shown before your own, or removes it."
        ),
        "ignore": Page(
            "/ignore [NAME]", "Hides what someone says from you alone; without a name, lists whom you ignore."
        ),
        "unignore": Page("/unignore NAME", "Shows you again what someone says."),
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
        "login": Page(
            "/login NAME PASSWORD [quiet]",
            "Logs in with one line; only before you are logged in. A quiet login, for scripts, is shown nothing but "
            "answers.",
        ),
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
        "sessions": Page(
            "/sessions, /sessions end NUMBER|others",
            "Lists the devices on which you stay logged in; ends the session of one, or of all others.",
        ),
        "export": Page("/export [NEXT]", "Shows all data that the server has about you, a page at a time."),
        "forget": Page("/forget PASSWORD [erase]", "Erases your account permanently; with erase, your messages too."),
        "help": Page("/help [COMMAND|all]", "Lists the commands you need first, or all commands, or explains one."),
        "server": Page(
            "/server", "Tells about the server: who may log in, its limits, whom to ask; before you log in, too."
        ),
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
    "exit": "quit",
    "bye": "quit",
}


class Outline(Struct, frozen=True):
    """A few commands at a glance: a sentence, then rows of usages and what they do."""

    sentence: str
    rows: tuple[tuple[str, str], ...]


OVERVIEW = Outline(
    "What you type goes to your current room; //TEXT if it begins with a slash.",
    (
        ("/join ROOM, /leave, /rooms", "join a room; leave it; list rooms"),
        ("/look ROOM, /say ROOM TEXT", "switch to a room; say something in another"),
        ("/query NAME, /msg NAME TEXT", "switch to a person; send one a message"),
        ("/who, /members, /away TEXT", "who is here; who is a member; you are away"),
        ("/unread, /history, /search WORDS", "what is new; what was said; find messages"),
        ("/mentions, /catchup", "who mentions you; mark everything as read"),
        ("/reply SEQ TEXT, /react SEQ +1", "answer a message; react to it"),
        ("/edit TEXT, s/old/new/, /erase", "change your last message; erase it"),
        ("/create ROOM, /invite NAME", "create a room; invite someone"),
        ("/nick NAME, /set, /password", "your name; time zone and bell; password"),
        ("/help COMMAND, /help all, /quit", "explain a command; list all; disconnect"),
    ),
)

GREETING = Outline(
    "Type your name to log in; the server then asks for your password.",
    (
        ("/login NAME PASSWORD", "log in with one line"),
        ("/register NAME PASSWORD", "create an account and log in, with one line"),
        ("/token TOKEN, /guest", "log in as a program; log in as a guest"),
        ("/server, /quit", "who may log in, and whom to ask; disconnect"),
    ),
)


def canonical(word: str) -> str:
    """The name of the command that this word stands for, in any case. Raises Refused, with what to use instead."""
    name = word.lower()
    name = ALIASES.get(name, name)
    if name in PAGES:
        return name
    shown = word if len(word) <= 32 else word[:32] + "…"
    remedy = suggestions.instead(name, [*PAGES, *ALIASES]) or Note.HELP_LISTS
    raise Refused(Why.NO_SUCH_COMMAND_TYPED, word=shown, remedy=remedy)


def also(name: str) -> str:
    """A sentence that lists the aliases of this command, or nothing."""
    aliases = [f"/{alias}" for alias, known in ALIASES.items() if known == name]
    return f" Also: {', '.join(aliases)}." if aliases else ""
