"""Measures the plot in the project's README alone. `make bench-plot` runs it; options are those of `bench.run`."""

import sys
import tempfile
from pathlib import Path

from bench import quote, run
from bench.scenarios import README_SERIES


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="chatserver-bench-") as folder:
        chosen = [
            "--scenario",
            ",".join(README_SERIES.points),
            "--peer",
            ",".join(quote.PLOTTED_PEERS),
            "--out",
            folder,
        ]
        run.main([*chosen, *sys.argv[1:]])
        if not quote.keep_members(Path(folder) / "results" / "runs.jsonl", quote.PLOTTED):
            sys.exit("Some of the scenarios were not measured. The plot is as it was.")
    quote.PLOT.write_text(quote.drawn(quote.PLOTTED))
    print(f"The plot is {quote.PLOT}.")


if __name__ == "__main__":
    main()
