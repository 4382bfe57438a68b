"""Kills, stops and cuts servers under load, and compares every log at the end. `make chaos` runs it.

docs/promises.md says what it checks. The order of the faults follows from the seed; their moment does not, because
the load is real.
"""

import argparse
import random
import signal
import sys
import time
from types import FrameType
from typing import NamedTuple

from chaos import faults
from chaos.checks import DEAF_SECONDS, finish, settle
from chaos.faults import Fault
from chaos.log import Broken
from chaos.world import Kind, World

LOG_LINES = 30
"""How much of the server's log a failure shows."""


class Plan(NamedTuple):
    """One run on one database. `pace`: messages per second of each of the three writers."""

    database: Kind
    seed: str
    kills: int = 20
    minutes: float = 10.0
    pace: float = 40.0
    only: tuple[str, ...] = ()
    deaf_seconds: float = DEAF_SECONDS
    nodes: int = 1

    def command(self) -> str:
        """The command that repeats it."""
        words = f"make chaos DATABASE={self.database} SEED={self.seed} KILLS={self.kills} MINUTES={self.minutes:g}"
        if self.nodes != 1:
            words += f" NODES={self.nodes}"
        more = f"--pace {self.pace:g}" if self.pace != Plan._field_defaults["pace"] else ""
        if self.only:
            more += f" --only {','.join(self.only)}"
        if self.deaf_seconds != DEAF_SECONDS:
            more += f" --deaf-seconds {self.deaf_seconds:g}"
        return words + (f' ARGS="{more.strip()}"' if more else "")


class Score:
    """Events of a run."""

    def __init__(self) -> None:
        self.kills = 0
        self.faults = 0
        self.slowest = 0.0
        self.begun = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self.begun


def run(plan: Plan) -> bool:
    """Do it, and print what happens; returns whether everything held."""
    score = Score()
    with World(plan.database, plan.seed, plan.pace, plan.nodes) as world:
        try:
            world.open()
            _act(plan, world, score)
            finish(world, plan.deaf_seconds)
        except (Broken, AssertionError) as error:
            for server in world.servers:
                tail = "\n".join(server.log.splitlines()[-LOG_LINES:])
                print(f"--- the end of the log{world.of(server)} ---\n{tail}\n---", flush=True)
            print(f"FAILED on {plan.database} after {score.kills} kills, {score.faults} faults: {_brief(error)}")
            print(f"Again: {plan.command()}", flush=True)
            return False
        acknowledged = sum(len(writer.acknowledged) for writer in world.writers)
        received = sum(len(log.entries) for program in world.programs for log in program.logs.values())
        connections = sum(client.connections for client in world.clients)
    where = f"{plan.database}, {plan.nodes} nodes" if plan.nodes > 1 else plan.database
    print(
        f"{where}: {score.kills} kills among {score.faults} faults, {acknowledged} messages acknowledged,"
        f" {received} entries received on {connections} connections; lost 0, doubled 0, holes 0;"
        f" longest silence {score.slowest:.2f} s; {score.seconds():.0f} seconds",
        flush=True,
    )
    return True


def _brief(error: Exception) -> str:
    """Without the server's log, which the errors of `tests.support` end with."""
    return str(error).partition("\n")[0] or repr(error)


def _act(plan: Plan, world: World, score: Score) -> None:
    settle(world, plan.deaf_seconds)
    table = faults.SERVER | (faults.POSTGRES if plan.database == "postgres" else {})
    if plan.nodes > 1:
        table |= {name: one for name, one in faults.NODES.items() if name != "clock" or world.walls}
    chosen = {name: entry for name, entry in table.items() if not plan.only or name in plan.only}
    names, weights = list(chosen), [often for often, _ in chosen.values()]
    schedule = random.Random(f"{plan.seed}/{plan.database}/schedule")
    # Without kills among the faults, the number of kills stands for the number of faults.
    counts_all = "kill" not in chosen
    if plan.nodes > 1 and not world.walls:
        print("Wall clocks are not stepped: libfaketime is not installed (apt-get install faketime).", flush=True)
    while score.kills < plan.kills and score.seconds() < plan.minutes * 60:
        time.sleep(schedule.uniform(0.1, 1.0))
        [name] = schedule.choices(names, weights)
        world.revive()
        _, fault = chosen[name]
        _one(plan, world, score, fault, name == "kill" or counts_all)
        world.stage.round += 1
    world.revive()


def _one(plan: Plan, world: World, score: Score, fault: Fault, counts: bool) -> None:
    did = fault(world)
    score.faults += 1
    score.kills += counts
    ended = time.monotonic()
    slowest = settle(world, plan.deaf_seconds)
    score.slowest = max(score.slowest, slowest)
    back = time.monotonic() - ended
    print(
        f"{plan.database} {score.seconds():6.1f} s, {score.kills}/{plan.kills} kills: {did};"
        f" all caught up {back:.2f} s later",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="end after so many kill -9 on each database")
    parser.add_argument("--minutes", type=float, default=10.0, help="or after this time on each database")
    parser.add_argument("--seed", default="", help="of the schedule; random by default")
    parser.add_argument("--database", choices=["sqlite", "postgres", "both"], default="both")
    parser.add_argument("--pace", type=float, default=40.0, help="messages per second of each of the three writers")
    parser.add_argument(
        "--only", default="", help=f"faults: {','.join(faults.SERVER | faults.POSTGRES | faults.NODES)}"
    )
    parser.add_argument(
        "--deaf-seconds", type=float, default=DEAF_SECONDS, help="longest silence once the store is back"
    )
    parser.add_argument("--nodes", type=int, default=1, help="so many servers on one PostgreSQL")
    options = parser.parse_args()
    only = tuple(filter(None, options.only.split(",")))
    unknown = set(only) - set(faults.SERVER | faults.POSTGRES | faults.NODES)
    if unknown:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    if options.nodes == 1 and set(only) & set(faults.NODES):
        parser.error(f"these need several nodes: {', '.join(faults.NODES)}")
    seed = options.seed or str(random.SystemRandom().randrange(10**6))
    kinds: list[Kind] = ["sqlite", "postgres"] if options.database == "both" else [options.database]
    if options.nodes > 1:
        kinds = ["postgres"]
    signal.signal(signal.SIGTERM, _exit)
    print(f"seed {seed}", flush=True)
    held = True
    try:
        for kind in kinds:
            plan = Plan(
                kind, seed, options.kills, options.minutes, options.pace, only, options.deaf_seconds, options.nodes
            )
            held = run(plan) and held
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(not held)


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
