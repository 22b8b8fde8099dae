"""The timer thread of a pipeline: its clock, its order, its end."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
import reactivex
from reactivex import abc
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.scheduler.periodicscheduler import PeriodicScheduler

import rx_collector
from rx_collector.stream.flow import Connection, Timers
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


def test_it_is_a_scheduler_of_reactivex_for_those_who_have_that() -> None:
    scheduler = TimerScheduler("x")
    assert isinstance(rx_collector.EventStream, type)  # from now on reactivex knows them
    assert isinstance(scheduler, PeriodicScheduler)
    assert issubclass(Connection, abc.DisposableBase)
    counted = reactivex.interval(timedelta(milliseconds=2), scheduler=scheduler).pipe(ops.take(3), ops.to_list())
    assert counted.run() == [0, 1, 2]
    done = threading.Event()
    scheduler.schedule_absolute(scheduler.now + timedelta(milliseconds=5), lambda *_: done.set())
    assert done.wait(10)
    assert (scheduler.to_seconds(timedelta(minutes=1)), scheduler.to_timedelta(2.0)) == (60.0, timedelta(seconds=2))
    with pytest.raises(AttributeError, match="nothing"):
        scheduler.nothing  # type: ignore[attr-defined]  # noqa: B018
    scheduler.dispose()


def test_what_an_action_gives_back_is_disposed_with_it() -> None:
    scheduler = TimerScheduler("x")
    ran, given, late = threading.Event(), threading.Event(), threading.Event()

    def act(*_: Any) -> abc.DisposableBase:
        return Disposable(given.set)

    first = scheduler.schedule(act)
    scheduler.schedule(lambda *_: ran.set())
    assert ran.wait(10)
    assert not given.is_set()
    first.dispose()
    assert given.is_set()

    def act_while_it_is_disposed(*_: Any) -> abc.DisposableBase:
        second.dispose()
        return Disposable(late.set)

    with scheduler.schedule_relative(0.0, lambda *_: None):
        second = scheduler.schedule_relative(0.005, act_while_it_is_disposed)
    assert late.wait(10)
    scheduler.dispose()
