"""`chatctl stats` and `reload`: the running server itself."""

from typing import Any

import click

from chatserver.chatctl.access import Access, access
from chatserver.chatctl.control import ask
from chatserver.chatctl.output import counted, json_option, milliseconds, say, say_all, size, span
from chatserver.operation.control.requests import Reload, Stats


@click.command()
@json_option
@access
def stats(reach: Access, as_json: bool) -> None:
    """Show what the running server does, in figures.

    Connections, messages, queue, delays and memory. What is counted is counted since the start.
    """
    found = ask(reach, Stats())
    say_all(_lines(found), found, as_json)


def _lines(found: dict[str, Any]) -> list[tuple[str, object]]:
    return [
        ("Version", found["version"]),
        ("Node", f"{found['node']} (process {found['pid']})"),
        ("Started", f"{found['started']} ({span(found['uptime'])} ago)"),
        ("Memory", size(found["memory"])),
        ("Connections", f"{found['connections']:,} ({_counts(found['stages']) or 'none'})"),
        ("Doors", _counts(found["doors"])),
        ("Accounts", f"{found['accounts']:,} online"),
        ("Rooms", f"{found['rooms']:,} heard, by {counted(found['subscriptions'], 'subscriber')}"),
        (
            "Behind",
            f"{counted(found['readers_behind'], 'reader')}, by {counted(found['entries_behind'], 'entry', 'entries')}",
        ),
        (
            "Messages",
            f"{found['messages']:,} stored, {found['deliveries']:,} delivered, {found['caught_up']:,} read later",
        ),
        ("Commands", f"{found['commands']:,}, {found['refusals']:,} refused"),
        ("Queue", f"{counted(found['queued'], 'session')}, {counted(found['hashes_waiting'], 'login')}"),
        (
            "Commits",
            f"half within {milliseconds(found['commit_median'])}, 99 % within {milliseconds(found['commit_99'])}",
        ),
        ("Lag", f"99 % within {milliseconds(found['lag_99'])}"),
        ("Database", counted(found["store_errors"], "error")),
        ("Bytes", f"{size(found['received'])} received, {size(found['sent'])} sent"),
        *(_bus_lines(found["bus"]) if "bus" in found else []),
    ]


def _bus_lines(bus: dict[str, Any]) -> list[tuple[str, object]]:
    connected = "connected" if bus["connected"] else "not connected"
    lag = "" if bus["lag"] is None else f", {milliseconds(bus['lag'])} for a frame"
    entries = bus["entries"]
    return [
        ("Nodes", f"{counted(bus['nodes'], 'other one')} alive"),
        ("Bus", f"{connected}{lag}, {counted(bus['reconnects'], 'reconnect')}"),
        ("Frames", f"{_counts(bus['frames'])}, {counted(bus['gaps'], 'gap')}"),
        ("Carried", f"{size(bus['received'])} received, {size(bus['sent'])} sent"),
        ("Entries", f"{entries['bus']:,} over the bus, {entries['store']:,} late, from the database"),
    ]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {word}" for word, count in sorted(counts.items()))


@click.command()
@json_option
@access
def reload(reach: Access, as_json: bool) -> None:
    """Reload the settings and certificates of the running server.

    The exit status is 1 if nothing was changed because a setting is wrong.
    """
    result = ask(reach, Reload())
    changed, kept = result["changed"], result["kept"]
    note = f"Changed: {', '.join(changed)}." if changed else "Nothing has changed."
    later = f" At the next start: {', '.join(kept)}." if kept else ""
    say(note + later, result, as_json)
