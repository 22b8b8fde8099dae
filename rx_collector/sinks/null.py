"""The null sink: events counted and thrown away."""

from __future__ import annotations

from rx_collector.config.options import described
from rx_collector.event import Event
from rx_collector.sinks.base import Sink, Writer, sink

__all__ = ["Null"]


@sink(
    "null",
    summary="Count events and throw them away.",
    guarantee="Every event is counted as delivered.",
    example="null: {}\nbackpressure: {strategy: block, capacity: 10_000}",
)
@described
class Null(Sink):
    """Count events and throw them away."""

    def open(self) -> Writer:
        return _NullWriter()


class _NullWriter(Writer):
    def write(self, events: list[Event]) -> int:
        return len(events)
