"""Draws a dashboard in Grafana's model as one page of HTML and SVG, from the data of its queries."""

import time
from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import floor, isfinite, log10
from typing import Any, Final

Series = tuple[str, Sequence[tuple[float, float]]]
"""A name, and values by time in seconds since 1970."""

WIDTH: Final = 1560
CELL_HEIGHT: Final = 34
GAP: Final = 8
COLOURS: Final = (
    "#1f6fb4", "#d9600b", "#2f8f3e", "#b02f8f", "#7d55c7", "#0f9aa8", "#c23b3b", "#8a7a1f", "#5b6b7a", "#e08fb0",
)  # fmt: skip
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 30, 22
LEGEND: Final = 30
FONT: Final = "DejaVu Sans, sans-serif"


def page(dashboard: Mapping[str, Any], data: Mapping[int, Sequence[Series]], note: str) -> str:
    """`data`: by the id of a panel."""
    cell = WIDTH / 24
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    height = 56 + rows * CELL_HEIGHT + 26
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="{FONT}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#f1f3f5"/>',
        f'<text x="14" y="36" font-size="22" fill="#20262c">{escape(dashboard["title"])}</text>',
    ]
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        width, tall = place["w"] * cell - GAP, place["h"] * CELL_HEIGHT - GAP
        draw = _stat if panel["type"] == "stat" else _graph
        inside = draw(panel, data[panel["id"]], width, tall)
        at = f"translate({place['x'] * cell + GAP / 2:.1f} {56 + place['y'] * CELL_HEIGHT})"
        parts.append(
            f'<g transform="{at}"><rect width="{width:.1f}" height="{tall}" rx="3" fill="white" stroke="#d6dade"/>'
            f'<text x="10" y="19" font-size="12.5" fill="#20262c">{escape(panel["title"])}</text>{inside}</g>'
        )
    parts.append(f'<text x="14" y="{height - 9}" font-size="11" fill="#59636e">{escape(note)}</text></svg>')
    return f'<!doctype html><meta charset="utf-8"><style>body{{margin:0}}svg{{display:block}}</style>{"".join(parts)}'


def size(dashboard: Mapping[str, Any]) -> tuple[int, int]:
    """Size of the page, in pixels."""
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    return WIDTH, 56 + rows * CELL_HEIGHT + 26


def _stat(panel: Mapping[str, Any], series: Sequence[Series], width: float, tall: float) -> str:
    defaults = panel["fieldConfig"]["defaults"]
    values = [points[-1][1] for _, points in series if points]
    shown, colour = "–", "#59636e"
    if values:
        shown = formatted(values[0], defaults["unit"], defaults.get("decimals"))
        colour = "#1f6fb4"
        for step in defaults.get("thresholds", {}).get("steps", ()):
            if step["value"] is None or values[0] >= step["value"]:
                colour = {"green": "#2f8f3e", "orange": "#d9600b", "red": "#c23b3b"}[step["color"]]
    return (
        f'<text x="{width / 2:.1f}" y="{tall * 0.68:.1f}" font-size="30" text-anchor="middle" fill="{colour}">'
        f"{escape(shown)}</text>"
    )


def _graph(panel: Mapping[str, Any], series: Sequence[Series], width: float, tall: float) -> str:
    defaults = panel["fieldConfig"]["defaults"]
    stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    lines = [(name, list(points)) for name, points in series if points]
    if not lines:
        return _label(width / 2, tall / 2, "middle", "No data")
    bottoms = _stacked(lines) if stacked else [[0.0] * len(points) for _, points in lines]
    first = min(points[0][0] for _, points in lines)
    last = max(points[-1][0] for _, points in lines)
    highest = max(
        bottom + value
        for (_, points), under in zip(lines, bottoms, strict=True)
        for (_, value), bottom in zip(points, under, strict=True)
    )
    ticks = _ticks(highest, defaults["unit"])
    right, low = width - RIGHT, tall - BOTTOM - LEGEND

    def x(at: float) -> float:
        return LEFT + (right - LEFT) * (at - first) / max(last - first, 1)

    def y(value: float) -> float:
        return low - (low - TOP) * value / ticks[-1]

    parts = []
    for tick in ticks:
        parts.append(f'<path d="M{LEFT} {y(tick):.1f}H{right:.1f}" stroke="#e6e9ec"/>')
        parts.append(_label(LEFT - 6, y(tick) + 4, "end", formatted(tick, defaults["unit"])))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = first + (last - first) * share
        parts.append(_label(x(at), low + 15, "middle", time.strftime("%H:%M", time.localtime(at))))
    for index, ((_, points), under) in enumerate(zip(lines, bottoms, strict=True)):
        colour = COLOURS[index % len(COLOURS)]
        upper = [(x(at), y(value + bottom)) for (at, value), bottom in zip(points, under, strict=True)]
        line = "L".join(f"{px:.1f} {py:.1f}" for px, py in upper)
        lower = [(x(at), y(bottom)) for (at, _), bottom in zip(points, under, strict=True)]
        area = line + "L" + "L".join(f"{px:.1f} {py:.1f}" for px, py in reversed(lower))
        opacity = defaults["custom"]["fillOpacity"] / 100
        parts.append(f'<path d="M{area}Z" fill="{colour}" fill-opacity="{opacity}"/>')
        parts.append(f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="1.2"/>')
    return "".join(parts) + _legend([name for name, _ in lines], width, tall)


def _stacked(lines: Sequence[tuple[str, list[tuple[float, float]]]]) -> list[list[float]]:
    """Where each value of each series begins."""
    reached: dict[float, float] = {}
    found = []
    for _, points in lines:
        found.append([reached.get(at, 0.0) for at, _ in points])
        for at, value in points:
            reached[at] = reached.get(at, 0.0) + value
    return found


def _legend(names: Sequence[str], width: float, tall: float) -> str:
    parts, at, line = [], 12.0, 0
    for index, name in enumerate(names):
        needs = 26 + 6.0 * len(name)
        if at + needs > width and at > 12:
            at, line = 12.0, line + 1
        if line > 1:
            break
        base = tall - LEGEND + 10 + 14 * line
        colour = COLOURS[index % len(COLOURS)]
        parts.append(f'<rect x="{at:.1f}" y="{base - 5:.1f}" width="12" height="3" fill="{colour}"/>')
        parts.append(_label(at + 16, base, "start", name))
        at += needs
    return "".join(parts)


def _label(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="10" text-anchor="{anchor}" fill="#59636e">{escape(text)}</text>'


def _ticks(highest: float, unit: str) -> list[float]:
    """From 0 to a round number, in this unit, above the highest value."""
    if highest <= 0 or not isfinite(highest):
        return [0.0, 1.0]
    scale = next((size for size, _ in _STEPS.get(unit, ()) if highest >= size >= 1), 1.0)
    size = 10.0 ** floor(log10(highest / scale)) * scale
    step = next(step for step in (0.25 * size, 0.5 * size, size, 2.5 * size) if highest / step <= 5)
    count = int(-(-highest // step))
    return [step * number for number in range(count + 1)]


def formatted(value: float, unit: str, decimals: int | None = None) -> str:
    """A value in one of the units of Grafana that the dashboard uses."""
    return _UNITS[unit](value, decimals)


def _scaled(value: float, steps: Sequence[tuple[float, str]], decimals: int | None) -> str:
    size, suffix = next(((size, suffix) for size, suffix in steps if abs(value) >= size), steps[-1])
    scaled = value / size
    text = f"{scaled:.{decimals}f}" if decimals is not None and size == 1 else f"{scaled:.3g}"
    return f"{text}{suffix}"


_BYTES: Final = ((2.0**30, " GiB"), (2.0**20, " MiB"), (2.0**10, " KiB"), (1.0, " B"))
_SECONDS: Final = ((86400.0, " d"), (3600.0, " h"), (60.0, " min"), (1.0, " s"), (1e-3, " ms"), (1e-6, " µs"))
_STEPS: Final = {"bytes": _BYTES, "Bps": _BYTES, "s": _SECONDS}


def _seconds(value: float, decimals: int | None) -> str:
    return "0" if value == 0 else _scaled(value, _SECONDS, None)


def _bytes(value: float, decimals: int | None) -> str:
    return "0" if value == 0 else _scaled(value, _BYTES, None)


def _short(value: float, decimals: int | None) -> str:
    if 1e3 <= value < 1e4:
        return f"{value:.0f}"
    return _scaled(value, ((1e6, " M"), (1e3, " K"), (1.0, "")), decimals)


_UNITS: Final[dict[str, Callable[[float, int | None], str]]] = {
    "short": _short,
    "ops": lambda value, decimals: f"{_short(value, decimals)}/s",
    "s": _seconds,
    "bytes": _bytes,
    "Bps": lambda value, decimals: f"{_bytes(value, decimals)}/s",
    "bool_yes_no": lambda value, decimals: "Yes" if value else "No",
}
