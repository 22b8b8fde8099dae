"""The thread behind a boundary: it takes what waits and hands it to what follows."""

from __future__ import annotations

import threading

from rx_collector.backpressure.boundary import Boundary
from rx_collector.log import logger
from rx_collector.stream.flow import Acknowledging, Batch, BatchObserver, Connection, Context

__all__ = ["Consumer"]


class Consumer(Connection):
    """Stands before a boundary as an observer, and behind it as the thread ``rx-<pipeline>-<name>``.

    An event is acknowledged to the boundary when what follows says that it arrived (a sink does), else when what
    follows has returned from the batch that it came in.
    """

    def __init__(self, boundary: Boundary, downstream: BatchObserver, context: Context, name: str) -> None:
        self.boundary = boundary
        self._downstream = downstream
        self._acknowledges = isinstance(downstream, Acknowledging)
        if isinstance(downstream, Acknowledging):
            downstream.acknowledge_to(boundary)
        context.connections.append(self)
        self._disposed = False
        self.thread = threading.Thread(target=self._run, name=f"rx-{context.pipeline.name}-{name}", daemon=True)
        self.thread.start()

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
        """Drop what waits, wake a producer that is blocked, and end the thread; what follows hears of no end."""
        self._disposed = True
        self.boundary.cancel("disposed")

    def _run(self) -> None:
        try:
            self._drain()
        except Exception as error:
            # An observer must not raise; if one does, it is reported once and its branch ends, not this process.
            logger.opt(exception=error).error("{} failed", self.thread.name)
            self.boundary.cancel("consumer failed")
            try:
                self._downstream.on_error(error)
            except Exception as another:
                logger.opt(exception=another).error("{} failed again, while it was told so", self.thread.name)
        finally:
            self.boundary.release()

    def _drain(self) -> None:
        boundary, downstream = self.boundary, self._downstream
        while (batch := boundary.drain()) is not None:
            downstream.on_batch(batch)
            if not self._acknowledges:
                boundary.acknowledge(len(batch))
        if not self._acknowledges:
            boundary.release()  # nothing is waited for any more, and who hears of the end may begin anew at once
        if self._disposed:
            return
        if boundary.error is not None:
            downstream.on_error(boundary.error)
        else:
            downstream.on_completed()
