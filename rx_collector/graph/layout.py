"""Where boxes and the links between them stand: in columns from left to right, the way that events flow.

A box stands one column behind the last of those that lead to it; what only begins links stands right before what it leads
to. A link that passes a column has a place in it, like a box without height, so that it crosses no box. Within a column,
places are ordered by the mean of their neighbours, again and again, and the order with the fewest crossings is kept. Then
each is put as near to the level of its neighbours as the order allows. The same input always gives the same picture.

Between two columns, links first bend to their level and then run straight into the next column; above that straight part
there is room for a label, which nothing else crosses.
"""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

__all__ = ["Box", "Layout", "Link", "Place", "Route", "layout"]

_BEND: Final = 52.0  # of a link, between two columns
_NO_BEND: Final = 16.0  # where all links between two columns are straight
_STRAIGHT: Final = 20.0  # the least that a link runs straight before it meets a box
_PORTS: Final = 22.0  # between two links at the same side of a box; a label has to fit between them
_BETWEEN: Final = 24.0  # two boxes of a column
_COMPONENTS: Final = 36.0  # between what no link connects
_LEVEL: Final = 1.0  # a link that rises or falls by less is straight
_SWEEPS: Final = 12


@dataclass(frozen=True)
class Box:
    """What has to be put somewhere.

    It may become higher, so that all its links find a place at its sides, and as wide as others of its `group` that stand
    in the same column.
    """

    width: float
    height: float
    group: str = ""


@dataclass(frozen=True)
class Link:
    """A link from one box to another, by their numbers, with a label so wide."""

    start: int
    end: int
    label: float = 0.0


@dataclass(frozen=True)
class Place:
    """Where a box stands; `x` and `y` are its upper left corner."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Route:
    """The way of a link: straight from each even point to the next one, bent from each odd one to the next.

    `label` is where a label begins, above the straight part at the right end; `back` tells that it runs against the flow,
    from right to left.
    """

    points: tuple[tuple[float, float], ...]
    label: tuple[float, float]
    back: bool = False


@dataclass(frozen=True)
class Layout:
    """The picture: where each box and each link is, in the order in which they were given."""

    width: float
    height: float
    places: tuple[Place, ...]
    routes: tuple[Route, ...]


def layout(boxes: Sequence[Box], links: Sequence[Link]) -> Layout:
    """Find a place for each box and a way for each link. Links may lead in a circle, but not from a box to itself."""
    return _Picture(boxes, links).layout()


class _Vertex:
    """A box, or the place at which a link passes a column."""

    def __init__(self, width: float, height: float, column: int, order: tuple[int, int]) -> None:
        self.width = width
        self.height = height
        self.column = column
        self.order = order  # where it stands at first
        self.left: list[_Piece] = []
        self.right: list[_Piece] = []
        self.rank = 0
        self.center = 0.0


class _Piece:
    """The part of a link from one column to the next."""

    def __init__(self, start: _Vertex, end: _Vertex) -> None:
        self.start = start
        self.end = end
        self.leaves = 0.0  # below the center of where it starts
        self.arrives = 0.0
        start.right.append(self)
        end.left.append(self)

    @property
    def leaving(self) -> float:
        """The level at which it starts."""
        return self.start.center + self.leaves

    @property
    def arriving(self) -> float:
        """The level at which it ends."""
        return self.end.center + self.arrives


class _Picture:
    def __init__(self, boxes: Sequence[Box], links: Sequence[Link]) -> None:
        self._boxes = boxes
        self._links = links
        self._back = _against_the_flow(len(boxes), links)
        ways = [
            (link.end, link.start) if back else (link.start, link.end)
            for link, back in zip(links, self._back, strict=True)
        ]
        columns = _columns(len(boxes), ways)
        widest: dict[tuple[str, int], float] = {}
        for box, column in zip(boxes, columns, strict=True):
            widest[box.group, column] = max(widest.get((box.group, column), 0.0), box.width)
        degrees = [max(sum(way[side] == number for way in ways) for side in (0, 1)) for number in range(len(boxes))]
        self._vertices = [
            _Vertex(
                widest[box.group, columns[number]],
                max(box.height, degrees[number] * _PORTS),
                columns[number],
                (number, -1),
            )
            for number, box in enumerate(boxes)
        ]
        self._chains = [self._chain(number, *way) for number, way in enumerate(ways)]

    def _chain(self, number: int, start: int, end: int) -> list[_Piece]:
        """Cut a link into its parts."""
        first, last = self._vertices[start], self._vertices[end]
        passed = [_Vertex(0.0, 0.0, column, (start, number)) for column in range(first.column + 1, last.column)]
        self._vertices += passed
        steps = [first, *passed, last]
        return [_Piece(one, other) for one, other in pairwise(steps)]

    def layout(self) -> Layout:
        top = 0.0
        for component in _components(self._vertices):
            rows = _ordered(component)
            _align(rows)
            highest = min(vertex.center - vertex.height / 2 for vertex in component)
            for vertex in component:
                vertex.center += top - highest
            top = max(vertex.center + vertex.height / 2 for vertex in component) + _COMPONENTS
        lefts, rights, bends = self._columns()
        places = tuple(
            Place(lefts[vertex.column], vertex.center - vertex.height / 2, vertex.width, vertex.height)
            for vertex in self._vertices[: len(self._boxes)]
        )
        routes = tuple(self._route(number, lefts, rights, bends) for number in range(len(self._links)))
        return Layout(rights[-1] if rights else 0.0, max(top - _COMPONENTS, 0.0), places, routes)

    def _columns(self) -> tuple[list[float], list[float], list[float]]:
        """Give of each column the left side, the right side, and how far behind that links have bent to their levels."""
        count = 1 + max((vertex.column for vertex in self._vertices), default=-1)
        straight, bend, width = [_STRAIGHT] * count, [_NO_BEND] * count, [0.0] * count
        for vertex in self._vertices:
            width[vertex.column] = max(width[vertex.column], vertex.width)
        for link, chain in zip(self._links, self._chains, strict=True):
            column = chain[-1].end.column
            straight[column] = max(straight[column], link.label + _STRAIGHT)
            for piece in chain:
                if abs(piece.leaving - piece.arriving) >= _LEVEL:
                    bend[piece.start.column] = _BEND
        lefts, rights, bends = [], [], []
        x = 0.0
        for column in range(count):
            lefts.append(x)
            rights.append(x + width[column])
            bends.append(rights[-1] + bend[column])
            x = bends[-1] + (straight[column + 1] if column + 1 < count else 0.0)
        return lefts, rights, bends

    def _route(self, number: int, lefts: list[float], rights: list[float], bends: list[float]) -> Route:
        chain = self._chains[number]
        first, last = chain[0].start, chain[-1].end
        points = [(lefts[first.column] + first.width, chain[0].leaving)]
        for piece in chain:
            points += [(rights[piece.start.column], piece.leaving), (bends[piece.start.column], piece.arriving)]
        label = points[-1]
        points.append((lefts[last.column], label[1]))
        back = self._back[number]
        return Route(tuple(reversed(points)) if back else tuple(points), label, back)


def _against_the_flow(count: int, links: Sequence[Link]) -> list[bool]:
    """Tell of each link whether it closes a circle; without those, nothing leads back to where it came from."""
    leaving: list[list[int]] = [[] for _ in range(count)]
    for number, link in enumerate(links):
        leaving[link.start].append(number)
    back = [False] * len(links)
    begun, done = [False] * count, [False] * count
    for root in range(count):
        if begun[root]:
            continue
        begun[root] = True
        way = [(root, iter(leaving[root]))]
        while way:
            box, rest = way[-1]
            for number in rest:
                end = links[number].end
                if not begun[end]:
                    begun[end] = True
                    way.append((end, iter(leaving[end])))
                    break
                back[number] = not done[end]
            else:
                done[box] = True
                way.pop()
    return back


def _columns(count: int, ways: Sequence[tuple[int, int]]) -> list[int]:
    """Give the column of each box: behind all that lead to it, and what nothing leads to right before what it leads to."""
    leaving: list[list[int]] = [[] for _ in range(count)]
    waiting = [0] * count
    for start, end in ways:
        leaving[start].append(end)
        waiting[end] += 1
    first = [number == 0 for number in waiting]
    columns = [0] * count
    ready = [number for number in range(count) if first[number]]
    for box in ready:
        for end in leaving[box]:
            columns[end] = max(columns[end], columns[box] + 1)
            waiting[end] -= 1
            if not waiting[end]:
                ready.append(end)
    for box in range(count):
        if first[box] and leaving[box]:
            columns[box] = min(columns[end] for end in leaving[box]) - 1
    return columns


def _components(vertices: Sequence[_Vertex]) -> list[list[_Vertex]]:
    """Give the vertices that links connect, directly or not, each set for itself."""
    seen: set[int] = set()
    found = []
    for root in vertices:
        if id(root) in seen:
            continue
        seen.add(id(root))
        component = [root]
        for vertex in component:
            for piece in [*vertex.left, *vertex.right]:
                for other in (piece.start, piece.end):
                    if id(other) not in seen:
                        seen.add(id(other))
                        component.append(other)
        found.append(component)
    return found


def _ordered(component: Sequence[_Vertex]) -> list[list[_Vertex]]:
    """Give the columns of a component, each from top to bottom, and set the places at which links meet boxes."""
    columns = sorted({vertex.column for vertex in component})
    rows = [
        sorted((vertex for vertex in component if vertex.column == column), key=lambda vertex: vertex.order)
        for column in columns
    ]
    _rank(rows)
    best, fewest = rows, _crossings(rows)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        forwards = sweep % 2 == 0
        rows = list(rows)
        for index in range(len(rows)) if forwards else reversed(range(len(rows))):
            rows[index] = sorted(rows[index], key=lambda vertex, forwards=forwards: _mean_rank(vertex, forwards))  # type: ignore[misc]
            _rank(rows[index : index + 1])
        if (crossings := _crossings(rows)) < fewest:
            best, fewest = rows, crossings
    _rank(best)
    for row in best:
        for vertex in row:
            _set_ports(vertex)
    return best


def _rank(rows: Sequence[Sequence[_Vertex]]) -> None:
    for row in rows:
        for rank, vertex in enumerate(row):
            vertex.rank = rank


def _mean_rank(vertex: _Vertex, forwards: bool) -> float:
    ranks = [piece.start.rank for piece in vertex.left] if forwards else [piece.end.rank for piece in vertex.right]
    return sum(ranks) / len(ranks) if ranks else vertex.rank


def _crossings(rows: Sequence[Sequence[_Vertex]]) -> int:
    count = 0
    for row in rows:
        ends: list[int] = []
        for vertex in row:
            ranks = [piece.end.rank for piece in vertex.right]
            count += sum(len(ends) - bisect(ends, rank) for rank in ranks)
            for rank in ranks:
                insort(ends, rank)
    return count


def _set_ports(vertex: _Vertex) -> None:
    """Spread the links at both sides of a box, in the order of where they lead."""
    vertex.left.sort(key=lambda piece: piece.start.rank)
    vertex.right.sort(key=lambda piece: piece.end.rank)
    for index, piece in enumerate(vertex.left):
        piece.arrives = (index - (len(vertex.left) - 1) / 2) * _PORTS
    for index, piece in enumerate(vertex.right):
        piece.leaves = (index - (len(vertex.right) - 1) / 2) * _PORTS


def _align(rows: Sequence[Sequence[_Vertex]]) -> None:
    """Put each vertex as near to the level of its neighbours as the order of its column allows."""
    for row in rows:
        _place(row, [0.0] * len(row))
    for sweep in range(2 * _SWEEPS):
        forwards = sweep % 2 == 0
        for row in rows if forwards else reversed(rows):
            _place(row, [_level(vertex, forwards, sweep >= _SWEEPS) for vertex in row])
    for sweep in range(_SWEEPS):  # at last, what can be straight shall be
        forwards = sweep % 2 == 1
        for row in rows if forwards else reversed(rows):
            _place(row, [_straight(vertex, forwards) for vertex in row])


def _level(vertex: _Vertex, forwards: bool, both: bool) -> float:
    """Give where the center of a vertex would be for its links to be straight, in the mean.

    A link to what has no other counts most: it alone can be straight.
    """
    levels = []
    if forwards or both:
        levels += [(piece.leaving - piece.arrives, 1 / len(piece.start.right)) for piece in vertex.left]
    if not forwards or both:
        levels += [(piece.arriving - piece.leaves, 1 / len(piece.end.left)) for piece in vertex.right]
    weight = sum(weight for _, weight in levels)
    return sum(level * weight for level, weight in levels) / weight if levels else vertex.center


def _straight(vertex: _Vertex, forwards: bool) -> float:
    """Give the level at which the only link at a side is straight, if it is the only one at its other end, too."""
    pieces = vertex.left if forwards else vertex.right
    if len(pieces) == 1:
        (piece,) = pieces
        if forwards and len(piece.start.right) == 1:
            return piece.leaving - piece.arrives
        if not forwards and len(piece.end.left) == 1:
            return piece.arriving - piece.leaves
    return vertex.center


def _place(row: Sequence[_Vertex], wanted: Sequence[float]) -> None:
    """Put the vertices of a column, in their order and apart, where the sum of the squared ways to `wanted` is least.

    Those that are in each other's way are moved as one block, to the mean of what they want.
    """
    offsets = [0.0]
    for one, other in pairwise(row):
        offsets.append(offsets[-1] + one.height / 2 + _BETWEEN + other.height / 2)
    blocks: list[tuple[float, int]] = []  # the mean, and of how many
    for offset, level in zip(offsets, wanted, strict=True):
        mean, count = level - offset, 1
        while blocks and blocks[-1][0] > mean:
            before, many = blocks.pop()
            mean = (before * many + mean * count) / (many + count)
            count += many
        blocks.append((mean, count))
    index = 0
    for mean, count in blocks:
        for vertex in row[index : index + count]:
            vertex.center = mean + offsets[index]
            index += 1
