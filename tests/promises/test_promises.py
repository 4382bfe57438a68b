"""The six promises of the protocol hold under connection losses, kills, retries and slow readers, in any order."""

import itertools
from collections.abc import Iterator
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.conftest import StartServer
from tests.promises.people import Person
from tests.support.client import Message
from tests.support.process import ChatServer

CONFIG = "[passwords]\nmemory_kib = 8\ntime_cost = 1\n[server]\ndefault_rooms = []\n[limits]\nstrikes = 0\n"

people = st.integers(0, 2)
rooms = st.integers(0, 2)
texts = st.text("ab é\"\\%'\u05d0", min_size=1, max_size=20).map(lambda text: f"<{text}>")


class Promises(RuleBasedStateMachine):
    """Three people in two rooms, two of whom also share a direct room, on a server that all examples share."""

    server: ChatServer
    number: Iterator[int]

    def __init__(self) -> None:
        super().__init__()
        self.people: list[Person] = []
        self.may_be_killed = False

    @initialize(killed=st.sampled_from([False, False, False, True]))
    def begin(self, killed: bool) -> None:
        number = next(self.number)
        self.may_be_killed = killed
        self.people = [Person(self.server, f"p{number}-{who}") for who in range(3)]
        self.rooms = [f"r{number}-{room}" for room in range(2)]
        for person in self.people:
            person.logs = {room: [] for room in self.rooms}
            person.register()
        for room in self.rooms:
            self.people[0].do("create", room=room)
            for person in self.people[1:]:
                person.do("join", room=room, since=0)
        for who in (0, 1):  # the first message creates the direct room, perhaps while one of them is disconnected
            self.people[who].logs[self.room(who, 2)] = []

    def room(self, who: int, room: int) -> str:
        """One of three rooms, under the name that this person uses; the third is the direct room, if they are in it."""
        if room == 2 and who < 2:
            return "@" + self.people[1 - who].name
        return self.rooms[room % 2]

    @rule(who=people, room=rooms, text=texts)
    def says(self, who: int, room: int, text: str) -> None:
        self.people[who].say(self.room(who, room), text)

    @rule(who=people, room=rooms, count=st.integers(2, 60), size=st.sampled_from([1, 4000]))
    def says_much(self, who: int, room: int, count: int, size: int) -> None:
        for number in range(count):
            self.people[who].say(self.room(who, room), f"{number} {'x' * size}")
        self.people[who].read()

    @rule(who=people, back=st.integers(1, 10))
    def repeats(self, who: int, back: int) -> None:
        for id in list(self.people[who].sent)[-back:]:
            self.people[who].repeat(id)

    @rule(who=people, room=rooms, text=texts)
    def misuses_an_id(self, who: int, room: int, text: str) -> None:
        person = self.people[who]
        for id in list(person.acknowledged)[-1:]:
            person.misuse(id, self.room(who, room), f"other {text}")

    @rule(who=people, room=rooms, text=texts)
    def is_cut_while_sending(self, who: int, room: int, text: str) -> None:
        self.people[who].say_half(self.room(who, room), text)
        self.people[who].cut()

    @rule(who=people, size=st.integers(0, 5000))
    def is_cut_while_reading(self, who: int, size: int) -> None:
        self.people[who].cut_after(size)

    @rule(who=people)
    def is_cut(self, who: int) -> None:
        self.people[who].cut()

    @rule(who=people)
    def reads(self, who: int) -> None:
        self.people[who].read()

    @rule(who=people)
    def reconnects_with_a_small_receive_buffer(self, who: int) -> None:
        self.people[who].cut()
        self.people[who].connected(slow=True)

    @rule(who=people, room=st.integers(0, 1))
    def leaves_and_joins(self, who: int, room: int) -> None:
        self.people[who].leave_and_join(self.rooms[room])

    @precondition(lambda self: self.may_be_killed)
    @rule()
    def server_is_killed(self) -> None:
        self.may_be_killed = False
        self.server.kill()
        for person in self.people:
            person.cut()
        self.server.start()

    def teardown(self) -> None:
        try:
            for person in self.people:
                for id in person.sent:
                    person.repeat(id)
                person.read()
            for person in self.people:
                self.check(person)
        finally:
            for person in self.people:
                person.cut()

    def check(self, person: Person) -> None:
        """The entries received are the whole log, and each message is in it exactly once."""
        heads = {room["room"]: room["seq"] for room in person.do("unread")["rooms"]}
        person.read_up_to(heads)
        assert set(person.acknowledged) == set(person.sent)
        for room, head in heads.items():
            log = person.logs[room]
            assert len(log) == head
            assert log == history(person, room)
            mine = {entry["id"]: (entry["text"], entry["seq"], entry["at"]) for entry in log if "id" in entry}
            assert len(mine) == sum("id" in entry for entry in log)
            assert mine == {
                id: (text, *person.acknowledged[id]) for id, (there, text) in person.sent.items() if there == room
            }


def history(person: Person, room: str) -> list[Message]:
    entries: list[Message] = []
    more = True
    while more:
        page = person.do("history", room=room, after=len(entries), limit=500)
        entries += page["entries"]
        more = page["more"]
    return entries


def test_promises(server_url: str, server: StartServer) -> None:
    """Every client receives every room as 1, 2, 3, ...; each acknowledged message is stored once; each command has one
    answer, in order."""

    class Here(Promises):
        number = itertools.count()

    Here.server = server(server_url, config=CONFIG)
    few = settings(
        max_examples=settings.default.max_examples // 5 if settings.default else 20,
        stateful_step_count=30,
        phases=[Phase.generate],  # failures depend on network timing: they can be neither replayed nor shrunk
    )
    machine: Any = Here
    run_state_machine_as_test(machine, settings=few)
