"""Operators that wait: debounce, sort, timeout, heartbeat. Time is virtual."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.testing import TestScheduler

import rx_collector as rx
from rx_collector import operators as op
from rx_collector.event import Event
from rx_collector.operators._timer import Timer
from rx_collector.stream.eventstream import new_context
from tests.events import ORIGIN, run_batches


class Timed:
    """One operator on a virtual clock. `seen` has what came out, each with the second in which it did."""

    def __init__(self, operator: Any) -> None:
        self.scheduler = TestScheduler()
        self.context = new_context("test", self.scheduler)
        self.node = self.context.pipeline.node("operators[0] it")
        self.seen: list[tuple[float, Any]] = []
        self.events: list[Event] = []
        self.head: Any = operator.attach(self, self.context, self.node)

    def on_batch(self, batch: Any) -> None:
        self.events += batch
        self.seen += [(self.scheduler.clock, event.data) for event in batch]

    def on_error(self, error: Exception) -> None:
        self.seen.append((self.scheduler.clock, error))

    def on_completed(self) -> None:
        self.seen.append((self.scheduler.clock, "completed"))

    def run(self, *given: tuple[float, Any], end: float | None = None) -> list[tuple[float, Any]]:
        """Send a payload or an event at each of these seconds; complete at `end`."""

        def send(data: Any) -> Any:
            made = data if isinstance(data, Event) else Event(data, None, ORIGIN, 1)
            return lambda *_: self.head.on_batch([made])

        for second, data in given:
            self.scheduler.schedule_absolute(second, send(data))
        if end is not None:
            self.scheduler.schedule_absolute(end, lambda *_: self.head.on_completed())
            self.scheduler.schedule_absolute(end + 100, lambda *_: self.head.dispose())
        self.scheduler.start()
        assert self.node.missing() == 0
        return self.seen


def late(second: float, **data: Any) -> Event:
    return Event(data, None, ORIGIN, 1, None, round(second * 1e9))


# The timer that they share


def test_a_timer_acts_at_the_earliest_time_it_was_asked_for() -> None:
    scheduler = TestScheduler()
    seen: list[float] = []
    timer = Timer(new_context("test", scheduler), threading.RLock(), lambda: seen.append(scheduler.clock))
    for second in (20, 10, 30):
        timer.at(second * 10**9)
    scheduler.advance_to(15)
    timer.at(18 * 10**9)
    timer.cancel()
    timer.at(25 * 10**9)
    scheduler.advance_to(28)
    timer.at(29 * 10**9)
    timer.close()
    timer.at(29 * 10**9)
    scheduler.advance_to(50)
    assert seen == [10, 25]


# debounce


def test_debounce_lets_the_last_pass_when_it_is_quiet() -> None:
    timed = Timed(op.debounce(1, key="k"))
    given = [(1, {"k": "a", "n": 1}), (1.5, {"k": "b", "n": 2}), (1.9, {"k": "a", "n": 3}), (5, {"k": "a", "n": 4})]
    seen = timed.run(*given, end=5.5)
    assert [(second, data if isinstance(data, str) else data["n"]) for second, data in seen] == [
        (2.5, 2),
        (2.9, 3),
        (5.5, 4),
        (5.5, "completed"),
    ]
    assert (timed.node.merged, timed.node.made) == (4, 3)


def test_debounce_forgets_no_event_when_there_are_too_many_keys() -> None:
    timed = Timed(op.debounce(1, key="k", size=1))
    seen = timed.run((1, {"k": "a"}), (1.1, {"k": "b"}), end=3)
    assert seen[:2] == [(1.1, {"k": "a"}), (2.1, {"k": "b"})]
    assert timed.node.notes == {"evicted": 1}


# sort


def test_sort_within_the_lateness() -> None:
    timed = Timed(op.sort(5))
    given = [(1, late(10, n=1)), (2, late(8, n=2)), (3, late(15, n=3)), (4, late(9, n=4)), (5, late(16, n=5))]
    seen = timed.run(*given, end=5.5)
    order = [(second, data if isinstance(data, str) else data["n"]) for second, data in seen]
    assert order == [(3, 2), (3, 1), (4, 4), (5.5, 3), (5.5, 5), (5.5, "completed")]
    assert timed.node.notes == {"late": 1}


def test_sort_holds_nothing_longer_than_it_says() -> None:
    timed = Timed(op.sort(5))
    seen = timed.run((1, late(10, n=1)), (3, late(9, n=2)), (4, late(11, n=3)), end=30)
    assert [(second, data["n"]) for second, data in seen[:-1]] == [(6, 2), (6, 1), (9, 3)]


def test_sort_drops_what_is_too_late_where_it_is_told_to() -> None:
    timed = Timed(op.sort(1, late="drop"))
    timed.run((1, late(10)), (1.1, late(20)), (1.2, late(5)), end=2)
    assert len(timed.events) == 2
    assert +timed.node.dropped == {"late": 1}


def test_sort_sends_the_earliest_when_there_are_too_many() -> None:
    timed = Timed(op.sort(100, size=2))
    seen = timed.run((1, late(3)), (2, late(1)), (3, late(2)), end=4)
    assert seen[0][0] == 3
    assert [event.time_ns for event in timed.events] == [10**9, 2 * 10**9, 3 * 10**9]
    assert timed.node.notes == {"early": 1}


@pytest.mark.parametrize("step", [1, 0, -1], ids=["later each time", "always the same", "earlier each time"])
def test_what_sort_remembers_is_bounded_by_its_size(step: int) -> None:
    """However long it waits: one moment for each event that waits, not one for each batch."""
    timed = Timed(op.sort(3600, size=10))
    for number in range(1000):
        timed.head.on_batch([late(2000 + step * number, n=number)])
        assert len(timed.head._arrived) <= 11
    timed.head.on_completed()
    assert len(timed.events) == 1000
    timed.head.dispose()


def test_sort_sends_what_came_after_the_latest_with_it() -> None:
    timed = Timed(op.sort(5))
    given = [(10, late(10, n=1)), (12, late(8, n=2)), (13, late(12, n=3)), (14, late(11, n=4))]
    assert [(second, data["n"]) for second, data in timed.run(*given)] == [(15, 2), (15, 1), (18, 4), (18, 3)]


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 20))
def test_sort_puts_in_order_whatever_is_not_too_late(seconds: list[int], lateness: int) -> None:
    events = [late(second, n=n) for n, second in enumerate(seconds)]
    result = run_batches([[event] for event in events], op.sort(lateness, late="drop"))
    order = [(event.time_ns, event["n"]) for event in result.events]
    assert order == sorted(order)
    latest, kept = -1, 0
    for second in seconds:
        latest = max(latest, second)
        kept += second >= latest - lateness
    assert len(order) >= kept  # what is later than that may still have found its place


# timeout and heartbeat


def test_timeout_fails_when_nothing_came() -> None:
    timed = Timed(op.timeout(10))
    seen = timed.run((4, {"n": 1}), (13, {"n": 2}), (30, {"n": 3}))
    assert [second for second, _ in seen] == [4, 13, 23]
    assert isinstance(seen[-1][1], rx.ProcessError)
    assert str(seen[-1][1]) == "test, operators[0] it: no event for 10s"
    assert timed.node.dropped == {"disposed": 1}


def test_timeout_from_the_start_and_not_after_the_end() -> None:
    assert Timed(op.timeout(10)).run()[0][0] == 10
    assert Timed(op.timeout(10)).run((1, {}), end=9) == [(1, {}), (9, "completed")]


@pytest.mark.parametrize("idle", [False, True])
def test_heartbeat(idle: bool) -> None:
    timed = Timed(op.heartbeat(10, idle=idle))
    seen = timed.run((4, {"n": 1}), (5, {"n": 2}), end=35)
    beats = [(second, data) for second, data in seen if "heartbeat" in data]
    first = [] if idle else [(10, {"heartbeat": 1, "events": 2})]
    assert beats == [*first, *[(10.0 * n, {"heartbeat": n - idle, "events": 0}) for n in (2, 3)]]
    assert seen[-1] == (35, "completed")
    assert timed.node.made == len(beats)
    beat = next(event for event in timed.events if event.type == "heartbeat")
    assert beat.id.endswith("/test/1/heartbeat-1")
