"""Where boxes and links stand: nothing lies on anything else, whatever is drawn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rx_collector.graph.layout import Box, Layout, Link, Place, Route, layout

BOX = st.builds(Box, st.integers(20, 300).map(float), st.integers(20, 200).map(float), st.sampled_from(["a", "b"]))


@st.composite
def pictures(draw: st.DrawFn, *, circles: bool = True) -> tuple[list[Box], list[Link]]:
    boxes = draw(st.lists(BOX, min_size=1, max_size=12))
    links = []
    numbers = st.integers(0, len(boxes) - 1)
    for start, end, label in draw(st.lists(st.tuples(numbers, numbers, st.integers(0, 90)), max_size=20)):
        if start < end or (circles and start > end):
            links.append(Link(start, end, float(label)))
    return boxes, links


def overlap(one: Place, other: Place) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


def straights(route: Route) -> Iterator[tuple[float, float, float]]:
    """The straight parts: from where to where, at which level."""
    points = sorted(route.points) if route.back else route.points
    for (left, level), (right, same) in zip(points[::2], points[1::2], strict=True):
        assert level == same
        assert left <= right
        yield left, right, level


def bends(route: Route) -> Iterator[tuple[float, float]]:
    points = tuple(reversed(route.points)) if route.back else route.points
    for (left, _), (right, _) in zip(points[1:-1:2], points[2:-1:2], strict=True):
        assert left < right
        yield left, right


def label_of(link: Link, route: Route) -> Place:
    x, y = route.label
    return Place(x, y - 16, link.label, 14)


@settings(deadline=None, max_examples=300)
@given(pictures())
def test_nothing_lies_on_anything_else(picture: tuple[list[Box], list[Link]]) -> None:
    boxes, links = picture
    found = layout(boxes, links)
    assert (len(found.places), len(found.routes)) == (len(boxes), len(links))
    for one, other in combinations(found.places, 2):
        assert not overlap(one, other)
    labels = [label_of(link, route) for link, route in zip(links, found.routes, strict=True) if link.label]
    for one, other in combinations(labels, 2):
        assert not overlap(one, other)
    for label in labels:
        assert not any(overlap(label, place) for place in found.places)
    for route in found.routes:
        for left, right, level in straights(route):
            line = Place(left, level, right - left, 0.0)
            assert not any(overlap(line, place) for place in found.places)
            assert not any(overlap(line, label) for label in labels)
        for left, right in bends(route):  # between the columns, where no box and no label is
            assert all(place.x + place.width <= left or right <= place.x for place in [*found.places, *labels])


@settings(deadline=None, max_examples=200)
@given(pictures())
def test_all_is_within_the_picture_and_every_link_joins_its_boxes(picture: tuple[list[Box], list[Link]]) -> None:
    boxes, links = picture
    found = layout(boxes, links)
    for box, place in zip(boxes, found.places, strict=True):
        assert place.width >= box.width
        assert place.height >= box.height
        assert place.x >= 0
        assert place.y >= -1e-9
        assert place.x + place.width <= found.width
        assert place.y + place.height <= found.height + 1e-9
    used: set[tuple[float, float]] = set()
    for link, route in zip(links, found.routes, strict=True):
        left, right = (link.end, link.start) if route.back else (link.start, link.end)
        first, last = (route.points[-1], route.points[0]) if route.back else (route.points[0], route.points[-1])
        assert first[0] == found.places[left].x + found.places[left].width
        assert last[0] == found.places[right].x
        for point, place in ((first, found.places[left]), (last, found.places[right])):
            assert place.y < point[1] < place.y + place.height
            assert point not in used  # each link has a place of its own at a box
            used.add(point)


@settings(deadline=None, max_examples=100)
@given(pictures(circles=False))
def test_without_a_circle_all_flows_to_the_right(picture: tuple[list[Box], list[Link]]) -> None:
    boxes, links = picture
    found = layout(boxes, links)
    assert not any(route.back for route in found.routes)
    for link in links:
        assert found.places[link.start].x + found.places[link.start].width < found.places[link.end].x


@settings(deadline=None, max_examples=50)
@given(pictures())
def test_the_same_input_gives_the_same_picture(picture: tuple[list[Box], list[Link]]) -> None:
    assert layout(*picture) == layout(*picture)


def levels(found: Layout) -> list[float]:
    return [place.y + place.height / 2 for place in found.places]


def test_a_row_is_straight() -> None:
    found = layout([Box(100, 30), Box(50, 90), Box(80, 40)], [Link(0, 1), Link(1, 2)])
    assert levels(found) == [45.0, 45.0, 45.0]
    assert [place.x for place in found.places] == sorted(place.x for place in found.places)


def crossings(level: list[float], ways: list[tuple[int, int]]) -> int:
    ends = [(level[start], level[end]) for start, end in ways]
    return sum((one[0] - other[0]) * (one[1] - other[1]) < 0 for one, other in combinations(ends, 2))


def test_what_need_not_cross_does_not() -> None:
    ways = [(0, 4), (1, 3), (0, 5), (2, 3), (2, 4)]
    assert crossings([0.0, 1.0, 2.0, 0.0, 1.0, 2.0], ways) == 5  # in the order in which they are given
    assert crossings(levels(layout([Box(50, 30)] * 6, [Link(*way) for way in ways])), ways) == 0


def test_links_meet_a_box_in_the_order_of_where_they_lead() -> None:
    found = layout([Box(50, 30)] * 4, [Link(0, 3), Link(0, 1), Link(0, 2)])
    ends = [(route.points[-1][1], route.points[0][1]) for route in found.routes]
    assert [start for _, start in sorted(ends)] == sorted(start for _, start in ends)
    found = layout([Box(50, 30)] * 4, [Link(2, 3), Link(0, 3), Link(1, 3)])
    ends = [(route.points[0][1], route.points[-1][1]) for route in found.routes]
    assert [end for _, end in sorted(ends)] == sorted(end for _, end in ends)


def test_a_link_has_room_to_bend_where_it_has_to() -> None:
    found = layout([Box(50, 30)] * 4, [Link(0, 1), Link(0, 2), Link(2, 3)])
    widths = [right - left for route in found.routes for left, right in bends(route)]
    assert widths[0] == widths[1] > 40 > widths[2]


def test_what_can_be_straight_is() -> None:
    boxes = [Box(50, 100), Box(50, 120), *[Box(50, 30)] * 3, *[Box(50, 90)] * 3]
    found = layout(boxes, [Link(0, 1), Link(0, 2), Link(0, 3), Link(1, 4), Link(2, 5), Link(3, 6), Link(4, 7)])
    level = levels(found)
    for start, end in ((1, 4), (2, 5), (3, 6), (4, 7)):
        assert abs(level[start] - level[end]) < 0.05  # no more than a hair


def test_what_only_begins_stands_right_before_what_it_leads_to() -> None:
    found = layout([Box(50, 30)] * 4, [Link(0, 1), Link(1, 2), Link(3, 2)])
    assert found.places[3].x == found.places[1].x


def test_a_circle_has_one_link_that_leads_back() -> None:
    found = layout([Box(50, 30)] * 3, [Link(0, 1), Link(1, 2), Link(2, 0)])
    assert [route.back for route in found.routes] == [False, False, True]
    assert found.routes[2].points[0][0] > found.routes[2].points[-1][0]


def test_boxes_of_a_group_are_equally_wide_in_a_column() -> None:
    boxes = [Box(50, 30, "a"), Box(90, 30, "a"), Box(70, 30, "b"), Box(10, 30, "a")]
    found = layout(boxes, [Link(0, 3), Link(1, 3), Link(2, 3)])
    assert [place.width for place in found.places] == [90, 90, 70, 10]


def test_parts_that_nothing_joins_stand_below_each_other() -> None:
    found = layout([Box(50, 30)] * 4, [Link(0, 1), Link(2, 3)])
    assert found.places[0].x == found.places[2].x
    assert found.places[2].y >= found.places[0].y + 30 + 24


def test_nothing_at_all() -> None:
    assert layout([], []) == Layout(0.0, 0.0, (), ())


@pytest.mark.slow
def test_hundreds_of_boxes_take_seconds_at_most() -> None:
    boxes = [Box(100, 40)] * 400
    links = [Link(start, start + 1 + start * step % 9) for start in range(390) for step in (1, 3, 7)]
    started = time.process_time()
    layout(boxes, links)
    assert time.process_time() - started < 20
