"""Measures several nodes on one PostgreSQL: what a message costs there, how much they store together, and how long a
message takes to a member at another node. `make bench ARGS="--scenario nodes"` runs it; the figures are quoted in
docs/scaling.md.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import load, machine, plot, quotas
from bench.fill import People, PostgresFill
from bench.load import Load
from bench.servers import ChatserverPostgres
from bench.tables import table

HERE = Path(__file__).parent
ROOT = HERE.parent
PAGE = ROOT / "docs" / "scaling.md"
RUNS = HERE / "results" / "nodes.jsonl"
PLOTS = ROOT / "docs" / "img"
BEGIN, END = "<!-- figures: written by make bench -->\n", "<!-- end of figures -->\n"
QUIET_SECONDS = 5.0
MOST_NODES = 3
QUOTA = 0.25
"""Share of a CPU for each node of the plots, so that the database and the load generator do not compete with them."""

FAN = Load(clients=100, senders=4, window=16, seconds=3)
ROOMS = Load(clients=500, rooms=50, senders=50, window=4, seconds=3)
PACED = Load("paced", rate=100, seconds=5, quickack=False)
TWENTIES = Load(clients=1000, rooms=50, senders=50, window=4, seconds=3)
LOGINS = Load("idle", clients=1000, rooms=50, seconds=0.5)


@dataclass(frozen=True)
class Case:
    """`base`: the version to compare with. `quota`: the share of a CPU that each node has; 0: no limit."""

    name: str
    load: Load
    nodes: int = 1
    bus: str = ""
    base: bool = False
    quota: float = 0


CASES = [
    Case("fan100, the version before", FAN, base=True),
    Case("fan100, one node, no bus", FAN),
    Case("fan100, one node, bus on", FAN, bus="postgres"),
    Case("fan100, two nodes", FAN, 2, "postgres"),
    Case("rooms50, the version before", ROOMS, base=True),
    Case("rooms50, one node, no bus", ROOMS),
    Case("rooms50, one node, bus on", ROOMS, bus="postgres"),
    Case("rooms50, two nodes, spread", ROOMS, 2, "postgres"),
    Case("rooms50, two nodes, together", replace(ROOMS, spread="room"), 2, "postgres"),
    Case("paced100, the sender's node", replace(PACED, spread="room"), 2, "postgres"),
    Case("paced100, the other node", replace(PACED, spread="sender"), 2, "postgres"),
]
REACHED = [
    Case("rooms of 20, one node", TWENTIES),
    *(Case(f"logins, {nodes}", LOGINS, nodes, "postgres", quota=QUOTA) for nodes in (1, 2)),
]
"""Numbers that docs/scaling.md calculates with."""
PLOTTED = {
    f"{how}, {nodes}": Case(f"{how}, {nodes}", replace(ROOMS, spread=spread), nodes, "postgres", quota=QUOTA)
    for how, spread in (("together", "room"), ("spread", "client"))
    for nodes in range(1, MOST_NODES + 1)
}


class Nodes(ChatserverPostgres):
    """Several processes on one database. `tree`: the sources of another version."""

    name = "chatserver-nodes"

    def __init__(self, workspace: Path, case: Case, tree: Path | None) -> None:
        super().__init__(workspace)
        self._case = case
        self._tree = tree
        self._quotas: list[quotas.Quota] = []
        self.ports = []

    def start(self, people: Sequence[People]) -> None:
        self.start_postgres("chat")
        url = f"postgresql+psycopg2://chat@127.0.0.1:{self.database.port}/chat"
        for number in range(self._case.nodes):
            self.port = machine.free_port()
            self.ports.append(self.port)
            self._number = number
            self.launch_chatserver(url, "--migrate")
            self.processes[f"node{number}"] = process = self.processes.pop("server")
            if number == 0:
                self.fill(PostgresFill(self.ask_database), people)
            if self._case.quota:
                self._quotas.append(quotas.Quota(f"chatserver-bench-{os.getpid()}-{number}", self._case.quota))
                self._quotas[-1].add(process.pid)

    def settings_file(self, **values: object) -> str:
        path = Path(super().settings_file(**values))
        text = path.read_text().replace("[server]\n", f'[server]\nnode = "n{self._number}"\ncontrol = ""\n', 1)
        if self._case.bus:
            text += f'[bus]\nurl = "{self._case.bus}"\n'
        mine = path.with_name(f"node{self._number}.toml")
        mine.write_text(text)
        machine.give_to_server(mine)
        return str(mine)

    def launch(self, command: Sequence[str], *, root: bool = False, env: dict[str, str] | None = None) -> None:
        if self._tree is not None:
            env = {**(os.environ if env is None else env), "PYTHONPATH": str(self._tree)}
        super().launch(command, root=root, env=env)

    def stop(self) -> None:
        super().stop()
        while self._quotas:
            self._quotas.pop().close()


def measure(workspace: Path, case: Case, base: Path | None) -> dict[str, Any]:
    """One run of a case."""
    server = Nodes(workspace, case, base if case.base else None)
    try:
        server.start([case.load.people])
        result = load.run(server, case.load)
        result["faults"] += server.faults()
        stored, sent = server.stored(), result.get("sent", 0)
        if stored != sent:
            result["faults"].append(f"{stored} messages stored, {sent} sent")
        if stored:
            result["bytes_per_entry"] = int(server.ask_database("SELECT pg_total_relation_size('entry')")) / stored
    except Exception as error:  # one failure must not end the other runs
        result = {"faults": [f"{type(error).__name__}: {error}"]}
    finally:
        server.stop()
    result |= {"case": case.name, "nodes": case.nodes, "quota": case.quota, "disturbed": load.disturbed(result)}
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.nodes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--base", type=Path, help="a checkout of the version to compare with")
    parser.add_argument("--no-plot", action="store_true", help="leave out the runs with CPU quotas")
    options = parser.parse_args(arguments)
    machine.raise_file_limit()
    machine.exit_on_sigterm()
    unlimited = quotas.missing()
    if unlimited:
        print(f"The plots are left out: {unlimited}.")
    cases = [case for case in CASES if options.base or not case.base]
    more = [*REACHED, *([] if options.no_plot else PLOTTED.values())]
    cases += [case for case in more if not (case.quota and unlimited)]
    workspace = Path(tempfile.mkdtemp(prefix="chatserver-bench-"))
    workspace.chmod(0o755)
    runs: list[dict[str, Any]] = []
    try:
        with machine.exclusive():
            about = {
                "date": datetime.now(UTC).isoformat(timespec="minutes"),
                "machine": machine.facts(workspace),
                "version": ChatserverPostgres.version(),
                "rounds": options.rounds,
            }
            for number in range(options.rounds):
                for case in cases:
                    machine.wait_quiet(QUIET_SECONDS)
                    runs.append(measure(workspace, case, options.base))
                    print(f"{number + 1}/{options.rounds} {case.name:36} {_brief(runs[-1])}", flush=True)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
    RUNS.write_text("".join(json.dumps(one) + "\n" for one in [{"about": about}, *runs]))
    quote(RUNS, PAGE)


def quote(raw: Path, page: Path) -> None:
    """Writes the table of these runs into the page, and draws the plots."""
    records = [json.loads(line) for line in raw.read_text().splitlines()]
    about = next(record["about"] for record in records if "about" in record)
    runs = [record for record in records if "about" not in record and not record["faults"]]
    rows = []
    for case in [*CASES, *REACHED]:
        mine = [run for run in runs if run["case"] == case.name]
        if mine and case.load.mode != "idle":
            rows.append([case.name, *(_median(mine, figure, form) for figure, form in COLUMNS.values())])
    facts = about["machine"]
    intro = f"Measured {about['date'][:10]} on {facts['CPU']}, {facts['Kernel']}, {about['version']}; medians:\n"
    before, found, rest = page.read_text().partition(BEGIN)
    if found:
        page.write_text(f"{before}{BEGIN}{intro}\n{table(['', *COLUMNS], rows)}\n{END}{rest.partition(END)[2]}")
    note = f"{about['date'][:10]}, {facts['CPU']}, {QUOTA:.0%} of a CPU for each node. 50 rooms of 10."
    for file, title, what, figure in (
        ("nodes-throughput.svg", "Messages stored and delivered, by nodes", "messages/s", rate),
        ("nodes-cpu.svg", "CPU of all nodes for one message, by nodes", "microseconds of CPU", nodes_cpu),
    ):
        lines = {}
        for how in ("together", "spread"):
            points = []
            for nodes in range(1, MOST_NODES + 1):
                values = [figure(run) for run in runs if run["case"] == f"{how}, {nodes}"]
                if values:
                    points.append(plot.Point(nodes, statistics.median(values), min(values), max(values)))
            lines[how] = points
        drawn = plot.chart(title, "nodes", what, lines, note)
        if drawn:
            (PLOTS / file).write_text(drawn)


def rate(run: dict[str, Any]) -> float:
    return float(run["msgs_per_s"])


def nodes_cpu(run: dict[str, Any]) -> float:
    """Microseconds of all nodes for a message."""
    used = sum(float(used["cpu_s"]) for name, used in run["server"].items() if name.startswith("node"))
    return used / float(run["sent"]) * 1e6


def database_cpu(run: dict[str, Any]) -> float:
    """Microseconds of the database for a message."""
    return float(run["server"]["postgres"]["cpu_s"] / run["sent"] * 1e6)


COLUMNS = {
    "messages/s": (rate, ",.0f"),
    "CPU of all nodes, µs a message": (nodes_cpu, ".0f"),
    "CPU of the database, µs a message": (database_cpu, ".0f"),
    "p50, ms": (lambda run: run["lat_ms"]["p50"], ".2f"),
    "p99, ms": (lambda run: run["lat_ms"]["p99"], ".2f"),
}


def _median(runs: list[dict[str, Any]], figure: Any, form: str) -> str:
    return format(statistics.median(figure(run) for run in runs), form)


def _brief(run: dict[str, Any]) -> str:
    if run["faults"]:
        return f"does not count: {'; '.join(run['faults'])}"
    if run["mode"] == "idle":
        size = sum(used["rss_kb_per_client"] for used in run["server"].values())
        return f"{run['logins_per_s']:.0f} logins/s, {size:.1f} KB for each client"
    figures = [f"{name} {format(figure(run), form)}" for name, (figure, form) in COLUMNS.items()]
    return ", ".join(figures) + (" (disturbed)" if run["disturbed"] else "")


if __name__ == "__main__":
    main(sys.argv[1:])
