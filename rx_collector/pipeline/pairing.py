"""Pairing: which of the events that came is which of those that were expected."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["fits", "pair_anyhow", "pair_in_order"]

_MOST_ALIGNED: Final = 1_000_000  # pairs of events that are compared to find which of them is missing
_Pairs = list[tuple[int | None, int | None]]  # an index of what is expected, and one of what came


def fits(expected: Any, got: Any) -> bool:
    """Tell whether a value is what was expected: of mappings the keys named; a missing one is null.

    >>> fits({"pid": 7, "path": None}, {"pid": 7, "uid": 0}), fits([1], [1, 2]), fits(1, True)
    (True, False, False)
    """
    if isinstance(expected, Mapping):
        return isinstance(got, Mapping) and all(fits(item, got.get(key)) for key, item in expected.items())
    if isinstance(expected, list | tuple):
        return isinstance(got, list) and len(expected) == len(got) and all(map(fits, expected, got))
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    if isinstance(expected, float) and isinstance(got, int | float):
        return math.isclose(expected, got, rel_tol=1e-9) or (math.isnan(expected) and math.isnan(got))
    return bool(expected == got)


def pair_in_order(expected: Sequence[Any], got: list[Any]) -> _Pairs:
    """Pair what is expected with what came, so that as many as possible fit; what does not is paired with a neighbour."""
    first, last = 0, 0
    least = min(len(expected), len(got))
    while first < least and fits(expected[first], got[first]):
        first += 1
    while last < least - first and fits(expected[-1 - last], got[-1 - last]):
        last += 1
    rows, columns = range(first, len(expected) - last), range(first, len(got) - last)
    if len(rows) == len(columns) or len(rows) * len(columns) > _MOST_ALIGNED:
        anchors: list[tuple[int, int]] = []
    else:
        anchors = _common(rows, columns, expected, got)
    pairs: _Pairs = [(index, index) for index in range(first)]
    row, column = first, first
    for index, other in [*anchors, (rows.stop, columns.stop)]:
        pairs += _pair_up(range(row, index), range(column, other))
        pairs.append((index, other))
        row, column = index + 1, other + 1
    pairs.pop()  # the ends, which are no events
    pairs += zip(range(rows.stop, len(expected)), range(columns.stop, len(got)), strict=True)
    return pairs


def _pair_up(rows: Sequence[int], columns: Sequence[int]) -> _Pairs:
    both = min(len(rows), len(columns))
    pairs: _Pairs = list(zip(rows[:both], columns[:both], strict=True))
    pairs += [(row, None) for row in rows[both:]]
    pairs += [(None, column) for column in columns[both:]]
    return pairs


def _common(rows: range, columns: range, expected: Sequence[Any], got: list[Any]) -> list[tuple[int, int]]:
    """Give the longest row of pairs that fit, in order of both."""
    lengths = [[0] * (len(columns) + 1) for _ in range(len(rows) + 1)]
    matches = [[fits(expected[row], got[column]) for column in columns] for row in rows]
    for row in reversed(range(len(rows))):
        for column in reversed(range(len(columns))):
            longest = max(lengths[row + 1][column], lengths[row][column + 1])
            if matches[row][column]:
                longest = max(longest, lengths[row + 1][column + 1] + 1)
            lengths[row][column] = longest
    found = []
    row = column = 0
    while row < len(rows) and column < len(columns):
        if matches[row][column] and lengths[row][column] == lengths[row + 1][column + 1] + 1:
            found.append((rows[row], columns[column]))
            row, column = row + 1, column + 1
        elif lengths[row + 1][column] >= lengths[row][column + 1]:
            row += 1
        else:
            column += 1
    return found


def pair_anyhow(expected: Sequence[Any], got: list[Any]) -> _Pairs:
    """Pair in any order, so that as many as possible fit: one that fits several gives way to one that fits fewer.

    Gives the pairs that do not fit.
    """
    owners: dict[int, int] = {}  # by the index of what came, that of what is expected
    free = dict.fromkeys(range(len(got)))  # what came and has no owner, in order
    for index in range(len(expected)):
        _claim(index, expected, got, owners, free)
    taken = set(owners.values())
    return _pair_up([index for index in range(len(expected)) if index not in taken], list(free))


def _claim(index: int, expected: Sequence[Any], got: list[Any], owners: dict[int, int], free: dict[int, None]) -> None:
    """Find an event for one that is expected, if need be by finding others for those that have the ones it fits."""
    given_up: dict[
        int, int | None
    ] = {}  # by the index of what came, that of the event which its new owner leaves for it
    waiting: list[tuple[int, int | None]] = [(index, None)]
    for wanting, left in waiting:  # grows while it is read
        found = next((other for other in free if fits(expected[wanting], got[other])), None)
        if found is None:
            for other, owner in owners.items():
                if other not in given_up and fits(expected[wanting], got[other]):
                    given_up[other] = left
                    waiting.append((owner, other))
            continue
        del free[found]
        given_up[found] = left
        here: int | None = found
        while here is not None:
            before = given_up[here]
            owners[here] = owners[before] if before is not None else index
            here = before
        return
