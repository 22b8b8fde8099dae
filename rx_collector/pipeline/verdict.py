"""The verdict: what a test expected, beside what came."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from rx_collector.event import Event
from rx_collector.ledger import PipelineReport, Report, RunnerReport
from rx_collector.pipeline.cases import TestSpec
from rx_collector.pipeline.expect import Count, Expectation
from rx_collector.pipeline.pairing import fits, pair_anyhow, pair_in_order
from rx_collector.pipeline.project import Project
from rx_collector.pipeline.rehearsal import Outcome, rehearse
from rx_collector.sinks.format import payload
from rx_collector.units import format_duration

__all__ = ["NOTHING", "Failure", "Field", "Verdict", "judge"]

#: Stands where there is no value to show.
NOTHING: Final[Any] = type("Nothing", (), {"__repr__": lambda self: "NOTHING"})()


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
        yield from _compare(name, expectation, [_plain(event) for event in outcome.events[name]], outcome.times[name])
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


# Events


def _compare(where: str, expectation: Expectation, got: list[Any], times: Sequence[float] = ()) -> Iterator[Failure]:
    events = expectation.events
    expected = [event.payload for event in events]
    pairs = pair_anyhow(expected, got) if expectation.any_order else pair_in_order(expected, got)
    for index, other in pairs:
        if index is not None and other is not None:
            if not fits(expected[index], got[other]):
                fields = tuple(_fields("", expected[index], got[other]))
                yield Failure(events[index].place, f"{where}[{index}] is not as expected", fields)
            elif (at := events[index].at) is not None and round(at, 6) != round(times[other], 6):
                fields = (Field("at", format_duration(round(at, 6)), format_duration(round(times[other], 6))),)
                yield Failure(events[index].place, f"{where}[{index}] came at another time", fields)
        elif index is not None:
            fields = tuple(_fields("", expected[index], NOTHING))
            yield Failure(events[index].place, f"{where}[{index}] did not come", fields)
        elif other is not None:
            fields = tuple(_fields("", NOTHING, got[other]))
            yield Failure(expectation.place, f"{where}: one event too many", fields)


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
    if what == "evicted":
        return sum(node.notes.get("evicted", 0) for node in pipeline.nodes)
    if what == "dead_letters":
        return pipeline.dead_letter.delivered if pipeline.dead_letter is not None else 0
    return int(getattr(pipeline, what)) if what in ("filtered", "merged", "made") else 0


def _of_runner(what: str, runner: RunnerReport, report: Report) -> int:
    if what == "rejected":  # lines that are too long
        return sum(runner.rejected.values())
    if what == "lost":
        return runner.lost_upstream
    return int(getattr(runner, what)) if what in ("lines", "skipped", "starts") else 0
