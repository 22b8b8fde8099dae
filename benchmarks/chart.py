"""What was measured as a picture: one SVG without scripts or fonts from elsewhere, for light and dark surroundings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

__all__ = ["chart"]

_WIDTH, _MARGIN, _GAP = 880.0, 28.0, 36.0
_LABEL, _VALUE = 142.0, 58.0  # room for names at the left of a bar, and for the value at its right
_ROW, _BAR = 24.0, 15.0
_TITLES = {
    "J1": "J1: parse, keep 30 %, edit, write",
    "J2": "J2: parse, add a field, write all",
    "J3": "J3: count by a key",
    "keep 1 %": "A filter that keeps 1 %",
}
_OURS = "rx_collector"
_TOOLS = (
    "jq",
    "fluent-bit",
    "vector",
    "benthos",
    "redpanda-connect",
)  # they may be so slow that the scale leaves them out
_GROWTH = {
    "operators": ("operators", "cpu_us", "µs an event"),
    "sinks": ("sinks", "cpu_us", "µs an event"),
    "events": ("events", "cpu_us", "µs an event"),
    "runners": ("runners", "memory_mb", "MB"),
    "line length": ("bytes a line", "cpu_ns_byte", "ns a byte"),
}
_STYLE = """\
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; font-size: 12px; fill: #1f2937 }
.heading { font-size: 16px; font-weight: 600 }
.title { font-size: 13px; font-weight: 600 }
.quiet { fill: #5b6472; font-size: 11px }
.ours { font-weight: 600 }
.end { text-anchor: end }
.middle { text-anchor: middle }
.background { fill: #ffffff }
.bar { fill: #c3ccd8 }
.bar.mine { fill: #0f766e }
.typed { stroke: #5b6472; stroke-width: 1; stroke-dasharray: 3 3 }
.break { stroke: #ffffff; stroke-width: 3 }
.axis { stroke: #d5dbe3; stroke-width: 1 }
.curve { fill: none; stroke: #0f766e; stroke-width: 2; stroke-linejoin: round }
.dot { fill: #0f766e }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.quiet { fill: #9aa6b5 }
.background { fill: #0d1117 }
.bar { fill: #3b4656 }
.bar.mine { fill: #2dd4bf }
.typed { stroke: #9aa6b5 }
.break { stroke: #0d1117 }
.axis { stroke: #2b3440 }
.curve { stroke: #2dd4bf }
.dot { fill: #2dd4bf }
}
"""


def chart(found: Mapping[str, Any]) -> str:
    """Draw the jobs as bars, and growth as curves where it was measured."""
    parts = found["parts"]
    body: list[str] = []
    y = _MARGIN
    if "jobs" in parts:
        y = _jobs(parts["jobs"], y, body)
    if "growth" in parts:
        y = _growth(parts["growth"]["results"], y, body)
    machine = found["machine"]
    about = f"{found['date']}, {machine['processors']} processors, Python {machine['python']}; CPU time with all children, medians"
    body.append(_text(_MARGIN, y + 6, about, "quiet"))
    height = y + 6 + _MARGIN * 0.7
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH:g}" height="{height:g}" viewBox="0 0 {_WIDTH:g} {height:g}" '
        f'role="img" aria-label="CPU time for each event, beside other ways to do the same">'
    )
    frame = f'<rect class="background" width="{_WIDTH:g}" height="{height:g}" rx="8"/>'
    return "\n".join([head, f"<style>\n{_STYLE}</style>", frame, *body, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, classes: str = "") -> str:
    named = f' class="{classes}"' if classes else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _jobs(measured: Mapping[str, Any], y: float, body: list[str]) -> float:
    """Draw the bars of all jobs in two columns, and give where the next thing can stand."""
    body.append(_text(_MARGIN, y + 12, "CPU time for each event", "heading"))
    body.append(
        _text(
            _WIDTH - _MARGIN, y + 12, "µs, less is better; the dashed line is the loop with a typed Struct", "quiet end"
        )
    )
    y += 42
    width = (_WIDTH - 2 * _MARGIN - _GAP) / 2
    results = list(measured["results"].items())
    for begin in range(0, len(results), 2):
        lowest = y
        for column, (job, contenders) in enumerate(results[begin : begin + 2]):
            x = _MARGIN + column * (width + _GAP)
            lowest = max(lowest, _bars(_TITLES[job], contenders, x, y, width, body))
        y = lowest + 22
    return y


def _bars(title: str, contenders: Mapping[str, Any], x: float, y: float, width: float, body: list[str]) -> float:
    body.append(_text(x, y, title, "title"))
    values = {name: row["cpu_us"] for name, row in contenders.items()}
    room = width - _LABEL - _VALUE
    most = max(value for name, value in values.items() if name not in _TOOLS)
    scale = room / (most * (1.15 if any(value > most for value in values.values()) else 1.0))
    top = y + 12
    for number, name in enumerate(sorted(values, key=lambda name: values[name])):
        value, row = values[name], top + number * _ROW
        mine = name == _OURS
        length = max(min(value * scale, room), 1.0)
        body.append(_text(x + _LABEL - 10, row + 12, name, "end ours" if mine else "end"))
        mark = "bar mine" if mine else "bar"
        body.append(
            f'<rect class="{mark}" x="{x + _LABEL:.1f}" y="{row:.1f}" width="{length:.1f}" height="{_BAR:g}" rx="2"/>'
        )
        if value * scale > room:  # the bar is cut off, and says so
            cut = x + _LABEL + length - 16
            body.append(f'<path class="break" d="M{cut:.1f} {row + _BAR + 2:.1f} l6 {-_BAR - 4:g}"/>')
        body.append(_text(x + _LABEL + length + 6, row + 12, f"{value:.2f}", "ours" if mine else ""))
    bottom = top + len(values) * _ROW
    line = x + _LABEL + values["by hand, typed Struct"] * scale
    body.append(f'<path class="typed" d="M{line:.1f} {top - 4:.1f} V{bottom - 5:.1f}"/>')
    return bottom


def _growth(results: Mapping[str, Sequence[Mapping[str, float]]], y: float, body: list[str]) -> float:
    """Draw a small curve for each thing that grows."""
    shown = [(what, results[what]) for what in _GROWTH if len(results.get(what, ())) > 1]
    if not shown:
        return y
    body.append(_text(_MARGIN, y + 14, "What grows with what", "heading"))
    body.append(
        _text(_WIDTH - _MARGIN, y + 14, "sizes on a logarithmic axis; each vertical axis begins at 0", "quiet end")
    )
    y += 42
    gap = 30.0
    width = (_WIDTH - 2 * _MARGIN - gap * (len(shown) - 1)) / len(shown)
    for number, (what, points) in enumerate(shown):
        body += _curve(what, points, _MARGIN + number * (width + gap), y, width)
    return y + 150


def _curve(what: str, points: Sequence[Mapping[str, float]], x: float, y: float, width: float) -> Iterator[str]:
    label, key, unit = _GROWTH[what]
    height = 84.0
    top = y + 24
    sizes = [math.log(point["size"]) for point in points]
    values = [point[key] for point in points]
    most = max(values)
    across = [x + 4 + (size - sizes[0]) / (sizes[-1] - sizes[0]) * (width - 8) for size in sizes]
    down = [top + height - value / most * (height - 16) for value in values]
    yield _text(x, y, what, "title")
    yield _text(x, y + 15, unit, "quiet")
    yield f'<path class="axis" d="M{x:.1f} {top + height:.1f} h{width:.1f}"/>'
    path = " ".join(
        f"{'L' if number else 'M'}{a:.1f} {d:.1f}" for number, (a, d) in enumerate(zip(across, down, strict=True))
    )
    yield f'<path class="curve" d="{path}"/>'
    for a, d in zip(across, down, strict=True):
        yield f'<circle class="dot" cx="{a:.1f}" cy="{d:.1f}" r="2.5"/>'
    yield _text(across[0] - 4, down[0] - 8, _short(values[0]), "quiet")
    yield _text(across[-1] + 4, down[-1] - 8, _short(values[-1]), "quiet end")
    yield _text(x, top + height + 15, _short(points[0]["size"]), "quiet")
    yield _text(x + width / 2, top + height + 15, label, "quiet middle")
    yield _text(x + width, top + height + 15, _short(points[-1]["size"]), "quiet end")


def _short(value: float) -> str:
    """Say a number in a few characters."""
    if value >= 1e6:
        return f"{value / 1e6:g}M" if value % 1e5 == 0 else f"{value / 1e6:.1f}M"
    if value >= 1e4:
        return f"{value / 1e3:.0f}k"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
