"""drop_oldest: the oldest waiting event makes room."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rx_collector.backpressure.queue import QueueStore
from rx_collector.backpressure.strategy import Change, Store, Strategy, strategy
from rx_collector.config.options import described
from rx_collector.event import Event

__all__ = ["DropOldest"]


@strategy(
    "drop_oldest",
    summary="The oldest waiting events make room.",
    guarantee="The newest events arrive, in order; each dropped one is counted.",
    example="console: pretty\nbackpressure: {strategy: drop_oldest, capacity: 1_000}",
)
@described
class DropOldest(Strategy):
    """The oldest waiting event makes room. Where none waits (all are in the sink's hands), the arriving one goes."""

    def open(self, clock: Callable[[], float] = time.monotonic) -> Store:
        return _DroppingOldest(self, clock)


class _DroppingOldest(QueueStore):
    def admit(self, batch: Sequence[Event], change: Change) -> Sequence[Event]:
        if self._max_bytes is None:
            excess = self.in_hand + len(self._events) + len(batch) - self._capacity
            if excess > 0:
                change.dropped[self._name] += excess
                excess -= len(self.pop(excess))
                change.taken += excess  # these never waited: the batch alone is larger than the room
                batch = batch[excess:]
            self.push(batch, change)
            return ()
        position = 0
        while position < len(batch):
            count = self.fitting(batch, position)
            self.push(batch[position : position + count], change)
            position += count
            if position < len(batch):
                change.dropped[self._name] += 1
                if not self.pop(1):
                    change.taken += 1
                    position += 1
        return ()
