"""Effects of a command at other nodes, whether or not frames are lost."""

from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, get_args

import msgspec
import pytest
from sqlalchemy import Engine, select, update
from twisted.internet.defer import Deferred

from chatserver.chatctl import leaving
from chatserver.delivery.order import Order
from chatserver.handlers.cluster_notes import BUS, HERE, NOTED
from chatserver.handlers.outcome import Effect
from chatserver.pipeline.outcomes import Consequences
from chatserver.settings.tables import Server, Settings
from chatserver.store import Connection, accounts, bots, certificates, change_rows, erasure, kept_sessions, tokens
from chatserver.store.db import epochs
from chatserver.store.db.engine import open_engine, parse_url
from chatserver.store.db.schema import AccountRow, EntryRow, ErasureRow, SessionRow, TokenRow
from chatserver.store.db.transactions import transact
from chatserver.store.tokens import new_token, token_hash
from tests.chatctl.conftest import Chatctl
from tests.support.cluster import Fate, NodeHall, at_once, never, nodes
from tests.support.hall import PASSWORD, QUIET, START, Client
from tests.support.memory import logged_failures

SOON: Final = 1.2
"""How long it takes the other nodes at most to notice a command."""
OPERATOR: Final = "olga"
NEW_PASSWORD: Final = "another-s3cret"


def doubled_and_late(sender: str, receiver: str, data: bytes) -> Sequence[float]:
    return [0.3, 0.0, 0.7]


FATES: dict[str, tuple[Fate, bool]] = {
    "carried": (at_once, False),
    "lost": (never, False),
    "doubled and late": (doubled_and_late, False),
    "a channel for each room": (at_once, True),
}


class Pair:
    """Two nodes. `air.fate` is that of the test from the moment at which both have come."""

    def __init__(
        self, folder: Path, fate: Fate = at_once, *, by_room: bool = False, engine: Engine | None = None
    ) -> None:
        settings = Settings(limits=QUIET, server=Server(guests=True))
        self.air, (self.one, self.two) = nodes(folder, "one", "two", by_room=by_room, settings=settings, engine=engine)
        self.air.fate = fate

    def do(self, work: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        """Runs a transaction, as `chatctl` does."""
        return transact(self.one.engine, lambda db: work(db, *args, **keywords))

    def passes(self, seconds: float = SOON) -> None:
        self.one.passes(seconds)

    def again(self, hall: NodeHall, name: str, password: str = PASSWORD, **fields: Any) -> Client:
        """Somebody logs in once more."""
        return hall.client(**fields).post("login", name=name, password=password)

    def operator(self, hall: NodeHall) -> Client:
        client = hall.program(OPERATOR)
        self.do(accounts.set_kind, client.session.who.account_id, "operator", START)
        self.passes()
        return client


@pytest.fixture(params=FATES)
def pair(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    fate, by_room = FATES[request.param]
    pair = Pair(tmp_path, fate, by_room=by_room)
    yield pair
    pair.one.close()


@pytest.fixture(params=["lost", "a channel for each room"])
def either(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """For what takes long: the two in which most depends on the table."""
    fate, by_room = FATES[request.param]
    pair = Pair(tmp_path, fate, by_room=by_room)
    yield pair
    pair.one.close()


@pytest.fixture
def lossy(tmp_path: Path) -> Iterator[Pair]:
    """No frame arrives."""
    pair = Pair(tmp_path, never)
    yield pair
    pair.one.close()


def test_every_effect_has_its_way() -> None:
    """Each kind of effect is noted for other nodes, or sent over the bus, or concerns this node alone."""
    assert {*NOTED, *BUS, *HERE} == set(get_args(Effect))
    assert len(NOTED) + len(BUS) + len(HERE) == len(get_args(Effect))


def test_a_new_password(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends what logged in with the former password, a token or a certificate at any node, and nothing that came with
    the new one, however late the other node hears of it."""
    ana, other = pair.one.program("ana"), pair.again(pair.two, "ana")
    made = ana.post("token", label="bot", password=PASSWORD).answers[-1]["token"]
    bot = pair.two.client().post("login", token=made)
    pair.do(certificates.create, ana.session.who.account_id, "laptop", "0f" * 32, START)
    monkeypatch.setattr("chatserver.net.connection.connection.fingerprint", lambda transport: "0f" * 32)
    laptop = pair.two.client().post("login", name="ana")
    assert laptop.answers[-1]["ok"]
    pair.passes(3)
    ana.post("password", old=PASSWORD, new=NEW_PASSWORD, others=True)
    new = pair.again(pair.two, "ana", NEW_PASSWORD)
    assert (ana.answers[-1]["ok"], new.answers[-1]["ok"]) == (True, True)
    pair.passes()
    assert (other.closing, bot.closing, laptop.closing) == (["password"], ["token-revoked"], ["password"])
    assert new.post("ping").answers[-1]["ok"]
    assert (ana.closing, new.closing) == ([], [])


def test_logging_in_while_the_password_changes(lossy: Pair) -> None:
    """A login that had given the former password is refused, at any node, though it was right when it was checked."""
    ana = lossy.one.program("ana")
    for hall in (lossy.one, lossy.two):
        gate: Deferred[None] = Deferred()
        verify = hall.connections.handshake.authenticator._hasher.verify

        async def slow(hash: str | None, password: str, gate: Any = gate, verify: Any = verify) -> bool:
            right = bool(await verify(hash, password))
            await gate
            return right

        hall.connections.handshake.authenticator._hasher.verify = slow  # type: ignore[method-assign]
        late = lossy.again(hall, "ana")
        hall.connections.handshake.authenticator._hasher.verify = verify  # type: ignore[method-assign]
        words = [PASSWORD, NEW_PASSWORD] if hall is lossy.one else [NEW_PASSWORD, PASSWORD]
        assert ana.post("password", old=words[0], new=words[1], others=True).answers[-1]["ok"]
        assert late.answers == []
        if hall is lossy.two:
            ana.post("password", old=PASSWORD, new=NEW_PASSWORD, others=True)
        gate.callback(None)
        hall.settle()
        assert late.answers[-1].get("error") == "bad-credentials"


def test_a_token(pair: Pair) -> None:
    """Revoking it ends what logged in with it elsewhere."""
    ana, other = pair.one.program("ana"), pair.again(pair.two, "ana")
    made = ana.post("token", label="bot", password=PASSWORD).answers[-1]["token"]
    bot = pair.two.client().post("login", token=made)
    pair.passes(3)
    ana.post("token", revoke="bot")
    pair.passes()
    assert (bot.closing, other.closing) == (["token-revoked"], [])


def test_kept_sessions(pair: Pair) -> None:
    """A kept session goes on at any node. It ends everywhere within two seconds: by its number, by a new password, by
    an administrator, and by a copy; all others stay."""
    ana = pair.one.program("ana")
    account_id = ana.session.who.account_id

    def keep(name: str, password: str = PASSWORD) -> tuple[Client, Client, str]:
        """A device that has logged in with the password at one node, and with the secret at both."""
        first = pair.one.client().post("login", name="ana", password=password, keep=name).answers[-1]["secret"]
        one = pair.one.client().post("login", secret=first)
        two = pair.two.client().post("login", secret=one.answers[-1]["secret"])
        assert two.answers[-1]["ok"]
        return one, two, first

    *ended, _ = keep("ended")
    *stays, secret = keep("stays")
    pair.passes(3)
    ids = [line["id"] for line in ana.post("sessions").answers[-1]["sessions"]]
    assert ana.post("sessions", end=ids[0]).answers[-1]["ok"]
    pair.passes(2)
    assert [client.closing for client in ended] == [["session-ended"]] * 2
    assert [client.closing for client in stays] == [[]] * 2
    pair.do(_a_minute_passes)
    assert pair.two.client().post("login", secret=secret).answers[-1]["error"] == "bad-credentials"
    pair.passes(2)
    assert [client.closing for client in stays] == [["session-ended"]] * 2
    changed, both = keep("changed"), keep("both")
    assert both[0].post("password", old=PASSWORD, new=NEW_PASSWORD).answers[-1]["ok"]
    pair.passes(2)
    assert [client.closing for client in (*changed[:2], *both[:2])] == [["session-ended"]] * 2 + [[]] * 2
    assert len(pair.do(kept_sessions.end_all, account_id, START)) == 1
    pair.passes(2)
    assert [client.closing for client in both[:2]] == [["session-ended"]] * 2
    assert ana.closing == []


def _a_minute_passes(db: Connection) -> None:
    """Secrets of kept sessions that were replaced are older by that."""
    for id, stored in db.execute(select(TokenRow.id, TokenRow.secret).where(TokenRow.secret.is_not(None))).all():
        chain = msgspec.json.decode(stored or "", type=kept_sessions.Chain)
        spent = [msgspec.structs.replace(one, at=one.at - 61) for one in chain.spent]
        aged = msgspec.json.encode(msgspec.structs.replace(chain, spent=spent)).decode()
        db.execute(update(TokenRow).where(TokenRow.id == id).values(secret=aged))


def test_a_session_that_ends_while_its_device_logs_in(lossy: Pair) -> None:
    """A login with a secret is refused if its session ends meanwhile, at any node."""
    ana = lossy.one.program("ana")
    secret = lossy.one.client().post("login", name="ana", password=PASSWORD, keep="laptop").answers[-1]["secret"]
    lossy.passes(3)
    lossy.two.inline.hold()
    late = lossy.two.client().post("login", secret=secret)
    ana.post("sessions", end="others")
    lossy.two.inline.release()
    lossy.passes(2)
    assert [answer.get("error") for answer in late.answers] == ["bad-credentials"]


def test_a_bot_and_its_owner(pair: Pair) -> None:
    """To disable a person ends their connections, and those of their bots, at all nodes."""
    ana, also = pair.one.program("ana"), pair.again(pair.two, "ana")
    owner, made = ana.session.who.account_id, new_token()
    bot = pair.do(bots.create, "robot", owner, START)
    pair.do(tokens.create, bot.id, "first", token_hash(made), START)
    robots = [hall.client().post("login", token=made) for hall in (pair.one, pair.two)]
    pair.passes(3)
    pair.do(accounts.set_disabled, owner, START, disabled=True)
    pair.passes()
    assert [client.closing for client in (ana, also, *robots)] == [["disabled"]] * 4


def test_blocks(pair: Pair) -> None:
    """A block hides two people from each other at every node, and its end shows them again. The node where it was given
    does not take an earlier one for news."""
    ana, also, bob = pair.one.program("ana"), pair.again(pair.two, "ana"), pair.two.program("bob")
    pair.passes(3)

    def seen() -> list[bool]:
        """Whether each of the three sees the other person."""
        for client in (ana, also, bob):
            client.post("who")
        found = [(client, {user["name"] for user in client.answers[-1]["users"]}) for client in (ana, also, bob)]
        return [("ana" if client is bob else "bob") in names for client, names in found]

    assert seen()[1:] == [True, True]
    ana.post("block", name="bob")
    pair.passes()
    assert seen() == [False, False, False]
    also.post("unblock", name="bob")
    ana.post("block", name="bob")
    pair.passes()
    assert seen() == [False, False, False]
    also.post("unblock", name="bob")
    pair.passes()
    assert seen()[1:] == [True, True]
    assert bob.session.who.account_id not in pair.one.roster._apart[ana.session.who.account_id]


def test_what_a_person_is_shown(pair: Pair) -> None:
    """A person's ignored names and preferences hold for their terminals at every node."""
    ana, bob = pair.one.program("ana"), pair.one.program("bob")
    terminal = pair.two.client().type(f"/login ana {PASSWORD}")
    pair.passes(3)
    ana.post("ignore", name="bob").post("prefer", clock="12")
    pair.passes()
    bob.say("unwanted words")
    pair.passes()
    assert terminal.session.screen.hours == 12
    assert "unwanted words" not in terminal.seen.decode()
    ana.post("unignore", name="bob")
    ana.post("prefer", clock="24")
    pair.passes()
    bob.say("wanted again")
    pair.passes()
    assert terminal.session.screen == terminal.session.screen.__class__(hours=24)
    assert "wanted again" in terminal.seen.decode()


def test_the_newest_preference_counts(lossy: Pair) -> None:
    """A node that hears late of an earlier choice does not go back to it."""
    one, two = (hall.client().type(f"/register ana {PASSWORD}" if hall is lossy.one else f"/login ana {PASSWORD}")
                for hall in (lossy.one, lossy.two))  # fmt: skip
    lossy.passes(3)
    two.type("/prefer clock 12")
    one.type("/prefer clock 24")
    lossy.passes()
    assert (one.session.screen.hours, two.session.screen.hours) == (24, 24)


def test_a_rename(pair: Pair) -> None:
    """Everybody is told. Sessions at other nodes have the new name, too, and so has a direct room."""
    ana, also, bob = pair.one.program("ana"), pair.again(pair.two, "ana"), pair.two.program("bob")
    bob.say("hello", "@ana")
    also.post("leave", room="general")
    pair.passes(3)
    ana.post("rename", name="anna", display="Anna B.")
    pair.passes()
    assert (also.session.who.name, also.session.who.display) == ("anna", "Anna B.")
    bob.say("still there?", "@anna")
    also.say("yes", "@bob")
    pair.passes()
    assert bob.answers[-1]["ok"]
    assert ana.said == also.said == ["hello", "still there?", "yes"]
    assert [event["from"] for event in bob.events if event["event"] == "message"][-1] == "anna"


def test_bans_from_the_server(pair: Pair) -> None:
    """An account that is banned, and an address, are gone from all nodes, and stay out."""
    olga, ana = pair.operator(pair.one), pair.two.program("ana")
    there: Any = SimpleNamespace(host="192.0.2.7", port=5)
    guest = pair.two.client(address=there).post("guest")
    assert ip_address(guest.session.address) == ip_address("192.0.2.7")
    pair.passes(3)
    olga.post("ban", name="ana", reason="spam").post("ban", address="192.0.2.7")
    assert [answer["ok"] for answer in olga.answers[-2:]] == [True, True]
    pair.passes()
    assert (ana.closing, guest.closing) == (["banned"], ["banned"])
    assert pair.again(pair.two, "ana").answers[-1]["error"] == "banned"
    olga.post("unban", name="ana")
    assert pair.again(pair.two, "ana").answers[-1]["ok"]


def test_a_room_is_joined_left_and_deleted(pair: Pair) -> None:
    """An account with sessions at several nodes hears a room at all of them from its joining on, and nothing after it
    was kicked by somebody who is in no room there. A deleted room can be created anew under its name."""
    olga, bob = pair.operator(pair.one), pair.two.program("bob")
    ana, also = pair.two.program("ana"), pair.again(pair.one, "ana")
    bob.post("create", room="books", visibility="private").post("invite", room="books", name="ana")
    ana.post("join", room="books")
    pair.passes()
    bob.say("welcome", "books")
    pair.passes()
    assert also.said == ana.said == ["welcome"]
    olga.post("kick", room="books", name="ana")
    pair.passes()
    bob.say("they are gone", "books")
    pair.passes()
    assert also.said == ana.said == ["welcome"]
    assert [client.events[-1]["event"] for client in (ana, also)] == ["kicked", "kicked"]
    olga.post("delete", room="books")
    pair.passes()
    assert bob.events[-1]["event"] == "deleted"
    also.post("create", room="books")
    pair.passes()
    ana.say("mine", "books")
    pair.passes()
    assert also.said[-1] == ana.said[-1] == "mine"
    assert bob.said[-1] == "they are gone"


@pytest.mark.parametrize("other", ["there", "logging in", "ignores", "has blocked another one"])
def test_a_direct_room_that_was_made_elsewhere(either: Pair, other: str) -> None:
    """Both people hear it from its first message on, at all nodes."""
    bob, also = either.two.program("bob"), either.again(either.one, "bob")
    ana = either.one.program("ana")
    if other == "logging in":
        also.cut()
    elif other == "ignores":
        bob.post("ignore", name="ana")
    elif other != "there":
        either.one.program("cai")
        bob.post("block", name="cai")
    either.passes(3)
    if other == "logging in":
        either.two.inline.hold()
        bob = either.again(either.two, "bob")
    ana.say("first", "@bob").say("second", "@bob")
    if other == "logging in":
        either.two.inline.release()
        either.two.settle()
    either.passes()
    known = bob.answers[0].get("rooms", []) if other == "logging in" else []
    read = {room["room"]: room["seq"] for room in known}.get("@ana", 0)
    assert bob.said == ["first", "second"][read:]
    bob.say("third", "@ana")
    either.passes()
    assert ana.said == ["first", "second", "third"]
    assert also.said == ([] if other == "logging in" else ["first", "second", "third"])


def test_many_rooms_are_joined(lossy: Pair) -> None:
    """Accounts without a session at a node cost it nothing; the memberships of one that has some are compared a few
    times a second at most, however often it enters a room."""
    ana, also, bob = lossy.one.program("ana"), lossy.again(lossy.two, "ana"), lossy.one.program("bob")
    lossy.passes(3)
    reads: list[str] = []
    read = lossy.two.inline.read

    async def counted(work: Any, *args: Any, **keywords: Any) -> Any:
        reads.append(work.__name__)
        return await read(work, *args, **keywords)

    lossy.two.inline.read = counted  # type: ignore[method-assign]
    for number in range(30):
        bob.post("create", room=f"bob{number}")
    lossy.passes()
    assert "memberships" not in reads
    for number in range(30):
        ana.post("create", room=f"ana{number}")
    lossy.passes()
    assert 1 <= reads.count("memberships") <= 3
    assert set(also.session.rooms) >= {f"ana{number}" for number in range(30)}


def test_what_stands_in_a_log(pair: Pair) -> None:
    """Changes of messages and members arrive at every node in the same order."""
    olga, ana, bob = pair.operator(pair.one), pair.one.program("ana"), pair.two.program("bob")
    bob.say("hello")
    pair.passes(3)
    seq = bob.heard()[-1]
    ana.post("react", room="general", seq=seq, reaction="+1")
    bob.post("edit", room="general", seq=seq, text="hello, all")
    for word, fields in (
        ("pin", {"seq": seq}), ("unpin", {"seq": seq}), ("mute", {"name": "ana"}), ("unmute", {"name": "ana"}),
        ("role", {"name": "ana", "role": "moderator"}), ("ban", {"name": "ana"}), ("unban", {"name": "ana"}),
    ):  # fmt: skip
        olga.post(word, room="general", **fields)
        assert olga.answers[-1]["ok"], olga.lines[-1]
    pair.passes()
    for client in (ana, bob, olga):
        assert client.heard() == list(range(client.heard()[0], client.heard()[-1] + 1))
    kinds = [event["event"] for event in bob.events if event.get("room") == "general" and event["seq"] > seq]
    assert kinds == ["reacted", "edited", "pinned", "unpinned", "muted", "unmuted", "role", "banned", "unbanned"]
    assert [event["event"] for event in ana.events if "seq" in event][-1] == "banned"


def test_news_that_may_be_lost(pair: Pair) -> None:
    """Invitations and read marks reach other nodes, too; without frames, they are there at the next login."""
    ana, bob, also = pair.one.program("ana"), pair.two.program("bob"), pair.again(pair.one, "bob")
    ana.post("create", room="books", visibility="private")
    pair.passes(3)
    ana.post("invite", room="books", name="bob")
    also.post("read", room="general", seq=2)
    pair.passes()
    told = [event["event"] for event in bob.events if event["event"] in ("invited", "read")]
    assert told == (["invited", "read"] if pair.air.fate is not never else [])
    again = pair.again(pair.two, "bob").answers[-1]
    assert [one["room"] for one in again["invitations"]] == ["books"]
    assert {room["room"]: room["read"] for room in again["rooms"]}["general"] >= 2


# Erasing an account


def texts(pair: Pair, account_id: int) -> list[str]:
    return list(pair.do(lambda db: db.scalars(select(EntryRow.text).where(EntryRow.author_id == account_id)).all()))


def finish(pair: Pair, account_id: int) -> None:
    """Does the steps of an erasure that are left."""
    while (places := pair.do(erasure.places, account_id)) is not None:
        for step in erasure.steps(places):
            pair.do(erasure.step, account_id, step, START)


class Slow:
    """A node whose messages wait before they are stored."""

    def __init__(self, hall: NodeHall) -> None:
        self.gate: Deferred[None] = Deferred()
        append = hall.inline.append

        async def slow(work: Any, *args: Any) -> Any:
            await self.gate
            return await append(work, *args)

        hall.inline.append = slow  # type: ignore[method-assign]


@pytest.mark.parametrize("gone", [False, True], ids=["there", "just gone"])
def test_what_was_on_its_way_is_erased_too(either: Pair, gone: bool) -> None:
    """Messages that an account sent at another node before its erasure are stored first, however long that takes, and
    erased with the rest; its addresses, too. Nobody logs in meanwhile."""
    ana, also, bob = either.one.program("ana"), either.again(either.two, "ana"), either.one.program("bob")
    account = ana.session.who.account_id
    bob.say("hello", "@ana")
    either.passes(3)
    fresh = either.again(either.two, "ana", address=SimpleNamespace(host="192.0.2.7", port=5))
    slow = Slow(either.two)
    also.say("a secret on its way", "@bob")
    if gone:
        also.cut()
    ana.post("forget", password=PASSWORD, messages="erase")
    for _ in range(5):
        either.passes(0.5)
        assert len(ana.answers) == 1, "It is erased before the other node has stored everything."
    assert either.again(either.one, "ana").answers[-1]["error"] == "bad-credentials"
    slow.gate.callback(None)
    either.passes()
    assert ana.answers[-1]["ok"]
    assert (ana.closing, fresh.closing) == (["erased"], ["erased"])
    either.passes()
    check_erased(either, account)


def check_erased(pair: Pair, account_id: int) -> None:
    assert not any(texts(pair, account_id))
    rows = select(SessionRow.address).where(SessionRow.account_id == account_id)
    assert set(pair.do(lambda db: db.scalars(rows).all())) <= {""}


def test_chatctl_waits_too(lossy: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does `chatctl user erase` while nodes work together."""
    ana, also, bob = lossy.one.program("ana"), lossy.again(lossy.two, "ana"), lossy.one.program("bob")
    account = ana.session.who.account_id
    bob.say("hello", "@ana")
    lossy.passes(3)
    slow = Slow(lossy.two)
    also.say("a secret on its way", "@bob")
    pauses: list[bool] = []

    def pause(seconds: float) -> None:
        pauses.append(
            bool(lossy.do(lambda db: db.scalar(select(AccountRow.erased_at).where(AccountRow.id == account))))
        )
        if len(pauses) == 20:
            slow.gate.callback(None)
        lossy.passes(0.1)

    monkeypatch.setattr(leaving, "sleep", pause)
    chatctl = Chatctl(lossy.one.engine.url.render_as_string(hide_password=False))
    chatctl("user", "erase", "ana", "--messages", "erase", "--yes")
    assert pauses[:20] == [False] * 20
    assert (ana.closing, also.closing) == (["disabled"], ["disabled"])
    check_erased(lossy, account)


def test_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    """The erasure works on a real cluster's database, too."""
    pair = Pair(tmp_path, never, engine=open_engine(parse_url(postgres_url)))
    ana, also, bob = pair.one.program("ana"), pair.again(pair.two, "ana"), pair.one.program("bob")
    account = ana.session.who.account_id
    pair.passes(3)
    ana.post("password", old=PASSWORD, new=NEW_PASSWORD, others=True)
    new = pair.again(pair.two, "ana", NEW_PASSWORD)
    ana.post("block", name="bob").post("ignore", name="bob").post("prefer", clock="12").post("create", room="books")
    pair.passes()
    assert (also.closing, new.closing) == (["password"], [])
    assert "books" in new.session.rooms
    assert pair.two.roster._apart[account] == {bob.session.who.account_id}
    slow = Slow(pair.two)
    new.say("a secret on its way")
    ana.post("forget", password=NEW_PASSWORD, messages="erase")
    pair.passes(2)
    assert new.closing == ["erased"]
    assert not ana.closing
    assert pair.do(change_rows.behind, 2**62, "boot-one") == ["two"]
    slow.gate.callback(None)
    for _ in range(120):  # until other transactions on that server are over, too
        if not ana.closing:
            pair.passes(0.1)
    assert ana.closing == ["erased"]
    finish(pair, account)
    check_erased(pair, account)
    pair.one.close()


def test_a_node_that_does_not_answer(lossy: Pair) -> None:
    """A node whose lease has lapsed is not waited for, and one that never comes to it not for long."""
    ana = lossy.one.program("ana")
    lossy.passes(3)
    lossy.two.kill()
    begun = lossy.one.clock.seconds()
    ana.post("forget", password=PASSWORD)
    while not (len(ana.answers) > 1):
        assert lossy.one.clock.seconds() - begun < 11, "It waits for ever."
        lossy.passes(0.5)
    assert ana.answers[-1]["ok"]


def test_a_node_dies_while_it_erases(lossy: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """An erasure that was only begun is done by another node."""
    ana = lossy.one.program("ana")
    account = ana.session.who.account_id
    ana.say("a secret")
    lossy.passes(3)
    lossy.two.inline.hold()  # so that the other one waits for it
    ana.post("forget", password=PASSWORD, messages="erase")
    lossy.passes()
    assert len(ana.answers) == 2
    lossy.one.kill()
    lossy.two.inline.release()
    assert lossy.do(erasure.pending) == []  # it may still go on
    monkeypatch.setattr(erasure, "ABANDONED", erasure.ABANDONED * 0)
    assert lossy.do(erasure.claim, account)
    finish(lossy, account)
    assert lossy.do(lambda db: db.scalar(select(AccountRow.erased_at).where(AccountRow.id == account)))
    assert not any(texts(lossy, account))
    assert lossy.do(lambda db: db.scalar(select(ErasureRow.account_id))) is None


# Faults


FAULTS: dict[str, Callable[[pytest.MonkeyPatch, NodeHall], None]] = {
    "the answer is lost": lambda patch, hall: setattr(hall.inline, "lost_answers", 1),
    "an exception before the effects": lambda patch, hall: _fails_once(patch, Consequences, "_apply"),
    "an exception before the entries": lambda patch, hall: _fails_once(patch, Order, "_announce"),
    "an exception at the end": lambda patch, hall: _fails_once(patch, type(hall.cluster), "changed"),
}


def _fails_once(patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    real, left = getattr(owner, name), [1]

    def faulty(*args: Any, **keywords: Any) -> Any:
        if left:
            left.clear()
            raise RuntimeError(name)
        return real(*args, **keywords)

    patch.setattr(owner, name, faulty)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("fate", ["carried", "lost"])
def test_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, fate: str) -> None:
    """Once a command is stored, other nodes apply its effects, whatever fails at the node of the command; also in rooms
    without subscribers there."""
    pair = Pair(tmp_path, FATES[fate][0])
    one, two = pair.one, pair.two
    olga = pair.operator(one)
    ana, also, bob = one.program("ana"), pair.again(two, "ana"), two.program("bob")
    bob.post("create", room="books").post("create", room="club")
    pair.passes(3)
    acts: list[tuple[Client, str, dict[str, Any], Callable[[], bool]]] = [
        (ana, "rename", {"display": "Ana B."}, lambda: also.session.who.display == "Ana B."),
        (ana, "join", {"room": "club"}, lambda: "club" in also.session.rooms),
        (ana, "say", {"room": "@bob", "text": "hello"}, lambda: bob.said == ["hello"]),
        (
            ana,
            "block",
            {"name": "bob"},
            lambda: bob.session.who.account_id in two.roster._apart[also.session.who.account_id],
        ),
        (olga, "delete", {"room": "books"}, lambda: "books" not in bob.session.rooms),
        (olga, "ban", {"name": "ana"}, lambda: also.closing == ["banned"]),
    ]
    for who, word, fields, noticed in acts:
        asker = who if not who.closing else pair.again(one, "ana" if who is ana else OPERATOR)
        pair.passes(1)
        with monkeypatch.context() as patch, logged_failures():
            FAULTS[fault](patch, one)
            asker.post(word, **fields)
            pair.passes(SOON + 1)
        one.inline.lost_answers = 0
        assert noticed(), word
    one.close()


def test_a_script_loses_its_answers(tmp_path: Path) -> None:
    """A message in a room without subscribers at its node reaches other nodes soon, although the database's answer was
    lost, so that no frame was sent."""
    pair = Pair(tmp_path)
    pair.one.program("ana").cut()
    script = pair.one.client().post("login", name="ana", password=PASSWORD, quiet=True)
    bob = pair.two.program("bob")
    pair.passes(3)
    for number in range(4):  # meanwhile, heads are compared once in any case
        pair.one.inline.lost_answers = 1
        script.say(f"text {number}")
        assert script.answers[-1]["error"] == "unavailable"
        pair.passes()
        assert bob.said[-1:] == [f"text {number}"]
    pair.one.close()


def test_the_database_is_set_back(tmp_path: Path) -> None:
    """Each node starts over once, however many have noticed it; those that noticed nothing do so because of a
    frame."""
    pair = Pair(tmp_path)
    ana, bob = pair.one.program("ana"), pair.two.program("bob")
    for number in range(5):
        ana.say(f"text {number}")
    pair.passes(1)
    head = bob.heard()[-1]
    with pair.one.engine.begin() as db:
        db.exec_driver_sql(f"DELETE FROM entry WHERE room_id = 1 AND seq > {head - 2}")
        db.exec_driver_sql(f"UPDATE room SET last_seq = {head - 2} WHERE id = 1")
    ana.say("a new one")
    pair.passes(0.3)
    assert (ana.closing, bob.closing) == (["rewound"], ["rewound"])
    assert [client.events[-1]["common"] for client in (ana, bob)] == [{"general": head - 2}] * 2
    later = [pair.again(hall, name) for hall, name in ((pair.one, "ana"), (pair.two, "bob"))]
    pair.two.cluster.rewound()  # it has found that by itself, a little later
    pair.passes(15)
    later[0].say("on we go")
    pair.passes(1)
    assert [client.closing for client in later] == [[], []]
    assert [client.said for client in later] == [["on we go"], ["on we go"]]
    pair.two.cluster.rewound()  # once more, much later
    pair.passes(1)
    assert later[0].closing == ["rewound"]


def test_another_epoch(pair: Pair) -> None:
    """A node that has not found the epoch of another node's entries yet does not take them from the bus: it reads them,
    and so finds the epoch. Nothing that it has delivered counts as lost, since it was not."""
    ana, bob = pair.one.program("ana"), pair.two.program("bob")
    pair.passes(2)
    ana.say("one")
    pair.passes(0.3)
    from_bus = pair.two.registry.order.from_bus
    transact(pair.one.engine, epochs.begin)
    pair.one.rewind.epoch_found(transact(pair.one.engine, epochs.ensure))
    ana.say("two")
    pair.passes(2)
    ana.say("three")
    pair.passes(2)
    assert (bob.said, bob.closing) == (["one", "two", "three"], [])
    assert pair.two.registry.order.from_bus <= from_bus + 1
    assert pair.one.epochs.token == pair.two.epochs.token != ""
    assert [event["epoch"] for event in bob.events if event["event"] == "epoch"] == [pair.two.epochs.token]


def test_an_exception_in_a_conversation_of_nodes_is_none(pair: Pair) -> None:
    """Nothing of this is logged as a failure."""
    with logged_failures() as failures:
        ana, bob = pair.one.program("ana"), pair.two.program("bob")
        ana.say("hello", "@bob")
        bob.post("block", name="ana").post("unblock", name="ana")
        ana.post("rename", name="anna").post("prefer", clock="12").post("ignore", name="bob")
        bob.post("password", old=PASSWORD, new=NEW_PASSWORD, others=True)
        ana.post("forget", password=PASSWORD)
        pair.passes(3)
    assert failures == []
    assert (ana.closing, bob.closing) == (["erased"], [])
