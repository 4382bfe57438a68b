"""Writes RESULTS.md and its plots from the recorded runs. To repeat that: python -m bench.report."""

import json
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bench import plot, tables
from bench.scenarios import COMPARED, SCENARIOS, SERIES, Series
from bench.tables import Run, counting, figure

HEAD = """\
# Results

Written by `make bench` on {date}, in {minutes:.0f} minutes. [README.md](README.md) explains what is measured, and what
is not.

Figures are medians of the runs that count; if there are several, the lowest and highest are in parentheses. A run
counts only if every message arrived once and in order, all members of a room saw the same order, and the database holds
exactly as many messages as were sent, with no gap in any log. The servers and the load generator share the machine.
"""


def write(raw: Path, out: Path) -> None:
    """Reads the runs from the file `raw`, and writes the report to the folder `out`."""
    about: dict[str, Any] = {}
    runs: list[Run] = []
    for line in raw.read_text().splitlines():
        record = json.loads(line)
        if "about" in record:
            about |= record["about"]
        else:
            runs.append(record)
    parts = [HEAD.format(date=about["date"], minutes=about.get("minutes", 0))]
    parts += _surroundings(about, runs)
    parts.append("## Side by side\n")
    for scenario in COMPARED:
        if mine := [run for run in runs if run["scenario"] == scenario.name]:
            parts += [f"### {scenario.name}\n\n{scenario.question}\n", tables.TABLES[scenario.kind](mine)]
    parts.append("## Scaling\n")
    for series in SERIES:
        parts += _series(series, runs, out)
    for kind, title in tables.PROBE_TITLES.items():
        if mine := [run for run in runs if SCENARIOS[run["scenario"]].kind == kind]:
            questions = dict.fromkeys(SCENARIOS[run["scenario"]].question for run in mine)
            question = f"{next(iter(questions))}\n" if len(questions) == 1 else ""
            parts += [f"## {title}\n\n{question}", tables.TABLES[kind](mine)]
    parts += _doubts(runs)
    (out / "RESULTS.md").write_text("\n".join(parts))


def _surroundings(about: dict[str, Any], runs: Sequence[Run]) -> list[str]:
    settings: dict[str, str] = next((run["settings"] for run in runs if run.get("settings")), {})
    database = ", ".join(f"{name} = {value}" for name, value in settings.items())
    parts = [
        "## Machine, versions, settings\n",
        tables.table(["", ""], [list(row) for row in about["machine"].items()]),
    ]
    parts.append(tables.table(["", "version"], [list(row) for row in about["versions"].items()]))
    if database:
        parts.append(f"PostgreSQL settings, for all servers that use it: {database}.")
    parts.append(
        "The settings of each server are in `peers/`: no rate limits, cheap password hashes, otherwise its defaults.\n"
    )
    parts += [f"Not measured: {name} ({why}).\n" for name, why in about["missing"].items()]
    rows = [[name, what] for name, what in about["keeps"].items()]
    return [*parts, "## What each server keeps, and when\n", tables.table(["", "keeps"], rows)]


def _series(series: Series, runs: Sequence[Run], out: Path) -> list[str]:
    mine = [run for run in counting(runs) if run["scenario"] in series.points]
    peers = list(dict.fromkeys(run["peer"] for run in runs if run["scenario"] in series.points))
    if len({run["scenario"] for run in mine}) < 2:
        return []
    parts = [f"### {series.title}\n"]
    for key, what in series.figures:
        lines = {peer: points_of(series, key, [run for run in mine if run["peer"] == peer]) for peer in peers}
        if svg := plot.chart(f"{series.title}: {what}", series.x, what, lines):
            name = f"{series.name}-{key.replace('.', '-').replace('_', '-')}.svg"
            (out / "results" / name).write_text(svg)
            parts.append(f"![{series.title}: {what}](results/{name})\n")
        rows = []
        for peer, points in lines.items():
            known = {point.x: plot.number(point.y) for point in points}
            rows.append([peer, *(known.get(x, "") for x in series.points.values())])
        parts.append(tables.table([what, *(f"{x:,}" for x in series.points.values())], rows))
    return parts


def points_of(series: Series, key: str, runs: Sequence[Run]) -> list[plot.Point]:
    """The medians of a figure, with the lowest and the highest value."""
    points = []
    for scenario, x in series.points.items():
        values = [figure(run, key) for run in runs if run["scenario"] == scenario]
        if values:
            points.append(plot.Point(x, statistics.median(values), min(values), max(values)))
    return sorted(points, key=lambda point: point.x)


def _doubts(runs: Sequence[Run]) -> list[str]:
    failed = [run for run in runs if run["faults"]]
    disturbed = sum(bool(run["disturbed"]) for run in runs)
    parts = [
        "## Runs that were disturbed or do not count\n",
        f"{len(runs)} runs. Other processes disturbed {disturbed} of them; most of these had been repeated once.\n",
    ]
    if failed:
        parts.append(f"{len(failed)} runs do not count:\n")
        parts += [f"- {run['scenario']} on {run['peer']}: {'; '.join(run['faults'])}" for run in failed]
        parts.append("")
    return parts


def brief(run: Run) -> str:
    """One line about a run, printed when it ends."""
    formatters: list[Callable[[], Iterable[str]]] = [
        lambda: [f"{run['msgs_per_s']:.0f} messages/s, {run['deliveries_per_s'] / 1e6:.3f} M deliveries/s"],
        lambda: [f"p50 {run['lat_ms']['p50']:.2f} ms, p99 {run['lat_ms']['p99']:.2f} ms"],
        lambda: [f"{run['logins_per_s']:.0f} logins/s"] if run["mode"] == "idle" else [],
        lambda: [f"resumed {run['resumed']['entries_per_s']:.0f} entries/s"],
        lambda: ["disturbed"] if run["disturbed"] else [],
        lambda: ["DOES NOT COUNT: " + "; ".join(run["faults"])] if run["faults"] else [],
    ]
    parts: list[str] = []
    for formatter in formatters:
        try:
            parts += formatter()
        except KeyError:  # this kind of run has no such figure
            pass
    return ", ".join(parts)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    write(folder / "results" / "runs.jsonl", folder)
