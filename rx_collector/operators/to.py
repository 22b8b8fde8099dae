"""to: deliver events into a sink."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, ClassVar

from reactivex.abc import DisposableBase

from rx_collector.config.options import Kind, Scope, option, plainly
from rx_collector.errors import OutputError
from rx_collector.ledger import Node
from rx_collector.sinks.base import Sink, Writer
from rx_collector.stream.flow import Batch, BatchObserver, Context
from rx_collector.stream.operator import BatchOperator, operator

__all__ = ["Delivery", "To"]


class _SinkKind(Kind):
    wanted = "a sink"

    def convert(self, value: Any, scope: Scope) -> Any:
        return value if isinstance(value, Sink) else scope.wrong(f"a sink is wanted here, not {plainly(value)}")


@operator("to", summary="Deliver events into a sink.", example="to: {null: {}}")
@dataclass(frozen=True)
class To(BatchOperator):
    """Deliver events into a sink, on the thread that brings them, and pass on what was handed over.

    Put a ``backpressure`` before it to give the sink a thread of its own; without one the source waits for the sink.
    When the sink fails, the stream ends with OutputError. The guarantee is the sink's.
    """

    in_yaml: ClassVar[bool] = False
    shorthand: ClassVar[str | None] = "sink"

    sink: Sink = option(_SinkKind(), "The sink.")

    def attach(self, downstream: BatchObserver, context: Context, node: Node) -> BatchObserver:
        try:
            writer = self.sink.open()
        except OSError as error:  # a sink's author forgot one; the user still gets a line, not a traceback
            raise OutputError(f"cannot open {self.sink.name}: {error}") from error
        return Delivery(writer, downstream, context, node)


class Delivery:
    """Writes batches into an open sink and keeps its counts.

    The timer's thread flushes what a sink buffers; one lock keeps it apart from the thread that writes.
    """

    def __init__(self, writer: Writer, downstream: BatchObserver, context: Context, node: Node) -> None:
        self.writer = writer
        self._downstream = downstream
        self._context = context
        self._node = node
        self._lock = threading.Lock()
        self._held = 0
        self._failure: Exception | None = None
        self._closed = False
        self._timer: DisposableBase | None = None
        node.held = lambda: self._held

    def cancel(self) -> None:
        """Make a write that blocks give up soon. Safe from any thread."""
        self.writer.cancel()

    def on_batch(self, batch: Batch) -> None:
        assert isinstance(batch, list)
        with self._lock:
            with self._context.ledger.lock:
                self._node.taken += len(batch)
                self._held += len(batch)
            if self._failure is not None or self._closed:
                self._fail(0)
                return
            self._count(lambda: self.writer.write(batch))
            failure = self._failure
            if failure is None and self._held and self.writer.flush_interval and self._timer is None:
                self._timer = self._context.clock().schedule_relative(self.writer.flush_interval, self._on_time)
        if failure is None:
            self._downstream.on_batch(batch)
        else:
            self._downstream.on_error(failure)

    def _on_time(self, scheduler: object, state: object = None) -> None:
        with self._lock:
            self._timer = None
            if self._failure is not None or self._closed:
                return
            self._count(self.writer.flush)
            failure = self._failure
        if failure is not None:
            self._downstream.on_error(failure)

    def _count(self, call: Any) -> None:
        """Do something that gives how many events arrived, or fails."""
        try:
            arrived = call()
        except OutputError as error:
            self._failure = error
            self._fail(error.delivered)
        except Exception as error:
            self._failure = OutputError(f"the sink failed: {type(error).__name__}: {error}")
            self._failure.__cause__ = error
            self._fail(0)
        else:
            with self._context.ledger.lock:
                self._node.out += arrived
                self._held -= arrived

    def _fail(self, delivered: int) -> None:
        with self._context.ledger.lock:
            self._node.out += delivered
            self._node.failed += self._held - delivered
            self._held = 0

    def _close(self) -> bool:
        """Close the sink. True when this was the first time and all went well."""
        with self._lock:
            if self._closed:
                return False
            self._closed = True
            if self._timer is not None:
                self._timer.dispose()
            failed_before = self._failure is not None
            self._count(self.writer.close)
            if self._held and self._failure is None:
                self._failure = OutputError(f"the sink was closed with {self._held} events that it did not deliver")
            if self._held:
                self._fail(0)
            return self._failure is None or failed_before

    def on_error(self, error: Exception) -> None:
        self._close()
        self._downstream.on_error(error)

    def on_completed(self) -> None:
        self._close()
        if self._failure is not None:
            self._downstream.on_error(self._failure)
        else:
            self._downstream.on_completed()
