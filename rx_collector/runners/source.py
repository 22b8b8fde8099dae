"""A runner as the source of a stream: cold, each connection starts a child of its own."""

from __future__ import annotations

import threading
from typing import Protocol

from rx_collector.errors import ProcessError
from rx_collector.runners.feed import Feed
from rx_collector.runners.outlet import Tap
from rx_collector.runners.reader import Reader
from rx_collector.runners.spec import RunnerSpec
from rx_collector.stream.flow import BatchObserver, Connection, Context, Source

__all__ = ["RunnerConnection", "RunnerSource"]


class RunnerConnection(Protocol):
    """A connection to what runs, or stands for, a runner's children. Nothing but `wait` blocks."""

    @property
    def running(self) -> bool:
        """Whether something runs that can still give anything."""

    def stop(self) -> None: ...

    def dispose(self) -> None: ...

    def kill(self) -> None: ...

    def wait(self, timeout: float | None = None) -> bool: ...


class RunnerSource(Source):
    """What a `Runner` connects to.

    `feed`, `lifecycle`, `before` and `tap` are for one connection only: what is written to the child's standard input, who
    gets the lifecycle events beside those in the stream, how many incarnations of that name there were before, and who is
    told of everything.
    """

    emits_lines = True

    def __init__(
        self,
        name: str,
        spec: RunnerSpec,
        *,
        feed: Feed | None = None,
        lifecycle: BatchObserver | None = None,
        before: int = 0,
        tap: Tap | None = None,
    ) -> None:
        self.name = name
        self.spec = spec
        self.readers: list[Reader] = []
        self._lock = threading.Lock()
        self._feed = feed
        self._lifecycle = lifecycle
        self._before = before
        self._tap = tap

    def connect(self, observer: BatchObserver, context: Context) -> Reader | Unstarted:
        try:
            reader = Reader(
                self.name,
                self.spec,
                observer,
                context,
                lifecycle=self._lifecycle,
                feed=self._feed,
                before=self._before,
                tap=self._tap,
            )
        except OSError as error:  # no descriptor is left
            return self._not_started(error.strerror or str(error), observer, context)
        context.connections.append(reader)
        with self._lock:
            self.readers = [*(old for old in self.readers if not old.over), reader]
        try:
            reader.start()
        except RuntimeError as error:  # no thread is left
            reader.over = True
            return self._not_started(str(error), observer, context)
        return reader

    def _not_started(self, why: str, observer: BatchObserver, context: Context) -> Unstarted:
        error = ProcessError(f"{self.name}: cannot start it: {why.lower()}", runner=self.name)
        counts = context.ledger.runner(self.name)
        with context.ledger.lock:
            counts.error = str(error)
        if self._tap is not None:
            self._tap.end(error)
        if self._feed is not None:
            self._feed.end()
        if self._lifecycle is not None:
            self._lifecycle.on_completed()
        observer.on_error(error)
        return Unstarted()


class Unstarted(Connection):
    """The connection to what could not even begin."""

    running = False

    def stop(self) -> None:
        """Nothing: it is over."""

    def dispose(self) -> None:
        """Nothing: it is over."""

    def kill(self) -> None:
        """Nothing: it is over."""
