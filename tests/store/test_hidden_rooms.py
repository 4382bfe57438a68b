"""Rooms that somebody may not know of."""

import pytest
from sqlalchemy import text

from chatserver.store.visibility import find_room
from chatserver.values.errors import ErrorWord, Refused
from tests.store.conftest import Tables


def test_a_hidden_room_is_not_locked(tables: Tables) -> None:
    """A stranger neither waits for a private room that a member is changing, nor keeps it locked for members."""
    ana, eve = tables.person("ana"), tables.person("eve")
    tables.room("den", ana, kind="private")
    with tables.engine.begin() as hers:
        find_room(hers, ana, "den", lock=True)
        if not tables.postgres:  # it has one writer at a time, who holds every room
            return
        with tables.engine.begin() as theirs:
            theirs.execute(text("SET LOCAL lock_timeout = '500ms'"))
            with pytest.raises(Refused) as refusal:
                find_room(theirs, eve, "den", lock=True, joining=True)
    assert refusal.value.error is ErrorWord.NO_SUCH_ROOM
    with tables.engine.begin() as theirs:
        with pytest.raises(Refused):
            find_room(theirs, eve, "den", lock=True)
        with tables.engine.begin() as hers:
            hers.execute(text("SET LOCAL lock_timeout = '500ms'"))
            find_room(hers, ana, "den", lock=True)
