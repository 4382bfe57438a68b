"""Tables of the report: rows of runs to Markdown."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

Run = dict[str, Any]
YARDSTICK = "ngircd"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def counting(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if not run["faults"]]


def figure(run: Run, key: str) -> float:
    """A figure by its path, as in `lat_ms.p99`."""
    value: Any = run
    for part in key.split("."):
        value = value[part]
    return float(value)


def median(runs: Sequence[Run], of: str | Callable[[Run], float], form: str = ",.0f") -> str:
    values = sorted(figure(run, of) if isinstance(of, str) else of(run) for run in runs)
    if not values:
        return ""
    middle = format(statistics.median(values), form)
    return middle if len(values) == 1 else f"{middle} ({values[0]:{form}}–{values[-1]:{form}})"


def _by_peer(runs: Sequence[Run]) -> dict[str, list[Run]]:
    peers: dict[str, list[Run]] = {}
    for run in runs:
        peers.setdefault(run["peer"], []).append(run)
    return peers


def _counted(all_runs: Sequence[Run]) -> str:
    return f"{len(counting(all_runs))} of {len(all_runs)}"


def _cpu(run: Run, *, database: bool = True) -> float:
    """Microseconds of CPU for a delivery."""
    groups = run["server"] if database else {"server": run["server"]["server"]}
    return float(sum(group["cpu_s"] for group in groups.values()) * 1e6 / max(1, run["received"]))


def load_table(runs: Sequence[Run]) -> str:
    peers = _by_peer(runs)
    yard = [run["deliveries_per_s"] for run in counting(peers.get(YARDSTICK, []))]
    paced = runs and any(run.get("mode") == "paced" for run in runs)
    rows = []
    for peer, every in peers.items():
        good = counting(every)
        share = ""
        if yard and good:
            ratio = statistics.median(run["deliveries_per_s"] for run in good) / statistics.median(yard)
            share = f"{ratio:.2f}"
        cpu = median(good, _cpu, ".2f")
        if good and "postgres" in good[0]["server"]:
            cpu += f", of it database {statistics.median(_cpu(r) - _cpu(r, database=False) for r in good):.2f}"
        speed = [median(good, "msgs_per_s"), median(good, "deliveries_per_s"), share]
        lag = [median(good, lambda run: run["send_lag_ms"]["p99"], ".2f")] if paced else []
        latency = [median(good, f"lat_ms.{name}", ".2f") for name in ("p50", "p99", "max")]
        busy = median(good, "gen_busy", ".2f")
        rows.append([peer, _counted(every), *([] if paced else speed), *latency, cpu, *lag, busy])
    head = ["", "runs that count"]
    head += [] if paced else ["messages/s", "deliveries/s", f"of {YARDSTICK}"]
    head += [
        "p50 ms",
        "p99 ms",
        "max ms",
        "CPU µs/delivery",
        *(["sent late, p99 ms"] if paced else []),
        "generator busy",
    ]
    return table(head, rows)


def idle_table(runs: Sequence[Run]) -> str:
    rows = []
    for peer, every in _by_peer(runs).items():
        good = counting(every)

        def login_ms(run: Run) -> float:
            return float(sum(group["login_cpu_s"] for group in run["server"].values()) * 1e3 / run["clients"])

        memory = median(good, "server.server.rss_kb_per_client", ".1f")
        whole = median(good, lambda run: run["server"]["server"]["rss_kb"] / 1024, ".0f")
        rows.append([peer, _counted(every), median(good, "logins_per_s"), median(good, login_ms, ".3f"), memory, whole])
    head = ["", "runs that count", "logins/s", "CPU ms/login", "KiB resident/connection", "MiB in all"]
    return table(head, rows)


def stored_table(runs: Sequence[Run]) -> str:
    rows = []
    for run in counting(runs):
        pages = run["pages_ms"]
        database = run.get("database_ms") or {}
        spent = f"{database['mean']:.2f} / {database['max']:.2f}" if database else ""
        shown = [f"{page['p50']:.2f} / {page['p99']:.2f}" for page in pages.values()]
        latency = f"{run['lat_ms']['p50']:.2f} / {run['lat_ms']['p99']:.2f}"
        rows.append([run["peer"], f"{int(run['scenario'].removeprefix('stored')):,}", latency, *shown, spent])
    head = [
        "",
        "entries before",
        "live p50 / p99 ms",
        "page, oldest tenth, p50 / p99 ms",
        "page, middle",
        "page, newest",
    ]
    return table([*head, "page at the database, mean / max ms"], rows)


def resume_table(runs: Sequence[Run]) -> str:
    rows = [
        [run["peer"], f"{run['resumed']['entries_per_s']:,.0f}", f"{run['resumed']['entries']:,}",
         f"{run['alone']['lat_ms']['p99']:.2f}", f"{run['lat_ms']['p99']:.2f}",
         f"{run['resumed']['before_mib']:.0f} → {run['resumed']['most_mib']:.0f}"]
        for run in counting(runs)
    ]  # fmt: skip
    head = ["", "entries/s", "entries read", "live p99 ms before", "live p99 ms meanwhile", "server MiB, before → most"]
    return table(head, rows)


def stalled_table(runs: Sequence[Run]) -> str:
    rows = []
    for run in counting(runs):
        before, after = run["alone"], run
        filling = run["filling"]
        rows.append(
            [run["peer"], f"{before['msgs_per_s']:,.0f}", f"{after['msgs_per_s']:,.0f}",
             f"{before['lat_ms']['p50']:.2f} / {before['lat_ms']['p99']:.2f}",
             f"{filling['lat_ms']['p50']:.2f} / {filling['lat_ms']['p99']:.2f}",
             f"{after['lat_ms']['p50']:.2f} / {after['lat_ms']['p99']:.2f}",
             f"{run['memory']['before_mib']:.0f} → {run['memory']['most_mib']:.0f}"]
        )  # fmt: skip
    head = ["", "messages/s without them", "with them", "p50 / p99 ms without", "in their first second", "with",
            "server MiB, before → most"]  # fmt: skip
    return table(head, rows)


def bigroom_table(runs: Sequence[Run]) -> str:
    rows = []
    for peer, every in _by_peer(runs).items():
        good = counting(every)
        latency = [median(good, f"lat_ms.{name}", ".1f") for name in ("p50", "p99", "max")]
        rows.append([peer, _counted(every), *latency, median(good, "beside.lat_ms.p99", ".2f")])
    head = ["", "runs that count", "p50 ms", "p99 ms", "last member, max ms", "other room's p99 ms"]
    return table(head, rows)


TABLES: dict[str, Callable[[Sequence[Run]], str]] = {
    "load": load_table,
    "idle": idle_table,
    "stored": stored_table,
    "resume": resume_table,
    "stalled": stalled_table,
    "bigroom": bigroom_table,
}
PROBE_TITLES = {
    "stored": "A long log: live messages, and a page of 50 anywhere",
    "resume": "Resume",
    "stalled": "Members that never read",
    "bigroom": "A room of 10,000",
}
