"""The tables of the report, as Markdown."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

Run = dict[str, Any]
YARDSTICK = "ngircd"
PLACES = {"oldest tenth": (0.0, 0.1), "middle": (0.45, 0.55), "newest tenth": (0.9, 1.0)}
"""The parts of a log from which pages are read, as shares of its length."""


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
    """CPU time per delivery, in microseconds."""
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


def _pair(runs: Sequence[Run], latency: str) -> str:
    """The median of p50, and p99 with its spread."""
    return f"{median(runs, f'{latency}.p50', '.2f').partition(' ')[0]} / {median(runs, f'{latency}.p99', '.2f')}"


def _memory(runs: Sequence[Run], where: str) -> str:
    return f"{median(runs, f'{where}.before_mib')} → {median(runs, f'{where}.most_mib')}"


def stored_table(runs: Sequence[Run]) -> str:
    rows = []
    for scenario in dict.fromkeys(run["scenario"] for run in runs):
        for peer, every in _by_peer([run for run in runs if run["scenario"] == scenario]).items():
            good = counting(every)
            database = [run["database_ms"] for run in good if run.get("database_ms")]
            spent = f"{median(database, 'mean', '.2f')} / {max(one['max'] for one in database):.2f}" if database else ""
            pages = [_pair(good, f"pages_ms.{place}") for place in PLACES] if good else []
            entries = f"{int(scenario.removeprefix('stored')):,}"
            rows.append([peer, _counted(every), entries, _pair(good, "lat_ms"), *pages, spent])
    head = ["", "runs that count", "entries before", "live p50 / p99 ms",
            *(f"page, {place}, p50 / p99 ms" for place in PLACES),
            "page at the database, mean / longest ms"]  # fmt: skip
    return table(head, rows)


def resume_table(runs: Sequence[Run]) -> str:
    rows = []
    for peer, every in _by_peer(runs).items():
        good = counting(every)
        speed = [median(good, f"resumed.{name}") for name in ("entries_per_s", "entries")]
        latency = [median(good, name, ".2f") for name in ("alone.lat_ms.p99", "lat_ms.p99")]
        rows.append([peer, _counted(every), *speed, *latency, _memory(good, "resumed")])
    head = ["", "runs that count", "entries/s", "entries read", "live p99 ms before", "live p99 ms meanwhile",
            "server MiB, before → most"]  # fmt: skip
    return table(head, rows)


def stalled_table(runs: Sequence[Run]) -> str:
    rows = []
    for peer, every in _by_peer(runs).items():
        good = counting(every)
        speed = [median(good, name) for name in ("alone.msgs_per_s", "msgs_per_s")]
        latency = [_pair(good, name) for name in ("alone.lat_ms", "filling.lat_ms", "lat_ms")]
        rows.append([peer, _counted(every), *speed, *latency, _memory(good, "memory")])
    head = ["", "runs that count", "messages/s without them", "with them", "p50 / p99 ms without",
            "in their first second", "with", "server MiB, before → most"]  # fmt: skip
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
    "stored": "A long log: live messages, and pages of 50 from anywhere",
    "resume": "Resume",
    "stalled": "Members that never read",
    "bigroom": "A room of 10,000",
}
