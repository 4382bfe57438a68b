"""What a person has on their screen. Programs have no view: they keep track themselves of what they have seen."""

from collections.abc import Sequence

from chatserver.commands import CURRENT
from chatserver.events import Entry
from chatserver.wire.dialect import NONE


class View:
    """`current` is the room that a person looks at, as they call it: what they type goes there.

    `read`: by room id, the seq up to which they have seen everything. `echoes`: (room id, seq) of entries that they
    typed here, or that an answer told them of, so that these are not shown again.
    """

    __slots__ = ("current", "echoes", "read")

    def __init__(self) -> None:
        self.current = CURRENT
        self.read: dict[int, int] = {}
        self.echoes: frozenset[tuple[int, int]] = NONE

    def suppress(self, room_id: int, entries: Sequence[Entry]) -> None:
        """The person knows already what these entries say."""
        self.echoes |= {(room_id, entry.seq) for entry in entries}

    def hidden(self, room_id: int, entries: Sequence[Entry]) -> frozenset[int]:
        """The numbers of those entries that are not shown."""
        if not self.echoes:
            return NONE
        return frozenset(entry.seq for entry in entries if (room_id, entry.seq) in self.echoes)

    def shown(self, room_id: int, entries: Sequence[Entry]) -> Entry | None:
        """These entries, consecutive ones, have been sent, but for hidden ones. Gives the last one that is visible."""
        if self.read.get(room_id) == entries[0].seq - 1:  # without a gap behind what was seen before
            self.read[room_id] = entries[-1].seq
        if not self.echoes:
            return entries[-1]
        visible = [entry for entry in entries if (room_id, entry.seq) not in self.echoes]
        self.echoes -= {(room_id, entry.seq) for entry in entries}
        return visible[-1] if visible else None
