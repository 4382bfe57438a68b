"""ChangeHandlers what other processes change in the database, on a clock that stands still."""

from collections.abc import Collection
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import pytest
from twisted.internet.task import Clock

from chatserver.background.session_rows import SessionRows
from chatserver.delivery.registry import Registry
from chatserver.presence.roster import Roster
from chatserver.session.other_nodes import Elsewhere
from chatserver.session.session import Identity, Session
from chatserver.store import accounts, change_rows, moderation
from chatserver.store.change_rows import AccountNow
from chatserver.store.db.schema import ChangeKind
from chatserver.store.moderation import NetworkBan
from chatserver.sync.change_feed import HURRY_SECONDS, MISSING_SECONDS, POLL_SECONDS, PRUNE_SECONDS, ChangeFeed
from chatserver.sync.reconcile import Reconciler
from chatserver.sync.rewind import Rewind
from chatserver.values.errors import Unavailable
from chatserver.values.events import AS_SET, MESSAGE, OPERATOR, PERSON, AccountLimits, Entry, Membership, RoomFacts
from chatserver.values.stages import Stage
from chatserver.wire.jsonl import JSONL
from tests.support.link import MemoryLink
from tests.support.memory import MemoryStore, logged_failures
from tests.support.pages import StubPages

AT = datetime(2026, 3, 2, 10, 2, tzinfo=UTC)
BOOKS = RoomFacts(1, "books")
ANA, BOB = 1, 2
BAN = NetworkBan(ip_network("192.0.2.0/24"), None, "spam")
OTHER_BAN = NetworkBan(ip_network("198.51.100.0/24"), None, "")


class Town:
    """A change feed before a database that others change."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.changes: dict[int, tuple[ChangeKind, int]] = {}
        self.numbers = (0, 0)  # of the oldest transaction that is left, and of the next one; 0: there are none
        self.accounts: dict[int, AccountNow] = {}
        self.limits: dict[int, AccountLimits] = {}
        self.bans: list[NetworkBan] = []
        self.log: list[Entry] = []
        self.store = MemoryStore(
            {
                change_rows.newest: lambda: max(self.changes, default=0),
                change_rows.look: self._look,
                change_rows.accounts: lambda asked: [self.accounts[id] for id, _ in asked],
                accounts.limits_of: lambda ids: {id: self.limits[id] for id in ids if id in self.limits},
                moderation.banned_networks: lambda: list(self.bans),
            }
        )
        self.roster = Roster()
        self.registry = Registry(self.clock, StubPages(self.clock, self._read_page), self.roster, Rewind())
        self.bans_set: list[list[NetworkBan]] = []
        store: Any = self.store
        self.rewind = Rewind()
        now: Any = lambda: AT  # noqa: E731
        reconciler = Reconciler(self.clock, store, self.registry, self.roster, now, self.rewind)
        session_rows = SessionRows(self.clock, store)
        self.change_feed = ChangeFeed(
            self.clock, store, self.registry, self.roster, reconciler, session_rows, self.rewind
        )
        self.change_feed.follow_bans(self)

    def set_bans(self, bans: list[NetworkBan]) -> None:
        self.bans_set.append(bans)

    def _look(self, last: int, missing: Collection[int] = ()) -> change_rows.Look:
        found = [id for id in sorted(self.changes) if id > last or id in missing]
        return change_rows.Look([change_rows.Change(id, *self.changes[id]) for id in found], *self.numbers)

    async def _read_page(self, room_id: int, seq: int) -> tuple[list[Entry], bool]:
        return self.log[seq:], False

    def arrive(self, account: int, token_id: int = 0) -> MemoryLink:
        session = Session("s", "::1", JSONL)
        session.who, session.stage = Identity(account, token_id=token_id), Stage.IN
        link = MemoryLink(session)
        self.roster.add(session)
        self.registry.subscriptions.subscribe(session, [Membership(BOOKS, len(self.log), 0, "member")], {})
        return link

    def change(self, id: int, kind: ChangeKind, subject: int = 0) -> None:
        """Another process commits a change."""
        self.changes[id] = (kind, subject)

    def say(self) -> None:
        """Another process stores a message."""
        self.log.append(Entry(len(self.log) + 1, MESSAGE, 9, "user9", AT, "text"))

    def poll(self) -> None:
        self.clock.advance(POLL_SECONDS)


@pytest.fixture
def town() -> Town:
    return Town()


def test_a_room_that_another_process_wrote_to(town: Town) -> None:
    """A change of a room lets its subscribers hear what nobody announced here, within one poll."""
    ana = town.arrive(ANA)
    town.change_feed.start()
    town.say()
    town.change(1, "room", BOOKS.id)
    town.change(2, "room", 99)  # which nobody here hears
    town.clock.advance(POLL_SECONDS * 0.9)
    assert ana.writes == []
    town.clock.advance(POLL_SECONDS * 0.1)
    assert b'"seq":1' in b"".join(ana.writes)


def test_what_was_before_the_start(town: Town) -> None:
    """Old changes are not followed: whoever logs in reads the present state. Bans in force are read at the start."""
    town.bans = [BAN]
    town.accounts[ANA] = AccountNow(PERSON, gone=True, ban=None)
    for id in range(1, 4):
        town.change(id, "account", ANA)
    ana = town.arrive(ANA)
    town.change_feed.start()
    town.poll()
    assert (ana.ended, town.bans_set) == ([], [[BAN]])


def test_bans_of_addresses(town: Town) -> None:
    """A change of the bans passes on all that are in force; so does `reload_bans`."""
    town.change_feed.start()
    town.bans = [BAN]
    town.change(1, "bans")
    town.poll()
    town.bans = [BAN, OTHER_BAN]
    town.change_feed.reload_bans()
    town.poll()
    assert town.bans_set == [[], [BAN], [BAN, OTHER_BAN]]


def test_limits_of_an_account(town: Town) -> None:
    """A change of an account by an operator reaches all its sessions with the next poll, and so does its removal."""
    ana, also, bob = (town.arrive(account).session for account in (ANA, ANA, BOB))
    town.accounts[ANA] = AccountNow(PERSON, gone=False, ban=None)
    town.change_feed.start()
    town.limits[ANA] = AccountLimits(commands_per_second=100)
    town.change(1, "account", ANA)
    town.poll()
    assert [session.who.limits for session in (ana, also, bob)] == [town.limits[ANA]] * 2 + [AS_SET]
    del town.limits[ANA]
    town.change(2, "account", ANA)
    town.poll()
    assert ana.who.limits == also.who.limits == AS_SET


def test_a_token_that_is_revoked(town: Town) -> None:
    """The connections that came with it end, and no others."""
    people = [town.arrive(ANA, 7), town.arrive(ANA, 8), town.arrive(ANA), town.arrive(BOB, 7)]
    town.change_feed.start()
    town.change(1, "token", 7)
    town.poll()
    assert [link.ended for link in people] == [["token-revoked"], [], [], ["token-revoked"]]


@pytest.mark.parametrize(
    ("account", "ended"),
    [
        (AccountNow(PERSON, gone=False, ban="spam"), ["banned"]),
        (AccountNow(PERSON, gone=True, ban=None), ["disabled"]),
        (AccountNow(PERSON, gone=True, ban=""), ["banned"]),
        (AccountNow(OPERATOR, gone=False, ban=None), []),
    ],
)
def test_an_account_that_changed(town: Town, account: AccountNow, ended: list[str]) -> None:
    """All its connections end where it is banned or closed; they get the powers of what it is now."""
    people, bob = [town.arrive(ANA), town.arrive(ANA)], town.arrive(BOB)
    town.change_feed.start()
    town.accounts[ANA] = account
    town.change(1, "account", ANA)
    town.poll()
    assert [link.ended for link in people] == [ended, ended]
    assert [link.session.who.kind for link in people] == [account.kind, account.kind]
    assert (bob.ended, bob.session.who.kind) == ([], PERSON)


def test_an_account_that_is_not_here(town: Town) -> None:
    """Nothing is read of an account without a connection here."""
    town.change_feed.start()
    town.change(1, "account", ANA)
    town.poll()
    assert town.store.called(change_rows.accounts) == []


@pytest.mark.parametrize("kind", ["room", "account", "token", "bans"])
def test_logins_under_way_read_again(town: Town, kind: ChangeKind) -> None:
    """Whatever changed, a login that is reading its facts just then reads them again."""
    town.change_feed.start()
    with town.registry.logins.begin(ANA) as login:
        town.poll()
        assert not login.stale
        town.change(1, kind, 99)
        town.poll()
        assert login.stale


def test_a_lower_id_committed_later(town: Town) -> None:
    """Ids are given out before the commit: a change with a lower id is followed too, once, however many others came
    before it, and for as long as a transaction is left that may have it. Until then nobody is told that it is applied.
    """
    ana, bob = town.arrive(ANA, 7), town.arrive(BOB, 8)
    town.numbers = 90, 100
    town.change(500, "room", 99)
    town.change_feed.start()
    town.clock.pump([POLL_SECONDS] * 4)
    town.change(7000, "token", 8)  # 501 to 6999 are left out
    for _ in range(20):
        town.poll()
    assert (ana.ended, bob.ended, town.change_feed.applied) == ([], ["token-revoked"], 0)
    town.change(499, "bans")
    town.change(501, "token", 7)
    for _ in range(3):
        town.poll()
    assert (ana.ended, bob.ended) == (["token-revoked"], ["token-revoked"])
    assert len(town.bans_set) == 2  # at the start, and once for the change
    town.numbers = 110, 120
    town.poll()
    town.poll()
    assert town.change_feed.applied == 7000
    assert town.store.called(change_rows.look)[-1] == (7000, [])


def test_an_id_that_nobody_has(town: Town) -> None:
    """An id whose transaction was undone is looked for until all are over that had begun by then, and at most as long
    as one may take, whatever else goes on in the database."""
    town.numbers = 90, 100
    town.change_feed.start()
    town.change(2, "bans")
    town.poll()
    assert town.change_feed.applied == 0
    town.poll()
    assert town.change_feed.applied == 0  # one that began before may have it
    town.numbers = 100, 110
    town.poll()
    assert town.change_feed.applied == 2
    town.numbers = 105, 110  # somebody else's, which does not end
    town.change(4, "bans")
    town.clock.pump([POLL_SECONDS] * 20)
    assert town.change_feed.applied == 2
    town.clock.pump([POLL_SECONDS] * round(MISSING_SECONDS / POLL_SECONDS))
    assert town.change_feed.applied == 4


def test_each_change_is_followed_once(town: Town) -> None:
    """However far the ids have moved on, a change is followed once, and read once."""
    town.change_feed.start()
    for id in range(1, 300):
        town.change(id, "bans")
        if id % 7 == 0:
            town.poll()
    town.poll()
    town.poll()
    assert len(town.bans_set) == 300
    assert town.store.called(change_rows.look)[-1] == (299, [])


def test_others_say_that_there_is_something_new(town: Town) -> None:
    """It is read at once, but however often they say so, only so many times a second."""
    ana = town.arrive(ANA, 7)
    town.change_feed.start()
    town.clock.advance(HURRY_SECONDS)
    town.change(1, "token", 7)
    town.change_feed.hurry()
    town.clock.advance(0)
    assert ana.ended == ["token-revoked"]
    before = len(town.store.called(change_rows.look))
    for _ in range(100):
        town.change_feed.hurry()
        town.clock.advance(0.01)
    assert len(town.store.called(change_rows.look)) - before == pytest.approx(1 / HURRY_SECONDS, abs=2)


def test_the_database_is_set_back(town: Town) -> None:
    """Ids that were given out before are those of other changes then."""
    ana = town.arrive(ANA, 7)
    town.change(5, "bans")
    town.change_feed.start()
    town.changes.clear()
    town.rewind.database_rewound()
    town.poll()
    town.change(3, "token", 7)
    town.poll()
    assert ana.ended == ["token-revoked"]


def test_a_change_during_the_first_look(town: Town) -> None:
    """A change that comes while the feed finds out where to begin is followed."""
    ana = town.arrive(ANA, 7)
    town.change(1, "bans")
    town.store.hold(change_rows.newest)
    town.change_feed.start()
    town.change(2, "token", 7)
    town.store.release(change_rows.newest)
    town.poll()
    assert (ana.ended, len(town.bans_set)) == (["token-revoked"], 1)


def test_the_store_is_away(town: Town) -> None:
    """Polls go on while the database is away, and nothing is lost: a change is followed once its reads succeed."""
    ana = town.arrive(ANA)
    town.accounts[ANA] = AccountNow(PERSON, gone=True, ban=None)
    town.store.fail(moderation.banned_networks, Unavailable(), Unavailable(), Unavailable())
    town.store.fail(change_rows.newest, Unavailable())
    with logged_failures() as failures:
        town.change_feed.start()
        town.poll()
        assert town.bans_set == []
        town.poll()
        assert town.bans_set == [[]]  # those that could not be read at the start
        town.poll()
        town.change(1, "account", ANA)
        town.change(2, "bans")
        town.store.fail(change_rows.look, Unavailable())
        town.store.fail(change_rows.accounts, Unavailable())
        town.poll()
        town.poll()
        assert (ana.ended, town.bans_set) == ([], [[]])
        town.poll()
    assert (ana.ended, len(town.bans_set)) == (["disabled"], 2)
    assert failures == []  # the store has logged that it is away


def test_a_bug(town: Town) -> None:
    """An exception is logged, and the change is tried again at the next poll."""
    ana, error = town.arrive(ANA), RuntimeError("a bug")
    town.accounts[ANA] = AccountNow(PERSON, gone=True, ban=None)
    town.change_feed.start()
    town.change(1, "account", ANA)
    town.store.fail(change_rows.accounts, error)
    with logged_failures() as failures:
        town.poll()
        assert (failures, ana.ended) == ([error], [])
        town.poll()
    assert ana.ended == ["disabled"]


def test_a_change_that_cannot_be_applied(town: Town) -> None:
    """The changes after it do not wait for it, and the log has one line when that begins, and one when it is over."""
    ana, bob = town.arrive(ANA), town.arrive(BOB, 7)
    town.accounts[ANA] = AccountNow(PERSON, gone=True, ban=None)
    town.change_feed.start()
    town.change(1, "account", ANA)
    town.change(2, "token", 7)
    town.store.fail(change_rows.accounts, *[RuntimeError("a bug") for _ in range(20)])
    with logged_failures() as failures:
        town.clock.pump([POLL_SECONDS] * 20)
        assert (len(failures), ana.ended, bob.ended) == (1, [], ["token-revoked"])
        town.clock.pump([POLL_SECONDS] * 10)
    assert (len(failures), ana.ended) == (1, ["disabled"])


class Others(Elsewhere):
    """There are other nodes."""

    @property
    def origin(self) -> str:
        return "mine"


def test_old_changes_are_removed(town: Town) -> None:
    """Where nodes work together, each looks now and then for changes that are old; alone, none does. What this process
    has written for others it has done by itself."""
    left = [True, True, False]
    town.store.answers[change_rows.prune_some] = lambda: left.pop(0)
    town.change_feed.start()
    town.clock.pump([POLL_SECONDS] * round(2 * PRUNE_SECONDS / POLL_SECONDS))
    assert left == [True, True, False]
    town.roster.nodes.join(Others())
    town.clock.pump([POLL_SECONDS] * 10)
    assert left == []
    ana = town.arrive(ANA, 7)
    town.store.answers[change_rows.look] = lambda *_: change_rows.Look(
        [change_rows.Change(1, "token", 7, None, "mine")]
    )
    town.poll()
    assert (ana.ended, town.change_feed.applied) == ([], 1)
    town.store.answers[change_rows.look] = lambda *_: change_rows.Look(
        [change_rows.Change(2, "token", 7, None, "theirs")]
    )
    town.poll()
    assert ana.ended == ["token-revoked"]


def test_polls_do_not_overlap(town: Town) -> None:
    """A poll that takes longer than the interval is followed by the next one HURRY_SECONDS after its end."""
    town.change_feed.start()
    town.store.hold(change_rows.look)
    town.poll()
    polls = len(town.store.called(change_rows.look))
    town.clock.pump([POLL_SECONDS] * 3)
    assert len(town.store.called(change_rows.look)) == polls
    town.store.release(change_rows.look)
    town.clock.advance(HURRY_SECONDS * 0.9)
    assert len(town.store.called(change_rows.look)) == polls
    town.clock.advance(POLL_SECONDS * 0.1)
    assert len(town.store.called(change_rows.look)) == polls + 1


def test_stopping_between_polls(town: Town) -> None:
    """After `stop` nothing is read any more, and no clock runs."""
    town.change_feed.start()
    town.change_feed.stop()
    assert town.clock.getDelayedCalls() == []


def test_stopping_during_a_poll(town: Town) -> None:
    """A poll that is under way is finished, and is the last one."""
    ana = town.arrive(ANA, 7)
    town.change_feed.start()
    town.change(1, "token", 7)
    town.store.hold(change_rows.look)
    town.poll()
    town.change_feed.stop()
    town.store.release(change_rows.look)
    assert (ana.ended, town.clock.getDelayedCalls()) == (["token-revoked"], [])
