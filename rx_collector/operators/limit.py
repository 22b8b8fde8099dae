"""limit: end the stream after so many events."""

from __future__ import annotations

from typing import ClassVar

from rx_collector.config.options import COUNT, Scope, described, option
from rx_collector.ledger import Node
from rx_collector.stream.flow import Batch, BatchObserver, Connection, Context
from rx_collector.stream.operator import BatchOperator, operator

__all__ = ["Limit"]


@operator("limit", summary="End the stream after so many events.", example="limit: 1_000_000")
@described
class Limit(BatchOperator):
    """Let pass the first `count` events, then complete; what still comes is filtered.

    A pipeline that is complete takes nothing more, and when all of them are, the runners are stopped.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> [event["message"] for event in rx.runner("seq", "1000000000").pipe(op.limit(2)).to_list().run()]
    ['1', '2']

    Completes on the thread that brings the last event, and does not block.
    """

    shorthand: ClassVar[str | None] = "count"

    count: int = option(COUNT, "How many events.", example="1000")

    def check(self, scope: Scope) -> None:
        if self.count == 0:
            scope.wrong("at least one event has to pass")

    def attach(self, downstream: BatchObserver, context: Context, node: Node) -> BatchObserver:
        return _Limiter(self.count, downstream, context, node)


class _Limiter(Connection):
    def __init__(self, count: int, downstream: BatchObserver, context: Context, node: Node) -> None:
        self._rest = count
        self._downstream = downstream
        self._context = context
        self._node = node
        self._ended = False
        self._disposed = False

    def stop(self) -> None:
        """Nothing: it ends when what comes before it does."""

    def dispose(self) -> None:
        """Drop what still comes, and tell of no end."""
        self._disposed = self._ended = True

    def on_batch(self, batch: Batch) -> None:
        assert isinstance(batch, list)
        disposed = self._disposed  # once: another thread may dispose of it meanwhile
        passing = [] if disposed else batch[: self._rest]
        self._rest -= len(passing)
        with self._context.ledger.lock:
            self._node.taken += len(batch)
            self._node.out += len(passing)
            if disposed:
                self._node.dropped["disposed"] += len(batch)
            else:
                self._node.filtered += len(batch) - len(passing)
        if passing:
            self._downstream.on_batch(passing)
        if not self._rest:
            self.on_completed()

    def on_error(self, error: Exception) -> None:
        if not self._ended:
            self._ended = True
            self._downstream.on_error(error)

    def on_completed(self) -> None:
        if not self._ended:
            self._ended = True
            self._downstream.on_completed()
