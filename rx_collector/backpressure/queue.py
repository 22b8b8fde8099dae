"""The queue in memory that most strategies share: events in the order they came, bounded by number and by bytes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice, repeat

from rx_collector.backpressure.strategy import Change, Store, Strategy
from rx_collector.event import Event
from rx_collector.sinks.format import payload

__all__ = ["QueueStore", "size_of"]


def size_of(event: Event) -> int:
    """Give the bytes of an event: its payload's JSON or its line where it has one, else what its payload would be as JSON.

    Those of a buffer are those of its members.
    """
    if known := event.encoded or event.raw:
        return len(known)
    data = event._data
    if data.__class__ is list and data and all(isinstance(member, Event) for member in data):
        return sum(map(size_of, data))
    return len(payload(event))


class QueueStore(Store):
    """A queue. Sizes and times of arrival are kept only where `max_bytes` and `max_age` ask for them."""

    def __init__(self, spec: Strategy, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = spec.name
        self._capacity = spec.capacity
        # With half of it at the most in the consumer's hands, drop_oldest always has older ones to drop than the newest.
        self._most = max(1, spec.capacity // 2)
        self._max_bytes = spec.max_bytes
        self._max_age = spec.max_age
        self._clock = clock
        self._events: deque[Event] = deque()
        self._sizes: deque[int] = deque()
        self._times: deque[float] = deque()
        self.bytes = 0
        self._bytes_in_hand = 0

    @property
    def waiting(self) -> int:
        return len(self._events)

    def fitting(self, batch: Sequence[Event], first: int = 0) -> int:
        """Give how many events of a batch fit, beginning with number `first`."""
        room = min(len(batch) - first, self._capacity - self.in_hand - len(self._events))
        if self._max_bytes is None or room <= 0:
            return max(room, 0)
        left = self._max_bytes - self.bytes - self._bytes_in_hand
        if left == self._max_bytes:  # nothing is in flight: one event passes whatever its size, or it would never
            left -= size_of(batch[first])
            count = 1
        else:
            count = 0
        while count < room and (left := left - size_of(batch[first + count])) >= 0:
            count += 1
        return count

    def push(self, batch: Sequence[Event], change: Change) -> None:
        """Put events at the end; they fit."""
        self._events.extend(batch)
        change.taken += len(batch)
        if self._max_bytes is not None:
            sizes = [size_of(event) for event in batch]
            self._sizes.extend(sizes)
            self.bytes += sum(sizes)
        if self._max_age is not None:
            self._times.extend(repeat(self._clock(), len(batch)))

    def pop(self, count: int) -> list[Event]:
        """Take the oldest `count` events, not more than there are."""
        events = self._events
        if count >= len(events):
            batch = list(events)
            events.clear()
            self._sizes.clear()
            self._times.clear()
            self.bytes = 0
            return batch
        batch = [events.popleft() for _ in range(count)]
        if self._max_bytes is not None:
            self.bytes -= sum(self._sizes.popleft() for _ in range(count))
        if self._max_age is not None:
            for _ in range(count):
                self._times.popleft()
        return batch

    def expire(self, change: Change) -> None:
        """Drop those at the front that have waited too long."""
        if self._max_age is None or not self._times:
            return
        limit = self._clock() - self._max_age
        count = 0
        for arrived in self._times:
            if arrived >= limit:
                break
            count += 1
        if count:
            self.pop(count)
            change.dropped["max_age"] += count

    def take(self, change: Change) -> list[Event]:
        self.expire(change)
        count = min(self._most, len(self._events))
        if self._max_bytes is not None:
            left, fit = self._max_bytes // 2, 0
            for size in islice(self._sizes, count):
                left -= size
                if left < 0 and fit:
                    break
                fit += 1
            before = self.bytes
            batch = self.pop(fit)
            self._bytes_in_hand = before - self.bytes
        else:
            batch = self.pop(count)
        self.in_hand = len(batch)
        change.out += len(batch)
        return batch

    def finish(self) -> bool:
        self._bytes_in_hand = 0
        return super().finish()

    def clear(self, reason: str, change: Change) -> None:
        change.dropped[reason] += len(self.pop(len(self._events)))
