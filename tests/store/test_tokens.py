"""Tokens: what they are good for, and until when, by the database's clock."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from chatserver.store import change_rows, logins, tokens
from chatserver.store.db import database_clock
from chatserver.store.db.schema import TokenRow
from chatserver.store.tokens import Grant
from chatserver.values.errors import Refused
from chatserver.values.events import Membership
from chatserver.values.token_scope import Scope
from tests.store.conftest import AT, Tables


def expire(tables: Tables, label: str) -> None:
    """Sets the end of a token to this moment."""
    tables(
        lambda db: db.execute(update(TokenRow).where(TokenRow.label == label).values(expires_at=database_clock.now(db)))
    )


def test_grants(tables: Tables) -> None:
    """A token is listed, and found at a login, with what it was created for."""
    ana = tables.person("ana")
    den, hall = tables.room("den", ana), tables.room("hall", ana)
    assert tables(tokens.create, ana.id, "all", "1" * 64, AT) is None
    until = tables(tokens.create, ana.id, "den", "2" * 64, AT, Grant(60, True, den.id))
    assert until is not None
    listed = tables(tokens.listing, ana.id)
    assert [(one.label, one.expires, one.read_only, one.room) for one in listed] == [
        ("all", None, False, None), ("den", until, True, "den")
    ]  # fmt: skip
    (everything, person), (one, _) = (found for found in tables(tokens.find, ["1" * 64, "2" * 64]) if found)
    assert person == ana
    plain, free, bound = tables(logins.look_up, [(ana, 0), (ana, everything), (ana, one)])
    assert (plain.scope, free.scope) == (None, Scope())
    assert bound.scope is not None
    assert (bound.scope.read_only, bound.scope.room_id) == (True, den.id)
    assert 50 < (bound.scope.seconds or 0) <= 60
    assert [rooms(facts.memberships) for facts in (plain, free, bound)] == [
        {den.id, hall.id},
        {den.id, hall.id},
        {den.id},
    ]


def rooms(memberships: list[Membership]) -> set[int]:
    return {one.facts.id for one in memberships}


def test_an_end(tables: Tables) -> None:
    """From its end on a token is not valid: it is neither found, nor listed, nor revoked, and leaves its label free."""
    ana = tables.person("ana")
    tables(tokens.create, ana.id, "bot", "1" * 64, AT, Grant(60))
    (found,) = tables(tokens.find, ["1" * 64])
    assert found is not None
    expire(tables, "bot")
    assert tables(tokens.find, ["1" * 64]) == [None]
    assert tables(tokens.listing, ana.id) == []
    assert tables(tokens.revoke, ana.id, "bot", AT) is None
    assert (tables(tokens.scopes, [found[0]])[found[0]].seconds or 0) <= 0
    tables(tokens.create, ana.id, "bot", "2" * 64, AT, most=1)


def test_revoking_all(tables: Tables) -> None:
    """Those of the account are revoked, each with a change for running servers, and those of others are not."""
    ana, bob = tables.person("ana"), tables.person("bob")
    for person, label, sha256 in (
        (ana, "a", "1" * 64),
        (ana, "b", "2" * 64),
        (ana, "c", "3" * 64),
        (bob, "a", "4" * 64),
    ):
        tables(tokens.create, person.id, label, sha256, AT, Grant(60))
    expire(tables, "b")
    last = tables(change_rows.newest)
    assert tables(tokens.revoke_all, ana.id, AT + timedelta(seconds=1)) == 2
    mine = tables(lambda db: set(db.scalars(select(TokenRow.id).where(TokenRow.account_id == ana.id))))
    assert {(one.kind, one.subject) for one in tables(change_rows.since, last)} == {("token", id) for id in mine}
    assert tables(tokens.listing, ana.id) == []
    assert [line.label for line in tables(tokens.listing, bob.id)] == ["a"]
    assert tables(tokens.revoke_all, ana.id, AT) == 0


def test_no_more_than_so_many(tables: Tables) -> None:
    """If tokens are created at the same time, no more are stored than an account may have."""
    ana = tables.person("ana")

    def create(number: int) -> bool:
        try:
            tables(tokens.create, ana.id, f"t{number}", f"{number}" * 64, AT, most=2)
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(create, range(6))) == [False] * 4 + [True] * 2
    with pytest.raises(Refused, match="TOO_MANY_TOKENS"):
        tables(tokens.create, ana.id, "more", "7" * 64, AT, most=2)
