"""latest: only the newest event is kept, of all or of each key."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from rx_collector.backpressure.queue import size_of
from rx_collector.backpressure.strategy import Change, Store, Strategy, WorstCase, strategy
from rx_collector.config.options import described, option
from rx_collector.event import Event
from rx_collector.expressions.keys import hashable
from rx_collector.expressions.option import KEY, Evaluation

__all__ = ["Latest"]


@strategy(
    "latest",
    summary="Only the newest event waits; with 'key', the newest of each key.",
    guarantee="Of each key the newest event arrives, those of one key in order; each that a newer one took the place of is "
    "counted as latest, and each that made room for another key as evicted.",
    example="file: state.ndjson\nbackpressure: {strategy: latest, key: pid, capacity: 10_000}",
)
@described
class Latest(Strategy):
    """Only the newest event waits; with ``key``, the newest of each key.

    A newer event takes the place of the older one in the queue, so that a key that never rests cannot keep its own
    events from their turn. `capacity` bounds the number of keys: when one more comes, the key that has waited longest
    is evicted. With a capacity of 1, an event that comes while the sink has one in hand is dropped.
    """

    key: Evaluation | None = option(KEY, "What tells the kept events apart; none: one for all.", None)

    def worst_case(self) -> WorstCase:
        # Without a key one waits, and one is in the sink's hands.
        return WorstCase(self.capacity if self.key is not None else min(2, self.capacity), self.max_bytes)

    def open(self, clock: Callable[[], float] = time.monotonic) -> Store:
        return _LatestStore(self, clock)


class _LatestStore(Store):
    def __init__(self, spec: Latest, clock: Callable[[], float]) -> None:
        self._key = spec.key
        self._capacity = spec.capacity
        self._most = max(1, spec.capacity // 2)
        self._max_bytes = spec.max_bytes
        self._max_age = spec.max_age
        self._clock = clock
        # A dict keeps the place of a key whose value is replaced.
        self._entries: dict[Hashable, tuple[Event, int, float]] = {}
        self._bytes = self._bytes_in_hand = 0

    @property
    def waiting(self) -> int:
        return len(self._entries)

    def prepare(self, batch: list[Event], change: Change) -> Sequence[tuple[Hashable, Event]]:
        key = self._key
        if key is None:
            return [(None, event) for event in batch]
        prepared: list[tuple[Hashable, Event]] = []
        for event in batch:
            try:
                prepared.append((hashable(key(event)), event))
            except Exception as error:
                change.rejections.append((event, error))
        return prepared

    def admit(self, batch: Sequence[Any], change: Change) -> Sequence[Any]:
        entries, now = self._entries, self._clock() if self._max_age is not None else 0.0
        change.taken += len(batch)
        replaced = 0
        if self._key is None and len(batch) > 1:
            replaced, batch = len(batch) - 1, batch[-1:]  # each takes the place of the one before, whatever waits
        for key, event in batch:
            size = size_of(event) if self._max_bytes is not None else 0
            if (old := entries.get(key)) is not None:
                replaced += 1
                self._bytes -= old[1]
            if (old is None or size) and not self._make_room(key, size, change):
                entries.pop(key, None)
                replaced += 1
                continue
            entries[key] = (event, size, now)
            self._bytes += size
        if replaced:
            change.dropped["latest"] += replaced
        return ()

    def _make_room(self, key: Hashable, size: int, change: Change) -> bool:
        """Evict those that have waited longest until there is room. False when there is none to be had."""
        entries = self._entries
        while True:
            others = len(entries) - (key in entries)
            fits = others + self.in_hand < self._capacity
            if fits and self._max_bytes is not None:
                used = self._bytes + self._bytes_in_hand
                fits = used + size <= self._max_bytes or (others == 0 and self.in_hand == 0)
            if fits:
                return True
            if others == 0:
                return False
            oldest = next(other for other in entries if other != key)
            self._bytes -= entries.pop(oldest)[1]
            change.dropped["evicted"] += 1

    def take(self, change: Change) -> list[Event]:
        entries = self._entries
        batch: list[Event] = []
        limit = self._clock() - self._max_age if self._max_age is not None else None
        size = 0
        for key in list(entries):
            event, bytes_, arrived = entries[key]
            if limit is not None and arrived < limit:
                change.dropped["max_age"] += 1
            elif len(batch) == self._most or (
                batch and self._max_bytes is not None and size + bytes_ > self._max_bytes // 2
            ):
                break
            else:
                batch.append(event)
                size += bytes_
            del entries[key]
            self._bytes -= bytes_
        self.in_hand, self._bytes_in_hand = len(batch), size
        change.out += len(batch)
        return batch

    def finish(self) -> bool:
        self._bytes_in_hand = 0
        return super().finish()

    def clear(self, reason: str, change: Change) -> None:
        change.dropped[reason] += len(self._entries)
        self._entries.clear()
        self._bytes = 0
