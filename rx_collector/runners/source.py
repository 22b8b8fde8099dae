"""A runner as the source of a stream: cold, each connection starts a child of its own."""

from __future__ import annotations

from rx_collector.runners.reader import Reader
from rx_collector.runners.spec import RunnerSpec
from rx_collector.stream.flow import BatchObserver, Connection, Context, Source

__all__ = ["RunnerSource"]


class RunnerSource(Source):
    """What a `Runner` connects to."""

    emits_lines = True

    def __init__(self, name: str, spec: RunnerSpec) -> None:
        self.name = name
        self.spec = spec
        self.readers: list[Reader] = []

    def connect(self, observer: BatchObserver, context: Context) -> Connection:
        reader = Reader(self.name, self.spec, observer, context)
        context.connections.append(reader)
        self.readers = [old for old in self.readers if old.thread.is_alive()]
        self.readers.append(reader)
        reader.start()
        return reader
