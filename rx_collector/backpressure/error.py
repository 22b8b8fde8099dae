"""error: the stream fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rx_collector.backpressure.queue import QueueStore
from rx_collector.backpressure.strategy import Change, Store, Strategy, strategy
from rx_collector.config.options import described
from rx_collector.errors import BackpressureError
from rx_collector.event import Event
from rx_collector.units import format_count, format_size

__all__ = ["Error"]


@strategy(
    "error",
    summary="The stream fails with BackpressureError.",
    guarantee="What was there before arrives, in order, then the error; what came too much is counted.",
    example="file: out.ndjson\nbackpressure: {strategy: error, capacity: 100_000}",
)
@described
class Error(Strategy):
    """The stream fails with BackpressureError, for pipelines that would rather stop than lose or wait.

    What waits is still delivered before the error; the events for which there was no room, and all later ones, are
    counted as dropped, ``error``. In a file the branch of this sink ends, and the exit code is 1.
    """

    def open(self, clock: Callable[[], float] = time.monotonic) -> Store:
        return _Failing(self, clock)


class _Failing(QueueStore):
    def admit(self, batch: Sequence[Event], change: Change) -> Sequence[Event]:
        count = 0 if self.failure is not None else self.fitting(batch)
        self.push(batch[:count], change)
        if refused := len(batch) - count:
            change.taken += refused
            change.dropped[self._name] += refused
            if self.failure is None:
                full = f"{format_count(self._capacity)} events"
                if len(self._events) + self.in_hand < self._capacity:
                    full = format_size(self._max_bytes or 0)
                self.failure = BackpressureError(f"what follows is too slow: {full} were in flight, and more came")
        return ()
