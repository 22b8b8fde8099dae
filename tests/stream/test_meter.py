"""The meter: what is measured of loops and of what stands between them."""

from __future__ import annotations

import threading
import time

import pytest

from rx_collector.backpressure import STRATEGIES, Boundary
from rx_collector.event import Event, Lines, Origin
from rx_collector.operators.filter import Filter
from rx_collector.operators.map import Map
from rx_collector.stream.meter import LoopMeter, Meter
from rx_collector.stream.segment import Step, compile_segment
from tests.conftest import wait_until

ORIGIN = Origin("run", "lines", 1, 42, 0)


def busy(seconds: float) -> None:
    """Take so much processor time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_the_clocked_loop_does_the_same_and_says_which_stage_took_how_long() -> None:
    def slow(event: Event) -> Event:
        busy(0.002)
        return event

    def quick(event: Event) -> bool:
        return event.line != 3

    steps = [Step(Filter(quick), "quick"), Step(Map(slow), "slow"), Step(Filter(quick), "last")]
    batch = Lines([b"x"] * 10, 1, ORIGIN, None, False)
    spent = [0, 0, 0]
    plain = compile_segment(steps, "lines")
    clocked = compile_segment(steps, "lines", spent=spent)
    out, counts = clocked.run(batch, lambda error, values: False)
    assert [event.line for event in out] == [1, 2, 4, 5, 6, 7, 8, 9, 10]
    assert counts == plain.run(batch, lambda error, values: False)[1]
    assert list(zip(plain.counters, counts, strict=True)) in (
        [((0, "passed"), 9), ((2, "filtered"), 0)],
        [((0, "filtered"), 1), ((2, "filtered"), 0)],  # without the switch `counting`
    )
    assert 9 * 0.002e9 <= spent[1] > 10 * (spent[0] + spent[2])
    assert "tick" not in plain.source


def test_an_error_in_the_clocked_loop_is_that_of_its_stage() -> None:
    def wrong(event: Event) -> bool:
        raise ValueError("no")

    segment = compile_segment([Step(Map(lambda event: 1), "a"), Step(Filter(wrong), "b")], "lines", spent=[0, 0])
    failed: list[int] = []

    def fail(error: Exception, values: dict[str, object]) -> bool:
        failed.append(segment.stage_of(error))
        return False

    segment.run(Lines([b"x"], 1, ORIGIN, None, False), fail)
    assert failed == [1]


def test_shares_come_from_batches_that_were_not_disturbed() -> None:
    meter = LoopMeter(("a", "b"))
    assert [meter.wants_clock() for _ in range(10)] == [True, *[False] * 7, True, False]
    assert meter.share() == [0.0, 0.0]
    meter.spent[:] = [1_000_000, 9_000_000]  # the thread had a processor for a tenth of it
    meter.clocked(1_000_000, 10, [10, 10], 0)
    assert meter.share() == [0.1, 0.9], "there is no other yet"
    meter.spent[:] = [601_000, 401_000]
    meter.clocked(1_000_000, 10, [10, 10], 100)
    assert meter.share() == [0.6, 0.4], "what the looks cost is not in it"
    assert meter.seconds() == 0.002
    meter.took(3_000_000, 40)
    assert meter.seconds() == pytest.approx(0.003 * 60 / 40), "as if no batch had been clocked"


def test_what_is_called_within_counts_there() -> None:
    meter = Meter()
    inner = meter.timed(("p", "inner"), lambda: busy(0.02))

    def call() -> None:
        busy(0.005)
        inner()
        inner()

    meter.timed(("p", "outer"), call)()
    own, within = meter.of(("p", "outer")), meter.of(("p", "inner"))
    assert within.calls == 2
    assert 0.04e9 <= within.cpu < 0.06e9
    assert 0.005e9 <= own.cpu < 0.02e9
    assert own.within >= within.cpu
    assert within.wall >= within.cpu * 0.9


def test_a_call_that_fails_is_measured_too() -> None:
    meter = Meter()

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        meter.timed(("p", "n"), fail)()
    assert meter.of(("p", "n")).calls == 1


def test_a_boundary_knows_how_long_its_producer_waited() -> None:
    boundary = Boundary(STRATEGIES["block"](capacity=1))
    events = [Event({"n": n}, None, ORIGIN, n) for n in range(2)]
    boundary.offer(events[:1])
    assert boundary.waited == 0.0
    producer = threading.Thread(target=boundary.offer, args=(events[1:],))
    began = time.monotonic()
    producer.start()
    wait_until(lambda: bool(boundary._room._waiters), "the producer waits")
    assert boundary.drain() == events[:1]
    while (taken := boundary.drain()) is not None:
        if taken == events[1:]:
            boundary.close()
    producer.join()
    assert 0.0 < boundary.waited < time.monotonic() - began
    boundary.release()
