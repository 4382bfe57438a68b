"""The result of every command, for every kind of person in every kind of room."""

from collections.abc import Iterable
from typing import Any

import pytest
from sqlalchemy import Engine

from chatserver import commands as c
from chatserver.events import GUEST, OPERATOR, PERSON
from chatserver.handlers import READS, WRITES
from chatserver.handshake import misplaced
from chatserver.stages import Stage
from tests.rooms.acts import acts
from tests.rooms.town import Town
from tests.rooms.world import World, undone

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
    history before and after                           | bad-command: inside guest outsider invited operator banned
    search for nothing                                 | empty: inside guest outsider invited operator banned
    look, leave, erase, read                           | ok: inside guest
    topic, say, say with an id, edit                   | ok: voices guest | muted: muted
    edit another's                                     | not-allowed: voices guest | muted: muted
    edit what is no message                            | bad-command: voices guest | muted: muted
    delete, set, role, kick a moderator                | ok: owner operator | not-allowed: common guest moderator
    ban a moderator, mute a moderator                  | ok: owner operator | not-allowed: common guest moderator
    role of who is out | no-such-user: owner operator | not-allowed: common guest moderator
    role of the last owner, ban the operator           | not-allowed: inside guest operator
    kick, ban, ban who is out, unban, bans, unmute     | ok: keepers operator | not-allowed: common guest
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
    erase                                              | ok: inside | bad-command: operator
    history before and after                           | bad-command: inside operator outside
    search for nothing                                 | empty: inside operator outside
    topic, say, say with an id, edit                   | ok: voices | muted: muted
    edit another's                                     | not-allowed: voices | muted: muted
    edit what is no message                            | bad-command: voices | muted: muted
    delete, set, role, kick a moderator                | ok: owner operator | not-allowed: common moderator
    ban a moderator, mute a moderator                  | ok: owner operator | not-allowed: common moderator
    role of who is out                                 | no-such-user: owner operator | not-allowed: common moderator
    role of the last owner, ban the operator           | not-allowed: inside operator
    kick, ban, ban who is out, unban, bans, unmute     | ok: keepers operator | not-allowed: common
    mute                                               | ok: keepers operator | not-allowed: common
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

_HOW = {"history before and after": "bad-command", "search for nothing": "empty"}
_DIRECT = dict.fromkeys(acts("@rival"), "direct-room") | _HOW | {
    "join": "ok", "join since": "ok", "look": "ok", "say": "ok", "say with an id": "ok", "edit": "ok", "erase": "ok",
    "edit another's": "not-allowed", "edit what is no message": "bad-command", "read": "ok", "history": "ok",
    "search": "ok", "members": "ok",
}  # fmt: skip
_UNHEARD = dict.fromkeys(("say", "say with an id", "edit", "edit another's", "edit what is no message"), "blocked")

# In a direct room there are no roles; a guest has no direct rooms.
RIVAL = (
    {(act, who): word for act, word in _DIRECT.items() for who in ("outsider", "operator", "owner", "muted")}
    | {(act, "blocked"): word for act, word in (_DIRECT | _UNHEARD).items()}
    | {(act, "guest"): _HOW.get(act, "not-allowed") for act in _DIRECT}
)
NOWHERE = {(act, who): _HOW.get(act, "no-such-room") for act in _DIRECT for who in ("outsider", "operator", "owner")}


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


def test_a_private_room_from_outside(engine: Engine) -> None:
    """From outside, every answer about a private room is word for word the same as about one that does not exist."""
    with undone(engine) as db:
        town = Town(db)
        for who in ("outsider", "invited", "banned", "guest"):
            there, nowhere = acts("den", *town.seqs("den", who)), acts("nowhere")
            for act in acts("den"):
                if who != "invited" or not act.startswith("join"):
                    told = [town.told(who, one[act]) for one in (there, nowhere)]
                    assert str(told[0]).replace("room den", "room nowhere") == str(told[1]), (act, who)


ANYWHERE: dict[str, tuple[c.Command, str, str, str]] = {
    "rooms": (c.Rooms(), "ok", "ok", "ok"),
    "unread": (c.Unread(), "ok", "ok", "ok"),
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
    "token": (c.Token(label="ci"), "not-allowed", "ok", "ok"),
    "tokens": (c.Token(list=True), "not-allowed", "ok", "ok"),
    "revoke no token": (c.Token(revoke="ci"), "not-allowed", "bad-command", "bad-command"),
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
    """Before login only logging in, `help`, `ping` and `quit` are allowed; after it, logging in again is not."""
    fields: dict[str, Any] = {
        "name": "a",
        "room": "r",
        "text": "t",
        "password": "p",
        "old": "o",
        "new": "n",
        "seq": 1,
    }
    fields["role"] = "member"
    asked = command(**{name: value for name, value in fields.items() if name in command.__struct_fields__})
    words = {}
    for stage in (Stage.GREETING, Stage.IN):
        rejected = misplaced(stage, asked)
        words[stage] = "ok" if rejected is None else rejected.refused.error.value
    entrance = command in (c.Login, c.Register, c.Guest)
    assert words[Stage.GREETING] == ("ok" if entrance or command in (c.Help, c.Ping, c.Quit) else "login-required")
    assert words[Stage.IN] == ("bad-command" if entrance else "ok")
