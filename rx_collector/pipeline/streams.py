"""Running a stream that was composed in Python."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from rx_collector.ledger import Report
from rx_collector.stream.flow import Batch, new_context
from rx_collector.units import parse_duration

if TYPE_CHECKING:
    from rx_collector.stream.eventstream import EventStream

__all__ = ["run"]


class _End:
    def __init__(self) -> None:
        self.done = threading.Event()
        self.error: Exception | None = None

    def on_batch(self, batch: Batch) -> None:
        """The stream's own operators have dealt with it."""

    def on_error(self, error: Exception) -> None:
        self.error = error
        self.done.set()

    def on_completed(self) -> None:
        self.done.set()


def run(stream: EventStream, *, duration: float | str | None = None) -> Report:
    """Run a stream to its end and give its balance sheet. Blocks.

    After `duration` (seconds, or ``10s``), or on KeyboardInterrupt, the source is stopped, and what it has printed is
    still delivered. Raises what the stream ends with: ProcessError, OutputError, ParseError.

    >>> from rx_collector import operators as op, runner, sinks
    >>> stream = runner("seq", "3").pipe(op.filter("int(message) > 1"), op.to(sinks.null()))
    >>> run(stream).pipelines["stream"].filtered
    1
    """
    context = new_context()
    end = _End()
    started = time.monotonic()
    connection = stream.connect(end, context)
    try:
        if not end.done.wait(None if duration is None else parse_duration(duration)):
            connection.stop()
            end.done.wait()
    except BaseException:
        connection.dispose()
        raise
    finally:
        context.close()
    if end.error is not None:
        connection.dispose()
        raise end.error
    connection.stop()  # an operator may have completed before its source did
    for part in context.connections:
        part.wait()
    return Report.of(context.ledger, seconds=time.monotonic() - started, exit_code=0)
