"""Makes all parts forget what they have read once the database was set back, or the lease was lost.

A restored backup, or a standby that lacked the last commits, sets the database back to an earlier state. That shows in
one of three ways: a room's log ends before an entry that was delivered (`room_rewound`), the heartbeat is lower than
the last one committed (`database_rewound`), or another node has noticed it (`node_rewound`). Once the lease is lost
(`lease_lost`), another process may have served meanwhile.

Each part that keeps what it has read follows a `Rewind`. All connections end then (`epochs.py`): clients reconnect, and
read from the database as it is now.
"""

from typing import Protocol

from twisted.logger import Logger

from chatserver.store.db.epochs import Epoch


class Follower(Protocol):
    """A part that keeps what it has read from the database."""

    def database_rewound(self, *, told: bool) -> None:
        """The database was set back. `told`: another node has sent that news, so that the others know it."""

    def lease_lost(self) -> None:
        """Another process may have served as this node."""


class Watching(Protocol):
    """The part that knows the present epoch."""

    def epoch_found(self, epoch: Epoch) -> None:
        """The database has this epoch now, which may be the one that is known."""


class Rewind:
    log = Logger()

    def __init__(self) -> None:
        self._followers: list[Follower] = []
        self._watching: Watching | None = None
        self.epoch = ""
        """The name of the epoch that was found last; "": none was."""
        self.lost: dict[int, int] = {}
        """By room id, the last number that is left, for rooms that lack entries that were delivered."""

    def follow(self, part: Follower) -> None:
        """Has a part called from now on, after those that follow already."""
        self._followers.append(part)

    def watch(self, part: Watching) -> None:
        """Has a part told the epoch that is found from now on."""
        self._watching = part

    def epoch_found(self, epoch: Epoch | None) -> None:
        """See `Watching`. None: the database does not say."""
        if epoch is not None:
            self.epoch = epoch.name
            if self._watching is not None:
                self._watching.epoch_found(epoch)

    def room_rewound(self, room_id: int, head: int, last: int) -> None:
        """The database has lost entries that were delivered: the log of a room went up to `head`, and goes to `last`
        now."""
        self.log.error(
            "The database was set back: room {room} went up to entry {head}, and goes to {last} now. All connections "
            "are closed, so that clients read it anew.",
            room=room_id, head=head, last=last,
        )  # fmt: skip
        self.lost[room_id] = min(last, self.lost.get(room_id, last))
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
