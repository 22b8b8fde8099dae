"""to: deliver events into a sink."""

from __future__ import annotations

from typing import Any, ClassVar

from rx_collector.config.options import Choice, Kind, Nested, Scope, described, option, plainly
from rx_collector.errors import OutputError
from rx_collector.ledger import Node
from rx_collector.operators.delivery import Delivery
from rx_collector.sinks.base import Sink
from rx_collector.sinks.retry import ON_FAILURE, Retry
from rx_collector.stream.flow import BatchObserver, Context
from rx_collector.stream.operator import BatchOperator, operator

__all__ = ["To"]


class _SinkKind(Kind):
    wanted = "a sink"

    def convert(self, value: Any, scope: Scope) -> Any:
        return value if isinstance(value, Sink) else scope.wrong(f"a sink is wanted here, not {plainly(value)}")


@operator("to", summary="Deliver events into a sink.", example="to: {null: {}}")
@described
class To(BatchOperator):
    """Deliver events into a sink, on the thread that brings them, and pass on what was handed over.

    Put a ``backpressure`` before it to give the sink a thread of its own; without one the source waits for the sink.
    A sink that fails is tried again as `retry` says; then `on_failure` ends the stream with OutputError (``fail``), or
    gives the events to the dead letter or to nobody, counted as failed, and goes on with those that follow. Nothing
    upstream runs again. The guarantee is the sink's. When the subscription is disposed, the sink is closed.
    """

    in_groups: ClassVar[bool] = False
    in_yaml: ClassVar[bool] = False
    shorthand: ClassVar[str | None] = "sink"

    sink: Sink = option(_SinkKind(), "The sink.")
    retry: Retry | None = option(Nested(Retry), "How often a sink that fails is tried again; none: never.", None)
    on_failure: str = option(Choice(*ON_FAILURE), "What becomes of events that it did not take.", "fail")

    def attach(self, downstream: BatchObserver, context: Context, node: Node) -> BatchObserver:
        try:
            writer = self.sink.open()
        except OSError as error:  # a sink's author forgot one; the user still gets a line, not a traceback
            raise OutputError(f"cannot open {self.sink.name}: {error}") from error
        return Delivery(writer, downstream, context, node, self.retry, self.on_failure)
