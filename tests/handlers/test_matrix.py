"""The result of every command, for every kind of person in every kind of room."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from chatserver.handlers import READS, WRITES
from chatserver.store import erasure
from chatserver.values import commands as c
from chatserver.values.events import GUEST, OPERATOR, PERSON
from chatserver.values.stages import Stage, misplaced
from tests.handlers.acts import acts
from tests.handlers.town import Town
from tests.handlers.world import World, undone

EVERYBODY = "outsider invited banned operator guest member muted blocked moderator owner"
GROUPS = {
    "inside": "member muted blocked moderator owner",
    "voices": "member blocked moderator owner",
    "common": "member muted blocked",
    "keepers": "moderator owner",
    "outside": "outsider invited banned guest",
}
"""Names for several people. In the hall the guest is inside too."""


def table(text: str, **usual: str) -> dict[tuple[str, str], str]:
    """The result of each act for each kind of person, from lines `act, act | word: who who | word: who`.

    `usual`: by word, the people whose result this is unless the line says otherwise.
    """
    found: dict[tuple[str, str], str] = {}
    for line in text.strip().splitlines():
        names, *answers = line.split("|")
        row = _people((word.replace("_", "-"), who) for word, who in usual.items())
        row |= _people(answer.strip().split(": ") for answer in answers)  # type: ignore[misc]
        assert row.keys() == set(EVERYBODY.split()), line
        for act in names.split(","):
            found |= {(act.strip(), who): word for who, word in row.items()}
    return found


def _people(answers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {who: word for word, whos in answers for name in whos.split() for who in GROUPS.get(name, name).split()}


HALL = table(
    """
    join, join since, history, search, members         | ok: inside guest outsider invited operator
    history since, what the topic is                   | ok: inside guest outsider invited operator
    history before and after                           | bad-command: inside guest outsider invited operator banned
    search for nothing                                 | empty: inside guest outsider invited operator banned
    look, leave, erase, erase the last, read           | ok: inside guest
    what was missed                                    | ok: inside guest
    topic, say, say with an id, edit                   | ok: voices guest | muted: muted
    edit the last, amend                               | ok: voices guest | muted: muted
    pins, replies, who reacts                          | ok: inside guest outsider invited operator
    reply, react, take back, pin, unpin                | ok: voices guest | muted: muted
    reply to no message, react to no message           | bad-command: voices guest | muted: muted
    pin no message                                     | bad-command: voices guest | muted: muted
    edit another's                                     | not-allowed: voices guest | muted: muted
    edit what is no message, amend what is not there   | bad-command: voices guest | muted: muted
    delete, set, role, kick a moderator, open the past | ok: owner operator | not-allowed: common guest moderator
    ban a moderator, mute a moderator                  | ok: owner operator | not-allowed: common guest moderator
    role of who is out | no-such-user: owner operator | not-allowed: common guest moderator
    role of the last owner, ban the operator           | not-allowed: inside guest operator
    kick, ban, ban who is out, unban, bans, unmute     | ok: keepers operator | not-allowed: common guest
    set pace                                           | ok: keepers operator | not-allowed: common guest
    kick who is out, unban who is not, mute who is out | no-such-user: keepers operator | not-allowed: common guest
    mute, erase another's                              | ok: keepers operator | not-allowed: common guest
    invite, invite who is in, invite the guest         | ok: inside | not-allowed: guest
    invite who blocks | ok: muted member keepers | blocked: blocked | not-allowed: guest
    invite who is banned                               | banned: inside banned | not-allowed: guest
    invite nobody                                      | no-such-user: inside | not-allowed: guest
    uninvite                                           | ok: keepers | no-such-user: common guest
    uninvite who is not                                | no-such-user: inside guest
    """,
    not_a_member="outsider invited operator",
    banned="banned",
)

DEN = table(
    """
    join, join since                                   | ok: inside invited | invite-only: operator
    look, history, search, members, leave, read        | ok: inside
    what was missed                                    | ok: inside
    history since, what the topic is, erase the last   | ok: inside
    erase                                              | ok: inside | bad-command: operator
    history before and after                           | bad-command: inside operator outside
    search for nothing                                 | empty: inside operator outside
    topic, say, say with an id, edit                   | ok: voices | muted: muted
    edit the last, amend                               | ok: voices | muted: muted
    pins, replies, who reacts                          | ok: inside
    reply, react, take back, pin, unpin                | ok: voices | muted: muted
    reply to no message, react to no message           | bad-command: voices | muted: muted
    pin no message                                     | bad-command: voices | muted: muted
    edit another's                                     | not-allowed: voices | muted: muted
    edit what is no message, amend what is not there   | bad-command: voices | muted: muted
    delete, set, role, kick a moderator                | ok: owner operator | not-allowed: common moderator
    ban a moderator, mute a moderator                  | ok: owner operator | not-allowed: common moderator
    role of who is out                                 | no-such-user: owner operator | not-allowed: common moderator
    role of the last owner, ban the operator           | not-allowed: inside operator
    kick, ban, ban who is out, unban, bans, unmute     | ok: keepers operator | not-allowed: common
    mute, set pace                                     | ok: keepers operator | not-allowed: common
    open the past                                      | ok: owner | not-allowed: common moderator operator
    kick who is out, unban who is not, mute who is out | no-such-user: keepers operator | not-allowed: common
    erase another's                                    | ok: keepers | not-allowed: common | bad-command: operator
    invite, invite who is in                           | ok: inside | not-allowed: guest
    invite the guest                                   | not-allowed: inside guest
    invite who blocks | ok: muted member keepers | blocked: blocked | not-allowed: guest
    invite who is banned                               | banned: inside | not-allowed: guest
    invite nobody                                      | no-such-user: inside | not-allowed: guest
    uninvite                                           | ok: keepers | no-such-user: common
    uninvite who is not                                | no-such-user: inside
    """,
    no_such_room="outside",
    not_a_member="operator",
)

HOW = {"history before and after": "bad-command", "search for nothing": "empty"}
_DIRECT = dict.fromkeys(acts("@rival"), "direct-room") | HOW | {
    "join": "ok", "join since": "ok", "look": "ok", "say": "ok", "say with an id": "ok", "edit": "ok", "erase": "ok",
    "edit another's": "not-allowed", "edit what is no message": "bad-command", "read": "ok", "history": "ok",
    "what was missed": "ok",
    "search": "ok", "members": "ok", "edit the last": "ok", "amend": "ok", "amend what is not there": "bad-command",
    "erase the last": "ok", "history since": "ok", "reply": "ok", "reply to no message": "bad-command", "react": "ok",
    "take back": "ok", "react to no message": "bad-command", "pin": "ok", "unpin": "ok",
    "pin no message": "bad-command", "pins": "ok", "replies": "ok", "who reacts": "ok",
}  # fmt: skip
_WRITING = ("say", "reply", "edit", "amend", "react", "take back", "pin", "unpin")
_UNHEARD = dict.fromkeys((act for act in _DIRECT if act.startswith(_WRITING) and act != "pins"), "blocked")

# In a direct room there are no roles; a guest has no direct rooms.
RIVAL = (
    {(act, who): word for act, word in _DIRECT.items() for who in ("outsider", "operator", "owner", "muted")}
    | {(act, "blocked"): word for act, word in (_DIRECT | _UNHEARD).items()}
    | {(act, "guest"): HOW.get(act, "not-allowed") for act in _DIRECT}
)
NOWHERE = {(act, who): HOW.get(act, "no-such-room") for act in _DIRECT for who in ("outsider", "operator", "owner")}


@pytest.mark.parametrize(("room", "wanted"), [("hall", HALL), ("den", DEN), ("@rival", RIVAL), ("nowhere", NOWHERE)])
def test_what_one_may_do_in_a_room(engine: Engine, room: str, wanted: dict[tuple[str, str], str]) -> None:
    """Each act of each kind of person in each kind of room has the result that the tables say."""
    assert {act for act, _ in wanted} == acts("hall").keys()
    found = {}
    with undone(engine) as db:
        town = Town(db)
        guest = town.people["guest"].name
        for act, who in wanted:
            with db.begin_nested() as attempt:
                tried = acts(room, *town.seqs(room, who), guest)[act]
                found[act, who] = town.word(who, tried)
                attempt.rollback()
    assert {case: word for case, word in found.items() if word != wanted[case]} == {}


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """The statements that the database executes meanwhile."""
    texts: list[str] = []

    def note(_db: object, _cursor: object, statement: str, *_: object) -> None:
        texts.append(re.sub(r"sa_savepoint_\d+", "savepoint", statement))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield texts
    finally:
        event.remove(engine, "before_cursor_execute", note)


def asked(engine: Engine, town: Town, who: str, command: c.Command) -> tuple[str, list[str]]:
    """What somebody is told, and the statements that it took."""
    with statements(engine) as texts:
        told = str(town.told(who, command))
    return told, texts


def test_a_private_room_from_outside(engine: Engine) -> None:
    """From outside, every answer about a private room is word for word the same as about one that does not exist, and
    takes the same statements. So it takes no longer either."""
    with undone(engine) as db:
        town = Town(db)
        for who in ("outsider", "invited", "banned", "guest"):
            there, nowhere = acts("den", *town.seqs("den", who)), acts("nowhere")
            for act in acts("den"):
                if who != "invited" or not act.startswith("join"):
                    told, texts = asked(engine, town, who, there[act])
                    assert (told.replace("room den", "room nowhere"), texts) == asked(
                        engine, town, who, nowhere[act]
                    ), (act, who)


def test_a_message_that_is_hidden(engine: Engine) -> None:
    """Of a number that stands before the first entry that one may read, every answer says the same as of one that
    nothing in the room has."""
    with undone(engine) as db:
        town = Town(db)
        hidden, nothing = town.said["den", "owner"], 10**6
        for who in ("member", "moderator", "operator"):
            for act in ("edit another's", "erase another's", "reply", "react", "take back", "pin", "unpin"):
                told = [str(town.told(who, acts("den", anothers=seq)[act])) for seq in (hidden, nothing)]
                assert told[0].replace(f"#{hidden}.", f"#{nothing}.") == told[1], (act, who)


def test_names_of_the_erased(engine: Engine) -> None:
    """`erased-` and an id is the name of an account that is erased, and of nobody else: no command finds a living one
    by it, and none finds one that is erased, but for reading a direct room that exists."""
    with undone(engine) as db:
        town = Town(db)
        town.person("ghost")
        town.do("member", c.Say(room="@ghost", text="words"))
        ghost, living = town.people["ghost"].id, town.people["pal"].id
        erasure.erase(db, town.people["ghost"], town.at, messages=False)
        for id in (ghost, living, 10**6):
            shown = f"erased-{id}"
            for who in ("owner", "member"):
                for act, command in acts(f"@{shown}").items():
                    exists = id == ghost and who == "member"
                    if act not in HOW:
                        found = town.word(who, command) != "no-such-user"
                        assert found == exists, (act, who, id)
                for command in (
                    c.Who(name=shown), c.Block(name=shown), c.Unblock(name=shown), c.Invite(room="den", name=shown),
                    c.Uninvite(room="den", name=shown), c.Kick(room="den", name=shown), c.Ban(room="den", name=shown),
                    c.Unban(room="den", name=shown), c.Mute(room="den", name=shown), c.Unmute(room="den", name=shown),
                    c.Role(room="den", name=shown, role="member"), c.Ignore(name=shown), c.Unignore(name=shown),
                ):  # fmt: skip
                    if who == "owner":
                        assert town.word(who, command) == "no-such-user", command


ANYWHERE: dict[str, tuple[c.Command, str, str, str]] = {
    "rooms": (c.Rooms(), "ok", "ok", "ok"),
    "unread": (c.Unread(), "ok", "ok", "ok"),
    "read all": (c.ReadAll(), "ok", "ok", "ok"),
    "mentions": (c.Mentions(), "ok", "ok", "ok"),
    "search": (c.Search(text="words"), "ok", "ok", "ok"),
    "search for nothing": (c.Search(text="?!"), "empty", "empty", "empty"),
    "export": (c.Export(), "ok", "ok", "ok"),
    "export from nowhere": (c.Export(after="1"), "bad-command", "bad-command", "bad-command"),
    "who": (c.Who(name="PREY"), "ok", "ok", "ok"),
    "who is nobody": (c.Who(name="nobody"), "no-such-user", "no-such-user", "no-such-user"),
    "create": (c.Create(room="attic"), "not-allowed", "ok", "ok"),
    "create what there is": (c.Create(room="hall", topic="news"), "not-allowed", "room-taken", "room-taken"),
    "create a direct room": (c.Create(room="@prey"), "not-allowed", "direct-room", "direct-room"),
    "say to nobody": (c.Say(room="@nobody", text="hello"), "no-such-user", "no-such-user", "no-such-user"),
    "block": (c.Block(name="prey"), "ok", "ok", "ok"),
    "block nobody": (c.Block(name="nobody"), "no-such-user", "no-such-user", "no-such-user"),
    "unblock": (c.Unblock(name="prey"), "ok", "ok", "ok"),
    "ignore": (c.Ignore(name="prey"), "ok", "ok", "ok"),
    "ignore nobody": (c.Ignore(name="nobody"), "no-such-user", "no-such-user", "no-such-user"),
    "whom one ignores": (c.Ignore(), "ok", "ok", "ok"),
    "unignore": (c.Unignore(name="prey"), "ok", "ok", "ok"),
    "prefer": (c.Prefer(timezone="Europe/Berlin", clock="12", bell="on"), "ok", "ok", "ok"),
    "prefer what is no zone": (c.Prefer(timezone="Nowhere/Else"), "bad-command", "bad-command", "bad-command"),
    "what one prefers": (c.Prefer(), "ok", "ok", "ok"),
    "rename": (c.Rename(name="zoe"), "not-allowed", "ok", "ok"),
    "rename like somebody": (c.Rename(name="PREY"), "not-allowed", "name-taken", "name-taken"),
    "rename like the server": (c.Rename(name="admin"), "not-allowed", "bad-name", "bad-name"),
    "have a display name": (c.Rename(display="Zoe"), "not-allowed", "ok", "ok"),
    "rename to nothing": (c.Rename(), "not-allowed", "bad-command", "bad-command"),
    "bans": (c.Bans(), "not-allowed", "not-allowed", "ok"),
    "ban": (c.Ban(name="prey"), "not-allowed", "not-allowed", "ok"),
    "ban a guest": (c.Ban(name="~guest"), "not-allowed", "not-allowed", "ok"),
    "ban an operator": (c.Ban(name="operator"), "not-allowed", "not-allowed", "not-allowed"),
    "ban nobody": (c.Ban(name="nobody"), "not-allowed", "not-allowed", "no-such-user"),
    "ban a network": (c.Ban(address="192.0.2.0/24"), "not-allowed", "not-allowed", "ok"),
    "unban who is not": (c.Unban(name="prey"), "not-allowed", "not-allowed", "no-such-user"),
    "unban no network": (c.Unban(address="192.0.2.0/24"), "not-allowed", "not-allowed", "no-such-user"),
}
"""Commands that take no room, and their results for a guest, a person and an operator."""


@pytest.mark.parametrize("act", ANYWHERE)
def test_what_one_may_do_anywhere(engine: Engine, act: str) -> None:
    """Guests can do nothing that lasts or is private; only operators moderate the whole server."""
    command, *wanted = ANYWHERE[act]
    with undone(engine) as db:
        town = World(db)
        for kind in (GUEST, PERSON, OPERATOR):
            town.person(kind, kind)
        town.person("prey")
        town.do("person", c.Create(room="hall"))
        if command == c.Ban(name="~guest"):
            command = c.Ban(name=town.people["guest"].name)
        found = []
        for who in ("guest", "person", "operator"):
            with db.begin_nested() as attempt:
                found.append(town.word(who, command))
                attempt.rollback()
    assert found == wanted


def test_no_command_is_left_out() -> None:
    """These tables try every command that uses the store."""
    tried = {type(command) for command in acts("hall").values()} | {type(one[0]) for one in ANYWHERE.values()}
    assert (READS.keys() | WRITES.keys()) - tried == set()


@pytest.mark.parametrize("command", c.COMMANDS)
def test_strangers(command: type[c.Command]) -> None:
    """Before login only logging in, `help`, `server`, `ping` and `quit` are allowed; after it, no other login."""
    fields: dict[str, Any] = {
        "name": "a",
        "room": "r",
        "text": "t",
        "password": "p",
        "old": "o",
        "new": "n",
        "seq": 1,
    }
    fields |= {"role": "member", "reaction": "+1"}
    asked = command(**{name: value for name, value in fields.items() if name in command.__struct_fields__})
    words = {}
    for stage in (Stage.GREETING, Stage.IN):
        rejected = misplaced(stage, asked)
        words[stage] = "ok" if rejected is None else rejected.refused.error.value
    entrance = command in (c.Login, c.Register, c.Guest)
    always = (c.Help, c.Server, c.Ping, c.Quit)
    assert words[Stage.GREETING] == ("ok" if entrance or command in always else "login-required")
    assert words[Stage.IN] == ("bad-command" if entrance else "ok")
