"""The figures of a running server, for `chatctl stats`."""

import os
import resource
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from typing import Any, Final

from chatserver import __version__
from chatserver.operation.companion import Running
from chatserver.operation.monitoring.counters import BusNumbers, snapshot
from chatserver.util.times import rfc3339, unix_now

STATM: Final = Path("/proc/self/statm")
"""proc(5): memory in pages. The kernel answers at once."""


async def figures(running: Running) -> dict[str, Any]:
    """Words and numbers. Times are in seconds, memory in bytes, and counts begin with the start of the server."""
    found = await snapshot(running)
    stages: dict[str, int] = {}
    doors: dict[str, int] = {}
    for (stage, _, door), count in found.connections.items():
        stages[stage] = stages.get(stage, 0) + count
        doors[door] = doors.get(door, 0) + count
    return {
        "version": __version__,
        "node": running.lease.me.node,
        "pid": os.getpid(),
        "started": rfc3339(datetime.fromtimestamp(found.started, UTC)),
        "uptime": round(unix_now() - found.started, 1),
        "memory": memory_bytes(),
        "connections": sum(stages.values()),
        "stages": stages,
        "doors": doors,
        "accounts": found.accounts,
        "rooms": found.rooms,
        "subscriptions": found.subscriptions,
        "accepted": found.accepted,
        "turned_away": sum(found.turned_away.values()),
        "commands": sum(found.commands.values()),
        "refusals": sum(found.refusals.values()),
        "messages": found.stored,
        "deliveries": found.delivered,
        "caught_up": found.caught_up,
        "readers_behind": found.behind.readers,
        "entries_behind": found.behind.entries,
        "most_behind": found.behind.most,
        "queued": sum(found.queued.values()),
        "hashes_waiting": found.hashes_waiting,
        "store_errors": sum(found.store_errors.values()),
        "received": found.bytes_received,
        "sent": found.bytes_sent,
        "commit_median": found.commit_seconds.quantile(0.5),
        "commit_99": found.commit_seconds.quantile(0.99),
        "lag_99": found.lag_seconds.quantile(0.99),
        **({} if found.bus is None else {"bus": _bus(found.bus)}),
    }


def _bus(bus: BusNumbers) -> dict[str, Any]:
    return {
        "nodes": bus.nodes,
        "connected": bus.connected,
        "lag": None if isnan(bus.lag) else round(bus.lag, 4),
        "reconnects": bus.reconnects,
        "frames": bus.frames,
        "gaps": bus.gaps,
        "sent": bus.bytes_sent,
        "received": bus.bytes_received,
        "entries": bus.entries,
    }


def memory_bytes() -> int:
    """The memory that this process uses now or, where the system does not report that, its maximum."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
