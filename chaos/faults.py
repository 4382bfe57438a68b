"""Faults: each function does one, from its beginning to its end, and returns a description of it."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

from chaos.log import Broken
from chaos.world import World
from chatserver.store.nodes.lease import LAPSE_SECONDS
from tests.support.process import ChatServer, ServerError

LATE_SECONDS = 2.0
"""How long after the end of a lease something may still be on its way: the last heartbeat, and a client's socket."""


def kill(world: World) -> str:
    """kill -9, and a new start after a while."""
    pause = world.chance.choice((0.0, world.chance.uniform(0.0, 1.0)))
    server = world.any_server()
    server.kill()
    if world.running and world.chance.random() < 0.7:
        return f"kill -9{world.of(server)}, and a start before the next fault"
    time.sleep(pause)
    server.start()
    return f"kill -9{world.of(server)}, and a start {pause:.1f} s later"


def terminate(world: World) -> str:
    """SIGTERM: the server must end with status 0, and leave no session open."""
    server = world.any_server()
    stop_orderly(world, server)
    server.start()
    return f"SIGTERM{world.of(server)}, status 0, and a start"


def stop_orderly(world: World, *servers: ChatServer) -> None:
    """SIGTERM to one after the other. Raises Broken unless they end with status 0 and leave no session open."""
    for server in servers:
        try:
            status = server.stop()
        except ServerError as error:
            raise Broken(str(error).splitlines()[0]) from None
        if status:
            raise Broken(f"After SIGTERM the server{world.of(server)} ended with status {status}")
        check_sessions(world, world.name(server))
    if not world.running:
        check_sessions(world)


def check_sessions(world: World, node: str = "") -> None:
    """Raises Broken if a session is still open in the database, at this node or any: the server has stopped."""
    left = world.database.open_sessions(node)
    if left:
        raise Broken(f"After a clean stop the database has open sessions of {', '.join(left)}")


def stop_server(world: World) -> str:
    """SIGSTOP and SIGCONT of the server; now and then for longer than its lease."""
    seconds = world.chance.choice((0.3, 1.0, 2.0, 3.0, 3.0, 8.0, *((8.0, 15.0) if len(world.servers) > 1 else ())))
    server = world.any_server()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)
    return f"SIGSTOP of the server{world.of(server)} for {seconds:g} s"


def cut(world: World) -> str:
    """Connections of clients, at random bytes."""
    share = world.chance.uniform(0.2, 1.0)
    most = world.chance.choice((200, 5_000, 50_000))
    count = sum(relay.cut(share, most) for relay in world.relays)
    time.sleep(0.3)
    for relay in world.relays:
        relay.cut(0.0, most)
    return f"{count} connections cut within {most} bytes"


def restart_postgres(world: World) -> str:
    """An immediate stop, as in a crash, and a new start."""
    assert world.postgres is not None
    pause = world.chance.uniform(0.0, 2.0)
    world.postgres.stop()
    time.sleep(pause)
    world.postgres.start()
    return f"PostgreSQL stopped at once, and started {pause:.1f} s later"


def stop_postgres(world: World) -> str:
    """SIGSTOP of all of PostgreSQL's processes; now and then for longer than the server's deadline."""
    seconds = world.chance.choice((0.5, 1.0, 2.0, 4.0, 12.0))
    with _stopped_postgres(world):
        time.sleep(seconds)
    return f"SIGSTOP of PostgreSQL for {seconds:g} s"


@contextmanager
def _stopped_postgres(world: World) -> Iterator[None]:
    assert world.postgres is not None
    pidfile = world.postgres.folder / "data" / "postmaster.pid"
    main = psutil.Process(int(pidfile.read_text(encoding="utf-8").splitlines()[0]))
    main.suspend()  # first: it starts no further processes then
    others = main.children(recursive=True)
    try:
        for other in others:
            with suppress(psutil.NoSuchProcess):
                other.suspend()
        yield
    finally:
        for process in (*others, main):
            with suppress(psutil.NoSuchProcess):
                process.resume()


def terminate_backends(world: World) -> str:
    """pg_terminate_backend of some or all of the server's connections."""
    share = world.chance.choice((0.3, 1.0))
    return f"{world.database.terminate(share, world.chance)} backends terminated"


def lose_answers(world: World) -> str:
    """Commits take effect, but the server does not learn so."""
    seconds, share = world.chance.uniform(0.5, 3.0), world.chance.choice((0.05, 0.3, 1.0))
    relays = [world.chance.choice(world.to_postgres)]
    for relay in relays:
        relay.loss = share
    try:
        time.sleep(seconds)
    finally:
        for relay in relays:
            relay.loss = 0.0
    return f"{share:.0%} of the answers to commits lost for {seconds:.1f} s"


def lose_frames(world: World) -> str:
    """From now on frames are lost on their way to the nodes, and nothing else."""
    share = world.chance.choice((0.0, 0.5, 1.0))
    for relay in world.to_postgres:
        relay.frame_loss = share
    return f"{share:.0%} of the frames are lost from now on"


def cut_from_postgres(world: World) -> str:
    """All connections of one node to PostgreSQL, also the bus's; now and then it has none for a while."""
    relay = world.chance.choice(world.to_postgres)
    seconds = world.chance.choice((0.0, 0.0, 1.0, 7.0))
    relay.closed = seconds > 0
    try:
        count = relay.cut(1.0, 1 if relay.closed else 5_000)
        time.sleep(max(seconds, 0.3))
    finally:
        relay.closed = False
    return f"{count} connections of a node to PostgreSQL cut for {seconds:g} s"


def hold_store(world: World) -> str:
    """The connections of one node's store hang, and its bus goes on: once its lease has lapsed, its clients are sent
    nothing of other nodes."""
    node = world.chance.randrange(len(world.servers))
    relay, seconds = world.to_postgres[node], world.chance.choice((2.0, 5.0, 12.0))
    fast = [client for client in world.programs if client.fast and client.connected_at is not None]
    there = [client for client in fast if world.node_of(client) == node]
    relay.flows.clear()
    try:
        time.sleep(min(seconds, LAPSE_SECONDS + LATE_SECONDS))
        before = [(client, client.connected_at, client.heard) for client in there]
        time.sleep(max(seconds - LAPSE_SECONDS - LATE_SECONDS, 0.0))
        for client, since, heard in before:
            if client.heard != heard and client.connected_at == since:
                raise Broken(f"{client.name} was sent entries by node-{node + 1}, which has lost its lease")
    finally:
        relay.flows.set()
    return f"the store of node-{node + 1} held back for {seconds:g} s"


def step_clock(world: World) -> str:
    """The wall clock of one node is set forwards or back."""
    assert world.walls
    seconds = world.chance.choice((-7200, -30, -1, 1, 30, 7200))
    world.chance.choice(world.walls).step(seconds)
    return f"the wall clock of a node set to {seconds:+d} s"


Fault = Callable[[World], str]

SERVER: dict[str, tuple[int, Fault]] = {
    "kill": (10, kill),
    "term": (4, terminate),
    "stop": (3, stop_server),
    "cut": (6, cut),
}
"""By name: how often among others, and the fault."""
POSTGRES: dict[str, tuple[int, Fault]] = {
    "pg-restart": (3, restart_postgres),
    "pg-stop": (3, stop_postgres),
    "pg-terminate": (4, terminate_backends),
    "pg-answers": (5, lose_answers),
}
NODES: dict[str, tuple[int, Fault]] = {
    "frames": (5, lose_frames),
    "pg-cut": (4, cut_from_postgres),
    "pg-hold": (3, hold_store),
    "clock": (2, step_clock),
}
"""These need several nodes."""
