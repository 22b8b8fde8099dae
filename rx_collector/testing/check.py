"""The checks for users: an operator, a sink, a runner against all rules that it has to keep."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

from rx_collector.errors import OutputError
from rx_collector.event import Event
from rx_collector.runners import Runner
from rx_collector.sinks.base import Sink
from rx_collector.stream.eventstream import EventStream
from rx_collector.testing.probe import DEADLINE, Script, run_script
from rx_collector.testing.rules import RULES

__all__ = ["check_operator", "check_runner", "check_sink"]

_PAYLOADS = ({"message": "one", "n": 1}, {"message": "two", "n": 2}, {"message": "three", "n": 3})


def check_operator(operator: Any, payloads: Sequence[Any] = _PAYLOADS, *, same_for_any_batches: bool = True) -> None:
    """Check an operator (ours, or any function from a stream to a stream) against every rule in `rules`.

    `payloads` are what it is fed with, again and again. `same_for_any_batches` also demands that the same events come
    out however they were put into batches; turn it off for operators in which time decides. Raises AssertionError that
    names the rule. Blocks for about a second; leaves no thread.
    """
    for rule in RULES:
        try:
            rule(lambda: operator, payloads)
        except AssertionError as error:
            raise AssertionError(f"{rule.__name__}: {error}") from error
    if same_for_any_batches:
        many = [*payloads] * 10
        together = run_script(Script.of(many), operator).wait().probe.events
        for size in (1, 3):
            apart = run_script(Script.of(many, size=size), operator).wait().probe.events
            assert list(map(_told, apart)) == list(map(_told, together)), f"batches of {size} give other events"


def _told(event: Any) -> Any:
    data = event.data
    plain = [_told(member) for member in data] if isinstance(data, list) else data
    return (event.id, plain) if isinstance(event, Event) else plain


def check_sink(make: Callable[[], Sink], *, fails: bool = False, events: int = 100) -> None:
    """Check a sink against the contract of `rx_collector.sinks.Writer`.

    `make` gives a fresh description, each time for another place. With `fails` every write has to raise OutputError. It
    opens the sink several times, writes `events` events in batches, and demands that every event is told as delivered
    exactly once at the latest by `close`, that `close` can be called twice, that `cancel` can be called at any time
    from any thread, and that no descriptor and no thread is left. Raises AssertionError.
    """
    threads, descriptors = set(threading.enumerate()), _descriptors()
    batch = run_script(Script.of([dict(_PAYLOADS[0], n=n) for n in range(10)])).wait().probe.events
    writer = make().open()
    delivered = 0
    try:
        for _ in range(max(1, events // 10)):
            count = writer.write(batch)
            assert isinstance(count, int), f"write gave {count!r}, the number of events delivered is wanted"
            delivered += count
            assert delivered >= 0, "fewer than nothing were delivered"
        delivered += writer.flush()
        delivered += writer.close()
    except OutputError as error:
        assert fails, f"it failed: {error}"
        assert 0 <= error.delivered <= len(batch) * events, "error.delivered counts events of the failed call"
        _close_quietly(writer)
    else:
        assert not fails, "no write raised OutputError"
        assert delivered == max(1, events // 10) * 10, f"{delivered} of {events} events were told as delivered"
    again = _close_quietly(writer)
    assert again == 0, f"a second close delivered {again} events"
    writer.cancel()

    cancelled = make().open()
    thread = threading.Thread(target=cancelled.cancel)
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive(), "cancel blocks"
    _close_quietly(cancelled)
    assert _descriptors() <= descriptors, f"descriptors are left: {_descriptors() - descriptors}"
    left = [thread.name for thread in set(threading.enumerate()) - threads]
    assert not left, f"threads are left: {left}"


def _close_quietly(writer: Any) -> int:
    try:
        return int(writer.close())
    except OutputError:
        return 0


def _descriptors() -> set[str]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} -> {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            continue
    return found


def check_runner(runner: Runner) -> None:
    """Check a runner whose command ends by itself: it is cold, its ids are unique and tell the line, a disposal ends it.

    Starts its command four times. Raises AssertionError, or what the runner ends with.
    """
    results = []
    for _ in range(2):
        done = threading.Event()
        events: list[Event] = []
        errors: list[Exception] = []

        def fail(error: Exception, errors: list[Exception] = errors, done: threading.Event = done) -> None:
            errors.append(error)
            done.set()

        EventStream.of(runner).subscribe(events.append, fail, done.set)
        assert done.wait(DEADLINE), f"{runner.name} does not end"
        if errors:
            raise errors[0]
        results.append(events)
    for events in results:
        ids = [event.id for event in events]
        assert len(set(ids)) == len(ids), "two events have one id"
        lines = [event.line for event in events if event.type == "line"]
        assert lines == sorted(lines), "lines are out of order"
        assert all(event.incarnation >= 1 and event.pid for event in events), "an event does not say where it is from"
    assert not results[0] or {e.pid for e in results[0]}.isdisjoint(e.pid for e in results[1]), "it is not cold"
    for subscription in [runner.subscribe() for _ in range(2)]:
        subscription.dispose()
        subscription.dispose()
