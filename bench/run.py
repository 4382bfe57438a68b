"""Measures chat servers side by side and writes the report. `make bench` runs it."""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from bench import load, machine, nodes, postgres, quote, report
from bench.scenarios import SCENARIOS, Scenario
from bench.servers import PEERS, SERVERS, Server

HERE = Path(__file__).parent
QUIET_SECONDS = 5.0
RETRIES = 1  # of a run that other processes disturbed
MANY = 2000  # clients; a run with so many is not repeated, because its logins take too long
NODES = "nodes"  # several nodes on one database: see bench/nodes.py
QUICK = 0.5  # share of a scenario's time in a quick run


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the command line, unless they are given."""
    options = _options(arguments)
    if options.scenario == [NODES]:
        nodes.main(["--rounds", str(options.rounds or 3)])
        return
    chosen = [SCENARIOS[name] for name in options.scenario] if options.scenario else _usual(options)
    if options.seconds:
        chosen = [scenario.shortened(options.seconds / scenario.load.seconds) for scenario in chosen]
    elif options.quick:
        chosen = [scenario.shortened(QUICK) for scenario in chosen]
    rounds = options.rounds or (1 if options.quick else 3)
    machine.raise_file_limit()
    machine.exit_on_sigterm()
    missing = {name: why for name in options.peer if (why := SERVERS[name].missing())}
    peers = [name for name in options.peer if name not in missing]
    out: Path = options.out or (HERE / "quick" if options.quick else HERE)
    raw = out / "results" / "runs.jsonl"
    raw.parent.mkdir(parents=True, exist_ok=True)
    workspace = Path(tempfile.mkdtemp(prefix="chatserver-bench-"))
    workspace.chmod(0o755)
    try:
        with machine.exclusive(), raw.open("w") as file:
            about = _about(workspace, peers, missing, rounds)
            file.write(json.dumps({"about": about}) + "\n")
            total, begun = 0, time.monotonic()
            for result in _measure(chosen, peers, rounds, workspace):
                file.write(json.dumps(result) + "\n")
                file.flush()
                total += 1
            file.write(json.dumps({"about": {"minutes": (time.monotonic() - begun) / 60}}) + "\n")
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
    report.write(raw, out)
    if out == HERE:
        quote.quote(raw, quote.README)
        if quote.keep_members(raw, quote.PLOTTED):
            quote.PLOT.write_text(quote.drawn(quote.PLOTTED))
    print(f"{total} runs in {(time.monotonic() - begun) / 60:.1f} minutes. The report is {out / 'RESULTS.md'}.")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    def names(known: Any) -> Any:
        def parse(text: str) -> list[str]:
            if unknown := [name for name in text.split(",") if name not in known]:
                raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
            return text.split(",")

        return parse

    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one short round of the main scenarios; writes to bench/quick"
    )
    parser.add_argument("--peer", type=names(SERVERS), default=PEERS, help="servers to measure, separated by commas")
    parser.add_argument(
        "--scenario", type=names({*SCENARIOS, NODES}), help=f"scenarios to run, separated by commas; {NODES} by itself"
    )
    parser.add_argument("--rounds", type=int, help="number of rounds (3; 1 with --quick)")
    parser.add_argument("--seconds", "--secs", type=float, help="how long each run sends (the scenario's own time)")
    parser.add_argument("--out", type=Path, help="folder for the report")
    return parser.parse_args(arguments)


def _usual(options: argparse.Namespace) -> list[Scenario]:
    return [one for one in SCENARIOS.values() if one.quick or not options.quick]


def _measure(chosen: list[Scenario], peers: list[str], rounds: int, workspace: Path) -> Iterator[dict[str, Any]]:
    """Yields all runs. Each round runs every scenario, and each scenario every peer, so a slow hour affects all."""
    for number in range(rounds):
        for scenario in chosen:
            for peer in peers:
                if peer not in scenario.peers and peer in PEERS:
                    continue
                attempts = 1 + RETRIES * (scenario.load.clients < MANY)
                for attempt in range(1, attempts + 1):
                    quiet = machine.wait_quiet(QUIET_SECONDS)
                    result = _one(scenario, SERVERS[peer](workspace, scenario.statements))
                    result |= {"scenario": scenario.name, "peer": peer, "round": number, "quiet": quiet}
                    result["disturbed"] = load.disturbed(result)
                    if not result["disturbed"] or attempt == attempts:
                        break
                print(f"{number + 1}/{rounds} {scenario.name:13} {peer:18} {report.brief(result)}", flush=True)
                yield result


def _one(scenario: Scenario, server: Server) -> dict[str, Any]:
    """One run against a freshly started server."""
    try:
        server.start(scenario.people)
        result = scenario.measure(server)
        result["settings"] = server.facts()
        rows = server.stored()
        if rows is not None:
            sent = _sent(result)
            result["stored"] = rows
            if rows != sent:
                result["faults"].append(f"{rows} messages stored, {sent} sent")
        result["faults"] += server.faults()
    except Exception as error:  # a failing server must not end the others' runs
        result = {"faults": [f"{type(error).__name__}: {error}"]}
    finally:
        server.stop()
    return result


def _sent(result: dict[str, Any]) -> int:
    return int(result.get("sent", 0)) + int(result.get("sent_before", 0))


def _about(workspace: Path, peers: list[str], missing: dict[str, str], rounds: int) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": machine.facts(workspace),
        "versions": {
            **{name: SERVERS[name].version() for name in peers},
            "Python": python_version(),
            **{name: version(name) for name in ("Twisted", "SQLAlchemy", "psycopg2-binary", "msgspec")},
            "PostgreSQL": postgres.version() or "none",
        },
        "missing": missing,
        "rounds": rounds,
        "keeps": {name: SERVERS[name].keeps for name in peers},
    }


if __name__ == "__main__":
    main()
