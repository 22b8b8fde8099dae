"""backpressure: a boundary with a strategy between two threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rx_collector.backpressure.boundary import Boundary
from rx_collector.backpressure.consumer import Consumer
from rx_collector.backpressure.strategies import STRATEGIES, Strategy
from rx_collector.config.options import COUNT, Choice, Scope, option
from rx_collector.ledger import Node
from rx_collector.stream.flow import BatchObserver, Context
from rx_collector.stream.operator import BatchOperator, operator

__all__ = ["Backpressure"]


@operator(
    "backpressure",
    summary="A bounded queue with a strategy, and a thread behind it.",
    example="backpressure: {strategy: drop_oldest, capacity: 1_000}",
)
@dataclass(frozen=True)
class Backpressure(BatchOperator):
    """A boundary: what comes before it runs on one thread, what follows on another, and the strategy says what happens
    when the second is slower. At most `capacity` events are in flight, those that the second thread has in hand included.
    """

    in_yaml: ClassVar[bool] = False
    shorthand: ClassVar[str | None] = "strategy"

    strategy: str = option(Choice(*STRATEGIES), "What happens when the boundary is full.", example="block")
    capacity: int = option(COUNT, "The most events in flight.", 10_000)

    def check(self, scope: Scope) -> None:
        if self.capacity <= 0:
            scope.child("capacity").wrong("the capacity is at least 1")

    def attach(
        self, downstream: BatchObserver, context: Context, node: Node, thread: str = "consumer"
    ) -> BatchObserver:
        """Make the boundary and start its consumer; `thread` is the last part of the thread's name."""
        strategy: type[Strategy] = STRATEGIES[self.strategy]
        return Consumer(Boundary(strategy(), self.capacity), downstream, context, node, thread)
