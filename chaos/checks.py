"""Checks after each fault, and at the end."""

import time
from collections.abc import Callable, Sequence

from chaos.badges import Badge
from chaos.clients import PASSWORD, Client, Program, Reader, SlowReader, Writer
from chaos.database import GENERAL, Room, Row, general_name
from chaos.faults import stop_orderly
from chaos.log import Broken, Log
from chaos.screen import Screen
from chaos.visitors import Visitor
from chaos.world import HERALD, PRESENCE_SECONDS, World
from tests.support.client import JsonClient, Message

DEAF_SECONDS = 2.0
"""Every connected member hears what is stored within this time after the store is back."""
PATIENCE_SECONDS = 30.0
"""Longest wait for what has no promised time: a login, an answer, a slow reader."""
GUEST_SECONDS = 100.0
"""Longest wait for the departure of guests. Those whose login was never answered are looked for after 80 s."""
LATE_SECONDS = 10.0
"""How much later a member who is still waiting counts as deaf, not late."""
POLL_SECONDS = 0.01
TRACEBACK_CHARACTERS = 4_000
"""How much of a server's traceback is shown."""


def settle(world: World, deaf_seconds: float) -> float:
    """After a fault: the store answers, and everybody hears what is stored. Returns how long the last one took."""
    over = time.monotonic()
    _wait(world, lambda: any(writer.proven > over for writer in world.writers), "no message has been acknowledged")
    slowest = check_heard(world, deaf_seconds)
    _wait(
        world,
        lambda: all(writer.proven > over for writer in world.writers),
        lambda: f"not every writer has a message acknowledged: {_unproven(world, over)}",
    )
    return slowest


def _unproven(world: World, over: float) -> list[str]:
    return [writer.name for writer in world.writers if writer.proven <= over]


def check_heard(world: World, deaf_seconds: float, *, everybody: bool = False) -> float:
    """All connected members reach the present heads in time, from now or from their login. Returns the seconds."""
    begun = time.monotonic()
    rooms, last = world.database.rooms(), world.database.last_message()
    waits = [
        _Wait(client, _label(room, client.name), room.head)
        for client in world.programs
        if client.fast or everybody
        for room in rooms.values()
        if client.name in room.members
    ]
    waits += [_Wait(screen, last, 0) for screen in world.screens if last and (screen.connected_at or begun) < begun]
    slowest = 0.0
    away: dict[str, float] = {}
    while waits:
        if world.stage.failures:
            raise Broken(world.stage.failures[0])
        now = time.monotonic()
        for wait in waits:
            since = wait.client.connected_at
            if since is not None:
                away.pop(wait.client.name, None)
                slowest = max(slowest, _judge(wait, now - max(since, begun), deaf_seconds))
            elif now - away.setdefault(wait.client.name, now) > PATIENCE_SECONDS:
                raise Broken(f"{wait.client.name} could not log in for {PATIENCE_SECONDS:g} s")
        waits = [wait for wait in waits if not wait.over]
        time.sleep(POLL_SECONDS)
    return slowest


class _Wait:
    """An entry that a client has yet to hear: a room up to an entry, or, on a screen, a message."""

    def __init__(self, client: Client, what: str, head: int) -> None:
        self.client = client
        self.what = what
        self.head = head
        self.over = False

    def heard(self) -> bool:
        if isinstance(self.client, Screen):
            return self.client.has_shown(self.what)
        assert isinstance(self.client, Program)
        return self.client.log(self.what).heard >= self.head


def _judge(wait: _Wait, waited: float, deaf_seconds: float) -> float:
    """The time that it took if it is over; raises Broken if it took, or takes, too long."""
    who = wait.client
    if wait.heard():
        if waited > deaf_seconds:
            raise Broken(f"{who.name} heard {wait.what[:40]} {wait.head} only {waited:.1f} s after the store was back")
        wait.over = True
        return waited
    if waited > deaf_seconds + LATE_SECONDS:
        at = f" {wait.head}, only {who.log(wait.what).heard}" if isinstance(who, Program) else ""
        raise Broken(f"{who.name} is deaf: {waited:.1f} s after the store was back it has not heard {wait.what}{at}")
    return 0.0


def _label(room: Room, account: str) -> str:
    """The account's label of the room."""
    if not room.name.startswith("@"):
        return room.name
    first, second = room.name[1:].split(":")
    return "@" + (second if first == account else first)


def finish(world: World, deaf_seconds: float) -> None:
    """The end of a run: everything is answered, told and closed, and every log is the one in the database."""
    world.stage.quiet = True
    _see_off(world)
    _wait(
        world,
        lambda: not any(writer.unanswered for writer in world.writers) and not any(p.waiting for p in world.programs),
        lambda: "commands are not answered: " + ", ".join(p.name for p in world.programs if p.waiting),
    )
    check_heard(world, PATIENCE_SECONDS, everybody=True)
    _probe(world, deaf_seconds)
    for client in world.clients:
        client.stop()
    for client in world.clients:
        client.join()
    _check_ghosts(world)
    stop_orderly(world, *world.servers)
    compare(world.clients, world.database.logs())
    before, traceback, after = world.log.partition("Traceback")
    if traceback:
        lines = [*before.splitlines()[-1:], traceback + after[:TRACEBACK_CHARACTERS]]
        raise Broken("The server's log has a traceback: " + "\n".join(lines))
    if world.stage.failures:
        raise Broken(world.stage.failures[0])


def _see_off(world: World) -> None:
    """Wait until all visitors have gone, and the guests among them have left their rooms."""
    visitors = [client for client in world.clients if isinstance(client, Visitor)]
    for visitor in visitors:
        visitor.stop()
    for visitor in visitors:
        visitor.join()
    what = "guests who have gone are still members: "
    _wait(world, lambda: not _guests(world), lambda: f"{what}{_guests(world)}", GUEST_SECONDS)


def _guests(world: World) -> list[str]:
    return sorted({name for room in world.database.rooms().values() for name in room.members if name.startswith("~")})


def _probe(world: World, deaf_seconds: float) -> None:
    """A message in each room reaches every member."""
    answers: list[Message] = []
    rooms = world.database.rooms()
    asked = 0
    for room in rooms.values():
        speaker = next((program for program in world.programs if program.name in room.members), None)
        if speaker is not None:
            asked += 1
            command = {"cmd": "say", "room": _label(room, speaker.name), "text": f"probe of {room.name}"}
            speaker.errands.append((command, answers.append))
    _wait(world, lambda: len(answers) == asked, "a probe is not answered")
    refused = [answer for answer in answers if not answer["ok"]]
    if refused:
        raise Broken(f"A probe was refused: {refused[0]}")
    check_heard(world, deaf_seconds, everybody=True)


def _check_ghosts(world: World) -> None:
    """When everybody has left, `who` and `members` show nobody but the observer, at every node."""
    for server in world.servers:
        with JsonClient(server.address) as observer:
            observer.login(HERALD, PASSWORD)
            deadline = time.monotonic() + PRESENCE_SECONDS + 5
            while True:
                there = {user["name"] for user in observer.ok("who")["users"] if user["online"]}
                there |= {one["name"] for one in observer.ok("members", room=GENERAL)["members"] if one["online"]}
                if there <= {HERALD}:
                    break
                if time.monotonic() > deadline:
                    who = sorted(there - {HERALD})
                    raise Broken(f"Everybody has left, but these are shown as online{world.of(server)}: {who}")
                time.sleep(0.1)
            observer.ok("quit")


def compare(clients: Sequence[Client], logs: dict[str, list[Row]]) -> None:
    """Raises Broken at the first difference between what is stored and what the clients know."""
    for room, rows in logs.items():
        for place, row in enumerate(rows, 1):
            if row.seq != place:
                raise Broken(f"The log of {room} has a hole: {place} is missing before {row}")
    stored: dict[tuple[str, str], list[tuple[str, Row]]] = {}
    for room, rows in logs.items():
        for row in rows:
            if row.id is not None:
                stored.setdefault((row.author, row.id), []).append((room, row))
    for client in clients:
        if isinstance(client, Writer):
            _compare_sent(client, stored)
        if isinstance(client, Program):
            for label, log in client.logs.items():
                _compare_log(client, log, logs.get(general_name(label, client.name), []))
        if isinstance(client, Badge) and not client.compared:
            raise Broken(f"Nothing that {client.name} was told is unread could be compared")
        if isinstance(client, Screen):
            client.check(logs.get(GENERAL, []))


def _compare_sent(writer: Writer, stored: dict[tuple[str, str], list[tuple[str, Row]]]) -> None:
    for id, (label, text) in writer.sent.items():
        there = stored.get((writer.name, id), [])
        seq, _ = writer.acknowledged[id]
        if [(room, row.seq, row.text) for room, row in there] != [(general_name(label, writer.name), seq, text)]:
            raise Broken(f"{id} of {writer.name} was acknowledged as {label} {seq}; stored is {there}")


def _compare_log(program: Program, log: Log, rows: list[Row]) -> None:
    for seen in log.entries:
        row = rows[seen.seq - 1] if seen.seq <= len(rows) else None
        if row is None or seen.kind != row.kind or (seen.kind == "message" and seen.text != row.text):
            raise Broken(f"{program.name} was sent {log.room} {seen}, stored is {row}")
        if seen.kind == "message" and seen.id != (row.id if row.author == program.name else None):
            raise Broken(f"{program.name} was sent the id {seen.id!r} with {log.room} {row}")
    if isinstance(program, Reader | SlowReader | Writer) and log.entries:
        missing = set(range(log.entries[0].seq, len(rows) + 1)) - {seen.seq for seen in log.entries}
        if missing:
            raise Broken(f"{program.name} did not receive {log.room} {rows[min(missing) - 1]}")


def _wait(
    world: World, true: Callable[[], bool], what: str | Callable[[], str], seconds: float = PATIENCE_SECONDS
) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if world.stage.failures:
            raise Broken(world.stage.failures[0])
        if time.monotonic() > deadline:
            raise Broken(f"After {seconds:g} s {what if isinstance(what, str) else what()}")
        time.sleep(POLL_SECONDS)
