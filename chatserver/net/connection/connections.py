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
from chatserver.sync.epochs import Branch
from chatserver.util.times import unix_now
from chatserver.util.waiting import pause
from chatserver.values.errors import FENCED, Note, Sentence
from chatserver.values.events import Rewound
from chatserver.values.stages import Stage

REWOUND = ("rewound", Sentence(Note.REWOUND))
"""Reason and text for all connections when entries that were delivered are gone."""
MOVING = ("moving", Sentence(Note.TAKEN_OVER))
"""Reason and text for connections that move to another server of the cluster."""
MOVING_SECONDS: Final = 1
"""How long a client that came to a port that is being closed should wait until it connects to another server."""
SLICE: Final = 500
"""Maximum number of connections that get new limits in one turn of the reactor, which takes a millisecond or two."""


class SessionIds:
    """Ids of sessions. They rise with time, as UUIDv7 (RFC 9562) does, so that rows of one time lie together."""

    def new(self) -> str:
        return f"{int(unix_now() * 1000):012x}{secrets.token_hex(10)}"


class Connections:
    """Makes connections, and acts on all of them."""

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
        """Identities of the TLS endpoints, which a reload renews."""
        self.withdrawn = False
        """All ports are closed. Clients that come all the same are sent to another server."""

    def connect(self, door: Doorway, address: str, encrypted: bool | None = None) -> Connection:
        """Makes the connection of a new door. The caller has `admission` count it. `encrypted`: see `Connection`."""
        dialect = door.dialect or self._parts.dialects[-1]
        session = Session(self._ids.new(), address, dialect, door.framing)
        connection = Connection(session, self._parts, door, self.open, encrypted)
        self.open.add(connection)
        return connection

    async def follow(self) -> None:
        """Applies changed limits to accounts and connections, some of them in each turn of the reactor."""
        all: list[Allowance | Connection] = [*self.allowances.follow(), *self.open]
        for start in range(0, len(all), SLICE):
            for one in all[start : start + SLICE]:
                one.follow()
            await pause(self.clock, 0)

    def page_refused(self, address: str, why: str) -> None:
        """See `ConnectionLog`."""
        self._parts.log.page_refused(address, why)

    def set_bans(self, bans: list[NetworkBan]) -> None:
        """Ends the connections from these networks. `admission` refuses new ones."""
        self.admission.bans = bans
        for connection in list(self.open):
            banned = self.admission.ban(connection.session.address)
            if banned is not None:
                connection.hang_up("banned", banned)

    def rewound(self, branch: Branch | None) -> None:
        """See `sync.epochs.Ending`."""
        self.start_over(*REWOUND, branch)

    def lease_lost(self) -> None:
        """See `sync.epochs.Ending`."""
        self.start_over(*FENCED)

    def start_over(self, reason: str, sentence: Sentence, branch: Branch | None = None) -> None:
        """Ends all connections, and forgets the state of all rooms: clients reconnect, and read from the store."""
        subscriptions = self._parts.registry.subscriptions
        for connection in list(self.open):
            rewound = None
            if branch is not None and connection.session.stage is Stage.IN:
                rewound = Rewound(branch.token, subscriptions.behind(connection.session, branch.common))
            connection.hang_up(reason, sentence, random.randint(1, 5), rewound)
        self._parts.registry.order.forget()

    def answered(self) -> None:
        """See `store.db.threads.Recovering`."""
        for connection in list(self.open):
            if connection.unserved:
                connection.answered()

    @property
    def busy(self) -> bool:
        """Whether commands that have arrived are still to be served, or entries still to be sent."""
        return self._parts.registry.order.sending or any(connection.busy for connection in self.open)

    @property
    def closing(self) -> bool:
        """Whether the server is stopping, and reads no more."""
        return self.parting.closing

    def withdraw(self) -> None:
        self.withdrawn = True
