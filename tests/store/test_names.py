"""Names that look alike: only the first of them can be registered, also if two are registered at the same moment."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, select, update

from chatserver.store import accounts, names
from chatserver.store.db.engine import open_engine, parse_url
from chatserver.store.db.schema import AccountRow
from chatserver.values.errors import Refused
from tests.chatctl.conftest import PASSWORD, Chatctl
from tests.store.conftest import AT, Tables


@pytest.fixture
def engine(empty_url: str) -> Iterator[Engine]:
    engine = open_engine(parse_url(empty_url))
    yield engine
    engine.dispose()


@pytest.fixture
def chatctl(tables: Tables) -> Chatctl:
    return Chatctl(tables.engine.url.render_as_string(hide_password=False))


def refusal(tables: Tables, name: str) -> str:
    """Why an account with this name cannot be created."""
    with pytest.raises(Refused) as refused:
        tables.person(name)
    return refused.value.error.value


def test_look_alikes(tables: Tables) -> None:
    """Once a name is registered, those that look like it are refused; the name itself is taken, as before."""
    tables.person("Alice")
    assert [refusal(tables, name) for name in ("aIice", "AL1CE", "alice_", "alice", "ALICE")] == [
        "bad-name", "bad-name", "bad-name", "name-taken", "name-taken",
    ]  # fmt: skip
    tables.person("alicia")
    with pytest.raises(Refused, match="bad-name"):
        tables(accounts.claimed, "a1ice", AT)
    known = tables(accounts.claimed, "ALICE", AT)
    assert known is not None
    assert known.name == "Alice"
    assert tables(accounts.claimed, "bob", AT) is None


def test_registered_a_moment_ago(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is registered while another process looks whether it is free does not look like another one's: a
    program that repeats its `register` at another node is let in."""
    ana, find = tables.person("alice"), accounts.find

    def before(db: Connection, name: str) -> None:
        monkeypatch.setattr(accounts, "find", find)

    monkeypatch.setattr(accounts, "find", before)
    known = tables(accounts.claimed, "alice", AT)
    assert known is not None
    assert known.id == ana.id


def test_registered_just_now(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a name that is registered right after the names like it were read."""
    found: list[list[str]] = [[], ["alice"]]
    monkeypatch.setattr(names, "alike", lambda db, like, but=0: found.pop(0))
    assert tables(accounts.claimed, "alice", AT) is None


def test_like_an_erased_account(tables: Tables) -> None:
    """Names that look like an erased account's are refused as its own is; nobody is called as erased accounts are."""
    ana = tables.person("alice")
    erased = update(AccountRow).where(AccountRow.id == ana.id).values(name=f"erased-{ana.id}", erased_at=AT)
    tables(Connection.execute, erased)
    assert [refusal(tables, name) for name in ("a1ice", "alice", "erased-7")] == [
        "bad-name",
        "name-taken",
        "name-taken",
    ]


def test_guests_need_no_check(tables: Tables) -> None:
    """Nobody can register a name that begins like a guest's."""
    guest = tables(accounts.create_guest, AT)
    assert tables(lambda db: db.scalar(select(AccountRow.skeleton).where(AccountRow.id == guest.id))) is None


def test_racing_for_names_that_look_alike(tables: Tables) -> None:
    """The second of two waits for the first, and sees its name."""
    with tables.engine.begin() as db, tables.meanwhile(lambda: refusal(tables, "a1ice")) as result:
        accounts.create(db, "alice", "hash", AT)
    assert result() == "bad-name"


def test_many_racing(tables: Tables) -> None:
    """If many register at the same moment, one wins."""
    names = ["alice", "a1ice", "aIice", "al1ce", "alice_", "alice-"]

    def attempt(name: str) -> str:
        try:
            tables.person(name)
        except Refused as refused:
            return refused.error.value
        return "ok"

    words = tables.at_once(*(lambda name=name: attempt(name) for name in names))
    assert sorted(words) == ["bad-name"] * 5 + ["ok"]


def test_adding_with_chatctl(chatctl: Chatctl, tables: Tables) -> None:
    """`chatctl user add` refuses the same names, unless it is told that any name will do."""
    chatctl.add("alice")
    for name in ("admin", "a1ice", "Systern", "erased_5"):
        assert "--any-name" in chatctl.fails("user", "add", name, "--password-stdin", typed=PASSWORD)
        chatctl("user", "add", name, "--any-name", "--password-stdin", typed=PASSWORD)
    assert "is taken" in chatctl.fails("user", "add", "alice", "--any-name", "--password-stdin", typed=PASSWORD)
    assert refusal(tables, "Adm1n") == "bad-name"
