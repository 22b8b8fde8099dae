"""While many events come, the consumer lets some of them wait for others; but never for long, nor where it would show."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from rx_collector.backpressure import STRATEGIES, Boundary
from rx_collector.backpressure.pace import Pace
from rx_collector.event import Event
from tests.conftest import wait_until
from tests.events import event

LONG = 60.0  # seconds, much longer than a test takes


class Drained:
    """A consumer that has been given one event, and now comes for more with a pause of a minute before it."""

    def __init__(self, strategy: str, pause: float = LONG, **options: Any) -> None:
        self.boundary = Boundary(STRATEGIES[strategy](**{"capacity": 1000, **options}))
        self.batches: list[list[Event] | None] = []
        self.boundary.offer([event(0)])
        self.boundary.drain()
        self.boundary._pace.until = time.monotonic() + pause
        self.woken = 0
        notify = self.boundary._news.notify

        def counted(n: int = 1) -> None:
            self.woken += 1
            notify(n)

        self.boundary._news.notify = counted  # type: ignore[method-assign]
        self.thread = threading.Thread(target=self._drain, daemon=True)
        self.thread.start()

    def _drain(self) -> None:
        self.batches.append(self.boundary.drain())

    @property
    def got(self) -> list[Any]:
        self.thread.join(10)
        assert not self.thread.is_alive(), "it still waits"
        (batch,) = self.batches
        return [] if batch is None else [one.data for one in batch]

    def waits(self) -> bool:
        """Whether what was offered is let wait."""
        wait_until(lambda: self.boundary._wanted > 1, "it waits for more")
        return self.thread.is_alive()


def test_events_are_given_out_together_once_there_are_enough() -> None:
    one = Drained("block")
    assert one.waits()
    for number in range(124):  # an eighth of the capacity is enough
        one.boundary.offer([event(number)])
    assert one.waits()
    assert one.woken == 0
    one.boundary.offer([event(124)])
    assert one.got == list(range(125))


def test_no_more_are_wanted_than_one_batch_is_worth() -> None:
    one = Drained("block", capacity=1_000_000)
    assert one.waits()
    one.boundary.offer([event(number) for number in range(256)])
    assert one.got == list(range(256))


def test_they_wait_no_longer_than_the_pause() -> None:
    one = Drained("block", pause=0.05)
    one.boundary.offer([event(1)])
    assert one.got == [1]


@pytest.mark.parametrize("ends", [Boundary.close, lambda boundary: boundary.cancel("stopped")], ids=["close", "cancel"])
def test_nothing_waits_for_more_when_there_is_no_more(ends: Callable[[Boundary], None]) -> None:
    one = Drained("block")
    assert one.waits()
    one.boundary.offer([event(1)])
    ends(one.boundary)
    assert one.got == ([] if one.boundary.dropped else [1])


def test_a_producer_that_has_no_room_does_not_wait_for_the_pause() -> None:
    one = Drained("block", max_bytes=100)
    assert one.waits()
    batch = [event("x" * 60), event("y" * 60)]
    producer = threading.Thread(target=one.boundary.offer, args=(batch,), daemon=True)
    producer.start()
    assert one.got == ["x" * 60]
    assert [event.data for event in one.boundary.drain() or []] == ["y" * 60]
    producer.join(10)
    assert not producer.is_alive()


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("drop_oldest", {}),
        ("drop_newest", {}),
        ("latest", {"capacity": 1}),
        ("error", {}),
        ("block", {"max_age": 30.0}),
        ("block", {"capacity": 7}),
    ],
)
def test_where_waiting_could_lose_or_change_an_event_none_waits(strategy: str, options: dict[str, Any]) -> None:
    one = Drained(strategy, **options)
    one.boundary.offer([event(1)])
    assert one.got == [1]


def test_a_pause_comes_with_many_events_and_goes_with_them() -> None:
    pace = Pace(0.001)
    now = 100.0

    def took(count: int, gap: float, times: int) -> list[bool]:
        nonlocal now
        paused = []
        for _ in range(times):
            now += gap
            pace.took(count, now)
            assert pace.until in (0.0, now + 0.001)
            paused.append(pace.until > 0)
        return paused

    assert not any(took(1, 0.001, 1000))  # 1,000 events a second
    assert not any(took(1, 0.0003, 1000))
    faster = took(1, 0.0001, 100)  # 10,000
    assert not faster[0]
    assert faster[-1]
    assert faster == sorted(faster)
    assert all(took(10, 0.001, 100))  # the same with the pause
    assert not any(took(1, 0.001, 100)[20:])
    assert not any(took(1, 0.00001, 2))  # two at once are not many


def test_a_long_silence_is_forgotten_soon() -> None:
    pace = Pace(0.001)
    pace.took(1, 1.0)
    pace.took(1, 100_000.0)
    for number in range(1, 40):
        pace.took(10, 100_000 + number / 1000)
    assert pace.until > 0


@pytest.mark.parametrize("seconds", [0.006, 0.05, 1.0, 60.0])
def test_events_that_come_many_at_once_but_seldom_are_not_many(seconds: float) -> None:
    pace = Pace(0.001)
    for number in range(100):
        pace.took(50, number * seconds)
        pace.took(50, number * seconds + 0.0001)  # the rest of them
        assert pace.until == 0.0


def test_without_a_pause_none_comes() -> None:
    pace = Pace(0.0)
    for number in range(1000):
        pace.took(100, number / 1000)
        assert pace.until <= number / 1000


@pytest.mark.slow
def test_the_switch_turns_it_off() -> None:
    code = "from rx_collector.backpressure import boundary; print(boundary._PAUSE)"
    environment = {**os.environ, "RX_COLLECTOR_WITHOUT": "pacing"}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True) == "0.0\n"
