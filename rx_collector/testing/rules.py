"""The rules of Reactive Streams (https://www.reactive-streams.org, version 1.0.4) that have a meaning here, as checks.

Each is a function named by its number that takes a maker of a fresh operator, and payloads it can be fed with, and raises
AssertionError. "Request" is not a signal here: demand is the room in a boundary, and waiting for it is `on_batch` that does
not return; rules about it are read in that sense.
"""

from __future__ import annotations

import copy
import gc
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from rx_collector.backpressure.consumer import Consumer
from rx_collector.config.options import Spec
from rx_collector.errors import ConfigError
from rx_collector.stream.eventstream import EventStream
from rx_collector.testing.probe import DEADLINE, Probe, Run, Script, Scripted, run_script

__all__ = ["RULES"]

Make = Callable[[], Any]
Rule = Callable[[Make, Sequence[Any]], None]
RULES: list[Rule] = []


def _rule(check: Rule) -> Rule:
    RULES.append(check)
    return check


class _Failure(Exception):
    """The error that a source sends."""


class _Observed:
    """What an Rx observer got."""

    def __init__(self, on_next: Callable[[Any], None] = lambda event: None) -> None:
        self.items: list[Any] = []
        self.error: Exception | None = None
        self.ended = threading.Event()
        self.first = threading.Event()
        self._then = on_next

    def on_next(self, item: Any) -> None:
        self.items.append(item)
        self.first.set()
        self._then(item)

    def on_error(self, error: Exception) -> None:
        self.error = error
        self.ended.set()

    def on_completed(self) -> None:
        self.ended.set()


def _subscribe(source: Scripted, operator: Any, observed: _Observed) -> Any:
    return operator(EventStream(source)).subscribe(observed.on_next, observed.on_error, observed.on_completed)


def _in_time(subscribe: Callable[[], Any]) -> None:
    """Make a call that subscribes, and see that it returns."""
    raised: list[Exception] = []

    def call() -> None:
        try:
            subscribe()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive(), "subscribe blocks"
    assert not raised, f"subscribe raises {raised[0]!r}"


def _threads_gone(source: Scripted) -> None:
    for connection in source.connections:
        connection.thread.join(DEADLINE)
        assert not connection.thread.is_alive(), "the source runs on"


@_rule
def spec_1_10_1_11_each_subscription_starts_anew(make: Make, payloads: Sequence[Any]) -> None:
    """A stream is cold: several subscribers each get all of it."""
    # This one is the first, while an operator that keeps something from one subscription to the next is still new.
    source, operator = Scripted(Script.of(payloads)), make()
    stream = operator(EventStream(source))
    results = []
    for _ in range(2):
        observed = _Observed()
        _in_time(lambda to=observed: stream.subscribe(to.on_next, to.on_error, to.on_completed))  # type: ignore[misc]
        assert observed.ended.wait(DEADLINE), "there is no completion and no error"
        assert observed.error is None, f"it ended with {observed.error!r}"
        results.append([getattr(item, "data", item) for item in observed.items])
    _threads_gone(source)
    assert len(source.connections) == 2, f"two subscriptions connected {len(source.connections)} times to the source"
    same = _time_decides(make()) or _plain(results[0]) == _plain(results[1])
    assert same, (
        f"the second subscriber got {len(results[1])} events, other ones than the {len(results[0])} of the first"
    )


@_rule
def spec_1_01_no_more_in_flight_than_there_is_room(make: Make, payloads: Sequence[Any]) -> None:
    """A boundary never holds more than its capacity, those in the consumer's hands included."""
    capacity = getattr(make(), "capacity", None)
    if capacity is None:
        return
    gate, entered, seen = threading.Event(), threading.Event(), []

    def slow(batch: Any) -> None:
        entered.set()
        gate.wait(DEADLINE)
        seen.append(len(batch))

    run = run_script(Script.of([*payloads] * capacity, size=7), make(), probe=Probe(slow))
    began = entered.wait(DEADLINE)
    boundaries = [one.boundary for one in run.context.connections if isinstance(one, Consumer)]
    held = max((boundary.in_flight for boundary in boundaries for _ in range(1000)), default=0)
    gate.set()
    assert began, "nothing comes out"
    run.wait().check()
    held = max(held, *(boundary.high_watermark for boundary in boundaries), *seen, 0)
    assert held <= capacity, f"{held} are in flight, {capacity} is the capacity"


@_rule
def spec_1_02_fewer_than_asked_for_and_an_end(make: Make, payloads: Sequence[Any]) -> None:
    """An operator may send less than it got; the stream ends all the same."""
    for count in range(min(3, len(payloads)) + 1):
        run = run_script(Script.of(payloads[:count]), make()).wait()
        run.check()
        _completed(run, f"a stream of {count}")


@_rule
def spec_1_03_no_overlapping_signals(make: Make, payloads: Sequence[Any]) -> None:
    """Signals come one after the other, whatever threads they come from."""
    # Each signal lets other threads run, so that one of theirs has the chance to come in between.
    run = run_script(Script.of([*payloads] * 200, size=3), make(), probe=Probe(lambda batch: time.sleep(0))).wait()
    run.check()


@_rule
def spec_1_04_an_error_is_signalled(make: Make, payloads: Sequence[Any]) -> None:
    """An error of the source arrives, after the events that came before it."""
    expected = run_script(Script.of(payloads), make()).wait().probe.data
    run = run_script(Script.of(payloads, error=_Failure()), make()).wait()
    run.check()
    _failed(run)
    if not _time_decides(make()):
        assert _plain(run.probe.data) == _plain(expected), "events before the error are missing"


@_rule
def spec_1_05_completion_is_signalled(make: Make, payloads: Sequence[Any]) -> None:
    """A stream that ends well completes, once."""
    run = run_script(Script.of(payloads), make()).wait()
    run.check()
    _completed(run, "a stream that ends well")


@_rule
def spec_1_06_the_end_releases_everything(make: Make, payloads: Sequence[Any]) -> None:
    """After completion or error no thread is left, nothing is held."""
    for error in (None, _Failure()):
        run = run_script(Script.of(payloads, error=error), make()).wait()
        run.check()


@_rule
def spec_1_07_nothing_after_the_end(make: Make, payloads: Sequence[Any]) -> None:
    """No signal follows completion or error."""
    for error in (None, _Failure()):
        run = run_script(Script.of([*payloads] * 20, size=1, error=error), make()).wait()
        run.check()
        assert len(run.probe.terminals) == 1, f"{len(run.probe.terminals)} ends: {', '.join(run.probe.terminals)}"


@_rule
def spec_1_08_a_disposed_subscription_falls_silent(make: Make, payloads: Sequence[Any]) -> None:
    """After dispose the source ends, and nothing is signalled any more."""
    run = run_script(Script.of([*payloads] * 5, size=2, endless=True), make())
    run.probe.first.wait(0.05)  # an operator that lets nothing pass is disposed, too
    run.dispose()
    run.probe.closed = True
    assert "on_completed" not in run.probe.terminals, "an end was told that nobody waits for"
    run.check()


@_rule
def spec_1_09_subscribing_does_not_block_and_does_not_raise(make: Make, payloads: Sequence[Any]) -> None:
    """`subscribe` gives a disposable at once; what goes wrong goes to the observer."""
    source, observed = Scripted(Script.of(payloads, endless=True)), _Observed()
    _in_time(lambda: _subscribe(source, make(), observed).dispose())
    _threads_gone(source)


@_rule
def spec_2_02_a_slow_observer_holds_back_no_other(make: Make, payloads: Sequence[Any]) -> None:
    """Of two subscriptions one that is stuck does not keep the other from its end."""
    gate = threading.Event()
    stuck, free = _Observed(lambda event: _wait(gate)), _Observed()
    source, operator = Scripted(Script.of(payloads)), make()
    # On a thread of its own: what an operator itself sends at once is sent while it is subscribed to.
    thread = threading.Thread(target=_subscribe, args=(source, operator, stuck), daemon=True)
    thread.start()
    stuck.first.wait(0.05)  # an operator that lets nothing pass has nothing to be stuck with
    _subscribe(source, operator, free)
    ended = free.ended.wait(DEADLINE)
    gate.set()
    assert ended, "a subscriber waits for another one"
    assert stuck.ended.wait(DEADLINE), "there is no completion and no error for the one that was stuck"
    thread.join(DEADLINE)
    _threads_gone(source)


@_rule
def spec_2_03_2_04_the_end_calls_nothing_upstream(make: Make, payloads: Sequence[Any]) -> None:
    """A completion from above is passed on; nobody disposes a source that has not ended, or while it ends."""
    run = run_script(Script.of(payloads), make()).wait()
    early = any(connection.disposed_early for connection in run.source.connections)
    assert not early, "the source was disposed before it had ended, and nobody had asked for it"


@_rule
def spec_2_08_signals_after_dispose_are_counted_not_lost(make: Make, payloads: Sequence[Any]) -> None:
    """What the source still sends while it is being disposed has its account."""
    run = run_script(Script.of([*payloads] * 50, size=1, endless=True), make())
    run.probe.first.wait(0.05)  # so that there is something on its way, where it lets anything pass
    run.dispose().check()


@_rule
def spec_2_09_completion_without_an_event(make: Make, payloads: Sequence[Any]) -> None:
    """An empty stream completes."""
    run = run_script(Script(), make()).wait()
    run.check()
    _completed(run, "an empty stream")


@_rule
def spec_2_10_an_error_without_an_event(make: Make, payloads: Sequence[Any]) -> None:
    """A stream that fails at once fails."""
    run = run_script(Script(error=_Failure()), make()).wait()
    run.check()
    _failed(run)


@_rule
def spec_2_13_an_observer_that_raises_harms_nobody_else(make: Make, payloads: Sequence[Any]) -> None:
    """An exception of an observer ends its own subscription; it never travels to the source."""

    def fails(event: Any) -> None:
        raise StopIteration

    source, observed = Scripted(Script.of([*payloads] * 5, size=1)), _Observed(fails)
    _subscribe(source, make(), observed)
    _threads_gone(source)
    assert not source.connections[0].raised, f"the source got {source.connections[0].raised[0]!r}"
    assert len(observed.items) <= 1, f"an observer that failed got {len(observed.items)} events"


@_rule
def spec_3_02_dispose_from_within_a_signal(make: Make, payloads: Sequence[Any]) -> None:
    """An observer may dispose its subscription in `on_next`; nothing follows."""
    made = threading.Event()
    holder: list[Any] = []
    early: list[Any] = []
    disposed = threading.Event()

    def stop(event: Any) -> None:
        # Not for long: what an operator itself sends at once comes while it is subscribed to, when there is nothing yet to
        # dispose, and where two streams meet, the one that waits here may hold back the one that subscribes.
        if not made.wait(0.2):
            early.append(event)
            return
        holder[0].dispose()
        disposed.set()

    source, observed = Scripted(Script.of([*payloads] * 5, size=5, endless=True)), _Observed(stop)
    holder.append(_subscribe(source, make(), observed))
    made.set()
    if not disposed.wait(0.05):
        holder[0].dispose()  # an operator that lets nothing pass, or not yet
    _threads_gone(source)
    got = len(observed.items) - len(early)
    assert got <= 1, f"an observer that had disposed its subscription got {got} events"


@_rule
def spec_3_03_no_recursion(make: Make, payloads: Sequence[Any]) -> None:
    """Many events, and many operators in a row, do not deepen the stack."""
    run = run_script(Script.of([*payloads] * 300, size=1), *[make() for _ in range(30)]).wait()
    run.check()


@_rule
def spec_3_05_3_07_dispose_is_idempotent_and_safe_from_any_thread(make: Make, payloads: Sequence[Any]) -> None:
    """Several threads dispose at once, again and again."""
    source, observed = Scripted(Script.of(payloads, size=1, endless=True)), _Observed()
    subscription = _subscribe(source, make(), observed)
    raised: list[Exception] = []

    def dispose() -> None:
        try:
            for _ in range(10):
                subscription.dispose()
        except Exception as error:
            raised.append(error)

    threads = [threading.Thread(target=dispose) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    _threads_gone(source)
    assert not raised, f"dispose raises {raised[0]!r}"


@_rule
def spec_3_09_room_for_nothing_is_refused(make: Make, payloads: Sequence[Any]) -> None:
    """A capacity of nothing, or less, is a mistake that is told at once."""
    operator = make()
    described = getattr(operator, "strategy", operator)  # a boundary's options are those of its strategy
    if not isinstance(described, Spec) or "capacity" not in described.options():
        return
    for capacity in (0, -1):
        try:
            type(described)(**{**_values(described), "capacity": capacity})
        except ConfigError:
            continue
        raise AssertionError(f"a capacity of {capacity} is taken")


@_rule
def spec_3_13_a_disposed_observer_is_let_go(make: Make, payloads: Sequence[Any]) -> None:
    """Nothing keeps a reference to an observer whose subscription was disposed."""
    source, observed = Scripted(Script.of(payloads, size=1, endless=True)), _Observed()
    subscription = _subscribe(source, make(), observed)
    reference = weakref.ref(observed)
    subscription.dispose()
    _threads_gone(source)
    source.connections.clear()
    del observed, subscription
    until, pause = time.monotonic() + DEADLINE, threading.Event()
    while gc.collect() >= 0 and reference() is not None:  # the last thread may still be on its way out
        assert time.monotonic() < until, "the observer is still held"
        pause.wait(0.01)


@_rule
def spec_3_15_dispose_does_not_raise(make: Make, payloads: Sequence[Any]) -> None:
    """Neither after the end nor after an error."""
    for error in (None, _Failure()):
        source, observed = Scripted(Script.of(payloads, error=error)), _Observed()
        try:
            subscription = _subscribe(source, make(), observed)
            assert observed.ended.wait(DEADLINE), "there is no completion and no error"
            subscription.dispose()
            subscription.dispose()
        except Exception as raised:
            if isinstance(raised, AssertionError):
                raise
            raise AssertionError(f"dispose after the end raises {raised!r}") from raised
        _threads_gone(source)


@_rule
def ours_payloads_are_not_changed(make: Make, payloads: Sequence[Any]) -> None:
    """An event is shared by all branches that carry it: nobody edits the payload that came."""
    given = copy.deepcopy(list(payloads))
    run_script(Script.of(given), make()).wait().check()
    assert given == list(payloads), "a payload was edited in place"


def _completed(run: Run, what: str) -> None:
    terminals = run.probe.terminals
    assert terminals == ["on_completed"], f"{what} ends with {', '.join(terminals)} ({run.probe.error!r})"


def _failed(run: Run) -> None:
    assert run.probe.terminals == ["on_error"], f"the error became {', '.join(run.probe.terminals)}"
    assert isinstance(run.probe.error, _Failure), f"the error became another one: {run.probe.error!r}"


def _time_decides(operator: Any) -> bool:
    """Tell whether what comes out depends on when the consumer comes back: where waiting events are merged."""
    return getattr(getattr(operator, "strategy", None), "name", "") in ("conflate", "latest")


def _wait(gate: threading.Event) -> None:
    gate.wait(DEADLINE)


def _plain(value: Any) -> Any:
    """Give payloads as values that can be compared, events in lists as their payloads."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return _plain(value.data) if hasattr(value, "data") and hasattr(value, "origin") else value


def _values(operator: Spec) -> dict[str, Any]:
    return {field.name: getattr(operator, field.name) for field in operator.options().values()}
