"""The checks for users: an operator, a sink, a runner against all rules that it has to keep."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

from rx_collector.errors import OutputError
from rx_collector.event import Event
from rx_collector.runners import Runner
from rx_collector.sinks.base import Sink, Writer
from rx_collector.stream.eventstream import EventStream
from rx_collector.testing.probe import DEADLINE, Script, run_script, see_threads_end
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
            rule(lambda: operator, copy.deepcopy(payloads))  # what one has edited is not what the next one gets
        except AssertionError as error:
            raise AssertionError(f"{rule.__name__}: {error}") from error
        except Exception as error:
            raise AssertionError(f"{rule.__name__}: it raises {error!r}") from error
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

    `make` gives a fresh description, each time for another place. With `fails` a write, flush or close has to raise
    OutputError. It opens the sink twice, writes `events` events in batches, and demands that every event is told as
    delivered exactly once at the latest by `close`, that `close` can be called twice, that `cancel` can be called at any
    time from any thread, and that no descriptor and no thread is left. Raises AssertionError.
    """
    threads, descriptors = set(threading.enumerate()), _descriptors()
    batch = run_script(Script.of([dict(_PAYLOADS[0], n=n) for n in range(10)])).wait().probe.events
    rounds = max(1, events // len(batch))
    writer = make().open()
    given = delivered = 0
    try:
        for _ in range(rounds):
            given += len(batch)
            delivered += _count("write", lambda: writer.write(batch))
            assert delivered <= given, f"{delivered} events were told as delivered, of {given} it was handed"
        delivered += _count("flush", writer.flush)
        delivered += _count("close", writer.close)
    except OutputError as error:
        assert fails, f"it failed: {error}"
        told = f"{error.delivered} events were told as delivered by a call that failed"
        assert 0 <= error.delivered <= given - delivered, f"{told}, {given - delivered} were left"
        _close_quietly(writer)
    else:
        assert not fails, "no call raised OutputError"
        assert delivered == given, f"{delivered} of {given} events were told as delivered"
    again = _close_quietly(writer)
    assert again == 0, f"a second close delivered {again} events"
    _cancelled(writer)

    cancelled = make().open()
    _cancelled(cancelled)
    _close_quietly(cancelled)
    see_threads_end(threads)
    left = _descriptors() - descriptors
    assert not left, f"descriptors are left: {', '.join(sorted(left))}"


def _count(name: str, call: Callable[[], Any]) -> int:
    """Make a call of a writer. Gives how many events have arrived; OutputError is all that it may raise."""
    try:
        count = call()
    except OutputError:
        raise
    except Exception as error:
        raise AssertionError(f"{name} raised {error!r}, where an OutputError is wanted") from error
    assert isinstance(count, int), f"{name} gave {count!r}, where the number of events delivered is wanted"
    assert count >= 0, f"{name} gave {count}: fewer than nothing were delivered"
    return count


def _cancelled(writer: Writer) -> None:
    raised: list[Exception] = []

    def cancel() -> None:
        try:
            writer.cancel()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=cancel, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive(), "cancel blocks"
    assert not raised, f"cancel raised {raised[0]!r}"


def _close_quietly(writer: Writer) -> int:
    try:
        return _count("close", writer.close)
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
    """Check a runner whose command prints something and ends by itself, within seconds.

    It is cold, its ids are unique and its lines in order, each event says where it is from, and a disposal, also a second
    one, ends it. Starts its command four times. Raises AssertionError, or what the runner ends with.
    """
    before = set(threading.enumerate())
    results = []
    for _ in range(2):
        done = threading.Event()
        events: list[Event] = []
        errors: list[Exception] = []

        def fail(error: Exception, errors: list[Exception] = errors, done: threading.Event = done) -> None:
            errors.append(error)
            done.set()

        subscription = EventStream.of(runner).subscribe(events.append, fail, done.set)
        ended = done.wait(DEADLINE)
        subscription.dispose()
        assert ended, f"{runner.name} does not end"
        if errors:
            raise errors[0]
        results.append(events)
    for events in results:
        assert events, f"{runner.name} prints nothing, which shows nothing"
        ids = [event.id for event in events]
        assert len(set(ids)) == len(ids), "two events have one id"
        lines = [event.line for event in events if event.type == "line"]
        assert lines == sorted(lines), "lines are out of order"
        assert all(event.incarnation >= 1 and event.pid for event in events), "an event does not say where it is from"
    same = {event.pid for event in results[0]} & {event.pid for event in results[1]}
    assert not same, "it is not cold: two subscriptions had one child"
    for subscription in [runner.subscribe() for _ in range(2)]:
        subscription.dispose()
        subscription.dispose()
    see_threads_end(before)
