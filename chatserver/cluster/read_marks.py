"""Read marks that only other nodes know yet. This node requests them when somebody who also has a terminal at such a
node asks here what is unread."""

from typing import Final

from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chatserver.background.read_marks import ReadMarks
from chatserver.cluster.frames import AskSeen, SeenOf
from chatserver.cluster.outgoing import Outgoing
from chatserver.cluster.presence import SharedPresence
from chatserver.values.seen import Seen, merged

WAIT_SECONDS: Final = 0.5
"""How long to wait for an answer. Without one, entries seen there count as unread for a few seconds."""
SULK_SECONDS: Final = 2.0
"""How long to send no request to a node that has not answered: it is dead, or the bus is."""
MOST_ROOMS: Final = 30
"""Maximum number of rooms in one part: each takes up to 250 bytes."""


class Request(Struct):
    """`left`: by boot, how many parts of its answer are still to come; None: nothing has come."""

    left: dict[str, int | None]
    found: list[dict[int, Seen]]
    answered: Deferred[None]
    timer: IDelayedCall | None = None


class UnstoredMarks:
    """Exchanges read marks that are not stored yet. `marks`: those of this node."""

    def __init__(self, clock: IReactorTime, outgoing: Outgoing, presence: SharedPresence, marks: ReadMarks) -> None:
        self._clock = clock
        self._outgoing = outgoing
        self._presence = presence
        self._marks = marks
        self._number = 0
        self._requests: dict[int, Request] = {}
        self._sulks: dict[str, float] = {}  # by boot, until when no request is sent there

    async def seen(self, account_id: int) -> dict[int, Seen]:
        """Returns, by room id, the entries that an account has seen at other nodes, as far as not stored yet."""
        now = self._clock.seconds()
        self._sulks = {boot: until for boot, until in self._sulks.items() if until > now}
        boots = self._presence.screens_at(account_id) - self._sulks.keys()
        if not boots or not self._outgoing.open:
            return {}
        self._number += 1
        number, request = self._number, Request(dict.fromkeys(boots), [], Deferred())
        self._requests[number] = request
        request.timer = self._clock.callLater(WAIT_SECONDS, self._give_up, number)
        self._outgoing.part(AskSeen(account_id, number, tuple(boots)))
        await request.answered
        return merged(request.found)

    def _give_up(self, number: int) -> None:
        request = self._requests.pop(number)
        until = self._clock.seconds() + SULK_SECONDS
        self._sulks |= dict.fromkeys(request.left, until)
        request.answered.callback(None)

    def stop(self) -> None:
        """Ends all waiting."""
        for number, request in list(self._requests.items()):
            if request.timer is not None:
                request.timer.cancel()
            self._give_up(number)

    def requested(self, boot: str, part: AskSeen) -> None:
        """Answers a request of another process."""
        seen = list(self._marks.unstored(part.account_id).items())
        parts = [seen[start : start + MOST_ROOMS] for start in range(0, len(seen) or 1, MOST_ROOMS)]
        for some in parts:
            rooms = {room_id: (one.mark, one.runs) for room_id, one in some}
            eras = {room_id: one.era for room_id, one in some if one.era}
            self._outgoing.part(SeenOf(boot, part.number, rooms, len(parts), eras))

    def answered(self, boot: str, part: SeenOf) -> None:
        """Takes an answer of another process."""
        request = self._requests.get(part.number)
        if request is None or boot not in request.left:
            return
        eras = part.eras
        request.found.append({id: Seen(mark, runs, eras.get(id, 0)) for id, (mark, runs) in part.rooms.items()})
        left = request.left[boot]
        request.left[boot] = (part.parts if left is None else left) - 1
        if not request.left[boot]:
            del request.left[boot]
        if not request.left:
            del self._requests[part.number]
            if request.timer is not None:
                request.timer.cancel()
            request.answered.callback(None)
