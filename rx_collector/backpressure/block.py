"""block: the producer waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rx_collector.backpressure.queue import QueueStore
from rx_collector.backpressure.strategy import Change, Store, Strategy, strategy
from rx_collector.config.options import described
from rx_collector.event import Event

__all__ = ["Block"]


@strategy(
    "block",
    summary="The producer waits: the runner stops reading, the pipe fills, the child waits.",
    guarantee="Nothing is lost here; the child is slowed down to the speed of the sink.",
    example="file: out.ndjson\nbackpressure: {strategy: block, capacity: 10_000}",
)
@described
class Block(Strategy):
    """The producer waits until there is room. The one strategy that slows the source, and so the other sinks of it.

    The child's standard error is read and stop requests are obeyed all the same.
    """

    def open(self, clock: Callable[[], float] = time.monotonic) -> Store:
        return _Blocking(self, clock)


class _Blocking(QueueStore):
    def __init__(self, spec: Block, clock: Callable[[], float]) -> None:
        super().__init__(spec, clock)
        self.patient = spec.max_age is None

    def admit(self, batch: Sequence[Event], change: Change) -> Sequence[Event]:
        count = self.fitting(batch)
        if count == len(batch):
            self.push(batch, change)
            return ()
        self.push(batch[:count], change)
        return batch[count:]
