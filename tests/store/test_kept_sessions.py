"""Kept sessions: which of their secrets are good, for how long, and what a copy does, by the database's clock."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from chatserver.store import accounts, change_rows, kept_sessions, logins, tokens
from chatserver.store.accounts import Credentials
from chatserver.store.db import database_clock
from chatserver.store.db.schema import TokenRow
from chatserver.store.kept_sessions import KEPT, MOST, MOST_SPENT, SPENT_SECONDS, Use
from tests.store.conftest import AT, Tables

HOME, AWAY = "192.0.2.7", "2001:db8::7"


def passes(tables: Tables, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the secrets that were replaced are older by this."""
    present = kept_sessions.present
    replaced = kept_sessions._replaced
    late = timedelta(seconds=seconds)
    monkeypatch.setattr(kept_sessions, "present", lambda chain, shown, now: present(chain, shown, now + late))
    monkeypatch.setattr(kept_sessions, "_replaced", lambda chain, secret, now: replaced(chain, secret, now + late))


def use(tables: Tables, *secrets: str) -> list[str | None]:
    return list(tables(kept_sessions.use, [Use(secret, AWAY) for secret in secrets]))


def create(tables: Tables, account_id: int, device: str = "laptop") -> tuple[int, str]:
    made = tables(kept_sessions.create, account_id, device, HOME, AT)
    assert made is not None
    return made


def kept(tables: Tables, name: str = "ana") -> tuple[int, int, str]:
    """An account, and its first kept session."""
    ana = tables.person(name)
    return ana.id, *create(tables, ana.id)


def account(tables: Tables, account_id: int) -> Credentials:
    found = tables(accounts.get, account_id)
    assert found is not None
    return found


def left(tables: Tables) -> timedelta:
    """How long the session lasts."""
    until = tables(lambda db: db.scalar(select(TokenRow.expires_at)))
    assert until is not None
    span: timedelta = until - tables(database_clock.now)
    return span


def copied(tables: Tables, secret: str) -> bool | None:
    (found,) = tables(kept_sessions.find, [secret])
    return None if found is None else found.copied


def test_a_use(tables: Tables) -> None:
    """Each use gives another secret, and notes where and when; the session lasts for 30 days from then."""
    ana, id, first = kept(tables)
    (line,) = tables(kept_sessions.listing, ana, id)
    assert (line.id, line.name, line.address, line.current) == (id, "laptop", HOME, True)
    tables(lambda db: db.execute(update(TokenRow).values(expires_at=database_clock.now(db) + timedelta(seconds=9))))
    secrets = [first]
    for _ in range(3):
        (given,) = use(tables, secrets[-1])
        assert given is not None
        secrets.append(given)
    assert len(set(secrets)) == 4
    (line,) = tables(kept_sessions.listing, ana)
    assert (line.address, line.current, line.last_used >= line.created) == (AWAY, False, True)
    assert KEPT - timedelta(minutes=5) < left(tables) <= KEPT
    tables(kept_sessions.use, [Use(secrets[-1], HOME, "phone")])
    assert tables(kept_sessions.listing, ana)[0].name == "phone"


def test_an_answer_is_lost(tables: Tables) -> None:
    """For a minute a replaced secret gives the present one, however often that was replaced meanwhile: whoever comes
    with any of them, also at the same moment, ends up with the same."""
    _, _, first = kept(tables)
    assert use(tables, first) == use(tables, first) == use(tables, first)
    one, two, three = use(tables, first, first, first)
    assert one == two == three != first
    (second,) = use(tables, one or "")
    assert use(tables, first, one or "", first) == [second] * 3
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: use(tables, first)[0], range(4)))
    assert together == [second] * 4
    assert copied(tables, first) is False


def test_a_copy(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that was replaced a minute ago is a copy: it ends the session, and the present secret with it, once."""
    ana, id, first = kept(tables)
    (second,) = use(tables, first)
    assert second is not None
    passes(tables, SPENT_SECONDS + 1, monkeypatch)
    assert (copied(tables, first), copied(tables, second)) == (True, False)
    (third,) = use(tables, second)  # those that are older than a minute are forgotten by then
    assert third not in (None, first, second)
    assert use(tables, first) == [None]
    assert not tables(kept_sessions.end_copied, third, AT)
    before = tables(change_rows.newest)
    assert [tables(kept_sessions.end_copied, first, AT) for _ in range(2)] == [True, False]
    assert [(one.kind, one.subject, one.detail) for one in tables(change_rows.since, before)] == [
        ("token", id, "copied")
    ]
    assert [copied(tables, secret) for secret in (first, second, third)] == [None] * 3
    assert use(tables, third) == [None]
    assert tables(kept_sessions.listing, ana) == []


def test_what_is_no_secret(tables: Tables) -> None:
    """What was never given out ends nothing; nor does a secret of a state that the database has lost."""
    ana, _, first = kept(tables)
    wrong = [
        "", "cs_", "cs_%", "cs_" + "A" * 68, "cs_" + "é" * 68, first[:-4], first + "AAAA",
        "ct" + first[2:], first[:-1] + "_",
    ]  # fmt: skip
    wrong = [one for one in wrong if one != first]
    chain = tables(lambda db: db.scalar(select(TokenRow.secret)))
    (second,) = use(tables, first)
    (third,) = use(tables, second or "")
    assert second is not None
    assert third is not None
    tables(lambda db: db.execute(update(TokenRow).values(secret=chain)))
    assert tables(kept_sessions.find, [*wrong, second, third]) == [None] * (len(wrong) + 2)
    assert not any(tables(kept_sessions.end_copied, one, AT) for one in (*wrong, second, third))
    assert use(tables, *wrong, third or "") == [None] * (len(wrong) + 1)
    assert copied(tables, first) is False
    assert tables(tokens.find, [tokens.token_hash(one) for one in (first, first[3:25])]) == [None, None]
    assert (tables(tokens.listing, ana), tables(tokens.count, ana)) == ([], 0)
    assert tables(tokens.revoke, ana, "laptop", AT) is None


def test_many_uses(tables: Tables) -> None:
    """Whoever logs in again and again keeps a row of bounded size, and a secret that works."""
    _, _, secret = kept(tables)
    given = {secret}
    for _ in range(3 * MOST_SPENT):
        (after,) = use(tables, secret)
        assert after is not None
        secret = after
        given.add(secret)
    assert len(given) == MOST_SPENT + 1
    assert len(tables(lambda db: db.scalar(select(TokenRow.secret))) or "") < 2000


def test_ends(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """One session ends, or all but one; a login under way with it is refused; rows go a day later, and no others."""
    ana, id, secret = kept(tables)
    bob, bobs, _ = kept(tables, "bob")
    others = [create(tables, ana, f"device {n}")[0] for n in range(3)]
    token = tables(tokens.create, ana, "ci", "1" * 64, AT)
    assert token is None
    assert not tables(kept_sessions.end, ana, AT, bobs)
    before = tables(change_rows.newest)
    assert tables(kept_sessions.end, ana, AT, others[0])
    assert not tables(kept_sessions.end, ana, AT, others[0])
    assert tables(kept_sessions.end_all, ana, AT, others[1]) == [id, others[2]]
    assert [change.subject for change in tables(change_rows.since, before)] == [others[0], id, others[2]]
    person = account(tables, ana).person
    assert [one.account.gone for one in tables(logins.look_up, [(person, id), (person, others[1])])] == [True, False]
    assert tables(logins.look_up, [(person, others[1])])[0].scope is None
    assert use(tables, secret) == [None]
    assert [line.id for line in tables(kept_sessions.listing, ana)] == [others[1]]
    assert [line.id for line in tables(kept_sessions.listing, bob)] == [bobs]
    assert tables(kept_sessions.remove_old, 10) == 0
    monkeypatch.setattr(kept_sessions, "ENDED", timedelta(0))
    assert [tables(kept_sessions.remove_old, 2) for _ in range(3)] == [2, 1, 0]
    assert tables(lambda db: db.scalar(select(func.count()).select_from(TokenRow))) == 3


def test_an_expiry(tables: Tables) -> None:
    """From its end on a session is not valid; one that is in use does not come to an end."""
    ana, id, secret = kept(tables)
    tables(lambda db: db.execute(update(TokenRow).values(expires_at=database_clock.now(db) + timedelta(seconds=9))))
    tables(kept_sessions.touch, [id])
    assert left(tables) > timedelta(days=29)
    tables(lambda db: db.execute(update(TokenRow).values(expires_at=database_clock.now(db))))
    assert tables(kept_sessions.find, [secret]) == [None]
    assert use(tables, secret) == [None]
    assert tables(kept_sessions.listing, ana) == []


def test_too_many(tables: Tables) -> None:
    """At the maximum, the session that was used least recently makes way for a new one."""
    ana, id, secret = kept(tables)
    ids = [id, *(create(tables, ana)[0] for _ in range(MOST - 1))]
    use(tables, secret)
    new, _ = create(tables, ana)
    assert [line.id for line in tables(kept_sessions.listing, ana)] == [id, *ids[2:], new]


def test_a_new_password_meanwhile(tables: Tables) -> None:
    """Nobody keeps a session with a password that was changed since it was checked."""
    ana = tables.person("ana")
    tables(accounts.set_password, ana.id, "first")
    proof = account(tables, ana.id).proof
    assert tables(kept_sessions.create, ana.id, "laptop", HOME, AT, proof)
    tables(accounts.set_password, ana.id, "second")
    assert tables(kept_sessions.create, ana.id, "laptop", HOME, AT, proof) is None
    assert len(tables(kept_sessions.listing, ana.id)) == 1
