"""Preferences in the database."""

from typing import Any

from sqlalchemy import event, func, select

from chatserver.handlers.accounts import prefer
from chatserver.handlers.outcome import Ask
from chatserver.store import erasure, export, logins, preferences
from chatserver.store.db.schema import PreferenceRow
from chatserver.values import commands as c
from chatserver.values.answers import Preferences
from tests.store.conftest import AT, Tables


def test_what_an_account_has_set(tables: Tables) -> None:
    """Each account has its own preferences, of which a login is told; a retry changes nothing; nobody else's are
    there."""
    ana, bob = tables.person("ana"), tables.person("bob")
    for _ in range(2):
        set_now = tables(prefer, Ask(ana, AT), c.Prefer(timezone="europe/berlin", bell="on"))
        assert set_now.answer == Preferences("Europe/Berlin", None, "on", now=AT)
    assert tables(prefer, Ask(ana, AT), c.Prefer(bell="default", clock="12")).answer == Preferences(
        "Europe/Berlin", "12", now=AT
    )
    assert tables(preferences.find, [ana.id, bob.id]) == {ana.id: Preferences("Europe/Berlin", "12")}
    mine, theirs = tables(logins.look_up, [(ana, 0), (bob, 0)])
    assert (mine.preferences, theirs.preferences) == (Preferences("Europe/Berlin", "12"), None)


def test_whose_they_are(tables: Tables) -> None:
    """Preferences are in the account's own export, and gone with the account."""
    ana = tables.person("ana")
    tables(prefer, Ask(ana, AT), c.Prefer(timezone="Asia/Tokyo"))
    assert tables(export.account, ana)["timezone"] == "Asia/Tokyo"
    tables(erasure.erase, ana, AT, messages=False)
    assert tables(lambda one: one.scalar(select(func.count()).select_from(PreferenceRow))) == 0


def test_who_has_set_nothing_costs_nothing(tables: Tables) -> None:
    """Preferences are looked up at login for accounts that have any, and for these in one statement."""
    people = [tables.person("ana"), tables.person("bob"), tables.person("cai")]

    def statements() -> int:
        asked: list[str] = []

        def note(_db: Any, _cursor: Any, statement: str, *_: Any) -> None:
            asked.append(statement)

        event.listen(tables.engine, "before_cursor_execute", note)
        tables(logins.look_up, [(person, 0) for person in people])
        event.remove(tables.engine, "before_cursor_execute", note)
        return len(asked)

    before = statements()
    for person in people[:2]:
        tables(prefer, Ask(person, AT), c.Prefer(clock="12"))
    assert statements() == before + 1
