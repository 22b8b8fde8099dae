"""drop_newest: the arriving event is refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rx_collector.backpressure.queue import QueueStore
from rx_collector.backpressure.strategy import Change, Store, Strategy, strategy
from rx_collector.config.options import described
from rx_collector.event import Event

__all__ = ["DropNewest"]


@strategy(
    "drop_newest",
    summary="Arriving events are refused.",
    guarantee="The events that were there first arrive, in order; each refused one is counted.",
    example="file: out.ndjson\nbackpressure: {strategy: drop_newest, capacity: 10_000}",
)
@described
class DropNewest(Strategy):
    """The arriving event is refused."""

    def open(self, clock: Callable[[], float] = time.monotonic) -> Store:
        return _DroppingNewest(self, clock)


class _DroppingNewest(QueueStore):
    def admit(self, batch: Sequence[Event], change: Change) -> Sequence[Event]:
        count = self.fitting(batch)
        self.push(batch[:count] if count < len(batch) else batch, change)
        refused = len(batch) - count
        if self._max_bytes is not None:
            refused -= self._smaller_ones(batch, count, change)
        if refused:
            change.taken += refused
            change.dropped[self._name] += refused
        return ()

    def _smaller_ones(self, batch: Sequence[Event], first: int, change: Change) -> int:
        """Behind one that is too large there may be others that are not."""
        taken = 0
        for position in range(first + 1, len(batch)):
            if self.fitting((batch[position],)):
                self.push((batch[position],), change)
                taken += 1
        return taken
