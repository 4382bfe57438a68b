"""Messages that wait for a room which another transaction holds."""

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from chatserver.pipeline.locked_rooms import MOST_ROOMS, Aside
from chatserver.session.session import Session
from chatserver.store import messages
from chatserver.store.db.faults import Conflict, Locked
from tests.support.hall import Hall


class Said:
    def __init__(self, session: Session, room: int, text: str) -> None:
        self.session = session
        self.room = room
        self.text = text


class Desk:
    """Served one batch at a time, when the test says so."""

    def __init__(self) -> None:
        self.served: list[list[str]] = []
        self.resumed: list[str] = []
        self._gates: list[Deferred[None]] = []
        self.aside: Aside[Said] = Aside(self, self)
        self._sessions = {name: Session(name, "local") for name in ("ana", "bob", "cleo", "dan")}

    def resume(self, session: Session) -> None:
        self.resumed.append(session.id)

    async def serve_aside(self, spoken: list[Said]) -> None:
        self.served.append([said.text for said in spoken])
        self._gates.append(Deferred())
        await self._gates[-1]

    def says(self, name: str, *rooms: int) -> list[Said]:
        return [Said(self._sessions[name], room, f"{name} to {room}") for room in rooms]

    def answered(self, error: Exception | None = None) -> None:
        gate = self._gates.pop(0)
        if error is None:
            gate.callback(None)
        else:
            gate.errback(error)

    def keep(self, said: list[Said]) -> list[str]:
        return [one.text for one in self.aside.keep(said, lambda one: one.room)]


def test_in_order() -> None:
    """Messages for a room that is waited for go behind those that wait, with everything that their sender sent at once;
    others go on. A sender goes on once all its messages are served."""
    desk = Desk()
    assert desk.keep(desk.says("ana", 1)) == ["ana to 1"]
    desk.aside.add(1, desk.says("ana", 1, 2))
    assert desk.served == [["ana to 1", "ana to 2"]]
    assert desk.keep([*desk.says("bob", 3, 1), *desk.says("cleo", 2), *desk.says("dan", 1)]) == ["cleo to 2"]
    assert {session.id for session in desk.aside.sessions} == {"ana", "bob", "dan"}
    desk.answered()
    assert desk.resumed == ["ana"]
    assert desk.served[1:] == [["bob to 3", "bob to 1", "dan to 1"]]
    desk.answered()
    assert desk.resumed == ["ana", "bob", "dan"]
    assert not desk.aside.sessions
    assert desk.keep(desk.says("ana", 1)) == ["ana to 1"]


def test_a_fault() -> None:
    """Whatever goes wrong, the senders go on, and so do those behind them."""
    desk = Desk()
    desk.aside.add(1, desk.says("ana", 1))
    desk.aside.add(1, desk.says("bob", 1))
    desk.answered(RuntimeError("forced"))
    desk.answered()
    assert desk.resumed == ["ana", "bob"]


def test_places() -> None:
    """Only so many rooms are waited for at the same time, because each occupies a thread."""
    desk = Desk()
    for room in range(MOST_ROOMS):
        assert desk.aside.has_place(room)
        desk.aside.add(room, desk.says("ana", room))
    assert desk.aside.has_place(0)
    assert not desk.aside.has_place(MOST_ROOMS)
    desk.answered()
    assert desk.aside.has_place(MOST_ROOMS)


def test_a_conflict_and_a_lock(tmp_path: Path) -> None:
    """Messages that conflict are stored one by one. If one of them has to wait for its room, so do those behind it,
    which may conflict there, too: the sender gets all answers in order."""
    hall = Hall(tmp_path)
    ana = hall.program("ana").post("create", room="books").post("create", room="other")
    write, read, free = hall.inline.write, hall.inline.read, Deferred[None]()

    async def append(work: Any, drafts: Any, at: Any) -> Any:
        if len(drafts) > 1:
            raise Conflict
        if drafts[0].text == "held":
            raise Locked
        return await write(work, drafts, at)

    async def waits(work: Any, drafts: Any, at: Any) -> Any:
        await free
        if len(drafts) > 1:
            raise Conflict
        return await write(work, drafts, at)

    async def reads(work: Any, *args: Any) -> Any:
        return args[0] if work is messages.locked else await read(work, *args)

    hall.inline.append, hall.inline.write, hall.inline.read = append, waits, reads  # type: ignore[method-assign]
    words = {"first": "other", "held": "general", "second": "books", "third": "books", "fourth": "other"}
    lines = [f'{{"cmd":"say","room":"{room}","text":"{text}","tag":"{text}"}}\n' for text, room in words.items()]
    ana.send("".join(lines).encode()).post("ping", tag="ping")
    assert [answer.get("tag") for answer in ana.answers[3:]] == ["first"]
    free.callback(None)
    hall.settle()
    assert [answer.get("tag") for answer in ana.answers[3:]] == [*words, "ping"]
    hall.close()


def test_served_before_the_take_is_over(tmp_path: Path) -> None:
    """A session that is served here goes on, even if others of its take are not served yet; once these are, nothing
    that was sent meanwhile is overtaken."""
    hall = Hall(tmp_path)
    ana, bob, cai = hall.program("ana"), hall.program("bob").post("create", room="other"), hall.program("cai")
    general = next(room.facts.id for room in hall.registry.rooms if room.facts.name == "general")
    write, read = hall.inline.write, hall.inline.read
    first, slow, found = Deferred[None](), Deferred[None](), Deferred[None]()

    async def append(work: Any, drafts: Any, at: Any) -> Any:
        if any(draft.text == "held" for draft in drafts):
            raise Locked
        await (first if drafts[0].text == "first" else slow)
        return await write(work, drafts, at)

    async def reads(work: Any, *args: Any) -> Any:
        if work is messages.locked:
            return {general}
        if work is not messages.append:
            await found
        return await read(work, *args)

    hall.inline.append, hall.inline.read = append, reads  # type: ignore[method-assign]
    cai.say("first")
    ana.say("held", tag=1)
    bob.say("slow", "other", tag=1)
    first.callback(None)  # until then the other two had to wait: now they are served together
    hall.settle()
    assert (ana.answers[-1].get("tag"), bob.answers[-1].get("tag")) == (1, None)
    ana.post("rooms", tag=2)
    slow.callback(None)
    hall.settle()
    assert bob.answers[-1].get("tag") == 1
    ana.post("ping", tag=3)
    found.callback(None)
    hall.settle()
    assert [answer.get("tag") for answer in ana.answers[1:]] == [1, 2, 3]
    assert not hall.processors.takes.aside.taken
    hall.close()
