"""Where the time of a message goes: python -m bench.where [--peer chatserver-sqlite] [SCENARIO ...]

Prints, for each scenario, the time spent at each station on a message's path. The clocks themselves cost a few
microseconds.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

from bench import machine
from bench.scenarios import OURS, SCENARIOS
from bench.servers import SERVERS, Chatserver

STATIONS = {
    "read": "bytes to commands, and into a lane (per read from a socket)",
    "store": "from a lane to the store and back (per take)",
    "transaction": "of that, the transaction in its thread",
    "tell": "publishing and answering (per take)",
    "publish": "of that, encoding and writing to every subscriber",
    "garbage 0": "garbage collection, youngest generation",
    "garbage 1": "garbage collection, middle generation",
    "garbage 2": "garbage collection, oldest generation",
}
WARM_UP = 0.25
"""The share of samples, from the beginning, that is ignored."""


def measure(name: str, peer: str) -> dict[str, list[tuple[float, float]]]:
    scenario = SCENARIOS[name]
    workspace = Path(tempfile.mkdtemp(prefix="chatserver-where-"))
    workspace.chmod(0o755)
    try:
        server: Any = SERVERS[peer](workspace, scenario.statements)
        assert isinstance(server, Chatserver)
        server.timed = server.folder / "timed.json"
        try:
            server.start(scenario.people)
            faults = scenario.measure(server)["faults"]
        finally:
            server.stop()
        if faults:
            print(f"This run does not count: {'; '.join(faults)}")
        found: dict[str, list[tuple[float, float]]] = json.loads(server.timed.read_text())
        return found
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def table(samples: dict[str, list[tuple[float, float]]]) -> str:
    takes = samples["messages"][int(len(samples["messages"]) * WARM_UP) :]
    lines = [
        f"{mean(size for size, _ in takes) * 1e6:.1f} messages per take.",
        "",
        "| station | times | mean µs | p50 | p99 | CPU, mean |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for station, words in STATIONS.items():
        if found := samples.get(station):
            found = found[int(len(found) * WARM_UP) :]
            wall = sorted(seconds * 1e6 for seconds, _ in found)
            cpu = mean(seconds for _, seconds in found) * 1e6
            lines.append(
                f"| {words} | {len(wall):,} | {mean(wall):,.0f} | {wall[len(wall) // 2]:,.0f} "
                f"| {wall[int(len(wall) * 0.99)]:,.0f} | {f'{cpu:,.0f}' if cpu else ''} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.where", description=__doc__)
    parser.add_argument(
        "scenario", nargs="*", default=["paced500", "fan100"], help=f"one or more of {', '.join(SCENARIOS)}"
    )
    parser.add_argument("--peer", choices=OURS, default=OURS[0])
    options = parser.parse_args()
    if unknown := set(options.scenario) - set(SCENARIOS):
        sys.exit(f"Unknown scenario: {', '.join(sorted(unknown))}. Known: {', '.join(SCENARIOS)}")
    machine.raise_file_limit()
    machine.exit_on_sigterm()
    with machine.exclusive():
        for name in options.scenario:
            print(f"\n## {name}: {SCENARIOS[name].question}\n\n{table(measure(name, options.peer))}", flush=True)


if __name__ == "__main__":
    main()
