"""What the server does once it cannot trust what it has read: the database was set back, or its lease is lost.

A restored backup, or a standby that lacked the last commits, sets the database back to an earlier state. It is noticed
in one of four ways: a room's number is given out again (`room_rewound`, by the registry or the reconciler), the
heartbeat of this process is lower than the last one that was committed (`database_rewound`), or another node has
noticed it (`node_rewound`). Without the lease (`lease_lost`) another process may have served meanwhile.

All parts that keep what they have read follow a `Rewind`, and forget it then: clients come anew, and read from the
database as it is now.
"""

from typing import Protocol

from twisted.logger import Logger


class Follower(Protocol):
    """A part that keeps what it has read from the database."""

    def database_rewound(self, *, told: bool) -> None:
        """The database was set back. `told`: another node has noticed it, so that it need not be told."""

    def lease_lost(self) -> None:
        """Another process may have served as this node."""


class Rewind:
    log = Logger()

    def __init__(self) -> None:
        self._followers: list[Follower] = []

    def follow(self, part: Follower) -> None:
        """Has a part called from now on, after those that follow already."""
        self._followers.append(part)

    def room_rewound(self, room_id: int, head: int, last: int) -> None:
        """The database has lost entries that were delivered: the log of a room went up to `head`, and goes to `last`
        now."""
        self.log.error(
            "The database was set back: room {room} went up to entry {head}, and goes to {last} now. All connections "
            "are closed, so that clients read it anew.",
            room=room_id, head=head, last=last,
        )  # fmt: skip
        self.database_rewound()

    def database_rewound(self, *, told: bool = False) -> None:
        for part in self._followers:
            part.database_rewound(told=told)

    def node_rewound(self) -> None:
        """Another node has noticed that the database was set back."""
        self.database_rewound(told=True)

    def lease_lost(self) -> None:
        for part in self._followers:
            part.lease_lost()
