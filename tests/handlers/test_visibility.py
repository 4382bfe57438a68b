"""Who sees what: the rules of `store/visibility.py`, held against everything that shows rooms or entries."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from sqlalchemy import Connection, Engine, update

from chatserver.handlers.outcome import Replay
from chatserver.store import accounts, erasure, invitations
from chatserver.store.db.schema import BanRow
from chatserver.store.visibility import find_room, memberships
from chatserver.values import commands as c
from chatserver.values.errors import Refused
from chatserver.values.events import GUEST, MESSAGE, OPERATOR, Person
from tests.handlers.world import World, undone

ROOMS: Final = ("hall", "den", "club", "gone")
"""A public room, a private one, a private one whose past is open, and a deleted one."""

WHO: Final = ("stranger", "member", "former", "invited", "banned", "pardoned", "operator", "marshal", "guest")
"""`pardoned` was banned for a time that is over; `marshal` is an operator who was banned before."""

RULES: Final = """
room   | who                                              | listed | find         | join         | reads
hall   | stranger member former invited pardoned guest    | yes    | ok           | ok           | everything
hall   | operator marshal                                 | yes    | ok           | ok           | everything
hall   | banned                                           | yes    | banned       | banned       | banned
den    | member                                           | yes    | ok           | ok           | since joining
den    | invited                                          | no     | no-such-room | ok           | no-such-room
den    | stranger former banned pardoned guest            | no     | no-such-room | no-such-room | no-such-room
den    | operator marshal                                 | no     | ok           | ok           | not-a-member
club   | member                                           | yes    | ok           | ok           | everything
club   | invited                                          | no     | no-such-room | ok           | no-such-room
club   | stranger former banned pardoned guest            | no     | no-such-room | no-such-room | no-such-room
club   | operator marshal                                 | no     | ok           | ok           | not-a-member
gone   | stranger member former invited banned pardoned   | no     | no-such-room | no-such-room | no-such-room
gone   | operator marshal guest                           | no     | no-such-room | no-such-room | no-such-room
@owner | member                                           | no     | ok           | ok           | everything
@owner | stranger former invited banned pardoned          | no     | ok           | ok           | nothing yet
@owner | operator marshal                                 | no     | ok           | ok           | nothing yet
@owner | guest                                            | no     | not-allowed  | not-allowed  | not-allowed
"""
"""Of the direct rooms only the one of `owner` and `member` exists; nobody else can even name it."""


def rules() -> dict[tuple[str, str], tuple[str, ...]]:
    rows = [[cell.strip() for cell in line.split("|")] for line in RULES.strip().splitlines()[1:]]
    return {(room, who): tuple(wanted) for room, whos, *wanted in rows for who in whos.split()}


class Scene(World):
    """Everybody in their relation to every room; each message has the word `secret`, its room and its author."""

    def __init__(self, db: Connection) -> None:
        super().__init__(db)
        self.said: dict[str, dict[str, int]] = {room: {} for room in (*ROOMS, "@owner")}
        """By room and text, the seq."""
        self.joined: dict[str, int] = {}
        """By room, where `member` joined it."""
        for name in ("owner", *WHO):
            self.person(name, {"operator": OPERATOR, "guest": GUEST}.get(name, "person"))  # type: ignore[arg-type]
        for room in ROOMS:
            self._furnish(room, private=room in ("den", "club"))
        marshal = self.people["marshal"]
        accounts.set_kind(db, marshal.id, OPERATOR, self.at)
        self.people["marshal"] = Person(marshal.id, marshal.name, OPERATOR)
        self.say("member", "@owner")
        self.do("owner", c.Delete(room="gone"))

    def _furnish(self, room: str, *, private: bool) -> None:
        self.do("owner", c.Create(room=room, visibility="private" if private else "public"))
        self.say("owner", room)
        for name in ("former", "banned", "pardoned", "marshal", "member"):
            if private:
                self.do("owner", c.Invite(room=room, name=name))
            joined = self.do(name, c.Join(room=room)).seq
            self.say(name, room)
        self.joined[room] = joined
        self.do("former", c.Leave(room=room))
        for name in ("banned", "marshal"):
            self.do("owner", c.Ban(room=room, name=name))
        self.do("owner", c.Ban(room=room, name="pardoned", seconds=60))
        self._end_ban(self.people["pardoned"])
        self.do("owner", c.Invite(room=room, name="invited"))
        if room == "club":
            self.do("owner", c.Set(room=room, past="open"))

    def _end_ban(self, who: Person) -> None:
        """Lets the time pass for which a person is banned: bans are judged by the database's clock."""
        past = datetime.now(UTC) - timedelta(seconds=1)
        self.db.execute(update(BanRow).where(BanRow.account_id == who.id).values(until=past))

    def say(self, who: str, room: str) -> None:
        text = f"secret {room} {who}"
        self.said[room][text] = self.do(who, c.Say(room=room, text=text)).seq

    def texts(self, room: str, reads: str) -> set[str]:
        """What a person reads of a room who reads this much of it."""
        first = {"everything": 1, "since joining": self.joined.get(room, 0)}.get(reads)
        return set() if first is None else {text for text, seq in self.said[room].items() if seq >= first}

    def found(self, who: str, room: str, *, joining: bool) -> str:
        try:
            find_room(self.db, self.people[who], room, joining=joining)
        except Refused as refused:
            return refused.error.value
        return "ok"

    def read(self, who: str, command: c.Command) -> set[str] | str:
        """The messages in the answer to a history or a search, or the word with which it is refused."""
        try:
            answer = self.do(who, command)
        except Refused as refused:
            return refused.error.value
        if isinstance(command, c.History):
            return {entry.text for entry in answer.entries if entry.kind == MESSAGE}
        return {entry.text for _, entry in answer.entries}


@pytest.fixture
def scene(engine: Engine) -> Iterator[Scene]:
    with undone(engine) as db:
        yield Scene(db)


def test_who_sees_what(scene: Scene) -> None:
    """The list of rooms, finding, joining, history, members and searches all follow the same rules."""
    wanted = rules()
    assert wanted.keys() == {(room, who) for room in (*ROOMS, "@owner") for who in WHO}
    for (room, who), (listed, find, join, reads) in wanted.items():
        case = f"{who} in {room}"
        lines = scene.do(who, c.Rooms(limit=500)).rooms
        assert ("yes" if room in {line.room for line in lines} else "no") == listed, case
        assert scene.found(who, room, joining=False) == find, case
        assert scene.found(who, room, joining=True) == join, case
        readable = reads in ("everything", "since joining", "nothing yet")
        texts = scene.texts(room, reads)
        assert scene.read(who, c.History(room=room, limit=500)) == (texts if readable else reads), case
        assert scene.read(who, c.History(room=room, after=0, limit=500)) == (texts if readable else reads), case
        assert scene.read(who, c.Search(room=room, text="secret", limit=500)) == (texts if readable else reads), case
        everywhere = scene.read(who, c.Search(text="secret", limit=500))
        assert {text for text in everywhere if f" {room} " in text} == texts, case
        assert scene.word(who, c.Members(room=room)) == ("ok" if readable else reads), case


def test_where_reading_begins(scene: Scene) -> None:
    """Memberships, which resuming goes by, begin with the first entry that history shows too."""
    me = scene.people["member"]
    floors = {one.facts.label(me.id): one.floor for one in memberships(scene.db, me)}
    assert floors == {"@owner": 1, "hall": 1, "club": 1, "den": scene.joined["den"]}
    for room, floor in floors.items():
        assert scene.do("member", c.History(room=room, limit=500)).entries[0].seq == floor


@pytest.mark.parametrize(("room", "first"), [("hall", 1), ("club", 1), ("den", None)])
def test_joining_shows_what_may_be_read(scene: Scene, room: str, first: int | None) -> None:
    """A newcomer who asks for everything since the beginning is given what history shows them."""
    outcome = scene.outcome("invited", c.Join(room=room, since=0))
    log = scene.do("invited", c.History(room=room, limit=500)).entries
    assert isinstance(outcome.replay, Replay)
    assert outcome.replay.since + 1 == log[0].seq == (first or outcome.announced[0].entries[0].seq)


def test_names(scene: Scene) -> None:
    """A room's name is shown to nobody who has no membership, invitation or entry of it, and may not list it."""

    def shown(who: str) -> set[str]:
        me = scene.people[who].id
        entries = scene.do(who, c.Search(text="secret", limit=500)).entries + scene.do(who, c.Export()).entries
        names = {facts.label(me) for facts, _ in entries}
        names |= {line.room for line in scene.do(who, c.Rooms(limit=500)).rooms}
        names |= {line.room for line in scene.do(who, c.Unread()).rooms}
        return names | {invited.room for invited in invitations.pending(scene.db, [me])[me]}

    for who in ("stranger", "operator", "guest"):
        assert shown(who) == {"hall"}, who
    assert shown("invited") == {"hall", "den", "club"}
    assert shown("member") == {"hall", "den", "club", "gone", "@owner"}
    for who in ("former", "banned", "pardoned", "marshal"):
        assert shown(who) == set(ROOMS), who


def test_own_entries(scene: Scene) -> None:
    """An account exports what it wrote itself, in every room, and nothing else."""
    for who in WHO:
        exported = {entry.text for _, entry in scene.do(who, c.Export()).entries if entry.kind == MESSAGE}
        assert exported == {text for said in scene.said.values() for text in said if text.endswith(f" {who}")}, who


def test_messages_that_cannot_be_read_cannot_be_erased(scene: Scene) -> None:
    """An operator who is not in a private room is told of every number there that it names no message."""
    for room in ("den", "club"):
        for seq in scene.said[room].values():
            assert scene.word("operator", c.Erase(room=room, seq=seq)) == "bad-command"


def test_a_direct_room_has_no_other_name(scene: Scene) -> None:
    """The name by which the database knows a direct room finds nothing, for its own people neither."""
    ids = sorted(scene.people[name].id for name in ("owner", "member"))
    for who in ("stranger", "operator", "member"):
        assert scene.found(who, f"@{ids[0]}:{ids[1]}", joining=True) == "no-such-user"


def test_a_direct_room_with_an_erased_person(scene: Scene) -> None:
    """It can still be read, and a new one cannot begin."""
    owner = scene.people["owner"]
    erasure.erase(scene.db, owner, scene.at, messages=False)
    assert scene.read("member", c.History(room=f"@erased-{owner.id}")) == scene.texts("@owner", "everything")
    assert scene.found("stranger", f"@erased-{owner.id}", joining=False) == "no-such-user"


def test_an_invitation_does_not_lift_a_ban(scene: Scene) -> None:
    """No command lets an account be both invited and banned; if it were, the room would still not exist for it."""
    owner, banned = scene.people["owner"], scene.people["banned"]
    access = find_room(scene.db, owner, "den")
    invitations.create(scene.db, owner, access, banned, scene.at)
    assert scene.found("banned", "den", joining=True) == "no-such-room"
