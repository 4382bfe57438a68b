"""Entries shown on a person's terminal, by room: those that have reached it, and those on their way."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from chatserver.values.events import GAP, Entry
from chatserver.values.seen import NOTHING, Seen

MOST_SENT: Final = 64
"""Maximum number of pieces on their way before the kernel is asked which have arrived."""
MOST_PIECES: Final = 512
"""Maximum number of pieces that are remembered one by one, for a client that takes nothing."""


class Piece(Struct, frozen=True, gc=False):
    """Consecutive entries of a room that were written, and end at that offset. `ends`: see `Marks.show`."""

    offset: int
    room_id: int
    first: int
    last: int
    ends: Sequence[int] = ()

    def reached(self, taken: int) -> int:
        """The last entry that lies within the first `taken` bytes of the connection."""
        if self.offset <= taken:
            return self.last
        if not self.ends:
            return self.first - 1
        whole = bisect_right(self.ends, taken - self.offset + self.ends[-1])
        return self.last - len(self.ends) + whole if whole else self.first - 1


class Marks:
    """`seen`: by room id, the entries that have reached the client's host. `changed`: rooms where these have grown
    since they were last taken to be stored.

    An offset counts the bytes written to the connection. Entries that end at an offset have been seen once the peer has
    acknowledged that many bytes.
    """

    __slots__ = ("_sent", "changed", "seen")

    def __init__(self) -> None:
        self.seen: dict[int, Seen] = {}
        self.changed: set[int] = set()
        self._sent: list[Piece] = []

    @property
    def unsettled(self) -> bool:
        """Whether entries were written that may not have reached the client."""
        return bool(self._sent)

    @property
    def crowded(self) -> bool:
        return len(self._sent) >= MOST_SENT

    def know(self, room_id: int, seen: Seen) -> None:
        """Adds the marks of the database, or of another screen of this person."""
        self.seen[room_id] = self.seen.get(room_id, NOTHING).union(seen)

    def show(self, room_id: int, entries: Sequence[Entry], offset: int, ends: Sequence[int] = ()) -> None:
        """These entries, in ascending order, have been written, but for hidden ones; they end at that offset. `ends`:
        how many bytes it takes until the end of each, if that is known (see `Rendered`)."""
        first, last = entries[0].begin, entries[-1].seq
        if last - first + 1 == len(entries) or entries[0].kind == GAP:  # nearly always: nothing is left out
            self._add(Piece(offset, room_id, first, last, ends if len(ends) == len(entries) > 1 else ()))
            return
        end = first - 1
        for entry in entries:
            if entry.begin > end + 1:
                self._add(Piece(offset, room_id, first, end))
                first = entry.begin
            end = entry.seq
        self._add(Piece(offset, room_id, first, end))

    def _add(self, piece: Piece) -> None:
        sent = self._sent
        if len(sent) >= MOST_PIECES:
            at = next((at for at in range(len(sent) - 1, -1, -1) if sent[at].room_id == piece.room_id), None)
            if at is not None and sent[at].last + 1 >= piece.first:
                first = min(piece.first, sent.pop(at).first)  # they have arrived once the later one has
                piece = Piece(piece.offset, piece.room_id, first, piece.last)
        sent.append(piece)

    def settle(self, taken: int) -> None:
        """The peer has acknowledged the first `taken` bytes."""
        sent = self._sent
        arrived = 0
        for piece in sent:
            last = piece.reached(taken)
            if last >= piece.first:
                before = self.seen.get(piece.room_id, NOTHING)
                after = before.plus(piece.first, last)
                if after is not before:
                    self.seen[piece.room_id] = after
                    self.changed.add(piece.room_id)
            if last < piece.last:
                break
            arrived += 1
        if arrived:
            del sent[:arrived]

    def shown(self) -> dict[int, Seen]:
        """By room id, the entries that are seen once everything written so far has arrived."""
        if not self._sent:
            return self.seen
        all = dict(self.seen)
        for piece in self._sent:
            all[piece.room_id] = all.get(piece.room_id, NOTHING).plus(piece.first, piece.last)
        return all

    def take_changed(self) -> dict[int, Seen]:
        """Returns the marks to store, and clears `changed`."""
        taken = {room_id: self.seen[room_id] for room_id in self.changed}
        self.changed.clear()
        return taken
