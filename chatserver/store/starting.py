"""Prepares the database when a server starts."""

from msgspec import Struct
from sqlalchemy import Connection

from chatserver.store import change_rows, entries, rooms, search, sessions
from chatserver.store.db import database_clock as database_clock
from chatserver.store.db.threads import Store
from chatserver.store.nodes import lease
from chatserver.util.clock import Clock
from chatserver.values.events import Person


class Prepared(Struct, frozen=True):
    """`closed`: number of sessions closed. `left_behind`: the guests that were found and not dismissed."""

    closed: int
    left_behind: list[Person]


def prepare(
    store: Store, me: lease.Process, rooms_to_have: list[str], clock: Clock, *, together: bool = False
) -> Prepared:
    """Prepares the database for serving. Blocks. Raises Unavailable.

    Closes the sessions that a crash of this node left open, dismisses their guests, creates the default rooms, and
    logs a warning for each setting that makes the database unsafe. `together`: nodes watch each other, and have the
    database's time.
    """

    def work(db: Connection) -> Prepared:
        if together:
            lease.one_at_a_time(db)
        search.tune(db)
        if together:
            clock.ask(lambda: database_clock.now(db))
        clock.start_at(entries.newest_at(db))
        at = clock()
        rooms.ensure(db, rooms_to_have, at)
        lease.release_dead(db, me, believe_clocks=not together)
        left_behind = rooms.dismiss_guests(db, at, me.node, together=together)
        change_rows.prune(db, at)
        if together:
            lease.remove_old(db)
        return Prepared(sessions.close_left_open(db, me.node, at), left_behind)

    store.open()
    return store.run(work)  # again after a conflict: another server may start at the same moment
