"""What the log says of events that an operator could not take."""

from __future__ import annotations

from rx_collector.event import Event
from rx_collector.ledger import Node
from rx_collector.log import logger
from rx_collector.stream.flow import Context

__all__ = ["warn_once"]


def warn_once(record: Event, node: Node, context: Context) -> None:
    """Log the first rejection at a node; `record` is the dead letter. The others are counted."""
    if node.warned:
        return
    node.warned = True
    logger.warning(
        "{}, {}: {} (line {} of {}; more like this are counted, not logged)",
        context.pipeline.name,
        f"{node.name} ({node.place})" if node.place else node.name,
        record.data["error"],
        record.line,
        record.runner,
    )
