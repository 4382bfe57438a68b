"""What becomes of a node whose process is dead: its lease, its sessions and its guests."""

from sqlalchemy import Connection

from chatserver.store import rooms, sessions
from chatserver.store.db import clock
from chatserver.store.nodes import lease
from chatserver.store.nodes.nodes import NodeNow
from chatserver.values.events import Person


def bury(db: Connection, dead: NodeNow) -> list[Person] | None:
    """Takes the lease of a dead process away, closes its sessions, and returns the guests that only it had: the caller
    dismisses them. None if it sent another heartbeat, another node was faster, or its row is locked: ask again."""
    if not lease.take_away(db, dead.name, dead.boot, dead.beat):
        return None
    guests = rooms.guests_of_dead(db, dead.name)
    sessions.close_of_dead(db, clock.now(db))
    lease.remove_old(db)
    return guests


def tidy(db: Connection) -> list[Person]:
    """Closes the sessions, and returns the guests, of which the database learned only after the death of their node, or
    whose dismissal ended with another one. The caller dismisses them."""
    now = clock.now(db)
    sessions.close_of_dead(db, now)
    return rooms.stray_guests(db, now)
