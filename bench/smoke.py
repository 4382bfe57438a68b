"""Checks in a minute whether the server has become slower, by its ratio to a minimal relay in the same run.

`make bench-smoke` compares with the ratios that `make bench-smoke RECORD=1` wrote to smoke.json. It is a tool for
people: no timing decides whether a change is accepted.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

from bench import load, machine
from bench.load import Load
from bench.servers import ChatserverPostgres, ChatserverSqlite, Relay, Server

RECORD = Path(__file__).with_name("smoke.json")
ROUNDS = 3
FALLEN = 0.8
"""A ratio below this share of the recorded one is marked as fallen."""
LOADS = {
    "fan100": ("deliveries_per_s", Load(seconds=1.5, prefix="a")),
    "fan500": ("deliveries_per_s", Load(clients=500, seconds=1.5, prefix="b")),
    "rooms50": ("deliveries_per_s", Load(clients=500, rooms=50, senders=50, window=4, seconds=1.5, prefix="c")),
    "paced100": ("lat_ms", Load("paced", rate=100, seconds=2, prefix="d")),
}
"""By scenario: the figure that is compared, and the load. More is better, except for latency, whose inverse is used."""


class Ratio(NamedTuple):
    median: float
    low: float
    high: float
    busy: bool


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.smoke", description=__doc__)
    parser.add_argument("--record", action="store_true", help="write the ratios to smoke.json")
    options = parser.parse_args()
    machine.raise_file_limit()
    machine.exit_on_sigterm()
    workspace = Path(tempfile.mkdtemp(prefix="chatserver-bench-"))
    workspace.chmod(0o755)
    kind: type[Server] = ChatserverSqlite if ChatserverPostgres.missing() else ChatserverPostgres
    servers: list[Server] = []
    try:
        with machine.exclusive():
            people = [one.people for _, one in LOADS.values()]
            for server in (kind(workspace), Relay(workspace)):
                servers.append(server)
                server.start(people)
            ratios = {name: _ratio(servers, name) for name in LOADS}
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(workspace, ignore_errors=True)
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    print(f"Speed of {kind.name} relative to the relay; 1 means equally fast")
    for name, ratio in ratios.items():
        compared = _compared(ratio.median, recorded.get(kind.name, {}).get(name))
        noise = "  (the machine was busy)" if ratio.busy else ""
        print(f"{name:9} {ratio.median:6.3f} ({ratio.low:.3f}-{ratio.high:.3f})  {compared}{noise}")
    if options.record:
        recorded[kind.name] = {name: round(ratio.median, 4) for name, ratio in ratios.items()}
        RECORD.write_text(json.dumps(recorded, indent=2) + "\n")


def _ratio(servers: list[Server], name: str) -> Ratio:
    """Median, lowest and highest over several rounds; each round runs every server."""
    key, what = LOADS[name]
    ratios, busy = [], False
    for _ in range(ROUNDS):
        speeds = []
        for server in servers:
            result = load.run(server, what)
            if result["faults"]:
                raise SystemExit(f"{name} on {server.name} does not count: {'; '.join(result['faults'])}")
            busy |= load.disturbed(result)
            speeds.append(1 / result["lat_ms"]["p50"] if key == "lat_ms" else result[key])
        ratios.append(speeds[0] / speeds[1])
    return Ratio(statistics.median(ratios), min(ratios), max(ratios), busy)


def _compared(ratio: float, before: float | None) -> str:
    if before is None:
        return "none recorded (record one with RECORD=1)"
    return f"recorded {before:.3f}, {100 * (ratio / before - 1):+.0f} %{'  FALLEN' if ratio < FALLEN * before else ''}"


if __name__ == "__main__":
    main()
