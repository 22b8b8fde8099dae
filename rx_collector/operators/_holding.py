"""What operators that hold events have in common: the end, and the account of what they hold."""

from __future__ import annotations

import threading
from abc import abstractmethod

from rx_collector.ledger import Node
from rx_collector.stream.flow import BatchObserver, Connection, Context

__all__ = ["Holding"]


class Holding(Connection):
    """Works on the thread that brings the batches, and on that of a timer, one at a time under `_lock`.

    Who changes `_held` does it under the ledger's lock, with the counts that belong to it.
    """

    def __init__(self, downstream: BatchObserver, context: Context, node: Node) -> None:
        self._downstream = downstream
        self._context = context
        self._node = node
        self._lock = threading.RLock()
        self._held = 0
        self._disposed = False
        node.held = lambda: self._held

    @abstractmethod
    def _end(self) -> None:
        """Send what is held: the stream is at its end. Called with the lock held."""

    def stop(self) -> None:
        """Nothing: it ends when what comes before it does."""

    def dispose(self) -> None:
        """Drop what is held, counted, and everything that still comes."""
        # Without the lock, which may be held by a thread that waits further down: the ledger's own is enough here.
        with self._context.ledger.lock:
            if not self._disposed:
                self._disposed = True
                self._node.dropped["disposed"] += self._held
                self._held = 0

    def on_error(self, error: Exception) -> None:
        with self._lock:
            self._end()
            self._downstream.on_error(error)

    def on_completed(self) -> None:
        with self._lock:
            self._end()
            self._downstream.on_completed()
