"""The secret that the servers of a database share: the name of their channel on a bus.

Every role that may connect to a PostgreSQL database may listen to any channel there and send to it, also the roles of
other applications that may only read some views. So the channel's name is a secret that nobody can guess, and that is
listed nowhere. On a Valkey that several clusters share, it separates them.
"""

import secrets

from sqlalchemy import Connection, Engine, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from chatserver.store.db.engine import Unreachable, cannot_open, open_engine
from chatserver.store.db.schema import SecretRow

_KNOWN = select(SecretRow.value).where(SecretRow.name == "bus")


def bus_secret(engine: Engine) -> str:
    """32 hexadecimal digits, the same for all servers of this PostgreSQL database. Blocks, and raises Unreachable."""
    own = open_engine(engine.url, 1)  # nothing that is open may outlive this: twistd forks later
    try:
        with own.begin() as db:
            return _found(db)
    except DBAPIError as error:
        raise Unreachable(cannot_open(engine.url, error)) from None
    finally:
        own.dispose()


def _found(db: Connection) -> str:
    known = db.scalar(_KNOWN)
    if known is None:
        new = insert(SecretRow).values(name="bus", value=secrets.token_hex(16))
        db.execute(new.on_conflict_do_nothing())  # another server may start at the same moment
        known = db.scalar(_KNOWN)
    return str(known)
