"""What sessions may do that logged in with a token: less than with the password, and for some tokens much less."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import select, text, update

from chatserver.handlers import WRITES
from chatserver.settings.tables import Server, Settings
from chatserver.store.db.schema import Base, TokenRow
from chatserver.values import commands as c
from chatserver.values.token_scope import ABOUT_ROOMS, ALWAYS, IN_A_ROOM, READING
from tests.support.client import Message
from tests.support.hall import PASSWORD, QUIET, Client, Hall

FIELDS: dict[str, Any] = {
    "name": "bob",
    "password": PASSWORD,
    "text": "hello",
    "seq": 3,
    "old": PASSWORD,
    "new": "other-words",
    "role": "moderator",
    "label": "more",
    "past": "open",
    "reaction": "+1",
    "clock": "12",
}
"""Values for the fields of all commands."""


def word(kind: type[c.Command]) -> str:
    return str(kind.__struct_config__.tag)


KINDS = [kind for kind in c.COMMANDS if kind not in (c.Logout, c.Quit)]
"""All commands but those that end the connection."""


def fields(kind: type[c.Command], room: str) -> dict[str, Any]:
    """Fields with which a command changes something, if it can, in this room, if it takes one."""
    known = {field.encode_name for field in structs.fields(kind)}
    chosen = {name: value for name, value in FIELDS.items() if name in known}
    if "room" in known and (kind is not c.Token):
        chosen["room"] = room
    if kind is c.Login:
        chosen = {"name": "ana", "password": PASSWORD}
    return chosen


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    hall = Hall(tmp_path, settings=Settings(limits=structs.replace(QUIET, strikes=0)))
    yield hall
    hall.close()


class Town:
    """ana is in den, books and a direct room with bob; bob is in books only, and cai in den."""

    def __init__(self, hall: Hall, **token: Any) -> None:
        self.hall = hall
        self.ana, self.bob, self.cai = (hall.program(name) for name in ("ana", "bob", "cai"))
        for room, other in (("den", self.cai), ("books", self.bob)):
            self.ana.post("create", room=room, visibility="private")
            self.ana.post("invite", room=room, name=other.session.who.name)
            other.post("join", room=room)
            other.say(f"words in {room}", room)
        for member in (self.ana, self.bob, self.cai):
            member.post("leave", room="general")
        self.bob.post("say", room="@ana", text="words for you")
        self.token = self.ana.post("token", label="bot", password=PASSWORD, **token).answers[-1]["token"]

    def bot(self, **login: Any) -> Client:
        bot = self.hall.client().post("login", token=self.token, **login)
        assert bot.answers[-1]["ok"], bot.lines
        return bot

    def dump(self) -> dict[str, list[Any]]:
        """Everything in the database but what logging in changes."""
        with self.hall.engine.connect() as db:
            return {
                table.name: sorted(map(str, db.execute(select(table)).all()))
                for table in Base.metadata.sorted_tables
                if table.name not in ("session", "token")
            }


def answered(client: Client, kind: type[c.Command], **given: Any) -> Message:
    before = len(client.answers)
    client.post(word(kind), **given)
    assert len(client.answers) == before + 1, client.lines[-3:]
    return client.answers[-1]


def test_every_write_is_known() -> None:
    """No command that changes something is open to a read-only token, and every command is judged."""
    assert set(WRITES) & READING == set()
    assert set(c.COMMANDS) - READING - set(WRITES) == {
        c.Register, c.Login, c.Guest, c.Password, c.Token, c.Sessions, c.Forget, c.Rename, c.Away,
        c.Typing,
    }  # fmt: skip


def test_a_token_is_not_the_password(hall: Hall) -> None:
    """A session of a token creates no token, and neither changes the password nor erases the account, even with the
    right password; all else it may do."""
    town = Town(hall)
    bot = town.bot()
    forbidden: tuple[type[c.Command], ...] = (c.Token, c.Password, c.Forget)
    for kind in forbidden:
        refused = answered(bot, kind, **fields(kind, "den"))
        assert (refused["error"], "with the password" in refused["text"]) == ("not-allowed", True), kind
    assert answered(bot, c.Token, list=True)["ok"]
    allowed: tuple[type[c.Command], ...] = (c.Say, c.Create, c.Rooms, c.Block)
    for kind in allowed:
        assert answered(bot, kind, **fields(kind, "den" if kind is c.Say else "attic"))["ok"], kind
    assert answered(bot, c.Token, revoke="bot")["ok"]
    assert bot.closing == ["token-revoked"]


def test_a_read_only_token(hall: Hall) -> None:
    """Whatever a session of a read-only token sends, the database stays as it is, and nobody hears anything."""
    town = Town(hall, read_only=True)
    bot = town.bot()
    before, heard = town.dump(), [len(one.lines) for one in (town.ana, town.bob, town.cai)]
    for kind in KINDS:
        answer = answered(bot, kind, **fields(kind, "books"))
        if kind in READING - {c.Bans}:
            assert answer["ok"], (kind, answer)
        elif kind is not c.Bans:
            assert answer["error"] == "not-allowed" or kind in (c.Login, c.Register, c.Guest), kind
    assert town.dump() == before
    assert [len(one.lines) for one in (town.ana, town.bob, town.cai)] == heard


ASKING: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("topic", {"room": "den"}, {"text": "chess"}),
    ("topic", {"room": "den"}, {"text": ""}),
    ("prefer", {}, {"clock": "12"}),
    ("prefer", {}, {"bell": "default"}),
    ("prefer", {}, {"timezone": "Europe/Berlin"}),
    ("ignore", {}, {"name": "bob"}),
)
"""Commands that only ask, and what makes each of them change something."""


def test_a_read_only_token_asks(hall: Hall) -> None:
    """A read-only token may use a command that can also change something, in the form that only asks."""
    town = Town(hall, read_only=True)
    for word, fields, change in ASKING:
        town.ana.post(word, **{**fields, **change})
    before, bot = town.dump(), town.bot()
    for word, fields, change in ASKING:
        asked, mine = (client.post(word, **fields).answers[-1] for client in (bot, town.ana))
        assert asked == mine, word
        assert asked["ok"], word
        assert bot.post(word, **fields, **change).answers[-1]["error"] == "not-allowed", change
    assert town.dump() == before


@pytest.mark.parametrize("read_only", [False, True])
def test_asking_about_the_only_room(hall: Hall, read_only: bool) -> None:
    """A token for one room asks for its topic, its pins and, at a terminal, for what is unread in it, named or not; of
    another room it is told what it would be of one that does not exist."""
    town = Town(hall, room="den", read_only=read_only)
    town.ana.post("topic", room="den", text="chess").post("pin", room="den", seq=3)
    town.ana.post("topic", room="books", text="novels").post("pin", room="books", seq=3)
    bot = town.bot()
    assert answered(bot, c.Topic, room="den")["topic"] == "chess"
    assert [entry["text"] for entry in answered(bot, c.Pins, room="den")["entries"]] == ["words in den"]
    for kind in (c.Topic, c.Pins):
        assert answered(bot, kind, room="books")["error"] == "no-such-room"
    town.cai.say("news of the den", "den")
    screen = hall.client().type(f"/token {town.token}")
    for typed, shown in (("topic", "chess"), ("pins", "words in den"), ("unread", "news of the den")):
        for name in ("", " #den") if typed != "unread" else (" #den",):  # alone it lists rooms
            before = len(screen.lines)
            screen.type(f"/{typed}{name}")
            assert shown in "".join(screen.lines[before:]), (typed, name, screen.lines[before:])
        before = len(screen.lines)
        screen.type(f"/{typed} #books")
        assert screen.lines[before:][0].startswith("! There is no room books."), typed


def test_other_rooms_are_not_there(hall: Hall) -> None:
    """For a token for one room, each command answers of another room, or of a person outside, what it answers of one
    that does not exist."""
    town = Town(hall, room="den")
    bot = town.bot()
    before = town.dump()
    for kind in KINDS:
        if kind in ALWAYS or "room" not in fields(kind, "x"):
            continue
        for there, nowhere in (("books", "nooks"), ("@bob", "@bud"), ("@ana", "@abc"), ("general", "nowhere")):
            given = answered(bot, kind, **fields(kind, there))
            assert not given["ok"], (kind, given)
            wanted = answered(bot, kind, **fields(kind, nowhere))
            assert json.dumps(given).replace(there, nowhere) == json.dumps(wanted), kind
    given, wanted = (answered(bot, c.Who, name=name) for name in ("bob", "bud"))
    assert json.dumps(given).replace("bob", "bud") == json.dumps(wanted)
    assert town.dump() == before


def test_commands_without_a_room(hall: Hall) -> None:
    """For a token for one room, what names no room is refused, or is about that room only."""
    bot = Town(hall, room="den").bot()
    for kind in KINDS:
        given = {name: value for name, value in fields(kind, "den").items() if name != "room"}
        answer = answered(bot, kind, **given) if kind not in (c.Who, c.Search) else {"ok": True}
        if kind not in ALWAYS | ABOUT_ROOMS | IN_A_ROOM:
            assert not answer["ok"], kind
        assert "books" not in json.dumps(answer), (kind, answer)
        assert '"bob"' not in json.dumps(answer), (kind, answer)


def test_what_a_token_for_one_room_sees(hall: Hall) -> None:
    """The login, the lists and the search of its session know that room only, and it is told of nothing else: no
    entries, read marks, presence or invitations."""
    town = Town(hall, room="den")
    town.ana.post("create", room="attic", visibility="private")
    bot = town.bot(resume={"books": 0, "den": 0})
    welcome = bot.answers[0]
    assert [room["room"] for room in welcome["rooms"]] == ["den"]
    assert {event.get("room") for event in bot.events} == {"den"}
    assert [line["room"] for line in answered(bot, c.Rooms)["rooms"]] == ["den"]
    assert [line["room"] for line in answered(bot, c.Unread)["rooms"]] == ["den"]
    assert [entry["text"] for entry in answered(bot, c.Search, text="words")["entries"]] == ["words in den"]
    assert [line["name"] for line in answered(bot, c.Who)["users"]] == ["ana", "cai"]
    assert answered(bot, c.Who, name="cai")["users"][0]["name"] == "cai"
    town.bob.post("rename", name="bud", password=PASSWORD)
    for elsewhere in ("bob", "bud"):
        refused = answered(bot, c.Who, name=elsewhere)
        assert (refused["error"], "now" in refused["text"]) == ("no-such-user", False)
    count = len(bot.lines)
    town.ana.post("read", room="books", seq=2)
    town.ana.post("create", room="loft")
    town.ana.say("nothing for the bot", "books")
    town.bob.post("create", room="club", visibility="private").post("invite", room="club", name="ana")
    town.bob.post("say", room="@ana", text="nor this")
    town.bob.post("away", text="gone").cut()
    town.ana.post("away", text="gone too")
    hall.passes(10)
    assert bot.lines[count:] == []
    town.cai.say("for the bot", "den")
    assert bot.said[-1] == "for the bot"
    assert answered(bot, c.Say, room="den", text="a bot speaks")["ok"]
    assert town.cai.said[-1] == "a bot speaks"


def test_a_token_for_a_room_that_one_has_left(hall: Hall) -> None:
    """After its account has left the room, nothing at all is there for the token; back in the room, all of it."""
    town = Town(hall, room="den")
    town.ana.post("leave", room="den")
    bot = town.bot()
    assert bot.answers[0]["rooms"] == []
    for kind in (c.Rooms, c.Unread, c.Who, c.Search, c.History, c.Join):
        answer = answered(bot, kind, **({"text": "words"} if kind is c.Search else fields(kind, "den")))
        assert answer["error"] in ("not-a-member", "no-such-room"), kind
    town.cai.post("invite", room="den", name="ana")
    assert bot.events == []
    town.ana.post("join", room="den")
    assert [event["event"] for event in bot.events] == ["joined"]
    assert answered(bot, c.History, room="den")["ok"]


def test_a_token_expires(hall: Hall) -> None:
    """A session ends when its token has expired by the database's clock, with a reason, and nobody logs in with it any
    more; what has expired neither counts nor keeps its label."""
    town = Town(hall, seconds=30)
    [line] = town.ana.post("token", list=True).answers[-1]["tokens"]
    left = datetime.fromisoformat(line["expires"]) - datetime.now(UTC)
    assert timedelta(seconds=10) < left <= timedelta(seconds=30)
    bot = town.bot()
    hall.passes(31)  # on the server's clock; by the database's, no time has passed
    assert bot.closing == []
    with hall.engine.begin() as db:
        db.execute(update(TokenRow).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    hall.passes(31)
    assert bot.closing == ["token-expired"]
    refused = hall.client().post("login", token=town.token).answers[-1]
    assert (refused["error"], "expired" in refused["text"]) == ("bad-credentials", True)
    assert town.ana.post("token", list=True).answers[-1]["tokens"] == []
    assert town.ana.post("token", label="bot", password=PASSWORD).answers[-1]["ok"]


def test_a_token_that_does_not_expire_costs_no_timer(hall: Hall) -> None:
    """The server looks up expiries only while somebody is logged in with a token that has one."""
    town = Town(hall, seconds=3600)
    bot = town.bot()
    hall.passes(1)
    calls = len(hall.clock.getDelayedCalls())
    bot.cut()
    hall.passes(70)
    assert len(hall.clock.getDelayedCalls()) < calls


def test_making_a_token_takes_the_password(hall: Hall) -> None:
    """A wrong password makes no token, nor does one that is missing."""
    ana = hall.program("ana")
    wrong = ana.post("token", label="bot", password="wrong-words").answers[-1]
    missing = ana.post("token", label="bot").answers[-1]
    assert (wrong["error"], missing["error"]) == ("bad-credentials", "bad-command")
    assert ana.post("token", list=True).answers[-1]["tokens"] == []


def test_a_token_for_a_room_of_others(hall: Hall) -> None:
    """A token is for a room that one is in."""
    town = Town(hall)
    for room, error in (("club", "no-such-room"), ("general", "not-a-member"), ("@cai", "not-a-member")):
        refused = town.ana.post("token", label="x", password=PASSWORD, room=room).answers[-1]
        assert refused["error"] == error, room
    assert town.ana.post("token", label="x", password=PASSWORD, room="@bob").answers[-1]["ok"]
    labels = [(line["label"], line.get("room")) for line in town.ana.post("token", list=True).answers[-1]["tokens"]]
    assert labels == [("bot", None), ("x", "@bob")]


def test_the_number_of_tokens(tmp_path: Path) -> None:
    """An account has no more tokens than the settings say, and is told what to do."""
    hall = Hall(tmp_path, limits=structs.replace(QUIET, tokens_per_account=2))
    ana = hall.program("ana")
    answers = [ana.post("token", label=f"t{n}", password=PASSWORD).answers[-1] for n in range(3)]
    assert [answer.get("error") for answer in answers] == [None, None, "not-allowed"]
    assert "Revoke one first" in answers[2]["text"]
    ana.post("token", revoke="t0")
    assert ana.post("token", label="t3", password=PASSWORD).answers[-1]["ok"]
    hall.close()


@pytest.mark.parametrize("others", [True, False])
def test_a_new_password_and_tokens(hall: Hall, others: bool) -> None:
    """Changing the password revokes all tokens if one says so, and ends their sessions."""
    town = Town(hall)
    bot = town.bot()
    assert answered(town.ana, c.Password, old=PASSWORD, new="other-words", others=others)["ok"]
    assert bot.closing == (["password"] if others else [])
    assert len(town.ana.post("token", list=True).answers[-1]["tokens"]) == (0 if others else 1)
    assert hall.client().post("login", token=town.token).answers[-1]["ok"] is not others


def test_at_a_terminal(hall: Hall) -> None:
    """Typed at a terminal, a new token asks for the password on a line of its own; Enter leaves it."""
    ana = hall.client().type("ana", "yes", PASSWORD, PASSWORD)
    ana.type("/token my bot read-only", "")
    assert ana.lines[-2:] == [
        "* Type your password to create the token, or press Enter to leave it.", "! No token was created."
    ]  # fmt: skip
    ana.type("/token my bot read-only", "wrong-words")
    assert ana.lines[-1] == "! The password is wrong. Nothing was changed."
    ana.type("/token my bot read-only", PASSWORD)
    assert ana.lines[-2].startswith("* Token my bot: ct_")
    ana.type("/token list")
    assert ana.lines[-1].endswith("my bot (read-only)")
    ana.type(f"/password {PASSWORD} other-words")
    assert ana.lines[-1] == "* You changed your password. Tokens that still work: 1. See /token list."
    ana.type("/password other-words third-words others")
    assert ana.lines[-1] == "* You changed your password. Other connections ended; tokens revoked: 1."
    with hall.engine.connect() as db:
        assert db.scalar(text("SELECT count(*) FROM entry WHERE kind = 'message'")) == 0


def test_guests_are_asked_for_nothing(tmp_path: Path) -> None:
    """A guest, who cannot have tokens, is refused at once, and what they type next is said."""
    hall = Hall(tmp_path, settings=Settings(limits=QUIET, server=Server(guests=True)))
    ana, guest = hall.program("ana"), hall.client().type("/guest", "/token bot", "hello")
    assert "! Guests" in "\n".join(guest.lines)
    assert ana.said == ["hello"]
    hall.close()
