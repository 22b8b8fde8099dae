"""The stdin sink: events to the standard input of a runner's child."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, replace
from typing import ClassVar, Protocol

from rx_collector.config.options import BOOLEAN, DURATION, TEXT, described, option
from rx_collector.errors import OutputError
from rx_collector.event import Event
from rx_collector.sinks.base import Sink, Writer, sink
from rx_collector.sinks.format import FORMATS, encoder, flatten

__all__ = ["Stdin"]


class _Feed(Protocol):
    """The standard input of whichever child a runner has."""

    def write(self, data: bytes) -> None: ...

    def finish(self) -> None: ...

    def cancel(self) -> None: ...


@sink(
    "stdin",
    summary="Write events to the standard input of a runner of the same file.",
    guarantee="Delivered means taken by the pipe, in order; what a child has not read when it ends is gone with it.",
    example="stdin: sorter\nbackpressure: {strategy: block, capacity: 10_000}",
)
@described
class Stdin(Sink):
    """Write events to the standard input of a runner of the same file, a line each.

    What comes between two starts of its child waits for the second one. When this pipeline ends, the child sees the end of
    its input; so a stop of the whole ends it in this way, before any signal.
    """

    shorthand: ClassVar[str | None] = "runner"

    runner: str = option(TEXT, "The runner whose child reads the events.", example="sorter")
    format: str = option(FORMATS, "How an event is written.", "ndjson")
    envelope: bool = option(BOOLEAN, "Whether the whole event is written, not its payload alone.", False)
    timeout: float | None = option(
        DURATION, "How long the child may take nothing before a write fails; without a child it waits.", None
    )

    feed: _Feed | None = field(default=None, compare=False, repr=False)

    def bound_to(self, feed: _Feed) -> Stdin:
        """Give the sink that writes to this feed."""
        return replace(self, feed=feed)

    def open(self) -> Writer:
        if self.feed is None:
            raise OutputError("the sink stdin works in a file that has its runner, too")
        return _StdinWriter(self.feed, encoder(self.format, self.envelope))


class _StdinWriter(Writer):
    def __init__(self, feed: _Feed, encode: Callable[[Event], bytes]) -> None:
        self._feed = feed
        self._encode = encode

    def write(self, events: list[Event]) -> int:
        lines = list(map(self._encode, flatten(events)))
        try:
            self._feed.write(b"\n".join(lines) + b"\n")
        except OutputError as error:
            if len(lines) != len(events):  # of a buffer cannot be told how much arrived
                error.delivered = 0
            raise
        return len(events)

    def cancel(self) -> None:
        self._feed.cancel()

    def close(self) -> int:
        self._feed.finish()
        return 0
