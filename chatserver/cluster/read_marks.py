"""What people have on their screens at other nodes, and the database does not know yet: it is asked for when somebody
who has a terminal there wants to know here what is unread."""

from typing import Final

from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chatserver.background.read_marks import MarkLog
from chatserver.cluster.frames import AskSeen, SeenOf
from chatserver.cluster.outgoing import Outgoing
from chatserver.cluster.presence import People
from chatserver.values.seen import Seen, merged

WAIT_SECONDS: Final = 0.5
"""A node that has not answered by then is not waited for: what was seen there counts as unread for a few seconds."""
SULK_SECONDS: Final = 2.0
"""So long such a node is not asked again: it is dead, or the bus is."""
MOST_ROOMS: Final = 30
"""In one part: each takes up to 220 bytes."""


class Question(Struct):
    """`left`: by boot, how many parts of its answer are still to come; None: nothing has come."""

    left: dict[str, int | None]
    found: list[dict[int, Seen]]
    answered: Deferred[None]
    timer: IDelayedCall | None = None


class Screens:
    def __init__(self, clock: IReactorTime, outgoing: Outgoing, people: People, marks: MarkLog) -> None:
        self._clock = clock
        self._outgoing = outgoing
        self._people = people
        self._marks = marks
        self._number = 0
        self._questions: dict[int, Question] = {}
        self._sulks: dict[str, float] = {}  # by boot, until when it is not asked

    async def seen(self, account_id: int) -> dict[int, Seen]:
        """By room id, what an account has seen at other nodes that the database may not know yet."""
        now = self._clock.seconds()
        self._sulks = {boot: until for boot, until in self._sulks.items() if until > now}
        boots = self._people.screens_at(account_id) - self._sulks.keys()
        if not boots or not self._outgoing.open:
            return {}
        self._number += 1
        number, question = self._number, Question(dict.fromkeys(boots), [], Deferred())
        self._questions[number] = question
        question.timer = self._clock.callLater(WAIT_SECONDS, self._give_up, number)
        self._outgoing.part(AskSeen(account_id, number, tuple(boots)))
        await question.answered
        return merged(question.found)

    def _give_up(self, number: int) -> None:
        question = self._questions.pop(number)
        until = self._clock.seconds() + SULK_SECONDS
        self._sulks |= dict.fromkeys(question.left, until)
        question.answered.callback(None)

    def stop(self) -> None:
        """Nobody waits any longer."""
        for number, question in list(self._questions.items()):
            if question.timer is not None:
                question.timer.cancel()
            self._give_up(number)

    def asked(self, boot: str, part: AskSeen) -> None:
        """Another process asks this one."""
        seen = list(self._marks.unstored(part.account_id).items())
        parts = [seen[start : start + MOST_ROOMS] for start in range(0, len(seen) or 1, MOST_ROOMS)]
        for some in parts:
            rooms = {room_id: (one.mark, one.runs) for room_id, one in some}
            self._outgoing.part(SeenOf(boot, part.number, rooms, len(parts)))

    def answered(self, boot: str, part: SeenOf) -> None:
        """Another process answers this one."""
        question = self._questions.get(part.number)
        if question is None or boot not in question.left:
            return
        question.found.append({room_id: Seen(mark, runs) for room_id, (mark, runs) in part.rooms.items()})
        left = question.left[boot]
        question.left[boot] = (part.parts if left is None else left) - 1
        if not question.left[boot]:
            del question.left[boot]
        if not question.left:
            del self._questions[part.number]
            if question.timer is not None:
                question.timer.cancel()
            question.answered.callback(None)
