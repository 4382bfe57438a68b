"""The entries of one room that a client has seen, and whether the server may have sent them."""

from typing import NamedTuple


class Broken(Exception):
    """The server broke a promise. The text is the first difference that was found."""


class Seen(NamedTuple):
    """An entry as a client received it. `text` and `id` are None where the event has none."""

    seq: int
    kind: str
    text: str | None
    id: str | None


class Log:
    """The entries of one room, over all connections of one client.

    Entries must arrive as seq, seq+1, ... While the log is *open* (the client has asked to join, or has just logged in
    without naming a position), the next entry may have a higher number, at most one above `promised`.
    """

    def __init__(self, room: str) -> None:
        self.room = room
        self.entries: list[Seen] = []
        self.position = 0
        """The seq of the last entry received; the next connection resumes after it."""
        self.promised = 0
        """The `seq` of the answer to a join or login: every entry above it must arrive."""
        self.open = True

    @property
    def heard(self) -> int:
        """Up to here the server owes the client nothing."""
        return max(self.position, self.promised)

    def reopen(self) -> None:
        """The client is not in the room: what happens until it has joined again is not for it."""
        self.open = True
        self.promised = self.position  # an account that leaves hears no more, not even entries that it missed

    def promise(self, seq: int) -> None:
        """A join or login was answered with this seq."""
        if self.open:
            self.promised = max(self.promised, seq)

    def add(self, entry: Seen) -> None:
        """Raises Broken if this entry cannot be the next one."""
        expected = self.position + 1
        latest = expected
        if self.open:
            latest = self.promised + 1 if self.promised > self.position else entry.seq
        if not expected <= entry.seq <= latest:
            what = "again" if entry.seq < expected else "too early"
            wanted = f"{expected} to {latest}" if latest > expected else f"{expected}"
            raise Broken(f"{self.room}: after {self.entries[-1:]} came {entry} {what}; expected was seq {wanted}")
        self.entries.append(entry)
        self.position = entry.seq
        self.open = False
