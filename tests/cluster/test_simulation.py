"""Random conversations at three nodes, on a fake clock, over a bus that drops, doubles, delays and reorders: everybody
hears everything in one order, and the database has it once."""

import itertools
import os
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from msgspec import structs

from chaos.log import Broken
from chatserver.store.db.transactions import transact
from chatserver.store.nodes.lease import BEAT_SECONDS, LAPSE_SECONDS
from tests.cluster.devices import Program, Terminal
from tests.cluster.stored import Stored
from tests.support.client import Message
from tests.support.cluster import Air, NodeHall, nodes, shared_file
from tests.support.hall import QUIET

NODES = ("one", "two", "three")
ROOMS = ("general", "den-0", "den-1", "den-2", "@ana", "@bob", "@cai")
LOST_SECONDS = 1.2
"""How long it takes at most until everybody has what is stored, if every frame is lost."""
BURIED_SECONDS = 7.0
"""How long after a node is killed everybody has what it stored and did not send: its lease has lapsed by then."""
HELD_SECONDS = LAPSE_SECONDS - BEAT_SECONDS - 0.5
"""How long transactions of a node may wait before its lease lapses: the last heartbeat may be a second old."""
LIMITS = structs.replace(QUIET, strikes=0)
"""Refusals have no consequences."""
EXAMPLES = 15
THOROUGH = 400
STEPS = 40

programs, halls, rooms = st.integers(0, 5), st.integers(0, 2), st.integers(0, len(ROOMS) - 1)
losses = st.sampled_from([0.0, 0.5, 1.0])


class Cluster(RuleBasedStateMachine):
    """Three people with two programs each, and one at a terminal."""

    folder: Path
    number: Iterator[int]

    @initialize(seed=st.integers(0, 2**32), by_room=st.booleans(), loss=losses)
    def begin(self, seed: int, by_room: bool, loss: float) -> None:
        folder = self.folder / str(next(self.number))
        folder.mkdir()
        self.chance = random.Random(seed)
        self.loss, self.doubling, self.slowest = loss, 0.0, 0.0
        self.air: Air
        self._folder, self._engine = folder, shared_file(folder, town())
        self.air, self.halls = nodes(folder, *NODES, engine=self._engine, by_room=by_room, limits=LIMITS)
        self.air.fate = self.fate
        self.sent: dict[tuple[str, str], tuple[str, str]] = {}
        """By account and id: the room as its author calls it, and the text."""
        self.stored: dict[tuple[str, str], int] = {}
        """By account and id: the number in the first answer that said so."""
        self.complete_at = 0.0
        self.held_at = [0.0] * len(NODES)
        self.programs = [Program(account) for account in ("ana", "bob", "cai") for _ in range(2)]
        self.terminal = Terminal("dot")
        for number, one in enumerate(self.programs):
            one.connect(self.halls[number % 3])
        self.terminal.connect(self.halls[2])
        self._did()

    def fate(self, sender: str, receiver: str, data: bytes) -> list[float]:
        """When a frame comes."""
        if self.chance.random() < self.loss:
            return []
        times = 2 if self.chance.random() < self.doubling else 1
        return [self.chance.random() * self.slowest if self.slowest else 0.0 for _ in range(times)]

    # What happens

    @property
    def clock(self) -> Any:
        return self.air.clock

    @property
    def alive(self) -> list[NodeHall]:
        return [hall for hall in self.halls if hall.alive]

    def _did(self, seconds: float = LOST_SECONDS) -> None:
        """Something was stored: everybody has it after so many seconds."""
        self.complete_at = max(self.complete_at, self.clock.seconds() + seconds)

    def _say(self, who: Program, id: str) -> None:
        room, text = self.sent[who.account, id]

        def said(answer: Message) -> None:
            if answer["ok"]:
                first = self.stored.setdefault((who.account, id), answer["seq"])
                if answer["seq"] != first:
                    raise Broken(f"{id} of {who} was acknowledged as {first} and later as {answer['seq']}")
            elif answer["error"] not in ("unavailable", "not-a-member", "no-such-room", "banned"):
                raise Broken(f"{id} of {who} for {room} was refused: {answer}")

        who.post(said, cmd="say", room=room, text=text, id=id)
        self._did()

    @rule(who=programs, room=rooms, count=st.sampled_from([1, 1, 1, 3, 30]), size=st.sampled_from([0, 0, 600, 3900]))
    def says(self, who: int, room: int, count: int, size: int) -> None:
        one = self.programs[who]
        if ROOMS[room] == f"@{one.account}":
            return
        for _ in range(count):
            id = f"{one.account}-{len(self.sent)}"
            self.sent[one.account, id] = ROOMS[room], f"{id} {'é' * size}".strip()
            self._say(one, id)

    @rule(who=programs, back=st.integers(1, 4))
    def repeats(self, who: int, back: int) -> None:
        one = self.programs[who]
        for account, id in [key for key in self.sent if key[0] == one.account][-back:]:
            assert account == one.account
            self._say(one, id)

    @rule(who=programs, what=st.sampled_from(["lost_answers", "refusals"]), room=rooms)
    def says_in_an_outage(self, who: int, what: str, room: int) -> None:
        """The next write there is committed, or not, and nobody learns which."""
        hall = self.programs[who].hall
        if hall is not None and not hall.inline.held:
            setattr(hall.inline, what, 1)
            self.says(who, room, 1, 0)
            setattr(hall.inline, what, 0)
            self._did()

    @rule(who=programs, room=rooms, word=st.sampled_from(["join", "join", "leave", "create", "topic"]))
    def does(self, who: int, room: int, word: str) -> None:
        one, where = self.programs[who], ROOMS[room % 4]
        if word == "join":
            one.join(where)
        elif word == "leave":
            one.leave(where)
        else:
            more = {"text": "news"} if word == "topic" else {}
            one.post(lambda answer: None, cmd=word, room=where, **more)
        self._did()

    @rule(who=programs, whom=programs, room=rooms, word=st.sampled_from(["kick", "kick", "ban", "unban", "role"]))
    def moderates(self, who: int, whom: int, room: int, word: str) -> None:
        more = {"role": "owner"} if word == "role" else {}
        name = self.programs[whom].account
        self.programs[who].post(lambda answer: None, cmd=word, room=ROOMS[room % 4], name=name, **more)
        self._did()

    @rule(line=st.sampled_from(["hello", "/join den-0", "/join den-1", "/leave", "/msg ana hello", "/join general"]))
    def types(self, line: str) -> None:
        self.terminal.type(line)
        self._did()

    @rule(who=programs, node=halls, back=st.sampled_from([True, True, False]))
    def is_cut(self, who: int, node: int, back: bool) -> None:
        """Somebody's connection is lost. They resume at another node, perhaps later."""
        self.programs[who].cut()
        if back and self.halls[node].alive:
            self.programs[who].connect(self.halls[node])
            self._did()

    @rule(node=halls)
    def moves_the_terminal(self, node: int) -> None:
        if self.halls[node].alive:
            self.terminal.cut()
            self.terminal.connect(self.halls[node])

    @rule(who=programs, size=st.sampled_from([None, 0, 300, 20_000]))
    def reads(self, who: int, size: int | None) -> None:
        """Somebody reads only so much from now on; None: everything."""
        one = self.programs[who]
        if one.client is not None:
            one.client.wire.room = size
            if size is None:
                one.client.read()

    @rule(node=halls)
    def is_killed(self, node: int) -> None:
        if len(self.alive) == 1 or not self.halls[node].alive:
            return
        self.halls[node].kill()
        for one in (*self.programs, self.terminal):
            if one.hall is self.halls[node]:
                one.lose()
        self._did(BURIED_SECONDS)

    @rule(node=halls, who=programs, room=rooms)
    def is_killed_before_it_tells(self, node: int, who: int, room: int) -> None:
        """A node has stored a message, and is gone before it told anybody."""
        one = self.programs[who]
        if one.hall is self.halls[node] and len(self.alive) > 1 and not self.halls[node].inline.held:
            self.air.fate, fate = lambda sender, *_: [], self.air.fate
            self.halls[node].inline.lost_answers = 1
            self.says(who, room, 1, 0)
            self.is_killed(node)
            self.air.fate = fate

    @precondition(lambda self: len(self.alive) < len(NODES))
    @rule(node=halls)
    def starts(self, node: int) -> None:
        """Another process takes the place of one that was killed."""
        if not self.halls[node].alive:
            self.halls[node] = NodeHall(self._folder, NODES[node], self.air, self._engine, limits=LIMITS)
            self._did()

    @rule(node=halls)
    def waits_for_the_database(self, node: int) -> None:
        """The transactions of one node wait, until somebody rests, or its lease would lapse: then others would take it
        for dead, and its sessions would end."""
        if self.halls[node].alive and not self.halls[node].inline.held:
            self.halls[node].inline.hold()
            self.held_at[node] = self.clock.seconds()

    @rule(loss=losses, doubling=st.sampled_from([0.0, 0.3]),
          slowest=st.sampled_from([0.0, 0.004, 0.3, 2.0]))  # fmt: skip
    def the_bus_changes(self, loss: float, doubling: float, slowest: float) -> None:
        self.loss, self.doubling, self.slowest = loss, doubling, slowest

    @rule(node=halls)
    def the_bus_dies(self, node: int) -> None:
        """It seems to be connected."""
        if self.halls[node].alive:
            self.halls[node].bus.dead = True

    @rule(seconds=st.sampled_from([0.1, 0.5, 3.0]))
    def time_passes(self, seconds: float) -> None:
        for node, hall in enumerate(self.halls):
            if hall.inline.held and self.clock.seconds() + seconds - self.held_at[node] > HELD_SECONDS:
                self._release(hall)
        self.alive[0].passes(seconds)
        self._look()

    def _release(self, hall: NodeHall) -> None:
        hall.inline.release()
        self._did()

    @rule()
    def everybody_rests(self) -> None:
        """All that is stored is heard at every node after 1.2 seconds, whatever happened to the frames."""
        for hall in self.alive:
            if hall.inline.held:
                self._release(hall)
        self.alive[0].settle()
        for one in self.programs:
            if one.client is not None:
                one.client.wire.room = None
                one.client.read()
        while self.clock.seconds() < self.complete_at:
            self.alive[0].passes(0.1)
        self._look()
        self.check()

    def teardown(self) -> None:
        if not hasattr(self, "halls"):
            return
        try:
            for node in range(3):
                self.starts(node)
            for number, one in enumerate(self.programs):
                if one.client is None:
                    one.connect(self.halls[number % 3])
            self._did()
            self.everybody_rests()
            for one in self.programs:
                for account, id in self.sent:
                    if account == one.account and (account, id) not in self.stored:
                        self._say(one, id)
            self.everybody_rests()
        finally:
            for hall in self.alive:
                hall.kill()
            self._engine.dispose()

    # What must be so

    def _look(self) -> None:
        for one in (*self.programs, self.terminal):
            one.look()

    def check(self) -> None:
        """Everybody has heard all of their rooms, as the database has them."""
        stored = transact(self._engine, Stored)
        stored.check_sent({(*key, self.sent[key][0]): seq for key, seq in self.stored.items()})
        for one in self.programs:
            if one.client is not None:
                stored.check_program(one)
        if self.terminal.client is not None:
            stored.check_terminal(self.terminal)
        for hall in self.alive:
            stored.check_hall(hall)


@cache
def town() -> bytes:
    """A database in which everybody is in two rooms."""
    with TemporaryDirectory() as name:
        _, [hall] = nodes(Path(name), "one")
        for account in ("ana", "bob", "cai", "dot"):
            newcomer = hall.program(account)
            newcomer.post("create" if account == "ana" else "join", room="den-0")
            newcomer.cut()
        hall.passes(1)
        hall.close()
        return (Path(name) / "shared.db").read_bytes()


def test_conversations(tmp_path: Path) -> None:
    """Everybody hears each room as the database has it, whatever happens to frames and nodes: each entry once, within
    1.2 seconds; nothing of a room that they are out of; and nothing that was acknowledged is lost or doubled."""

    class Here(Cluster):
        folder = tmp_path
        number = itertools.count()

    thorough = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
    few = settings(
        max_examples=THOROUGH if thorough else EXAMPLES,
        stateful_step_count=STEPS,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        database=None,
    )
    machine: Any = Here
    run_state_machine_as_test(machine, settings=few)
