"""The boundary: a bounded queue between one producer and one consumer thread, as a state machine under one lock.

It knows nothing of Rx, schedulers or sinks. Events that the consumer has taken and not yet finished with count as in
flight until it comes back for more, so the events between the two threads never exceed the capacity.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable

from rx_collector.backpressure.strategies import Strategy
from rx_collector.event import Event

__all__ = ["Boundary"]


class Boundary:
    """A bounded queue of events.

    `offer` and `close` belong to the producer, `drain` to the consumer, `cancel` to anybody. `account` is called under
    the lock with every change, as ``account(taken, out, dropped, reason)``, so that a ledger can follow it exactly.
    """

    def __init__(
        self,
        strategy: Strategy,
        capacity: int,
        account: Callable[[int, int, int, str], None] = lambda taken, out, dropped, reason: None,
    ) -> None:
        if capacity <= 0:
            raise ValueError("the capacity is at least 1")
        self.strategy = strategy
        self.capacity = capacity
        self.account = account
        self.dropped: Counter[str] = Counter()
        self.high_watermark = 0
        self._waiting: deque[Event] = deque()
        self._in_hand = 0
        # With half of it at the most in the consumer's hands, drop_oldest always has older ones to drop than the newest.
        self._most = max(1, capacity // 2)
        self._closed = False
        self._cancelled: str | None = None
        self.error: Exception | None = None
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)

    @property
    def waiting(self) -> int:
        """How many events wait for the consumer."""
        return len(self._waiting)

    @property
    def in_flight(self) -> int:
        """How many events are between producer and consumer, those in the consumer's hands included."""
        return len(self._waiting) + self._in_hand

    def offer(self, batch: list[Event]) -> None:
        """Hand over a batch. Blocks only with strategy ``block``, until there is room or somebody cancels."""
        with self._lock:
            if self._closed and self._cancelled is None:
                raise RuntimeError("the boundary is closed")
            self.account(len(batch), 0, 0, "")
            while batch:
                if self._cancelled is not None:
                    self._drop(len(batch), self._cancelled)
                    return
                room = self.capacity - self._in_hand - len(self._waiting)
                batch, dropped = self.strategy.admit(self._waiting, batch, room)
                if dropped:
                    self._drop(dropped, self.strategy.name)
                if len(self._waiting) + self._in_hand > self.high_watermark:
                    self.high_watermark = len(self._waiting) + self._in_hand
                self._news.notify()
                if batch:
                    self._room.wait()

    def _drop(self, count: int, reason: str) -> None:
        self.dropped[reason] += count
        self.account(0, 0, count, reason)

    def drain(self, timeout: float | None = None) -> list[Event] | None:
        """Give what waits, and take what was given before as finished. Blocks until there is something.

        Gives None when the boundary is closed and empty (`error` says why it was closed), an empty list on a time-out.
        """
        with self._lock:
            if self._in_hand:
                self._in_hand = 0
                self._room.notify()
            while not self._waiting:
                if self._closed:
                    return None
                if not self._news.wait(timeout):
                    return []
            waiting = self._waiting
            if len(waiting) <= self._most:
                batch = list(waiting)
                waiting.clear()
            else:
                batch = [waiting.popleft() for _ in range(self._most)]
            self._in_hand = len(batch)
            self.account(0, len(batch), 0, "")
            return batch

    def close(self, error: Exception | None = None) -> None:
        """No more will be offered. What waits is still given out, then None; an error queues behind it."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self.error = error
                self._news.notify_all()

    def cancel(self, reason: str) -> None:
        """Drop what waits and all that is offered from now on, counted with this reason, and wake both sides."""
        with self._lock:
            if self._cancelled is None:
                self._cancelled = reason
                self._closed = True
                if self._waiting:
                    count = len(self._waiting)
                    self._waiting.clear()
                    self._drop(count, reason)
                self._news.notify_all()
                self._room.notify_all()
