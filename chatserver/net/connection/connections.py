"""The set of all connections of this process."""

import random
import secrets
from typing import Final

from twisted.logger import Logger

from chatserver.net.connection.connection import Connection
from chatserver.net.connection.parts import Parts
from chatserver.net.door import Doorway
from chatserver.net.limits.account_share import Allowance
from chatserver.net.listening.tls import Shown
from chatserver.session.session import Session
from chatserver.store.moderation import NetworkBan
from chatserver.util.times import unix_now
from chatserver.util.waiting import pause
from chatserver.values.endings import FENCED

REWOUND = ("rewound", "The database was restored to an earlier state.")
"""Reason and text for all connections once entries that were delivered are gone."""
MOVING = ("moving", "Another server takes over; nothing is lost.")
"""Reason and text for connections that are to go to another server of the cluster."""
SLICE: Final = 500
"""Maximum number of connections to which new limits are applied in one turn of the reactor: it takes a millisecond or
two."""


class SessionIds:
    """Ids of sessions. They rise with time, as UUIDv7 (RFC 9562) does, so that rows of one time lie together."""

    def new(self) -> str:
        return f"{int(unix_now() * 1000):012x}{secrets.token_hex(10)}"


class Connections:
    """Makes connections, and acts on all of them at once."""

    log = Logger()

    def __init__(self, parts: Parts, ids: SessionIds) -> None:
        self._parts = parts
        self._ids = ids
        self.clock = parts.clock
        self.limits = parts.limits
        self.shutdown = parts.shutdown
        self.handshake = parts.handshake
        self.admission = parts.admission
        self.allowances = parts.allowances
        self.counts = parts.counts
        self.parting = parts.parting
        self.open: set[Connection] = set()
        self.identities: list[Shown] = []
        """The identities that the TLS endpoints show, which a reload renews."""
        self.withdrawn = False
        """All ports are closed: clients that come all the same are sent to another server."""

    def connect(self, door: Doorway, address: str, encrypted: bool | None = None) -> Connection:
        """Makes the connection of a new door, which `admission` has yet to count. `encrypted`: see `Connection`."""
        dialect = door.dialect or self._parts.dialects[-1]
        session = Session(self._ids.new(), address, dialect, door.framing)
        connection = Connection(session, self._parts, door, self.open, encrypted)
        self.open.add(connection)
        return connection

    async def follow(self) -> None:
        """The limits have changed: applies the new ones to accounts and connections that are there, some in each turn
        of the reactor."""
        all: list[Allowance | Connection] = [*self.allowances.follow(), *self.open]
        for start in range(0, len(all), SLICE):
            for one in all[start : start + SLICE]:
                one.follow()
            await pause(self.clock, 0)

    def set_bans(self, bans: list[NetworkBan]) -> None:
        """These addresses may not connect, and may not stay."""
        self.admission.bans = bans
        for connection in list(self.open):
            banned = self.admission.ban(connection.session.address)
            if banned is not None:
                connection.hang_up("banned", banned)

    def database_rewound(self, *, told: bool) -> None:
        """See `sync.rewind.Follower`."""
        self.start_over(*REWOUND)

    def lease_lost(self) -> None:
        """See `sync.rewind.Follower`."""
        self.start_over(*FENCED)

    def start_over(self, reason: str, text: str) -> None:
        """Ends all connections, and forgets the state of all rooms: clients connect anew, and read from the store."""
        for connection in list(self.open):
            connection.hang_up(reason, text, retry=random.randint(1, 5))
        self._parts.registry.forget()

    def answered(self) -> None:
        """The database answers again."""
        for connection in list(self.open):
            if connection.unserved:
                connection.answered()

    @property
    def busy(self) -> bool:
        """Whether something that has arrived is still to be done, or to be sent."""
        return self._parts.registry.sending or any(connection.busy for connection in self.open)

    @property
    def closing(self) -> bool:
        """Whether the server is stopping, so that nobody is read any more."""
        return self.parting.closing

    def withdraw(self) -> None:
        self.withdrawn = True
