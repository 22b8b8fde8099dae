"""A runner as the source of a stream: cold, each connection starts a child of its own."""

from __future__ import annotations

from rx_collector.runners.feed import Feed
from rx_collector.runners.reader import Reader
from rx_collector.runners.spec import RunnerSpec
from rx_collector.stream.flow import BatchObserver, Context, Source

__all__ = ["RunnerSource"]


class RunnerSource(Source):
    """What a `Runner` connects to.

    `feed` and `lifecycle` are for one connection only: what is written to the child's standard input, and who gets the
    lifecycle events beside those in the stream.
    """

    emits_lines = True

    def __init__(
        self, name: str, spec: RunnerSpec, *, feed: Feed | None = None, lifecycle: BatchObserver | None = None
    ) -> None:
        self.name = name
        self.spec = spec
        self.readers: list[Reader] = []
        self._feed = feed
        self._lifecycle = lifecycle

    def connect(self, observer: BatchObserver, context: Context) -> Reader:
        reader = Reader(self.name, self.spec, observer, context, lifecycle=self._lifecycle, feed=self._feed)
        context.connections.append(reader)
        self.readers = [old for old in self.readers if old.thread.is_alive()]
        self.readers.append(reader)
        reader.start()
        return reader
