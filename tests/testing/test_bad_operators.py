"""Every rule of `check_operator` is broken here by an operator that does nothing else wrong, and is told by name."""

from __future__ import annotations

import copy
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import reactivex
from reactivex.disposable import Disposable

from rx_collector import operators as op
from rx_collector.backpressure import Strategy
from rx_collector.backpressure.queue import QueueStore
from rx_collector.backpressure.strategy import Change, Store
from rx_collector.config.options import COUNT, option
from rx_collector.event import Event
from rx_collector.ledger import Node
from rx_collector.operators.backpressure import Backpressure
from rx_collector.stream.flow import BatchObserver, Connection, Context
from rx_collector.stream.operator import BatchOperator
from rx_collector.testing import check_operator
from rx_collector.testing.rules import RULES

PAYLOADS = [{"n": n} for n in range(3)]


class Honest(Connection):
    """An observer that passes on what it gets and counts it; each bad one below gets one thing of it wrong."""

    def __init__(self, downstream: BatchObserver, context: Context, node: Node) -> None:
        self.downstream, self.context, self.node = downstream, context, node

    def on_batch(self, batch: list[Event]) -> None:
        self.count(len(batch), len(batch))
        self.downstream.on_batch(batch)

    def count(self, taken: int, out: int, filtered: int = 0) -> None:
        with self.context.ledger.lock:
            self.node.taken += taken
            self.node.out += out
            self.node.filtered += filtered

    def on_error(self, error: Exception) -> None:
        self.downstream.on_error(error)

    def on_completed(self) -> None:
        self.downstream.on_completed()

    def stop(self) -> None: ...

    def dispose(self) -> None: ...


@dataclass(frozen=True)
class Operator(BatchOperator):
    """The operator whose observers are of a given class."""

    name = "bad"
    observer: type[Honest] = Honest

    def attach(self, downstream: BatchObserver, context: Context, node: Node) -> BatchObserver:
        return self.observer(downstream, context, node)


class _Unbounded(QueueStore):
    def admit(self, batch: Any, change: Change) -> Any:
        self.push(batch, change)
        return ()


@dataclass(frozen=True)
class _Greedy(Strategy):
    name = "greedy"

    def open(self, clock: Callable[[], float] = time.monotonic) -> Store:
        return _Unbounded(self, clock)


def takes_more_than_there_is_room() -> Any:
    return Backpressure(_Greedy(capacity=5))


class _NoEndForFew(Honest):
    seen = 0

    def on_batch(self, batch: list[Event]) -> None:
        self.seen += len(batch)
        super().on_batch(batch)

    def on_completed(self) -> None:
        if self.seen != 2:
            super().on_completed()


class _TwoThreads(Honest):
    """Sends each batch from a thread of its own, and waits for it only at the end."""

    def __init__(self, downstream: BatchObserver, context: Context, node: Node) -> None:
        super().__init__(downstream, context, node)
        self.threads: list[threading.Thread] = []

    def on_batch(self, batch: list[Event]) -> None:
        self.threads.append(threading.Thread(target=super().on_batch, args=(batch,)))
        self.threads[-1].start()

    def on_completed(self) -> None:
        for thread in self.threads:
            thread.join()
        super().on_completed()


class _ErrorIsAnEnd(Honest):
    def on_error(self, error: Exception) -> None:
        self.on_completed()


class _ErrorLosesEvents(Honest):
    """Keeps a batch back until the next signal, and drops it when that is an error."""

    def __init__(self, downstream: BatchObserver, context: Context, node: Node) -> None:
        super().__init__(downstream, context, node)
        self.kept: list[Event] = []

    def on_batch(self, batch: list[Event]) -> None:
        self.on_kept()
        self.kept = batch

    def on_kept(self) -> None:
        if self.kept:
            super().on_batch(self.kept)
        self.kept = []

    def on_completed(self) -> None:
        self.on_kept()
        super().on_completed()

    def on_error(self, error: Exception) -> None:
        self.count(len(self.kept), 0, len(self.kept))
        super().on_error(error)


class _EndIsAnError(Honest):
    def on_completed(self) -> None:
        self.downstream.on_error(RuntimeError("it is over"))


class _HoldsTheLast(Honest):
    def on_batch(self, batch: list[Event]) -> None:
        self.node.held = lambda: 1
        self.count(1, 0)
        if len(batch) > 1:
            super().on_batch(batch[1:])


class _LeavesAThread(Honest):
    def on_completed(self) -> None:
        threading.Thread(target=RELEASED.wait, args=(30,), name="rx-check-bad").start()
        super().on_completed()


class _EndsTwice(Honest):
    def on_completed(self) -> None:
        super().on_completed()
        super().on_completed()


class _TellsAnEndWhenDisposed(Honest):
    ended = False

    def on_completed(self) -> None:
        self.ended = True
        super().on_completed()

    def dispose(self) -> None:
        if not self.ended:
            self.on_completed()


class _BlocksWhenSubscribed(Honest):
    def __init__(self, downstream: BatchObserver, context: Context, node: Node) -> None:
        RELEASED.wait(30)
        super().__init__(downstream, context, node)


def counts_over_all_subscriptions() -> Any:
    numbers = itertools.count()
    return op.filter(lambda event: next(numbers) < 3)


class _OneLockForAll(Honest):
    def on_batch(self, batch: list[Event]) -> None:
        with ONE_LOCK:
            super().on_batch(batch)


class _EndsItsSource(Honest):
    """Ends the stream with its first batch by itself, by disposing the source."""

    ended = False

    def on_batch(self, batch: list[Event]) -> None:
        if self.ended:
            self.count(len(batch), 0, len(batch))
            return
        self.ended = True
        self.context.connections[0].dispose()
        super().on_batch(batch)
        super().on_completed()

    def on_completed(self) -> None:
        if not self.ended:
            super().on_completed()

    def on_error(self, error: Exception) -> None:
        if not self.ended:
            super().on_error(error)


class _ForgetsWhenDisposed(Honest):
    """Holds the last batch back, and has no account of it after a disposal."""

    def __init__(self, downstream: BatchObserver, context: Context, node: Node) -> None:
        super().__init__(downstream, context, node)
        self.kept: list[Event] = []
        self.node.held = lambda: len(self.kept)

    def on_batch(self, batch: list[Event]) -> None:
        with self.context.ledger.lock:
            self.node.taken += len(batch)
            kept, self.kept = self.kept, batch
            self.node.out += len(kept)
        if kept:
            self.downstream.on_batch(kept)

    def dispose(self) -> None:
        self.kept = []


class _NoEndForNothing(Honest):
    seen = False

    def on_batch(self, batch: list[Event]) -> None:
        self.seen = True
        super().on_batch(batch)

    def on_completed(self) -> None:
        if self.seen:
            super().on_completed()


class _AnotherErrorForNothing(Honest):
    seen = False

    def on_batch(self, batch: list[Event]) -> None:
        self.seen = True
        super().on_batch(batch)

    def on_error(self, error: Exception) -> None:
        super().on_error(error if self.seen else KeyError("first"))


def goes_on_after_its_observer_failed(stream: Any) -> Any:
    def subscribe(observer: Any, scheduler: Any = None) -> Any:
        def on_next(item: Any) -> None:
            try:
                observer.on_next(item)
            except BaseException:
                pass

        return stream.subscribe(on_next, observer.on_error, observer.on_completed)

    return reactivex.create(subscribe)


def does_not_dispose_its_source(stream: Any) -> Any:
    def subscribe(observer: Any, scheduler: Any = None) -> Any:
        LEFT.append(stream.subscribe(observer.on_next, observer.on_error, observer.on_completed))
        return Disposable()

    return reactivex.create(subscribe)


class _Deeper(Honest):
    """Calls itself once more with each batch."""

    depth = 0

    def on_batch(self, batch: list[Event]) -> None:
        self.depth += 1
        self.descend(batch, self.depth)

    def descend(self, batch: list[Event], depth: int) -> None:
        if depth:
            self.descend(batch, depth - 1)
        else:
            super().on_batch(batch)


class _NoDisposeInTheMiddle(Honest):
    ended = False

    def on_completed(self) -> None:
        self.ended = True
        super().on_completed()

    def dispose(self) -> None:
        if not self.ended:
            raise RuntimeError("it is busy")


@dataclass(frozen=True)
class _RoomForNothing(Operator):
    capacity: int = option(COUNT, "The capacity.", 10)


class _Remembers(Honest):
    def __init__(self, downstream: BatchObserver, context: Context, node: Node) -> None:
        super().__init__(downstream, context, node)
        REMEMBERED.append(downstream)


class _NoDisposeAfterTheEnd(Honest):
    ended = False

    def on_completed(self) -> None:
        self.ended = True
        super().on_completed()

    def dispose(self) -> None:
        if self.ended:
            raise RuntimeError("it has ended")


class _Edits(Honest):
    def on_batch(self, batch: list[Event]) -> None:
        for event in batch:
            event.data["seen"] = True
        super().on_batch(batch)


class _MarksBatches(Honest):
    def on_batch(self, batch: list[Event]) -> None:
        super().on_batch([batch[0].replace({"first": True}), *batch[1:]])


RELEASED, ONE_LOCK = threading.Event(), threading.Lock()
LEFT: list[Any] = []  # subscriptions that nobody else disposes
REMEMBERED: list[Any] = []

#: The rule, an operator that breaks it, what is said about it.
BAD: list[tuple[str, Callable[[], Any], str]] = [
    ("spec_1_01", takes_more_than_there_is_room, "15 are in flight, 5 is the capacity"),
    ("spec_1_02", lambda: Operator(_NoEndForFew), "there is no completion and no error"),
    ("spec_1_03", lambda: Operator(_TwoThreads), "on_batch overlaps another signal"),
    ("spec_1_04", lambda: Operator(_ErrorIsAnEnd), "the error became on_completed"),
    ("spec_1_04", lambda: Operator(_ErrorLosesEvents), "events before the error are missing"),
    ("spec_1_05", lambda: Operator(_EndIsAnError), "ends with on_error .RuntimeError.'it is over'"),
    ("spec_1_06", lambda: Operator(_HoldsTheLast), "1 events are still held"),
    ("spec_1_06", lambda: Operator(_LeavesAThread), "thread rx-check-bad is left"),
    ("spec_1_07", lambda: Operator(_EndsTwice), "on_completed after on_completed"),
    (
        "spec_1_08",
        lambda: Operator(_TellsAnEndWhenDisposed),
        "an end was told that nobody waits for|on_completed overlaps",
    ),
    ("spec_1_09", lambda: Operator(_BlocksWhenSubscribed), "subscribe blocks"),
    ("spec_1_10", counts_over_all_subscriptions, "the second subscriber got 0 events, other ones than the 3"),
    ("spec_2_02", lambda: Operator(_OneLockForAll), "a subscriber waits for another one"),
    ("spec_2_03", lambda: Operator(_EndsItsSource), "the source was disposed before it had ended"),
    ("spec_2_08", lambda: Operator(_ForgetsWhenDisposed), r"bad: \+\d+ events have no account"),
    ("spec_2_09", lambda: Operator(_NoEndForNothing), "there is no completion and no error"),
    ("spec_2_10", lambda: Operator(_AnotherErrorForNothing), "the error became another one: KeyError"),
    ("spec_2_13", lambda: goes_on_after_its_observer_failed, "an observer that failed got 15 events"),
    ("spec_3_02", lambda: does_not_dispose_its_source, "the source runs on"),
    ("spec_3_03", lambda: Operator(_Deeper), "an exception travelled upstream: RecursionError"),
    ("spec_3_05", lambda: Operator(_NoDisposeInTheMiddle), "dispose raises RuntimeError.'it is busy'"),
    ("spec_3_09", lambda: _RoomForNothing(), "a capacity of 0 is taken"),
    ("spec_3_13", lambda: Operator(_Remembers), "the observer is still held"),
    ("spec_3_15", lambda: Operator(_NoDisposeAfterTheEnd), "dispose after the end raises RuntimeError.'it has ended'"),
    ("ours_payloads", lambda: Operator(_Edits), "a payload was edited in place"),
]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What does not happen is not waited for as long as elsewhere; what a bad operator left is let go."""
    for module in ("check", "probe", "rules"):
        monkeypatch.setattr(f"rx_collector.testing.{module}.DEADLINE", 0.5)
    yield
    RELEASED.set()
    for subscription in LEFT:
        subscription.dispose()
    LEFT.clear()
    REMEMBERED.clear()


@pytest.fixture(autouse=True)
def every_ledger_balances() -> None:
    """Not here: the operators are bad ones."""


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "make", "message"), BAD, ids=[f"{rule}-{message[:30]}" for rule, _, message in BAD])
def test_a_rule_that_is_broken(rule: str, make: Callable[[], Any], message: str) -> None:
    RELEASED.clear()
    (check,) = [check for check in RULES if check.__name__.startswith(rule)]
    with pytest.raises(AssertionError, match=message):
        check(make, copy.deepcopy(PAYLOADS))
    RELEASED.clear()
    with pytest.raises(AssertionError, match=r"^(spec|ours)_"):
        check_operator(make(), PAYLOADS)


def test_every_rule_is_broken_by_one_of_them() -> None:
    assert [check.__name__ for check in RULES if not check.__name__.startswith(tuple(rule for rule, _, _ in BAD))] == []


@pytest.mark.slow
def test_other_batches_other_events() -> None:
    with pytest.raises(AssertionError, match="batches of 1 give other events"):
        check_operator(Operator(_MarksBatches), PAYLOADS)
    check_operator(Operator(_MarksBatches), PAYLOADS, same_for_any_batches=False)


@pytest.mark.slow
def test_an_exception_names_the_rule_too() -> None:
    with pytest.raises(AssertionError, match=r"^spec_.*raises RuntimeError.'it is busy'"):
        check_operator(Operator(_NoDisposeInTheMiddle), PAYLOADS)


@pytest.mark.slow
def test_an_operator_that_gets_nothing_wrong() -> None:
    check_operator(Operator(), PAYLOADS)
