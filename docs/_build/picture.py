"""A marble picture: time goes to the right, what comes in is above a box, what comes out is below it.

It is drawn as one SVG that needs nothing from elsewhere, narrow enough for a phone, for light and dark surroundings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final

from rx_collector.graph.text import is_common, legible, width_of
from rx_collector.units import format_duration

__all__ = ["WIDTH", "Lane", "Marble", "Picture", "draw"]

#: Of a picture, in pixels. On a phone it is shown at three quarters of that, where its letters can still be read.
WIDTH: Final = 440.0
_MARGIN: Final = 14.0
_SIZE: Final = 12.0  # of the letters
_ROW: Final = 15.0  # the height of a line of text
_PAD: Final = 7.0  # beside the text in a marble
_GAP: Final = 6.0  # between two marbles, at least
_ARROW: Final = 14.0  # the part of a line of time that is behind the last marble
_WIDEST: Final = 52  # characters in a line of a marble
_NARROWEST: Final = 5
_COLORS: Final = 6

_STYLE: Final = """\
text { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 12px }
.label, .tick, .note { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
.label { font-size: 12px; font-weight: 600 }
.label, .note { paint-order: stroke; stroke-width: 5px; stroke-linejoin: round }
.tick { font-size: 11px }
.note { font-size: 12px }
.marble { stroke-width: 1.5 }
.gone { stroke-dasharray: 3 3 }
.time { fill: none; stroke-width: 1.5 }
.moment { stroke-width: 1; stroke-dasharray: 1 4 }
.box { stroke-width: 1.25 }
"""
#: The looks of each class, in light and in dark surroundings.
_LOOKS: Final = {
    ".background": ("fill: #ffffff", "fill: #0d1117"),
    ".label, .note": ("stroke: #ffffff", "stroke: #0d1117"),
    "text": ("fill: #1f2937", "fill: #e6edf3"),
    ".quiet, .tick": ("fill: #5b6472", "fill: #9aa6b5"),
    ".wrong": ("fill: #b91c1c", "fill: #ff7b72"),
    ".time": ("stroke: #8b95a5", "stroke: #6b7686"),
    ".arrow": ("fill: #8b95a5", "fill: #6b7686"),
    ".moment": ("stroke: #b6bfcc", "stroke: #3d4756"),
    ".box": ("fill: #f7f5ff; stroke: #8b5cf6", "fill: #1b1630; stroke: #8b5cf6"),
    ".key": ("fill: #6d28d9; font-weight: 600", "fill: #b794f6; font-weight: 600"),
    ".color0": ("fill: #dbeafe; stroke: #2563eb", "fill: #10294f; stroke: #5b9dff"),
    ".color1": ("fill: #dcfce7; stroke: #15803d", "fill: #0f2f1c; stroke: #3fb95f"),
    ".color2": ("fill: #fef3c7; stroke: #b45309", "fill: #33260a; stroke: #d99a2b"),
    ".color3": ("fill: #fce7f3; stroke: #be185d", "fill: #3a1229; stroke: #f472b6"),
    ".color4": ("fill: #cffafe; stroke: #0e7490", "fill: #0b2f38; stroke: #38bdd0"),
    ".color5": ("fill: #ede9fe; stroke: #6d28d9", "fill: #251a45; stroke: #a78bfa"),
    ".gone": ("fill: #ffffff; stroke: #8b95a5", "fill: #0d1117; stroke: #6b7686"),
}


@dataclass(frozen=True)
class Marble:
    """An event: when it came, in seconds; what is written on it, in lines; and its colour.

    What comes of it has its colour. It is `gone` when it does not come out as itself.
    """

    at: float
    lines: tuple[str, ...]
    color: int = 0
    gone: bool = False


@dataclass(frozen=True)
class Lane:
    """A line of time with its marbles. A `note` is written below it, in red when the lane has `failed`."""

    label: str
    marbles: tuple[Marble, ...] = ()
    note: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Picture:
    """What a component does: lanes of what comes in, its YAML, lanes of what comes out. `counts` stand in its box."""

    title: str
    description: str
    above: tuple[Lane, ...]
    yaml: tuple[str, ...]
    below: tuple[Lane, ...]
    counts: str = ""

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """All of them, from top to bottom."""
        return self.above + self.below

    @property
    def moments(self) -> list[float]:
        """When something comes, in order."""
        return sorted({marble.at for lane in self.lanes for marble in lane.marbles})

    @property
    def timeless(self) -> bool:
        """Whether all comes at one moment, so that there is no time to show."""
        return len(self.moments) < 2


@dataclass(frozen=True)
class _Columns:
    """Where each moment stands, from the left, and how many characters a line of a marble has at the most."""

    places: dict[float, float]
    characters: int
    width: float


def draw(picture: Picture) -> str:
    """Give a picture as SVG."""
    columns = _columns(picture)
    body: list[str] = []
    y = _MARGIN
    if not picture.timeless:
        y += 12
        body += _ticks(columns, y)
        y += 6
    else:
        y -= 8
    top = y
    for lane in picture.above:
        y = _lane(lane, columns, y, body)
    y = _box(picture, columns.width, y + 8, body) + 8
    for lane in picture.below:
        y = _lane(lane, columns, y, body)
    height = y + _MARGIN - 6
    return "\n".join(_document(picture, columns, top, height, body)) + "\n"


def _document(picture: Picture, columns: _Columns, top: float, height: float, body: Sequence[str]) -> Iterator[str]:
    size = f"{_number(columns.width)} {_number(height)}"
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_number(columns.width)}" height="{_number(height)}" '
        f'viewBox="0 0 {size}" role="img" aria-labelledby="title description">'
    )
    yield f'<title id="title">{escape(picture.title)}</title>'
    yield f'<desc id="description">{escape(picture.description)}</desc>'
    yield f"<style>\n{_STYLE}{_looks(0)}\n@media (prefers-color-scheme: dark) {{\n{_looks(1)}\n}}\n</style>"
    width = _number(columns.width)
    yield f'<rect class="background" width="{width}" height="{_number(height)}" rx="8"/>'
    if len(columns.places) > 1:
        for x in columns.places.values():
            yield f'<path class="moment" d="M{_number(x)} {_number(top)}V{_number(height - _MARGIN)}"/>'
    yield from body
    yield "</svg>"


def _looks(which: int) -> str:
    return "\n".join(f"{selector} {{ {looks[which]} }}" for selector, looks in _LOOKS.items())


# Where what stands


def _columns(picture: Picture) -> _Columns:
    """Place the moments as much in proportion to time as the widths of the marbles allow."""
    moments = picture.moments
    for characters in range(_WIDEST, _NARROWEST - 1, -1):
        widths = [_width_at(picture, moment, characters) for moment in moments]
        least = [(one + other) / 2 + _GAP for one, other in pairwise(widths)]
        ends = (widths[0] + widths[-1]) / 2 if widths else 0.0
        room = WIDTH - 2 * _MARGIN - _ARROW - ends
        if sum(least) <= room or characters == _NARROWEST:
            break
    spans = [after - before for before, after in pairwise(moments)]
    low, high = 0.0, room / min(spans) if spans else 0.0
    for _ in range(40):  # the most pixels a second for which all has room
        middle = (low + high) / 2
        fits = sum(max(gap, span * middle) for gap, span in zip(least, spans, strict=True)) <= room
        low, high = (middle, high) if fits else (low, middle)
    x = _MARGIN + (widths[0] / 2 if widths else 0.0)
    places = {moments[0]: x} if moments else {}
    for moment, gap, span in zip(moments[1:], least, spans, strict=True):
        x += max(gap, span * low)
        places[moment] = x
    needed = x + (widths[-1] / 2 if widths else 0.0) + _ARROW + _MARGIN
    return _Columns(places, characters, max(WIDTH, needed))


def _width_at(picture: Picture, moment: float, characters: int) -> float:
    widths = [
        _width(_wrapped(marble.lines, characters))
        for lane in picture.lanes
        for marble in lane.marbles
        if marble.at == moment
    ]
    tick = width_of(_time(moment), 11.0) if len(picture.moments) > 1 else 0.0
    return max(tick, *widths)


def _width(lines: Sequence[str]) -> float:
    return max(max(map(_text_width, lines), default=0.0) + 2 * _PAD, 26.0)


def _text_width(text: str) -> float:
    return width_of(text, _SIZE, monospace=True)


def _wrapped(lines: Sequence[str], characters: int) -> list[str]:
    """Break lines that are too long, between words where there are some."""
    made: list[str] = []
    for line in (part for line in lines for part in (line.split("\n") if line else [""])):
        rest = legible(line)
        while len(rest) > characters:
            blank = rest.rfind(" ", characters // 2, characters + 1)
            cut = blank if blank > 0 else characters
            made.append(rest[:cut].rstrip())
            rest = "  " + rest[cut:].lstrip() if characters > 12 else rest[cut:].lstrip()
        made.append(rest)
    return made or [""]


# How it is drawn


def _time(seconds: float) -> str:
    return format_duration(round(seconds, 6)) if seconds else "0s"


def _ticks(columns: _Columns, y: float) -> Iterator[str]:
    for moment, x in columns.places.items():
        yield f'<text class="tick" x="{_number(x)}" y="{_number(y)}" text-anchor="middle">{_time(moment)}</text>'


def _lane(lane: Lane, columns: _Columns, y: float, body: list[str]) -> float:
    """Draw a lane below `y`, and give where it ends. Marbles of one moment are stacked in their order."""
    y += 18
    body.append(f'<text class="label quiet" x="{_number(_MARGIN)}" y="{_number(y)}">{escape(lane.label)}</text>')
    y += 8
    stacks: dict[float, list[tuple[Marble, list[str]]]] = {}
    for marble in lane.marbles:
        stacks.setdefault(marble.at, []).append((marble, _wrapped(marble.lines, columns.characters)))
    first = max((_height(stack[0][1]) for stack in stacks.values()), default=20.0)
    middle, end = y + first / 2, columns.width - _MARGIN
    timeless = len(columns.places) < 2
    if not timeless:
        body.append(f'<path class="time" d="M{_number(_MARGIN)} {_number(middle)}H{_number(end - 5)}"/>')
        body.append(f'<path class="arrow" d="M{_number(end)} {_number(middle)}l-8 -4v8z"/>')
    bottom = y + (first if stacks or not timeless else 0.0)
    for moment, stack in stacks.items():
        below = middle - _height(stack[0][1]) / 2
        for marble, lines in stack:
            x = _MARGIN + _width(lines) / 2 if timeless else columns.places[moment]
            body += _marble(marble, lines, x, below)
            below += _height(lines) + 4
        bottom = max(bottom, below - 4)
    if lane.note:
        for line in _wrapped([lane.note], _WIDEST):
            bottom += _ROW + 2
            look = "note wrong" if lane.failed else "note quiet"
            body.append(f'<text class="{look}" x="{_number(_MARGIN)}" y="{_number(bottom)}">{escape(line)}</text>')
        bottom += 4
    return bottom + 4


def _height(lines: Sequence[str]) -> float:
    return len(lines) * _ROW + 8


def _marble(marble: Marble, lines: Sequence[str], x: float, y: float) -> Iterator[str]:
    width, height = _width(lines), _height(lines)
    look = "gone" if marble.gone else f"color{marble.color % _COLORS}"
    radius = min(12.0, height / 2)
    yield (
        f'<rect class="marble {look}" x="{_number(x - width / 2)}" y="{_number(y)}" width="{_number(width)}" '
        f'height="{_number(height)}" rx="{_number(radius)}"/>'
    )
    single = len(lines) == 1
    for number, line in enumerate(lines):
        at, anchor = (x, ' text-anchor="middle"') if single else (x - width / 2 + _PAD, "")
        quiet = ' class="quiet"' if marble.gone else ""
        fixed = "" if is_common(line) else f' textLength="{_number(_text_width(line))}" lengthAdjust="spacingAndGlyphs"'
        yield (
            f'<text{quiet} x="{_number(at)}" y="{_number(y + 4 + _ROW * number + 11)}"{anchor}{fixed} '
            f'xml:space="preserve">{escape(line)}</text>'
        )


def _box(picture: Picture, width: float, y: float, body: list[str]) -> float:
    lines = list(picture.yaml)
    room = width - 2 * _MARGIN - 40 - (_text_width(lines[-1]) if lines else 0.0)
    beside = width_of(picture.counts, 11.0) < room  # they stand at the right of the last line where there is room
    height = len(lines) * _ROW + 16 + (0 if beside or not picture.counts else _ROW + 1)
    body.append(
        f'<rect class="box" x="{_number(_MARGIN)}" y="{_number(y)}" width="{_number(width - 2 * _MARGIN)}" '
        f'height="{_number(height)}" rx="8"/>'
    )
    below = y + 20
    for line in lines:
        found = re.match(r"(\s*(?:- )*)([\w.-]+:)(.*)", line)
        text = (
            f'{escape(found[1])}<tspan class="key">{escape(found[2])}</tspan>{escape(found[3])}' if found else escape(line)
        )
        body.append(f'<text x="{_number(_MARGIN + 10)}" y="{_number(below)}" xml:space="preserve">{text}</text>')
        below += _ROW
    if picture.counts:
        at = _number(below - _ROW if beside else below + 1)
        body.append(
            f'<text class="tick" x="{_number(width - _MARGIN - 10)}" y="{at}" text-anchor="end">'
            f"{escape(picture.counts)}</text>"
        )
    return y + height


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
