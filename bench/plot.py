"""Line charts as SVG, with logarithmic axes, bars for the spread, and each name at the end of its line."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 46, 52
NOTE = 22
COLOURS = {
    "chatserver-pg": "#0b62c4", "chatserver-pg-newest": "#5b8def", "chatserver-sqlite": "#12a0b4", "ngircd": "#d9480f",
    "inspircd": "#8a3ab9", "prosody-pg": "#2f8f2f",
}  # fmt: skip
OTHER_COLOUR = "#555555"
LABEL_DISTANCE = 15.0  # between two names, in pixels


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    low: float
    high: float


class Axis:
    """A logarithmic scale that begins and ends at 1, 2 or 5 times a power of ten."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = min(values), max(values)
        self._low = max((t for t in _ticks(low) if t <= low), default=low)
        self._high = min((t for t in _ticks(high) if t >= high), default=high)
        if self._high <= self._low:
            self._high = self._low * 10
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        share = math.log(value / self._low) / math.log(self._high / self._low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        decades = math.log10(self._high / self._low)
        steps = (1, 2, 5) if decades < 2.5 else (1,)
        first, last = math.floor(math.log10(self._low)), math.ceil(math.log10(self._high))
        ticks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
        return [tick for tick in ticks if self._low * 0.999 <= tick <= self._high * 1.001]


def _ticks(value: float) -> list[float]:
    power = math.floor(math.log10(value))
    return [step * 10.0**exponent for exponent in (power - 1, power, power + 1) for step in (1, 2, 5)]


def number(value: float) -> str:
    """A number for a tick or a table, with three significant digits and a unit prefix."""
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def chart(title: str, x_name: str, y_name: str, lines: Mapping[str, Sequence[Point]], note: str = "") -> str:
    """The chart as SVG, with a note below; empty if no line has two points."""
    lines = {name: [point for point in points if point.low > 0] for name, points in lines.items()}
    lines = {name: points for name, points in lines.items() if points}
    if max((len(points) for points in lines.values()), default=0) < 2:
        return ""
    every = [point for points in lines.values() for point in points]
    x = Axis([point.x for point in every], LEFT, WIDTH - RIGHT)
    y = Axis([p.low for p in every] + [p.high for p in every], HEIGHT - BOTTOM, TOP)
    height = HEIGHT + (NOTE if note else 0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        '<g font-family="sans-serif" font-size="12" fill="#222">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
        _grid(x, y),
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_name)}</text>',
        f'<g transform="translate(16 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)">',
        f'<text text-anchor="middle">{escape(y_name)}</text></g>',
    ]
    parts += [_line(points, x, y, COLOURS.get(name, OTHER_COLOUR)) for name, points in lines.items()]
    if note:
        parts.append(f'<text x="{LEFT}" y="{HEIGHT + 8}" font-size="11" fill="#666">{escape(note)}</text>')
    parts.append(_names({name: (x.at(points[-1].x), y.at(points[-1].y)) for name, points in lines.items()}))
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _grid(x: Axis, y: Axis) -> str:
    parts = []
    for tick in x.ticks():
        at = f"{x.at(tick):.1f}"
        parts.append(f'<path d="M{at} {TOP}V{HEIGHT - BOTTOM}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{at}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{number(tick)}</text>')
    for tick in y.ticks():
        at = f"{y.at(tick):.1f}"
        parts.append(f'<path d="M{LEFT} {at}H{WIDTH - RIGHT}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at}" dy="4" text-anchor="end">{number(tick)}</text>')
    return "\n".join(parts)


def _line(points: Sequence[Point], x: Axis, y: Axis, colour: str) -> str:
    path = " ".join(f"{x.at(point.x):.1f},{y.at(point.y):.1f}" for point in points)
    parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>']
    for point in points:
        across = f"{x.at(point.x):.1f}"
        parts.append(f'<circle cx="{across}" cy="{y.at(point.y):.1f}" r="3.5" fill="{colour}"/>')
        if point.high > point.low:
            spread = f"M{across} {y.at(point.low):.1f}V{y.at(point.high):.1f}"
            parts.append(f'<path d="{spread}" stroke="{colour}" stroke-width="1.5" opacity="0.6"/>')
    return "\n".join(parts)


def _names(ends: Mapping[str, tuple[float, float]]) -> str:
    """The names of the lines, each next to its last point; moved apart if they would overlap."""
    parts, above = [], -math.inf
    for name, (across, down) in sorted(ends.items(), key=lambda end: end[1][1]):
        above = max(down, above + LABEL_DISTANCE)
        parts.append(
            f'<text x="{max(across, WIDTH - RIGHT) + 10:.1f}" y="{above:.1f}" dy="4" '
            f'fill="{COLOURS.get(name, OTHER_COLOUR)}">{escape(name)}</text>'
        )
    return "\n".join(parts)
