"""What reactivex does that must not be inherited: each test shows reactivex at it, and ours not."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import reactivex
import reactivex.operators as ops
from reactivex.scheduler import EventLoopScheduler, NewThreadScheduler
from reactivex.subject import Subject

import rx_collector as rx
from rx_collector import operators as op
from rx_collector import sinks
from rx_collector.stream.timers import TimerScheduler
from rx_collector.testing import Probe, Script, run_script
from tests.conftest import wait_until


def test_a_queue_between_threads_is_bounded() -> None:
    """`observe_on` takes in without bound while its observer is stuck."""
    gate, entered = threading.Event(), threading.Event()
    scheduler = EventLoopScheduler()
    source: Subject[int] = Subject()
    got: list[int] = []

    def slow(item: int) -> None:
        entered.set()
        gate.wait(10)
        got.append(item)

    source.pipe(ops.observe_on(scheduler)).subscribe(slow)
    for number in range(5000):
        source.on_next(number)  # never waits
    assert entered.wait(10)
    gate.set()
    wait_until(lambda: len(got) == 5000, "all that was queued arrives: nothing bounded it")
    scheduler.dispose()

    held, ours = threading.Event(), threading.Event()

    def stuck(batch: Any) -> None:
        ours.set()
        held.wait(10)

    run = run_script(Script.of(range(5000), size=100), op.backpressure("block", capacity=100), probe=Probe(stuck))
    assert ours.wait(10)
    wait_until(lambda: run.report().pipelines["check"].nodes[0].held == 50, "it is full")
    assert run.source.connections[0].sent <= 300
    held.set()
    run.wait().check()
    assert len(run.probe.events) == 5000


def test_observe_on_a_new_thread_starts_one_for_each_item() -> None:
    names: set[int] = set()
    done = threading.Event()
    reactivex.from_iterable(range(20)).pipe(ops.observe_on(NewThreadScheduler())).subscribe(
        lambda item: names.add(threading.get_ident()), on_completed=done.set
    )
    assert done.wait(10)

    ours: set[str] = set()
    probe = Probe(lambda batch: ours.add(threading.current_thread().name))
    run_script(Script.of(range(200), size=1), op.backpressure("block", capacity=10), probe=probe).wait().check()
    assert len(ours) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_exception_kills_no_event_loop() -> None:
    """An action that raises kills reactivex's event loop: what is scheduled after it never happens."""

    def fails(*_: Any) -> None:
        raise ValueError("x")

    theirs, happened = EventLoopScheduler(), threading.Event()
    theirs.schedule(fails)
    wait_until(lambda: theirs._thread is not None and not theirs._thread.is_alive(), "its thread is dead")
    theirs.schedule(lambda *_: happened.set())
    assert not happened.wait(0.05)
    theirs.dispose()

    ours = TimerScheduler("hazard")
    ours.schedule(fails)
    ours.schedule_relative(0.001, lambda *_: happened.set())
    assert happened.wait(10)
    ours.dispose()


def test_a_disposed_timer_thread_ends() -> None:
    """Disposed between two of its steps, reactivex's event loop sleeps for ever; ours looks before it sleeps."""
    for _ in range(200):
        timers = TimerScheduler("hazard")
        timers.schedule(lambda *_: None)
        timers.dispose()
        thread = timers._thread
        assert thread is not None
        thread.join(10)
        assert not thread.is_alive()
        timers.schedule(lambda *_: pytest.fail("it runs after the end"))


def test_timers_go_by_a_clock_that_does_not_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    timers, order = TimerScheduler("hazard"), []
    done = threading.Event()
    timers.schedule_relative(0.03, lambda *_: (order.append(2), done.set()))
    timers.schedule_relative(0.01, lambda *_: order.append(1))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    cancelled = timers.schedule_absolute(timers.now, lambda *_: order.append(3))
    cancelled.dispose()
    assert done.wait(10)
    assert [n for n in order if n != 3] == [1, 2]
    timers.dispose()


def test_a_failing_sink_does_not_look_like_a_failing_source() -> None:
    """With `from_iterable`, the observer's exception goes up, `retry` takes it for the source's and runs that again."""
    subscriptions = 0

    def source(observer: Any, scheduler: Any = None) -> Any:
        nonlocal subscriptions
        subscriptions += 1
        return reactivex.from_iterable(range(3)).subscribe(observer)

    def fails(item: int) -> None:
        raise ValueError("the sink is broken")

    with pytest.raises(ValueError, match="the sink is broken"):
        reactivex.create(source).pipe(ops.retry(3)).subscribe(fails)
    theirs = subscriptions

    def broken(event: Any) -> None:
        raise ValueError("the sink is broken")

    stream = rx.runner(
        "seq", "3", name="once", restart={"when": "on-failure", "backoff": "1ms..2ms", "limit": "3 in 1m"}
    )
    context: list[int] = []
    with pytest.raises(rx.OutputError, match="the sink is broken"):
        rx.run(stream.pipe(op.tap(lambda event: context.append(event.incarnation)), op.to(sinks.callback(broken))))
    assert set(context) == {1}
    assert theirs >= 1


def test_stop_iteration_is_an_error_like_any_other() -> None:
    """In reactivex a StopIteration out of a callback ends the stream as if it were complete."""

    def fails(item: Any) -> Any:
        raise StopIteration

    ended: list[str] = []
    reactivex.from_iterable(range(3)).subscribe(
        fails, lambda error: ended.append("error"), lambda: ended.append("completed")
    )
    assert ended == ["completed"]

    run = run_script(Script.of(range(3)), op.map(fails)).wait()
    run.check()
    assert run.report().pipelines["check"].rejected == {"map": 3}


def test_take_ends_its_source() -> None:
    """A synchronous source runs on to its end, whoever has enough."""
    made = 0

    def numbers() -> Any:
        nonlocal made
        while made < 10_000:
            made += 1
            yield made

    reactivex.create(lambda observer, scheduler: [observer.on_next(n) for n in numbers()] and None).pipe(
        ops.take(3)
    ).subscribe()
    assert made == 10_000

    run = run_script(Script.of(range(10), size=1, endless=True), ops.take(3), op.map("this")).wait()
    run.check()
    assert len(run.probe.events) == 3
    (connection,) = run.source.connections
    assert connection.disposed
    assert not connection.thread.is_alive()


def test_keys_that_are_not_seen_again_are_let_go() -> None:
    """`group_by` keeps a group for each key there ever was."""
    groups: list[Any] = []
    source: Subject[int] = Subject()
    subscription = source.pipe(ops.group_by(lambda number: number)).subscribe(groups.append)
    for number in range(500):
        source.on_next(number)
    source.on_next(0)
    assert len(groups) == 500, "the group of a key that was not seen for long is still there"
    subscription.dispose()

    gate, entered = threading.Event(), threading.Event()

    def stuck(batch: Any) -> None:
        entered.set()
        gate.wait(10)

    for strategy in (
        op.backpressure("latest", key="this", capacity=10),
        op.backpressure("conflate", by="this", merge=max),
    ):
        gate.clear()
        run = run_script(Script.of(range(50_000), size=100), strategy, probe=Probe(stuck))
        assert entered.wait(10)
        wait_until(lambda run=run: run.source.connections[0].ended, "all has come")  # type: ignore[misc]
        assert run.report().pipelines["check"].nodes[0].held <= strategy.capacity
        gate.set()
        run.wait().check()


@pytest.mark.parametrize("operator", [ops.debounce(0.2), ops.timeout(0.2)], ids=["debounce", "timeout"])
def test_a_timer_an_item_is_not_a_thread_an_item(operator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`debounce` and `timeout` start a thread for each item."""
    started: list[str] = []
    start = threading.Thread.start

    def counted(thread: threading.Thread) -> None:
        started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", counted)
    source: Subject[int] = Subject()
    subscription = source.pipe(operator).subscribe()
    for number in range(20):
        source.on_next(number)
    subscription.dispose()
    assert len(started) >= 20

    started.clear()
    run = run_script(Script.of(range(300), size=1), op.buffer(count=7, time=0.001)).wait()
    run.check()
    assert sorted(started) == ["rx-check-timer", "rx-script"]
    wait_until(
        lambda: not [t for t in threading.enumerate() if isinstance(t, threading.Timer)], "their timers are gone"
    )


def test_starting_again_waits() -> None:
    """`retry` starts again at once; a restart backs off."""
    times: list[float] = []

    def source(observer: Any, scheduler: Any = None) -> Any:
        times.append(time.monotonic())
        observer.on_error(ValueError("x"))

    reactivex.create(source).pipe(ops.retry(20)).subscribe(on_error=lambda error: None)
    assert len(times) == 20

    events: list[Any] = []
    done = threading.Event()
    rx.runner(
        "false",
        lifecycle=True,
        restart={"when": "on-failure", "backoff": "1ms..4ms", "healthy": "1m", "limit": "4 in 1m"},
    ).subscribe(events.append, lambda error: done.set())
    assert done.wait(10)
    waits = [event["seconds"] for event in events if event["event"] == "restarting"]
    assert len(waits) == 4
    assert waits[0] < waits[1] < waits[2] <= 0.004


def test_three_hundred_operators_are_no_recursion() -> None:
    chain = [ops.map(lambda item: item + 1) for _ in range(300)]
    with pytest.raises(RecursionError):
        reactivex.from_iterable([0]).pipe(*chain).subscribe(on_error=lambda error: (_ for _ in ()).throw(error))
    run = run_script(Script.of([0]), *[op.map("this + 1") for _ in range(3000)]).wait()
    run.check()
    assert run.probe.data == [3000]
