"""The boundary: a bounded queue between one producer and one consumer thread, as a state machine under one lock.

It knows nothing of Rx, schedulers or sinks. What waits, and what happens when there is no room, is the strategy's store;
the boundary adds the lock, the waiting, the end and the accounts. Events that the consumer has taken count as in flight
until it comes back for more, so the events between the two threads never exceed the capacity.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from rx_collector.backpressure.pace import Pace
from rx_collector.backpressure.strategy import Change, Strategy
from rx_collector.event import Event
from rx_collector.ledger import Node
from rx_collector.switches import is_on

__all__ = ["Boundary"]

_LOOK = 0.2  # seconds in which a store that can be reached is reached
_PAUSE = 0.001 if is_on("pacing") else 0.0  # seconds between two batches that are given out, while many events come
_ENOUGH = 256  # events that are not kept waiting for more


def _ignore(event: Event, error: Exception) -> None:
    """Take a rejected event where nobody asked for it; it is counted."""


class Boundary:
    """A bounded queue of events.

    `offer` and `close` belong to the producer, `drain`, `acknowledge`, `keep` and `release` to the consumer, `cancel` and
    `abandon` to anybody. Only `offer` (strategies ``block`` and ``spill``) and `drain` wait; both end at `cancel`. Nothing
    raises but what is said. Counts go into `node`, all that one call changes at once and under `ledger_lock`, so that a
    picture of the ledger balances at any moment. `reject` takes events that a key, aggregate or function failed for, on
    the producer's thread and without a lock. Raises OutputError when the store cannot be opened.
    """

    def __init__(
        self,
        strategy: Strategy,
        node: Node | None = None,
        ledger_lock: threading.Lock | None = None,
        clock: Callable[[], float] = time.monotonic,
        reject: Callable[[Event, Exception], None] = _ignore,
    ) -> None:
        self.strategy = strategy
        self.node = Node("boundary") if node is None else node
        self.high_watermark = 0
        self.waited = 0.0  # seconds that the producer had to wait for room
        self.error: Exception | None = None
        self._reject = reject
        self._ledger_lock = threading.Lock() if ledger_lock is None else ledger_lock
        self._store = strategy.open(clock)
        self.keeps = self._store.keeps
        self._closed = False
        self._cancelled: str | None = None
        self._released = False
        self._abandoned = False
        self._offering = 0  # events of the batch that is being offered for which there is no account yet
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._held = 0
        self._pace = Pace(_PAUSE)
        self._enough = min(_ENOUGH, strategy.capacity // 8) if self._store.patient else 0
        self._wanted = 1  # events for which the consumer is woken
        self._crowded = False  # the producer waits for room
        self.node.held = lambda: self._held
        with self._lock:
            change = Change()
            self._store.opened(change)
            self._book(change)

    @property
    def capacity(self) -> int:
        """The most events in flight."""
        return self.strategy.capacity

    @property
    def waiting(self) -> int:
        """How many events wait in memory for the consumer."""
        return self._store.waiting

    @property
    def in_flight(self) -> int:
        """How many events are in memory between producer and consumer, those in the consumer's hands included."""
        return self._store.waiting + self._store.in_hand

    @property
    def dropped(self) -> Counter[str]:
        """How many events were dropped, by reason."""
        return self.node.dropped

    def offer(self, batch: list[Event]) -> None:
        """Hand over a batch. Blocks only where the strategy waits for room, until there is some or somebody cancels.

        Raises RuntimeError after `close`, which is a bug of the producer.
        """
        store, change = self._store, Change()
        self._offering = len(batch)
        rest = store.prepare(batch, change)
        rejections: list[tuple[Event, Exception]] = []
        with self._lock:
            if self._closed and self._cancelled is None and store.failure is None:
                raise RuntimeError("the boundary is closed")
            while True:
                if self._cancelled is not None:
                    change.taken += len(rest)
                    change.dropped[self._cancelled] += len(rest)
                    rest = ()
                else:
                    rest = store.admit(rest, change)
                self._book(change)
                rejections += change.rejections
                if not rest:
                    break
                self._crowded = True
                self._news.notify()
                began = time.monotonic()
                try:
                    self._room.wait(store.retry_after)
                finally:
                    self._crowded = False
                self.waited += time.monotonic() - began
                change = Change()
            if store.failure is not None and not self._closed:
                self._closed, self.error = True, store.failure
                self._news.notify()
        for event, error in rejections:
            self._reject(event, error)

    def _book(self, change: Change) -> None:
        """Put into the ledger what has changed, and wake who waits for it."""
        store, node = self._store, self.node
        with self._ledger_lock:
            if self._abandoned:
                return
            taken = change.taken + len(change.rejections)
            self._offering -= taken
            node.taken += taken
            node.rejected += len(change.rejections)
            node.out += change.out
            node.made += change.made
            node.merged += change.merged
            for reason, count in change.dropped.items():
                if count:  # a reason for which nothing was dropped is none
                    node.dropped[reason] += count
            if change.notes:
                node.notes.update(change.notes)
            # What is held is asked from who holds it, not derived, or the law of the ledger would prove nothing.
            self._held = store.held
            node.kept = store.kept
        in_flight = store.waiting + store.in_hand
        if in_flight > self.high_watermark:
            self.high_watermark = in_flight
        if self._held >= self._wanted:
            self._news.notify()

    def drain(self, timeout: float | None = None) -> list[Event] | None:
        """Give what waits, and take what was given before as finished. Blocks until there is something.

        Gives None when the boundary is closed and empty (`error` says why it was closed), an empty list after `timeout`
        seconds without an event, or a millisecond more. While many events come, those that wait may wait for 1 ms before
        they are given out together, where the strategy allows it and there is room for more.
        """
        store = self._store
        with self._lock:
            if store.finish():
                self._room.notify()
            if self._enough:
                self._gather()
            while True:
                if self._cancelled is None:
                    change = Change()
                    batch = store.take(change)
                    self._book(change)
                    if batch:
                        self._pace.took(len(batch), time.monotonic())
                        return batch
                    if change.dropped:
                        self._room.notify()  # what had waited too long is gone
                if self._closed:
                    return None
                if not self._news.wait(timeout):
                    return []

    def _gather(self) -> None:
        """Let more events come before any are given out, while many do."""
        until, enough = self._pace.until, self._enough
        self._wanted = enough
        try:
            while not (self._closed or self._crowded or self._store.waiting >= enough):
                rest = until - time.monotonic()
                if rest <= 0 or not self._news.wait(rest):
                    break
        finally:
            self._wanted = 1

    def acknowledge(self, count: int) -> None:
        """The oldest `count` events that `drain` gave have arrived for good. Only a strategy that keeps them listens."""
        if self.keeps and count:
            with self._lock:
                if not self._released:
                    change = Change()
                    self._store.acknowledge(count, change)
                    self._book(change)
                    self._room.notify()

    def keep(self, count: int) -> int:
        """The last `count` events that `drain` gave did not arrive. Gives how many of them another run will deliver."""
        if not self.keeps or self._abandoned:
            return 0
        with self._lock:
            return self._store.keep(count)

    def close(self, error: Exception | None = None) -> None:
        """No more will be offered. What waits is still given out, then None; an error queues behind it."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self.error = error
                self._news.notify_all()

    def cancel(self, reason: str, *, release: bool = True) -> None:
        """Drop what waits and all that is offered from now on, counted with this reason, and wake both sides.

        A strategy that keeps events puts them where they are kept instead, and releases it; without `release` the consumer
        does when it ends, so that what it has in hand can still arrive and is then not kept.
        """
        with self._lock:
            if self._cancelled is None:
                self._cancelled = reason
                self._closed = True
                change = Change()
                if not self._released:
                    self._store.clear(reason, change)
                if release:
                    self._release(change)
                else:
                    self._book(change)
                self._news.notify_all()
                self._room.notify_all()

    def abandon(self, reason: str) -> None:
        """Leave a store behind that does not return, as one on a disk that hangs, after `cancel` was asked for in vain.

        What it held and what was being offered is counted as dropped now, and nothing more when it returns. A store that
        can be reached is released, for it is the consumer that does not return.
        """
        if self._lock.acquire(timeout=_LOOK):
            try:
                self._release(Change())
            finally:
                self._lock.release()
            return
        with self._ledger_lock:
            self._abandoned = True
            self.node.taken += self._offering
            self.node.dropped[reason] += self._offering + self._held
            self._held = self.node.kept = self._offering = 0

    def release(self) -> None:
        """The consumer has ended: give back what the store holds outside of memory."""
        with self._lock:
            self._release(Change())

    def _release(self, change: Change) -> None:
        if not self._released:
            self._released = True
            self._store.close(change)
        self._book(change)
