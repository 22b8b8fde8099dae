"""The verdict: what a test expected, beside what came."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from rx_collector.event import Event
from rx_collector.ledger import PipelineReport, Report, RunnerReport
from rx_collector.pipeline.cases import Count, Expectation, Expected, TestSpec
from rx_collector.pipeline.project import Project
from rx_collector.pipeline.rehearsal import Outcome, rehearse
from rx_collector.sinks.format import payload

__all__ = ["NOTHING", "Failure", "Field", "Verdict", "judge"]

#: Stands where there is no value to show.
NOTHING: Final[Any] = type("Nothing", (), {"__repr__": lambda self: "NOTHING"})()
_MOST_ALIGNED: Final = 1_000_000  # pairs of events that are compared to find which of them is missing


@dataclass(frozen=True)
class Field:
    """One field of an event: what was expected and what came; NOTHING where nothing was or did. `name` may be a path."""

    name: str
    expected: Any
    got: Any

    @property
    def same(self) -> bool:
        """Whether it is as expected."""
        return self.expected is not NOTHING and self.got is not NOTHING and fits(self.expected, self.got)


@dataclass(frozen=True)
class Failure:
    """One thing that is not as expected. `place` is the expectation's, as file:line, `what` says it in words."""

    place: str
    what: str
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What came of one test. `seconds` is how long it took."""

    name: str
    place: str
    seconds: float
    failures: tuple[Failure, ...]

    @property
    def passed(self) -> bool:
        """Whether all was as expected."""
        return not self.failures


def judge(project: Project, test: TestSpec) -> Verdict:
    """Play one test, and compare what came of it with what it expects."""
    started = time.perf_counter()
    outcome = rehearse(project, test.given)
    failures = tuple(_failures(test, outcome))
    return Verdict(test.name, test.place, time.perf_counter() - started, failures)


def _failures(test: TestSpec, outcome: Outcome) -> Iterator[Failure]:
    expect = test.expect
    for runner, item in outcome.unplayed.items():
        yield Failure(item.place, f"given.{runner}: this was not given any more, {runner} had ended for good")
    yield from _compare_errors(test, outcome)
    for name, expectation in expect.events.items():
        yield from _compare(name, expectation, [_plain(event) for event in outcome.events[name]])
    for name, expectation in expect.dead_letters.items():
        records = [_plain(record) for pipeline, record in outcome.dead_letters if name in ("", pipeline)]
        yield from _compare(f"dead_letter.{name}" if name else "dead_letter", expectation, records)
    for count in expect.ledger:
        got = _count(count, outcome)
        if got != count.count:
            where = ".".join(filter(None, ("ledger", count.of, count.what)))
            yield Failure(count.place, f"{where} is not as expected", (Field(count.what, count.count, got),))
    for line in outcome.report.unbalanced:
        yield Failure(test.place, f"the ledger does not balance: {line}")


def _compare_errors(test: TestSpec, outcome: Outcome) -> Iterator[Failure]:
    expected = test.expect.errors
    if expected is None:
        # A runner that fails does so since the test says so; nothing else may fail unless that is expected.
        yield from (Failure(test.place, error) for error in outcome.errors)
        return
    left = [*outcome.runner_errors, *outcome.errors]
    for one in expected:
        found = next((error for error in left if one.payload in error), None)
        if found is None:
            yield Failure(one.place, "this error did not come", (Field("error", one.payload, NOTHING),))
        else:
            left.remove(found)
    yield from (Failure(test.place, "an error was not expected", (Field("error", NOTHING, error),)) for error in left)


def _plain(event: Event) -> Any:
    """Give a payload as a sink would write it, that of a buffer as the list of its events' payloads."""
    data = event._data
    if data.__class__ is list and data and all(isinstance(member, Event) for member in data):
        return list(map(_plain, data))
    return msgspec.json.decode(payload(event))


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


# Events


def _compare(where: str, expectation: Expectation, got: list[Any]) -> Iterator[Failure]:
    expected = expectation.events
    pairs = _pair_anyhow(expected, got) if expectation.any_order else _pair_in_order(expected, got)
    for index, other in pairs:
        if index is not None and other is not None:
            if not fits(expected[index].payload, got[other]):
                fields = tuple(_fields("", expected[index].payload, got[other]))
                yield Failure(expected[index].place, f"{where}[{index}] is not as expected", fields)
        elif index is not None:
            fields = tuple(_fields("", expected[index].payload, NOTHING))
            yield Failure(expected[index].place, f"{where}[{index}] did not come", fields)
        elif other is not None:
            fields = tuple(_fields("", NOTHING, got[other]))
            yield Failure(expectation.place, f"{where}: one event too many", fields)


_Pairs = list[tuple[int | None, int | None]]


def _pair_in_order(expected: Sequence[Expected], got: list[Any]) -> _Pairs:
    """Pair what is expected with what came, so that as many as possible fit; what does not is paired with a neighbour."""
    first, last = 0, 0
    least = min(len(expected), len(got))
    while first < least and fits(expected[first].payload, got[first]):
        first += 1
    while last < least - first and fits(expected[-1 - last].payload, got[-1 - last]):
        last += 1
    rows, columns = range(first, len(expected) - last), range(first, len(got) - last)
    if len(rows) == len(columns) or len(rows) * len(columns) > _MOST_ALIGNED:
        return _pair_up(rows, columns)
    anchors = _common(rows, columns, expected, got)
    pairs: _Pairs = []
    row, column = rows.start, columns.start
    for index, other in [*anchors, (rows.stop, columns.stop)]:
        pairs += _pair_up(range(row, index), range(column, other))
        row, column = index + 1, other + 1
    return pairs


def _pair_up(rows: Sequence[int], columns: Sequence[int]) -> _Pairs:
    both = min(len(rows), len(columns))
    pairs: _Pairs = list(zip(rows[:both], columns[:both], strict=True))
    pairs += [(row, None) for row in rows[both:]]
    pairs += [(None, column) for column in columns[both:]]
    return pairs


def _common(rows: range, columns: range, expected: Sequence[Expected], got: list[Any]) -> list[tuple[int, int]]:
    """Give the longest row of pairs that fit, in order of both."""
    lengths = [[0] * (len(columns) + 1) for _ in range(len(rows) + 1)]
    matches = [[fits(expected[row].payload, got[column]) for column in columns] for row in rows]
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


def _pair_anyhow(expected: Sequence[Expected], got: list[Any]) -> _Pairs:
    """Pair in any order, so that as many as possible fit: one that fits several gives way to one that fits fewer."""
    owners: dict[int, int] = {}  # by the index of what came, that of what is expected
    for index in range(len(expected)):
        _claim(index, expected, got, owners)
    taken = set(owners.values())
    return _pair_up(
        [index for index in range(len(expected)) if index not in taken],
        [other for other in range(len(got)) if other not in owners],
    )


def _claim(index: int, expected: Sequence[Expected], got: list[Any], owners: dict[int, int]) -> None:
    """Find an event for one that is expected, if need be by finding others for those that have the ones it fits."""
    came_from: dict[int, int | None] = {}  # by the index of what came, that of the event given up for it
    waiting: list[tuple[int, int | None]] = [(index, None)]
    for wanting, given_up in waiting:  # grows while it is read
        for other, payload_ in enumerate(got):
            if other in came_from or not fits(expected[wanting].payload, payload_):
                continue
            came_from[other] = given_up
            if other in owners:
                waiting.append((owners[other], other))
                continue
            here: int | None = other
            while here is not None:
                before = came_from[here]
                owners[here] = owners[before] if before is not None else index
                here = before
            return


def _fields(name: str, expected: Any, got: Any) -> Iterator[Field]:
    """Give the fields of an event, those expected first, then the others that came."""
    one = expected if isinstance(expected, Mapping) else {} if expected is NOTHING else None
    other = got if isinstance(got, Mapping) else {} if got is NOTHING else None
    if one is None or other is None or not (one or other):
        yield Field(name or "payload", expected, got)
        return
    for key, item in one.items():
        path = f"{name}.{key}" if name else key
        value = other.get(key, NOTHING)
        if isinstance(item, Mapping) and isinstance(value, Mapping):
            yield from _fields(path, item, value)
        elif item is None and value is NOTHING and got is not NOTHING:
            yield Field(path, None, None)
        else:
            yield Field(path, item, value)
    for key, item in other.items():
        if key not in one:
            yield Field(f"{name}.{key}" if name else key, NOTHING, item)


# The ledger


def _count(count: Count, outcome: Outcome) -> int:
    report = outcome.report
    pipelines = [one for name, one in report.pipelines.items() if count.of in ("", name)]
    runners = [one for name, one in report.runners.items() if count.of in ("", name)]
    of_pipelines = sum(_of_pipeline(count.what, one) for one in pipelines)
    return of_pipelines + sum(_of_runner(count.what, one, report) for one in runners)


def _of_pipeline(what: str, pipeline: PipelineReport) -> int:
    if what == "in":
        return pipeline.taken
    if what == "rejected":
        return sum(pipeline.rejected.values())
    if what == "dropped":
        return sum(pipeline.dropped.values())
    if what == "delivered":
        return max((sink.delivered for sink in pipeline.sinks.values()), default=0)
    if what == "dead_letters":
        return pipeline.dead_letter.delivered if pipeline.dead_letter is not None else 0
    return int(getattr(pipeline, what)) if what in ("filtered", "merged", "made") else 0


def _of_runner(what: str, runner: RunnerReport, report: Report) -> int:
    if what == "rejected":  # lines that are too long
        return sum(runner.rejected.values())
    if what == "lost":
        return runner.lost_upstream
    return int(getattr(runner, what)) if what in ("lines", "skipped", "starts") else 0
