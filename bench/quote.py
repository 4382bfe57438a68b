"""Copies the main figures into the project's README. To repeat that: python -m bench.quote."""

import json
from collections.abc import Sequence
from pathlib import Path

from bench.scenarios import SCENARIOS
from bench.tables import Run, counting, median, table

BEGIN, END = "<!-- figures: written by make bench -->\n", "<!-- end of figures -->\n"
LOADED = ("fan100", "fan500", "rooms50")
PACED = "paced100"
README = Path(__file__).parents[1] / "README.md"


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


def _cell(runs: Sequence[Run], peer: str, scenario: str, key: str, form: str) -> str:
    mine = counting([run for run in runs if run["peer"] == peer and run["scenario"] == scenario])
    return median(mine, key, form) or "not run"


if __name__ == "__main__":
    quote(Path(__file__).parent / "results" / "runs.jsonl", README)
