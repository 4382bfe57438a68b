"""Copies the main figures, and a plot, into the project's README. To repeat that: python -m bench.quote."""

import json
from collections.abc import Sequence
from pathlib import Path

from bench import plot
from bench.report import points_of
from bench.scenarios import README_SERIES, SCENARIOS
from bench.tables import Run, counting, median, table

BEGIN, END = "<!-- figures: written by make bench -->\n", "<!-- end of figures -->\n"
LOADED = ("fan100", "fan500", "rooms50")
PACED = "paced100"
README = Path(__file__).parents[1] / "README.md"
PLOT = README.parent / "docs" / "img" / "deliveries.svg"
PLOTTED_PEERS = ("chatserver-pg", "chatserver-sqlite", "ngircd")
PLOTTED = Path(__file__).parent / "results" / "members.jsonl"
"""The runs that the plot shows."""


def quote(raw: Path, readme: Path) -> None:
    """Replaces what is between the markers in the README with a table of the runs in the file `raw`."""
    records = [json.loads(line) for line in raw.read_text().splitlines()]
    about = {key: value for record in records for key, value in record.get("about", {}).items()}
    runs: list[Run] = [record for record in records if "about" not in record]
    peers = list(dict.fromkeys(run["peer"] for run in runs))
    rows = [
        [
            f"{peer} ({about['versions'][peer]})",
            *(_cell(runs, peer, scenario, "deliveries_per_s", ",.0f") for scenario in LOADED),
            f"{_cell(runs, peer, PACED, 'lat_ms.p50', '.2f')} / {_cell(runs, peer, PACED, 'lat_ms.p99', '.2f')}",
        ]
        for peer in peers
    ]
    head = ["", *(f"{scenario}, deliveries/s" for scenario in LOADED), f"{PACED}, p50 / p99 ms"]
    questions = "\n".join(f"* `{name}`: {SCENARIOS[name].question}" for name in (*LOADED, PACED))
    machine = about["machine"]
    intro = f"Measured {about['date'][:10]} on {machine['CPU']}, {machine['Kernel']}; medians, lowest and highest:\n"
    before, _, rest = readme.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    readme.write_text(f"{before}{BEGIN}{intro}\n{table(head, rows)}\n{questions}\n{END}{after}")


def keep_members(raw: Path, kept: Path) -> bool:
    """Copies the runs that the plot shows, and what is known about them. Returns whether there are enough."""
    records = [json.loads(line) for line in raw.read_text().splitlines()]
    wanted = (README_SERIES.points, PLOTTED_PEERS)
    shown = [one for one in records if "about" in one or (one["scenario"] in wanted[0] and one["peer"] in wanted[1])]
    if len({one["scenario"] for one in shown if "about" not in one}) < len(README_SERIES.points):
        return False
    kept.write_text("".join(json.dumps(one) + "\n" for one in shown))
    return True


def drawn(kept: Path) -> str:
    """The plot of these runs."""
    records = [json.loads(line) for line in kept.read_text().splitlines()]
    about = {key: value for record in records for key, value in record.get("about", {}).items()}
    runs = counting([record for record in records if "about" not in record])
    key, what = README_SERIES.figures[0]
    by_peer = {peer: [run for run in runs if run["peer"] == peer] for peer in PLOTTED_PEERS}
    lines = {peer: points_of(README_SERIES, key, mine) for peer, mine in by_peer.items()}
    note = f"{about['date'][:10]}, {about['machine']['CPU']}. Medians, lowest and highest. ngircd stores nothing."
    return plot.chart(README_SERIES.title, README_SERIES.x, what, lines, note)


def _cell(runs: Sequence[Run], peer: str, scenario: str, key: str, form: str) -> str:
    mine = counting([run for run in runs if run["peer"] == peer and run["scenario"] == scenario])
    return median(mine, key, form) or "not run"


if __name__ == "__main__":
    quote(Path(__file__).parent / "results" / "runs.jsonl", README)
    PLOT.write_text(drawn(PLOTTED))
