"""The thread behind a boundary: it takes what waits and hands it to what follows."""

from __future__ import annotations

import threading

from loguru import logger

from rx_collector.backpressure.boundary import Boundary
from rx_collector.ledger import Node
from rx_collector.stream.flow import Batch, BatchObserver, Connection, Context

__all__ = ["Consumer"]


class Consumer(Connection):
    """Stands before a boundary as an observer, and behind it as the thread ``rx-<pipeline>-<name>``."""

    def __init__(self, boundary: Boundary, downstream: BatchObserver, context: Context, node: Node, name: str) -> None:
        self.boundary = boundary
        self._downstream = downstream
        self._context = context
        self._node = node
        boundary.account = self._account
        node.held = lambda: boundary.waiting
        context.connections.append(self)
        self.thread = threading.Thread(target=self._run, name=f"rx-{context.pipeline.name}-{name}", daemon=True)
        self.thread.start()

    def _account(self, taken: int, out: int, dropped: int, reason: str) -> None:
        with self._context.ledger.lock:
            self._node.taken += taken
            self._node.out += out
            if dropped:
                self._node.dropped[reason] += dropped

    def on_batch(self, batch: Batch) -> None:
        assert isinstance(batch, list)
        self.boundary.offer(batch)

    def on_error(self, error: Exception) -> None:
        self.boundary.close(error)

    def on_completed(self) -> None:
        self.boundary.close()

    def stop(self) -> None:
        """Nothing: it ends when what comes before it does."""

    def dispose(self) -> None:
        """Drop what waits, wake a producer that is blocked, and end the thread."""
        self.boundary.cancel("disposed")

    def _run(self) -> None:
        boundary, downstream = self.boundary, self._downstream
        try:
            while (batch := boundary.drain()) is not None:
                downstream.on_batch(batch)
            if boundary.error is not None:
                downstream.on_error(boundary.error)
            else:
                downstream.on_completed()
        except Exception as error:
            # An observer must not raise; if one does, it is reported once and its branch ends, not this process.
            logger.opt(exception=error).error("{} failed", self.thread.name)
            boundary.cancel("consumer failed")
            downstream.on_error(error)
