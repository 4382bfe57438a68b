"""Suggestions for a command that does not exist: by its meaning elsewhere, or by its letters."""

from collections.abc import Iterable
from typing import Final

from chatserver.values.errors import Note, Sentence
from chatserver.wire.typos import alike

KNOWN_ELSEWHERE: Final[dict[str, str]] = {
    word: command
    for command, words in {
        "msg": "dm tell whisper w pm privmsg message write send",
        "say": "broadcast post speak",
        "me": "emote action do describe",
        "reply": "answer re quote respond",
        "thread": "replies answers",
        "react": "reaction like thumbsup plusone upvote emoji ack",
        "edit": "change correct fix replace amend",
        "erase": "del remove rm unsend undo wipe",
        "history": "log logs scroll scrollback lastlog backlog last playback recap",
        "search": "find grep",
        "mentions": "highlights hilight notifications",
        "unread": "new news inbox missed",
        "catchup": "markread clearunread mark seenall readall",
        "pin": "star bookmark stick",
        "retry": "resend again",
        "join": "enter",
        "leave": "wc depart",
        "look": "goto go cd open focus window win buffer where whereami pwd current tab",
        "rooms": "channels channel chans chan ls lists groups group",
        "create": "mkroom newroom mkdir",
        "topic": "subject title",
        "invite": "summon add",
        "set": "settings setting config configure prefs preferences options option timezone tz bell clock beep sound",
        "who": "users user people online profile info finger seen whoami",
        "members": "nicks roster",
        "away": "afk brb busy dnd status absent",
        "nick": "nickname rename username setname",
        "name": "displayname realname fullname",
        "ignore": "squelch hush filter",
        "kick": "boot eject",
        "mute": "silence gag devoice shun",
        "unmute": "voice unsilence",
        "role": "op deop mode owner moderator mod admin promote demote halfop",
        "gban": "kline gline kill akill",
        "password": "passwd pass setpass",
        "export": "download backup mydata",
        "forget": "unregister deleteaccount drop",
        "help": "? h commands man usage about",
        "server": "version motd rules limits contact",
        "ping": "alive",
        "quit": "q disconnect signoff signout",
    }.items()
    for word in words.split()
}
"""Words of other chats and of shells, and the equivalent command here."""

ELSEWHERE: Final = dict.fromkeys(("clear", "cls", "reset"), Note.CANNOT_CLEAR)
"""Words for what the server cannot do."""


def instead(word: str, commands: Iterable[str]) -> Note | Sentence | None:
    """A sentence that says what to use instead of this word, which is none of `commands`; None if nothing is near."""
    if word in ELSEWHERE:
        return ELSEWHERE[word]
    near = [KNOWN_ELSEWHERE[word]] if word in KNOWN_ELSEWHERE else alike(word, commands)
    return Sentence(Note.DID_YOU_MEAN, near=" or ".join(f"/{one}" for one in near)) if near else None
