"""The timer thread of a pipeline: its clock, its order, its end."""

from __future__ import annotations

import threading
import time
from typing import Any

from rx_collector.stream.flow import Timers
from rx_collector.stream.timers import TimerScheduler
from tests.conftest import wait_until


def test_actions_run_in_the_order_of_their_times() -> None:
    scheduler = TimerScheduler("x")
    seen: list[int] = []
    done = threading.Event()
    scheduler.schedule_relative(0.06, lambda *_: (seen.append(3), done.set()))
    scheduler.schedule_relative(0.03, lambda *_: seen.append(2))
    cancelled = scheduler.schedule_relative(0.04, lambda *_: seen.append(99))
    scheduler.schedule(lambda *_: seen.append(1))
    cancelled.dispose()
    assert done.wait(10)
    assert seen == [1, 2, 3]
    scheduler.dispose()


def test_an_action_that_fails_stops_no_other() -> None:
    scheduler = TimerScheduler("x")
    done = threading.Event()
    scheduler.schedule(lambda *_: 1 / 0)
    scheduler.schedule_relative(0.01, lambda *_: done.set())
    assert done.wait(10)
    scheduler.dispose()


def test_the_clock_does_not_jump_with_the_wall_clock(monkeypatch: Any) -> None:
    scheduler = TimerScheduler("x")
    before = scheduler.now
    monkeypatch.setattr("rx_collector.stream.timers.datetime", None)  # it is not asked any more
    time.sleep(0)
    assert 0 <= (scheduler.now - before).total_seconds() < 5
    scheduler.dispose()


def test_after_the_end_of_a_pipeline_no_timer_begins_anew() -> None:
    """An operator whose timer is just running when the pipeline is closed asks for the next one: it gets none."""
    timers = Timers("x")
    running, closed, ran = threading.Event(), threading.Event(), threading.Event()

    def act(*_: Any) -> None:
        running.set()
        closed.wait(10)
        timers.scheduler().schedule_relative(0.001, lambda *_: ran.set())

    timers.scheduler().schedule(act)
    assert running.wait(10)
    timers.close()
    closed.set()
    wait_until(lambda: not any(t.name == "rx-x-timer" for t in threading.enumerate()), "the thread has ended")
    late = Timers("y")
    late.close()
    before = late.scheduler().now
    late.scheduler().schedule_relative(0, lambda *_: ran.set())
    assert late.scheduler().now >= before
    assert not any(thread.name.startswith("rx-") for thread in threading.enumerate())
    assert not ran.is_set()
