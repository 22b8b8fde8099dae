"""A picture as SVG: one file without scripts, fonts or images from elsewhere, for light and dark surroundings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Final

from rx_collector.graph.layout import Box, Layout, Link, Place, Route, layout
from rx_collector.graph.model import Count, Edge, Graph, Node
from rx_collector.graph.text import is_common, width_of
from rx_collector.units import format_count

__all__ = ["svg"]

_MARGIN: Final = 28.0
_PAD: Final = 14.0  # within a box
_INDENT: Final = 18.0  # of operators, for the line that joins them
_APART: Final = 18.0  # between what stands at the left and at the right of a line
_COUNTS_A_LINE: Final = 3
_GAP: Final = 5.0  # at both sides of the dot between two counts

_FONTS: Final = """\
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; font-size: 11px }
.mono { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }
.title { font-size: 18px; font-weight: 600 }
.about { font-size: 12px }
.kind { font-size: 9px; letter-spacing: 0.6px }
.name { font-size: 13px; font-weight: 600 }
.operator { font-size: 12px; font-weight: 600 }
.box { stroke-width: 1.25 }
.edge { fill: none; stroke-width: 1.5 }
.dashed, .dead .box { stroke-dasharray: 5 4 }
"""
#: The colours of each class, in light and in dark surroundings.
_COLORS: Final = {
    ".background": ("fill: #ffffff", "fill: #0d1117"),
    "text": ("fill: #1f2937", "fill: #e6edf3"),
    ".quiet, .plain": ("fill: #5b6472", "fill: #9aa6b5"),
    ".good": ("fill: #15803d", "fill: #4ade80"),
    ".loss": ("fill: #dc2626; font-weight: 600", "fill: #ff7b72"),
    ".held": ("fill: #b45309", "fill: #fbbf24"),
    ".change": ("fill: #2563eb", "fill: #79b8ff"),
    ".edge": ("stroke: #8b95a5", "stroke: #6b7686"),
    ".arrow": ("fill: #8b95a5", "fill: #6b7686"),
    ".runner .box": ("fill: #eff6ff; stroke: #3b82f6", "fill: #0f1e36; stroke: #3b82f6"),
    ".pipeline .box": ("fill: #f7f5ff; stroke: #8b5cf6", "fill: #1b1630; stroke: #8b5cf6"),
    ".boundary .box": ("fill: #fffaeb; stroke: #d97706", "fill: #281e0b; stroke: #b7791f"),
    ".sink .box": ("fill: #f0fdf4; stroke: #16a34a", "fill: #0e2318; stroke: #2ea043"),
    ".dead .box": ("fill: #fef2f2; stroke: #dc2626", "fill: #2a1215; stroke: #da3633"),
    ".runner .kind": ("fill: #2563eb", "fill: #79b8ff"),
    ".pipeline .kind": ("fill: #6d28d9", "fill: #b794f6"),
    ".boundary .kind": ("fill: #b45309", "fill: #fbbf24"),
    ".sink .kind": ("fill: #15803d", "fill: #4ade80"),
    ".dead .kind": ("fill: #b91c1c", "fill: #ff7b72"),
    ".rail": ("stroke: #c4b5fd", "stroke: #4c3d80"),
    ".dot": ("fill: #8b5cf6", "fill: #8b5cf6"),
}


@dataclass(frozen=True)
class _Piece:
    """A piece of text in one look: of this class, so large, in that font, so far from what stands before it."""

    text: str
    look: str = ""
    size: float = 11.0
    monospace: bool = False
    gap: float = 0.0

    @property
    def width(self) -> float:
        spaced = len(self.text) * 0.6 if self.look == "kind" else 0.0
        return width_of(self.text, self.size, monospace=self.monospace) + spaced + self.gap


@dataclass(frozen=True)
class _Line:
    """A line in a box: what stands at its left, one after the other, and what stands at its right."""

    left: tuple[_Piece, ...]
    right: tuple[_Piece, ...] = ()
    height: float = 16.0
    indent: float = 0.0
    dot: bool = False

    @property
    def width(self) -> float:
        left, right = sum(piece.width for piece in self.left), sum(piece.width for piece in self.right)
        return self.indent + left + (_APART + right if right else 0.0)


def svg(graph: Graph) -> str:
    """Give a picture as SVG. What is lost is written in red."""
    return "\n".join(_document(graph)) + "\n"


def _document(graph: Graph) -> Iterator[str]:
    boxes = [_lines(node) for node in graph.nodes]
    numbers = {node.key: number for number, node in enumerate(graph.nodes)}
    sizes = [_size(node, lines) for node, lines in zip(graph.nodes, boxes, strict=True)]
    links = [
        Link(numbers[edge.start], numbers[edge.end], _Piece(edge.text).width if edge.text else 0.0)
        for edge in graph.edges
    ]
    heading = list(_heading(graph))
    top = _MARGIN + sum(line.height for line in heading) + 20
    found = _moved(layout(sizes, links), _MARGIN, top)
    width = max(found.width, *(line.width for line in heading)) + 2 * _MARGIN
    height = top + found.height + _MARGIN
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_number(width)}" height="{_number(height)}" '
        f'viewBox="0 0 {_number(width)} {_number(height)}" role="img">'
    )
    yield f"<title>{_escaped(graph.title)}</title>"
    if graph.description:
        yield f"<desc>{_escaped(graph.description)}</desc>"
    yield f"<style>\n{_FONTS}{_colors(0)}\n@media (prefers-color-scheme: dark) {{\n{_colors(1)}\n}}\n</style>"
    yield f'<rect class="background" width="{_number(width)}" height="{_number(height)}"/>'
    y = _MARGIN
    for line in heading:
        yield from _text(line, _MARGIN, y, 0.0)
        y += line.height
    for edge, route in zip(graph.edges, found.routes, strict=True):
        yield from _edge(edge, route)
    for node, lines, place in zip(graph.nodes, boxes, found.places, strict=True):
        yield from _box(node, lines, place)
    yield "</svg>"


def _colors(which: int) -> str:
    return "\n".join(f"{selector} {{ {looks[which]} }}" for selector, looks in _COLORS.items())


def _heading(graph: Graph) -> Iterator[_Line]:
    yield _Line((_Piece(graph.title, "title", 18.0),), height=26)
    if graph.description:
        yield _Line((_Piece(graph.description, "about quiet", 12.0),), height=18)
    if graph.summary:
        yield _Line((_Piece(graph.summary, f"about {'good' if graph.well else 'loss'}", 12.0),), height=18)


# What stands in a box


def _lines(node: Node) -> list[_Line]:
    lines = [_Line((_Piece(node.kind.upper(), "kind", 9.0),), height=14)]
    if node.kind == "pipeline":
        counts = _spread(node.counts)
        lines.append(_Line((_Piece(node.title, "name", 13.0),), counts[0] if counts else (), height=20))
        lines += _operators(node)
        return lines
    lines.append(_Line((_Piece(node.title, "name", 13.0),), height=18))
    if node.detail:
        lines.append(_Line((_Piece(node.detail, "mono quiet", 11.0, monospace=True),)))
    lines += [_Line(counts) for counts in _spread(node.counts)]
    return lines


def _size(node: Node, lines: Sequence[_Line]) -> Box:
    width = max(line.width for line in lines) + 2 * _PAD
    return Box(float(round(width + 0.5)), sum(line.height for line in lines) + 2 * _PAD - 4, node.kind)


def _operators(node: Node) -> Iterator[_Line]:
    for row in node.rows:
        left = [_Piece(row.title, "operator", 12.0)]
        if row.detail:
            left.append(_Piece(row.detail, "mono quiet", 11.0, monospace=True, gap=9.0))
        right = (_Piece(format_count(row.out), "quiet"),) if row.out is not None else ()
        yield _Line(tuple(left), right, 20, _INDENT, dot=True)
        for counts in _spread(row.counts):
            yield _Line(counts, (), 15, _INDENT)


def _spread(counts: Sequence[Count]) -> list[tuple[_Piece, ...]]:
    """Give the counts on as many lines as they need."""
    lines = []
    for start in range(0, len(counts), _COUNTS_A_LINE):
        pieces: list[_Piece] = []
        for count in counts[start : start + _COUNTS_A_LINE]:
            pieces += [_Piece("·", "quiet", gap=_GAP)] if pieces else []
            pieces.append(_Piece(str(count), count.tone, gap=_GAP if pieces else 0.0))
        lines.append(tuple(pieces))
    return lines


# How it is drawn


def _moved(found: Layout, x: float, y: float) -> Layout:
    """Give the picture beside a margin and below a heading."""
    return Layout(
        found.width,
        found.height,
        tuple(replace(place, x=place.x + x, y=place.y + y) for place in found.places),
        tuple(
            replace(
                route,
                points=tuple((left + x, top + y) for left, top in route.points),
                label=(route.label[0] + x, route.label[1] + y),
            )
            for route in found.routes
        ),
    )


def _box(node: Node, lines: Sequence[_Line], place: Place) -> Iterator[str]:
    yield f'<g id="{node.key}" class="{node.kind}{" dead" if node.dead else ""}">'
    yield (
        f'<rect class="box" x="{_number(place.x)}" y="{_number(place.y)}" width="{_number(place.width)}" '
        f'height="{_number(place.height)}" rx="{14 if node.kind == "boundary" else 8}"/>'
    )
    y = place.y + (place.height - sum(line.height for line in lines)) / 2 - 1
    dots = []
    for line in lines:
        if line.dot:
            dots.append((place.x + _PAD + 5, y + line.height - 8))
        yield from _text(line, place.x + _PAD + line.indent, y, place.x + place.width - _PAD)
        y += line.height
    if len(dots) > 1:
        yield f'<path class="rail" d="M{_point(*dots[0])}V{_number(dots[-1][1])}"/>'
    for across, down in dots:
        yield f'<circle class="dot" cx="{_number(across)}" cy="{_number(down)}" r="3"/>'
    yield "</g>"


def _text(line: _Line, x: float, y: float, right: float) -> Iterator[str]:
    for pieces, at, anchor in ((line.left, x, ""), (line.right, right, ' text-anchor="end"')):
        if pieces:
            spans = "".join(map(_span, pieces))
            yield f'<text x="{_number(at)}" y="{_number(y + line.height - 4)}"{anchor}>{spans}</text>'


def _span(piece: _Piece) -> str:
    attributes = [f'class="{piece.look}"']
    if piece.gap:
        attributes.append(f'dx="{_number(piece.gap)}"')
    if not is_common(piece.text):
        attributes.append(f'textLength="{_number(piece.width - piece.gap)}" lengthAdjust="spacingAndGlyphs"')
    return f"<tspan {' '.join(attributes)}>{_escaped(piece.text)}</tspan>"


def _edge(edge: Edge, route: Route) -> Iterator[str]:
    yield f'<g class="link" data-start="{edge.start}" data-end="{edge.end}">'
    yield f'<path class="edge{" dashed" if edge.dashed else ""}" d="{_path(route)}"/>'
    x, y = route.points[-1]
    back = 7 if route.back else -7
    yield f'<path class="arrow" d="M{_point(x, y)}l{_number(back)} -4v8z"/>'
    if edge.text:
        yield from _text(_Line((_Piece(edge.text, "quiet"),)), route.label[0] + 4, route.label[1] - 17, 0.0)
    yield "</g>"


def _path(route: Route) -> str:
    points = route.points
    path = f"M{_point(*points[0])}"
    for index in range(1, len(points)):
        (x, y), (to_x, to_y) = points[index - 1], points[index]
        if index % 2 == 0 and y != to_y:
            middle = (x + to_x) / 2
            path += f"C{_point(middle, y)} {_point(middle, to_y)} {_point(to_x, to_y)}"
        elif x != to_x:
            path += f"H{_number(to_x)}"
    return path


def _point(x: float, y: float) -> str:
    return f"{_number(x)} {_number(y)}"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _escaped(text: str) -> str:
    return escape(text, quote=True)
