"""Messages that wait for a room which another transaction holds."""

from twisted.internet.defer import Deferred

from chatserver.aside import MOST_ROOMS, Aside
from chatserver.session import Session


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
        self.aside: Aside[Said] = Aside(self._serve, lambda session: self.resumed.append(session.id))
        self._sessions = {name: Session(name, "local") for name in ("ana", "bob", "cleo", "dan")}

    async def _serve(self, batch: list[Said]) -> None:
        self.served.append([said.text for said in batch])
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
    """What comes for a room that is waited for comes behind what waits, with all that its sender sent at once; others
    go on. A sender goes on once all of it was served."""
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
