"""The boundary as a state machine, and its strategies under a slow consumer."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rx_collector as rx
from rx_collector import operators as op
from rx_collector import sinks
from rx_collector.backpressure import STRATEGIES, Boundary
from rx_collector.event import Event
from tests.conftest import wait_until
from tests.events import event


def numbers(batch: list[Event] | None) -> list[int]:
    return [] if batch is None else [one.data for one in batch]


def boundary(strategy: str, capacity: int) -> Boundary:
    return Boundary(STRATEGIES[strategy](capacity))


def test_capacity_of_nothing_is_refused() -> None:
    with pytest.raises(rx.ConfigError, match="at least 1"):
        boundary("block", 0)


@pytest.mark.parametrize(
    ("strategy", "left", "dropped"), [("drop_oldest", [4, 5, 6, 7], 3), ("drop_newest", [1, 2, 3, 4], 3)]
)
def test_dropping(strategy: str, left: list[int], dropped: int) -> None:
    one = boundary(strategy, 4)
    one.offer([event(n) for n in (1, 2, 3)])
    one.offer([event(n) for n in (4, 5, 6, 7)])
    one.close()
    got: list[int] = []
    while (batch := one.drain()) is not None:
        got += numbers(batch)
    assert got == left
    assert one.dropped == {strategy: dropped}


def test_block_waits_for_room_and_keeps_order() -> None:
    one = boundary("block", 3)
    got: list[int] = []
    high = []

    def consume() -> None:
        while (batch := one.drain()) is not None:
            high.append(one.in_flight)
            got.extend(numbers(batch))

    thread = threading.Thread(target=consume)
    thread.start()
    for start in range(0, 1000, 10):
        one.offer([event(n) for n in range(start, start + 10)])
    one.close()
    thread.join(10)
    assert got == list(range(1000))
    assert max(high) <= 3
    assert one.high_watermark == 3


def test_cancel_wakes_a_blocked_producer_and_counts() -> None:
    one = boundary("block", 1)
    blocked = threading.Thread(target=one.offer, args=([event(n) for n in range(5)],))
    blocked.start()
    wait_until(lambda: one.waiting == 1, "the producer is blocked")
    one.cancel("stopped")
    blocked.join(10)
    assert not blocked.is_alive()
    one.offer([event(9)])
    assert one.dropped == {"stopped": 6}
    assert one.drain() is None


def test_completion_and_errors_queue_behind_the_events() -> None:
    one = boundary("block", 10)
    failure = ValueError("x")
    one.offer([event(1)])
    one.close(failure)
    assert numbers(one.drain()) == [1]
    assert one.drain() is None
    assert one.error is failure


def test_drain_gives_an_empty_list_on_a_time_out() -> None:
    assert boundary("block", 1).drain(timeout=0.001) == []


actions = st.lists(st.one_of(st.integers(0, 7), st.just("drain")), max_size=40)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(actions=actions, capacity=st.integers(1, 6), strategy=st.sampled_from(["drop_oldest", "drop_newest"]))
def test_any_interleaving_against_a_naive_model(actions: list[Any], capacity: int, strategy: str) -> None:
    real = boundary(strategy, capacity)
    waiting: deque[int] = deque()
    in_hand = dropped = count = 0
    for action in actions:
        if action == "drain":
            if not waiting:
                continue
            taken = [waiting.popleft() for _ in range(min(len(waiting), max(1, capacity // 2)))]
            in_hand = len(taken)
            assert numbers(real.drain()) == taken
        else:
            offered = list(range(count, count + action))
            count += action
            for number in offered:
                if len(waiting) + in_hand < capacity:
                    waiting.append(number)
                elif strategy == "drop_oldest" and waiting:
                    waiting.popleft()
                    waiting.append(number)
                    dropped += 1
                else:
                    dropped += 1
            real.offer([event(number) for number in offered])
        assert real.in_flight == len(waiting) + in_hand <= capacity
        assert real.dropped.total() == dropped


@pytest.mark.parametrize("strategy", ["block", "drop_oldest", "drop_newest"])
def test_a_slow_sink(strategy: str) -> None:
    """The sink takes nothing before all is read, unless it has to be waited for; then what came is exactly known."""
    entered, release = threading.Event(), threading.Event()
    got: list[int] = []

    def slow(one: Event) -> None:
        entered.set()
        if strategy != "block":
            release.wait(20)
        got.append(int(one["message"]))

    stream = rx.runner("seq", "20000").pipe(op.backpressure(strategy, capacity=100), op.to(sinks.callback(slow)))
    box: list[rx.Report] = []
    thread = threading.Thread(target=lambda: box.append(rx.run(stream)))
    thread.start()
    assert entered.wait(20)
    if strategy != "block":
        wait_until(lambda: not [t for t in threading.enumerate() if t.name == "rx-seq-stdout"], "all is read")
    release.set()
    thread.join(20)
    (report,) = box
    assert report.balanced
    nodes = report.pipelines["stream"].nodes
    assert got == sorted(got)
    assert len(got) == nodes[1].out == 20000 - nodes[0].dropped
    if strategy == "block":
        assert got == list(range(1, 20001))
    else:
        assert len(got) <= 200
    if strategy == "drop_oldest":
        assert got[-1] == 20000
    if strategy == "drop_newest":
        assert got == list(range(1, len(got) + 1))
