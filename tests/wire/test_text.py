"""The dialect of people: lines to commands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.values import commands as c
from chatserver.values.commands import (
    CURRENT,
    Amend,
    Away,
    Ban,
    Bans,
    Command,
    Create,
    Delete,
    Edit,
    Erase,
    Export,
    Forget,
    Guest,
    Help,
    History,
    Ignore,
    Invite,
    Join,
    Kick,
    Leave,
    Login,
    Logout,
    Look,
    Members,
    Mentions,
    Missed,
    Mute,
    Password,
    Pin,
    Ping,
    Pins,
    Prefer,
    Quit,
    React,
    Read,
    ReadAll,
    Register,
    Rename,
    Reply,
    Respond,
    Retry,
    Role,
    Rooms,
    Say,
    Search,
    Set,
    Token,
    ToLast,
    Topic,
    TypedName,
    Unban,
    Unignore,
    Unmute,
    Unpin,
    Unread,
    Who,
)
from chatserver.values.errors import ErrorWord, Refused, Rejected
from chatserver.values.stages import Stage
from chatserver.wire.hygiene.text import clean_line
from chatserver.wire.sentences import english
from chatserver.wire.text import TEXT
from chatserver.wire.text.shown.help import ALIASES, PAGES
from chatserver.wire.text.typed.suggestions import ELSEWHERE, KNOWN_ELSEWHERE
from chatserver.wire.text.typed.words import NEWEST


def refusal(line: str, stage: Stage = Stage.IN) -> Refused:
    rejected = TEXT.parse(line, stage)
    assert isinstance(rejected, Rejected)
    assert (rejected.tag, rejected.fatal) == (None, False)
    return rejected.refused


def usage(name: str) -> str:
    return f"Usage: {PAGES[name].usage}"


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("", None),
        ("   ", None),
        ("hello all ", Say(room=CURRENT, text="hello all")),
        ("  indented", Say(room=CURRENT, text="  indented")),
        ("a/b", Say(room=CURRENT, text="a/b")),
        ("//etc/hosts", Say(room=CURRENT, text="/etc/hosts")),
        ("///", Say(room=CURRENT, text="//")),
        ("/say Books hello  you", Say(room="books", text="hello  you")),
        ("/say #books /join x", Say(room="books", text="/join x")),
        ("/SAY @Bob hi", Say(room="@Bob", text="hi")),
        ("  /say books hi", Say(room="books", text="hi")),
        ("/me waves  twice", Say(room=CURRENT, text="/me waves  twice")),
        ("/msg Bob lunch?", Say(room="@Bob", text="lunch?")),
        ("/msg @Bob lunch?", Say(room="@Bob", text="lunch?")),
        ("/query bob lunch?", Say(room="@bob", text="lunch?")),
        ("/query bob", Look(room="@bob")),
        ("/look Books", Look(room="books")),
        ("/room books", Look(room="books")),
        ("/switch @bob", Look(room="@bob")),
        ("/join Books", Join(room="books")),
        ("/j #books 17", Join(room="books", since=17)),
        ("/leave", Leave(room=CURRENT)),
        ("/part #books", Leave(room="books")),
        ("/create Books", Create(room="books")),
        ("/create books private", Create(room="books", visibility="private")),
        ("/create books Public what we  read", Create(room="books", topic="what we  read")),
        ("/create books what we read", Create(room="books", topic="what we read")),
        ("/rooms", Rooms()),
        ("/list books", Rooms(after="books")),
        ("/history", History(room=CURRENT)),
        ("/history 20", History(room=CURRENT, limit=20)),
        ("/history books", History(room="books")),
        ("/history books 20", History(room="books", limit=20)),
        ("/history 20 books", History(room="books", limit=20)),
        ("/history 2024 20", History(room="2024", limit=20)),
        ("/history #2024", History(room="2024")),
        ("/members", Members(room=CURRENT)),
        ("/names books", Members(room="books")),
        ("/who", Who()),
        ("/whois @Bob", Who(name="Bob")),
        ("/read", Read(room=CURRENT, seq=NEWEST)),
        ("/read books", Read(room="books", seq=NEWEST)),
        ("/read books 5", Read(room="books", seq=5)),
        ("/read 5", Read(room=CURRENT, seq=5)),
        ("/read #5", Read(room=CURRENT, seq=5)),
        ("/catchup", ReadAll()),
        ("/catchup #Books", Read(room="books", seq=NEWEST)),
        ("/unread", Unread()),
        ("/unread after=#Books", Unread(after="books")),
        ("/unread @Bob", Missed(room="@Bob")),
        ("/mentions", Mentions()),
        ("/mentions before=1772445720123", Mentions(before=1772445720123)),
        ("/look", Look(room=CURRENT)),
        ("/retry", Retry()),
        ("/reply 41 yes  of course", Reply(room=CURRENT, seq=41, text="yes  of course")),
        ("/reply #41 #42 is better", Reply(room="41", seq=42, text="is better")),
        ("/reply books #41 yes", Reply(room="books", seq=41, text="yes")),
        ("/reply #den hello all", ToLast(what="reply", room="den", words="hello all")),
        ("/react +1", ToLast(what="react", room=CURRENT, words="+1")),
        ("/unreact bob +1", ToLast(what="unreact", room=CURRENT, words="bob +1")),
        ("/r hello", Respond(text="hello")),
        ("/etc/hosts is a file", Say(room=CURRENT, text="/etc/hosts is a file")),
        ("/react 41 +1", React(room=CURRENT, seq=41, reaction="+1")),
        ("/react #41 5", React(room=CURRENT, seq=41, reaction="5")),
        ("/react @Bob 41 👍", React(room="@Bob", seq=41, reaction="👍")),
        ("/unreact books 41 +1", React(room="books", seq=41, reaction="+1", remove=True)),
        ("/pin #41", Pin(room=CURRENT, seq=41)),
        ("/unpin books 41", Unpin(room="books", seq=41)),
        ("/pins", Pins(room=CURRENT)),
        ("/pins before=#41 #books", Pins(room="books", before=41)),
        ("/nick @Anna", Rename(name="Anna")),
        ("/name José  Müller", Rename(display="José Müller")),
        ("/name -", Rename(display="")),
        ("/ignore", Ignore()),
        ("/ignore @Bob", Ignore(name="Bob")),
        ("/unignore ~12", Unignore(name="~12")),
        ("/set", Prefer()),
        ("/set Timezone Europe/Berlin", Prefer(timezone="Europe/Berlin")),
        ("/set timezone new york", Prefer(timezone="new york")),
        ("/set bell Mentions clock 12", Prefer(bell="mentions", clock="12")),
        ("/set #bell pace 5", Set(room="bell", pace=5)),
        ("s/none/noon/", Amend(old="none", new="noon")),
        ("  s/a b//g ", Amend(old="a b", new="", every=True)),
        (r"s/1\/2/\\\//", Amend(old="1/2", new="\\/")),
        ("s/he", Say(room=CURRENT, text="s/he")),
        ("s/he/it", Say(room=CURRENT, text="s/he/it")),
        ("s//x/", Say(room=CURRENT, text="s//x/")),
        ("s/a/b/ or so", Say(room=CURRENT, text="s/a/b/ or so")),
        ("/say books quit", Say(room="books", text="quit")),
        ("bye all", Say(room=CURRENT, text="bye all")),
        ("/topic", Topic(room=CURRENT)),
        ("/topic #books", Topic(room="books")),
        ("/topic -", Topic(room=CURRENT, text="")),
        ("/topic #books - and more", Topic(room="books", text="- and more")),
        ("/topic what we read", Topic(room=CURRENT, text="what we read")),
        ("/topic #books what we read", Topic(room="books", text="what we read")),
        ("/topic books and more", Topic(room=CURRENT, text="books and more")),
        ("/ping", Ping()),
        ("/quit so long", Quit()),
        ("/exit", Quit()),
        ("/Bye", Quit()),
        ("/logout", Logout()),
        ("/help", Help()),
        ("/help /part", Help(about="leave")),
        ("/help ALL", Help(about="all")),
        ("/edit 41 hi  all", Edit(room=CURRENT, seq=41, text="hi  all")),
        ("/edit #41 42 is better", Edit(room=CURRENT, seq=41, text="42 is better")),
        ("/edit books 41 hi", Edit(room="books", seq=41, text="hi")),
        ("/edit #books #41 hi", Edit(room="books", seq=41, text="hi")),
        ("/edit #2024 #41 hi", Edit(room="2024", seq=41, text="hi")),
        ("/edit @Bob 41 /me hi", Edit(room="@Bob", seq=41, text="/me hi")),
        ("/edit oops I meant this", Edit(room=CURRENT, seq=None, text="oops I meant this")),
        ("/edit 3 apples", Edit(room=CURRENT, seq=3, text="apples")),
        ("/edit @bob thanks", Edit(room=CURRENT, seq=None, text="@bob thanks")),
        ("/edit #Books  two  words", Edit(room="books", seq=None, text="two  words")),
        ("/erase", Erase(room=CURRENT, seq=None)),
        ("/erase books", Erase(room="books", seq=None)),
        ("/erase 5 books", Erase(room="books", seq=5)),
        ("/erase #41", Erase(room=CURRENT, seq=41)),
        ("/erase @Bob 41", Erase(room="@Bob", seq=41)),
        ("/erase #2024 #41", Erase(room="2024", seq=41)),
        ("/history before=#41", History(room=CURRENT, before=41)),
        ("/history books 20 before=41", History(room="books", limit=20, before=41)),
        ("/history after=#41 5", History(room=CURRENT, after=41, limit=5)),
        ("/history #books since=Yesterday", History(room="books", since="Yesterday")),
        ("/history before=41 20 books", History(room="books", limit=20, before=41)),
        ("/join books #17", Join(room="books", since=17)),
        ("/search lunch  break", Search(text="lunch break")),
        ("/search #Books lunch", Search(text="lunch", room="books")),
        ("/search @Bob lunch", Search(text="lunch", room="@Bob")),
        ("/search @Bob", Search(text="@Bob")),
        ("/search books", Search(text="books")),
        ("/search #books before=9 lunch", Search(text="lunch", room="books", before=9)),
        ("/search before=9 lunch", Search(text="lunch", before=9)),
        ("/search lunch before=9", Search(text="lunch before=9")),
        ("/away", Away()),
        ("/away  at lunch ", Away(text="at lunch")),
        ("/back", Away()),
        ("/delete #Books", Delete(room="books")),
        ("/set past Open", Set(room=CURRENT, past="open")),
        ("/set #books invites members", Set(room="books", invites="members")),
        ("/set books past closed invites moderators", Set(room="books", past="closed", invites="moderators")),
        ("/set #past past open", Set(room="past", past="open")),
        ("/set pace 30", Set(room=CURRENT, pace=30)),
        ("/set books pace 5m past open", Set(room="books", pace=300, past="open")),
        ("/set #books Pace Off", Set(room="books", pace=0)),
        ("/invite Bob", Invite(room=CURRENT, name="Bob")),
        ("/invite @Bob #books", Invite(room="books", name="Bob")),
        ("/invite #books Bob", Invite(room="books", name="Bob")),
        ("/who ~12", Who(name="~12")),
        ("/role Bob Owner", Role(room=CURRENT, name="Bob", role="owner")),
        ("/role bob member books", Role(room="books", name="bob", role="member")),
        ("/role #books bob member", Role(room="books", name="bob", role="member")),
        ("/kick ~12 too much  noise", Kick(room=CURRENT, name="~12", reason="too much  noise")),
        ("/kick #books bob", Kick(room="books", name="bob")),
        ("/mute bob 90s", Mute(room=CURRENT, name="bob", seconds=90)),
        ("/mute #books bob 2W", Mute(room="books", name="bob", seconds=1_209_600)),
        ("/unmute bob books", Unmute(room="books", name="bob")),
        ("/ban bob", Ban(room=CURRENT, name="bob")),
        ("/ban bob 10m spam, again", Ban(room=CURRENT, name="bob", seconds=600, reason="spam, again")),
        ("/ban #books bob 10 times told", Ban(room="books", name="bob", reason="10 times told")),
        ("/gban bob 7d spam", Ban(name="bob", seconds=604_800, reason="spam")),
        ("/gban 192.0.2.7/24 2h", Ban(address="192.0.2.0/24", seconds=7200)),
        ("/gban --yes ::/0 1h spam", Ban(address="::/0", seconds=3600, reason="spam", yes=True)),
        ("/gban 2001:db8::1 spam", Ban(address="2001:db8::/64", reason="spam")),
        ("/unban bob", Unban(room=CURRENT, name="bob")),
        ("/unban #books bob", Unban(room="books", name="bob")),
        ("/gunban bob", Unban(name="bob")),
        ("/gunban 2001:db8::5", Unban(address="2001:db8::/64")),
        ("/bans", Bans(room=CURRENT)),
        ("/bans books", Bans(room="books")),
        ("/bans server", Bans()),
        ("/bans #server", Bans(room="server")),
        ("/password old new Others", Password(old="old", new="new", others=True)),
        ("/password old others", Password(old="old", new="others")),
        ("/forget pass word", Forget(password="pass word")),
        ("/forget pass word erase", Forget(password="pass word", messages="erase")),
        ("/token my laptop", Token(label="my laptop")),
        ("/token list", Token(list=True)),
        ("/token listing", Token(label="listing")),
        (
            "/token my bot for=7d room=#Den read-only",
            Token(label="my bot", seconds=604_800, room="den", read_only=True),
        ),
        ("/token read-only for=x y READ-ONLY", Token(label="read-only for=x y", read_only=True)),
        ("/token Revoke my laptop", Token(revoke="my laptop")),
        ("/export", Export()),
        ("/export 9:1", Export(after="9:1")),
        ("/password old new one", Password(old="old", new="new one")),
    ],
)
def test_commands(line: str, command: Command | None) -> None:
    """A line without a slash is said in the current room; with one it is a command, by name or alias."""
    assert TEXT.parse(line, Stage.IN) == command


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("/jion chess", "There is no /jion. Did you mean /join? Nothing was sent."),
        ("/xyzzy s3cret", "There is no /xyzzy. /help lists the commands. Nothing was sent."),
        (" /xyzzy", "There is no /xyzzy. /help lists the commands. Nothing was sent."),
        ("/", "There is no /. /help lists the commands. Nothing was sent."),
        ("/" + "x" * 33, "There is no /" + "x" * 32 + "…. /help lists the commands. Nothing was sent."),
        ("/help jion", "There is no /jion. Did you mean /join? Nothing was sent."),
        ("/join", "Usage: /join ROOM [SINCE]"),
        ("/join books soon", "Usage: /join ROOM [SINCE]"),
        ("/say books", "Usage: /say ROOM TEXT"),
        ("/me", "Usage: /me ACTION"),
        ("/history a b", usage("history")),
        ("/history 0", usage("history")),
        ("/history before=a", usage("history")),
        ("/history before=", usage("history")),
        ("/history before=1 after=2", usage("history")),
        ("/history since=today since=today", usage("history")),
        ("/edit #general", usage("edit")),
        ("/erase a b", usage("erase")),
        ("/reply 41", usage("reply")),
        ("/react 41", usage("react")),
        ("/react 41 two words", "A reaction is one word, for example +1."),
        ("/react one or two", usage("react")),
        ("/pin", usage("pin")),
        ("/pin books", usage("pin")),
        ("/unpin books", usage("unpin")),
        ("/pins a b", usage("pins")),
        ("/mentions books", usage("mentions")),
        ("/unread a b", usage("unread")),
        ("/catchup a b", usage("catchup")),
        ("/retry now", usage("retry")),
        ("/nick", usage("nick")),
        ("/name", usage("name")),
        ("/ignore a b", usage("ignore")),
        ("/set bell", usage("set")),
        ("/set bell loud", "bell is on, off, mentions or default. Nothing was changed."),
        ("/set timezone", usage("set")),
        ("/set timezone " + "x" * 65, usage("set")),
        ("/history since=" + "x" * 65, usage("history")),
        ("/set bell on pace 5", usage("set")),
        ("/set #books bell on", usage("set")),
        ("/set clock 12 clock 24", usage("set")),
        ("quit", "Did you mean /quit? To say this, use /say ROOM quit."),
        (" Exit ", "Did you mean /quit? To say this, use /say ROOM Exit."),
        ("bye", "Did you mean /quit? To say this, use /say ROOM bye."),
        ("HELP", "Did you mean /help? To say this, use /say ROOM HELP."),
        ("?", "Did you mean /help? To say this, use /say ROOM ?."),
        ("/edit", usage("edit")),
        ("/edit 41", usage("edit")),
        ("/edit books 41", usage("edit")),
        ("/search", "Usage: /search [#ROOM] [OPTION]... WORDS"),
        ("/search #books", "Usage: /search [#ROOM] [OPTION]... WORDS"),
        ("/delete", "Usage: /delete ROOM"),
        ("/set pace 2h", "A pace is at most 3600 seconds. Nothing was changed."),
        ("/set pace soon", "pace is off or so many seconds. Nothing was changed."),
        ("/set past", usage("set")),
        ("/set past members", "past is open or closed. Nothing was changed."),
        ("/set past open past open", usage("set")),
        ("/set books future open", usage("set")),
        ("/role bob", "Usage: /role NAME owner|moderator|member [ROOM]"),
        ("/role bob king", "Usage: /role NAME owner|moderator|member [ROOM]"),
        ("/kick #books", "Usage: /kick [#ROOM] NAME [REASON]"),
        ("/mute bob soon", "Usage: /mute [#ROOM] NAME [TIME]"),
        ("/mute bob 0s", "Usage: /mute [#ROOM] NAME [TIME]"),
        ("/ban bob 9999999999w", "Usage: /ban [#ROOM] NAME [TIME] [REASON]"),
        ("/ban 192.0.2.1 spam", "A ban of an address applies to the whole server. Its operators use /gban."),
        ("/unban ::1", "A ban of an address applies to the whole server. Its operators use /gunban."),
        ("/gban 192.0.2", "This is neither an IPv4 or IPv6 address nor a network such as 192.0.2.0/24."),
        ("/token", "Usage: /token LABEL [OPTIONS], /token list, /token revoke LABEL"),
        ("/token revoke", "Usage: /token LABEL [OPTIONS], /token list, /token revoke LABEL"),
        ("/token bot for=soon", "Usage: /token LABEL [OPTIONS], /token list, /token revoke LABEL"),
        ("/token ct_" + "x" * 40, "You are already logged in. To use another account, /logout first."),
        ("/guest", "You are already logged in. To use another account, /logout first."),
        ("/general", "There is no /general. /help lists the commands. Nothing was sent."),
        ("/read books " + "9" * 5000, "Usage: /read [ROOM] [SEQ] [back]"),
        ("/read books " + "9" * 16, "Usage: /read [ROOM] [SEQ] [back]"),
        ("/read books ٣", "Usage: /read [ROOM] [SEQ] [back]"),
        ("/read books back", "Usage: /read [ROOM] [SEQ] [back]"),
        ("/password new", "Usage: /password OLD NEW [others]"),
        ("/login ana s3cret", "You are already logged in. To use another account, /logout first."),
        ("/register ana s3cret", "You are already logged in. To use another account, /logout first."),
    ],
)
def test_bad_commands(line: str, reason: str) -> None:
    """A mistyped command is never said to anybody, and the refusal names the remedy."""
    refused = refusal(line)
    assert (refused.error, english(refused.sentence)) == (ErrorWord.BAD_COMMAND, reason)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("/msg ~12 hi", ErrorWord.NOT_ALLOWED),
        ("/query ~12", ErrorWord.NOT_ALLOWED),
        ("/kick 1bob", ErrorWord.BAD_NAME),
        ("/kick bob " + "x" * 501, ErrorWord.TOO_LONG),
        ("/ban bob 1h " + "x" * 501, ErrorWord.TOO_LONG),
        ("/away " + "x" * 201, ErrorWord.TOO_LONG),
        ("/search " + "x" * 201, ErrorWord.TOO_LONG),
        ("/token " + "x" * 65, ErrorWord.TOO_LONG),
        ("/token revoke " + "x" * 65, ErrorWord.TOO_LONG),
    ],
)
def test_bad_values(line: str, error: ErrorWord) -> None:
    """The same values are refused as for programs, in words that name no field."""
    refused = refusal(line)
    assert refused.error is error
    assert "field" not in english(refused.sentence)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("", None),
        ("ana", TypedName(name="ana")),
        (" Ana-Lena ", TypedName(name="Ana-Lena")),
        ("/login ana s3cret words", Login(name="ana", password="s3cret words")),
        ("/login ana s3cret words Quiet", Login(name="ana", password="s3cret words", quiet=True)),
        ("/login ana quiet", Login(name="ana", password="quiet")),
        ("/LOGIN  ana s3cret", Login(name="ana", password="s3cret")),
        ("/register Ana s3cret", Register(name="Ana", password="s3cret")),
        ("/register Ana correct horse", Register(name="Ana", password="correct horse")),
        ("/register Ana correct horse code=x1", Register(name="Ana", password="correct horse", code="x1")),
        ("/register Ana code=x1", Register(name="Ana", password="code=x1")),
        ("/token  ct_abc ", Login(token="ct_abc")),
        ("/guest", Guest()),
        ("/quit", Quit()),
        ("/bye all", Quit()),
        ("/help", Help(about="first")),
        ("/help /Token", Help(about="token")),
        ("/help s3cret", Help(about="first")),
        ("/help a b", Help(about="first")),
    ],
)
def test_greeting(line: str, command: object) -> None:
    """Before login a line without a slash is a name, and only a few commands may be used."""
    assert TEXT.parse(line, Stage.GREETING) == command


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("s3cret words", ErrorWord.BAD_NAME),
        ("/join s3cret", ErrorWord.LOGIN_REQUIRED),
        ("/s3cret", ErrorWord.LOGIN_REQUIRED),
        ("//s3cret", ErrorWord.LOGIN_REQUIRED),
        ("/login s3cret", ErrorWord.BAD_COMMAND),
        ("/register", ErrorWord.BAD_COMMAND),
        ("/login 1s3cret x", ErrorWord.BAD_NAME),
        ("/token", ErrorWord.BAD_COMMAND),
        ("/token s3cret s3cret", ErrorWord.BAD_COMMAND),
        ("/token " + "s3cret" * 99, ErrorWord.TOO_LONG),
        ("/register ~1 s3cret", ErrorWord.BAD_NAME),
        ("~1", ErrorWord.BAD_NAME),
    ],
)
def test_greeting_refused(line: str, error: ErrorWord) -> None:
    """Before login nothing typed is ever quoted back: it might be a password."""
    refused = refusal(line, Stage.GREETING)
    assert refused.error is error
    assert "s3cret" not in english(refused.sentence)


@pytest.mark.parametrize(
    ("typed", "remedy"),
    [
        ("clear", "Only your terminal can clear its screen."),
        ("nickname", "Did you mean /nick?"),
        ("DM", "Did you mean /msg?"),
        ("whisper", "Did you mean /msg?"),
        ("users", "Did you mean /who?"),
        ("channels", "Did you mean /rooms?"),
        ("op", "Did you mean /role?"),
        ("?", "Did you mean /help?"),
        ("jion", "Did you mean /join?"),
        ("ojin", "Did you mean /join?"),
        ("kik", "Did you mean /kick?"),
        ("pinn", "Did you mean /pin or /pins?"),
        ("hitsory", "Did you mean /history?"),
        ("hisotrry", "Did you mean /history?"),
        ("lick", ""),
        ("qwick", ""),
        ("pn", ""),
        ("jonx", ""),
        ("join" * 2000, ""),
    ],
)
def test_suggestions(typed: str, remedy: str) -> None:
    """Of a command that does not exist the refusal tells what is near to it in meaning or letters, and nothing else."""
    said = english(refusal(f"/{typed}").sentence)
    assert (remedy or "/help lists the commands.") + " Nothing was sent." in said
    assert (remedy == "") == ("mean" not in said and "terminal" not in said)


def test_words_known_elsewhere() -> None:
    """Words that people know from elsewhere are no commands here, and what is suggested for them is one."""
    assert KNOWN_ELSEWHERE.keys().isdisjoint({*PAGES, *ALIASES, *ELSEWHERE})
    assert set(KNOWN_ELSEWHERE.values()) <= set(PAGES)


WITH_A_ROOM = {
    "say": "say {} hi", "reply": "reply {} 41 hi", "react": "react {} 41 +1", "unreact": "unreact {} 41 +1",
    "edit": "edit {} 41 hi", "erase": "erase {} 41", "history": "history {} 5", "unread": "unread {}",
    "read": "read {} 41", "catchup": "catchup {}", "pin": "pin {} 41", "unpin": "unpin {} 41", "pins": "pins {}",
    "reactions": "reactions {} 41", "thread": "thread {} 41", "notify": "notify {} all",
    "join": "join {}", "leave": "leave {}", "look": "look {}", "rooms": "rooms {}", "create": "create {}",
    "invite": "invite ana {}", "uninvite": "uninvite ana {}", "set": "set {} pace 5", "delete": "delete {}",
    "members": "members {}", "unmute": "unmute ana {}", "unban": "unban ana {}", "bans": "bans {}",
    "role": "role ana owner {}", "token": "token bot room={}",
}  # fmt: skip
MARKED = {
    "search": "search {} hi",
    "topic": "topic {} hi",
    "kick": "kick {} bob",
    "mute": "mute {} bob",
    "ban": "ban {} bob",
}
"""Where a name or a text follows, a room is told apart by its #."""
WITH_A_NAME = ("msg {} hi", "query {}", "who {}", "nick {}", "ignore {}", "unignore {}", "block {}", "unblock {}",
               "invite {}", "uninvite {}", "kick {}", "mute {}", "unmute {}", "ban {}", "unban {}", "gban {}",
               "gunban {}", "role {} owner", "members books {}")  # fmt: skip
WITH_A_NUMBER = ("reply {} hi", "react {} +1", "unreact {} +1", "edit {} hi", "erase {}", "pin {}", "unpin {}",
                 "read {}", "read books {}", "join books {}", "history before={}", "history after={}", "pins before={}",
                 "unpin books {}", "reactions {}", "thread {}",
                 "thread 41 after={}")  # fmt: skip


def test_rooms_people_and_numbers_are_typed_either_way() -> None:
    """Wherever a room, a person or a number is expected, `#general`, `@ana` and `#41` are the same as without the mark;
    every command whose usage has a room is among these."""

    def same(form: str, *words: str) -> c.Command:
        parsed = [TEXT.parse("/" + form.format(word), Stage.IN) for word in words]
        assert isinstance(parsed[0], c.Command), form
        assert parsed == parsed[:1] * len(words), form
        return parsed[0]

    assert {name for name, page in PAGES.items() if "ROOM" in page.usage} <= {*WITH_A_ROOM, *MARKED}
    for form in WITH_A_ROOM.values():
        command = same(form, "general", "#general", "General", "#GENERAL")
        assert "general" in (getattr(command, "room", ""), getattr(command, "after", "")), form
    for form in MARKED.values():
        assert getattr(same(form, "#general", "#GENERAL"), "room", "") == "general", form
    for form in WITH_A_NAME:
        same(form, "ana", "@ana")
    for form in WITH_A_NUMBER:
        same(form, "41", "#41")


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])), st.sampled_from([*PAGES, *ALIASES, ""]))
def test_nothing_else_is_raised(typed: str, word: str) -> None:
    """Whatever is typed, it is a command, nothing or rejected."""
    line = clean_line(typed.encode())
    for stage in (Stage.IN, Stage.GREETING, Stage.PASSWORD):
        for attempt in (line, f"/{word} {line}", f"/{line}"):
            assert isinstance(TEXT.parse(attempt, stage), Command | Rejected | None)
