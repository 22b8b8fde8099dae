"""The fakes: a source that does what a script says on a thread of its own, and a probe that records what arrives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rx_collector.event import Event, Origin
from rx_collector.ledger import Report
from rx_collector.stream.eventstream import EventStream, new_context
from rx_collector.stream.flow import Batch, BatchObserver, Connection, Context, Source

__all__ = ["DEADLINE", "Probe", "Script", "Scripted", "run_script", "see_threads_end"]

DEADLINE = 10.0  # seconds after which what should have happened is taken not to happen any more
_ORIGIN = Origin("run", "script", 1, 42, 1_700_000_000_000_000_000)


@dataclass(frozen=True)
class Script:
    """What a source sends: batches of payloads, then completion or an error. `endless` repeats the batches for ever."""

    batches: tuple[tuple[Any, ...], ...] = ()
    error: Exception | None = None
    endless: bool = False

    @classmethod
    def of(
        cls, payloads: Sequence[Any], *, size: int = 0, error: Exception | None = None, endless: bool = False
    ) -> Script:
        """Give the script that sends these payloads in batches of `size`; all in one unless said."""
        size = size or max(1, len(payloads))
        rows = tuple(tuple(payloads[start : start + size]) for start in range(0, len(payloads), size))
        return cls(rows, error, endless)


class Scripted(Source):
    """A source that follows a script on a thread ``rx-script`` of its own, like a runner's reader. It is cold.

    `connections` holds what it gave to each who connected.
    """

    name = "script"

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections: list[ScriptConnection] = []

    def connect(self, observer: BatchObserver, context: Context) -> Connection:
        connection = ScriptConnection(self.script, observer, context)
        self.connections.append(connection)
        context.connections.append(connection)
        connection.thread.start()
        return connection


class ScriptConnection(Connection):
    """One run of a script."""

    def __init__(self, script: Script, observer: BatchObserver, context: Context) -> None:
        self._script = script
        self._observer = observer
        self._context = context
        self._stopped = False
        self.ended = False
        self.disposed = False
        self.disposed_early = False  # before it had sent its end
        #: Exceptions that came up out of the observer, which must not happen.
        self.raised: list[BaseException] = []
        self.sent = 0
        self.thread = threading.Thread(target=self._run, name="rx-script", daemon=True)

    def stop(self) -> None:
        self._stopped = True

    def dispose(self) -> None:
        self._stopped = self.disposed = True
        self.disposed_early = self.disposed_early or not self.ended

    def _run(self) -> None:
        try:
            again = True
            while again and not self._stopped:
                for payloads in self._script.batches:
                    if self._stopped:
                        break
                    self._send(payloads)
                again = self._script.endless
            if self.disposed:
                return
            self.ended = True
            if self._script.error is not None:
                self._observer.on_error(self._script.error)
            else:
                self._observer.on_completed()
        except BaseException as error:
            self.raised.append(error)

    def _send(self, payloads: tuple[Any, ...]) -> None:
        batch = []
        for payload in payloads:
            self.sent += 1
            batch.append(Event(payload, None, _ORIGIN, self.sent))
        with self._context.ledger.lock:
            self._context.pipeline.taken += len(batch)
        self._observer.on_batch(batch)


class Probe:
    """Receives batches and notes every breach of the rules of signals in `wrong`. `then` is called with each batch."""

    def __init__(self, then: Callable[[Batch], None] = lambda batch: None) -> None:
        self.events: list[Event] = []
        self.error: Exception | None = None
        self.terminals: list[str] = []
        self.wrong: list[str] = []
        self.ended = threading.Event()
        self.first = threading.Event()
        self.closed = False  # set by who disposes, after which nothing may begin
        self._then = then
        self._inside = threading.Lock()

    @property
    def data(self) -> list[Any]:
        """The payloads that arrived."""
        return [event.data for event in self.events]

    def on_batch(self, batch: Batch) -> None:
        self._signal("on_batch", lambda: self._take(batch))

    def _take(self, batch: Batch) -> None:
        events = batch if isinstance(batch, list) else batch.events()
        if not events:
            self.wrong.append("an empty batch")
        self.events += events
        self.first.set()
        self._then(batch)

    def on_error(self, error: Exception) -> None:
        self.error = error
        self._signal("on_error", lambda: self._end("on_error"))

    def on_completed(self) -> None:
        self._signal("on_completed", lambda: self._end("on_completed"))

    def _end(self, what: str) -> None:
        self.terminals.append(what)
        self.ended.set()

    def _signal(self, what: str, do: Callable[[], None]) -> None:
        if not self._inside.acquire(blocking=False):
            self.wrong.append(f"{what} overlaps another signal")
            return
        try:
            if self.terminals:
                self.wrong.append(f"{what} after {self.terminals[-1]}")
            if self.closed:
                self.wrong.append(f"{what} after the end of dispose")
            do()
        finally:
            self._inside.release()


class Run:
    """A script on its way through operators into a probe."""

    def __init__(self, source: Scripted, operators: Sequence[Any], probe: Probe) -> None:
        self._threads = set(threading.enumerate())  # which were there before
        self.source = source
        self.probe = probe
        self.context = new_context("check")
        self.rejected: list[Event] = []
        object.__setattr__(self.context, "reject", self.rejected.append)
        stream: Any = EventStream(source)
        for operator in operators:
            stream = operator(stream)
        self.connection = EventStream.of(stream).connect(probe, self.context)

    def wait(self) -> Run:
        """Wait for the end."""
        if not self.probe.ended.wait(DEADLINE):
            raised = [error for connection in self.source.connections for error in connection.raised]
            why = f", and an exception travelled upstream: {raised[0]!r}" if raised else ""
            raise AssertionError(f"there is no completion and no error{why}")
        return self.finish()

    def dispose(self) -> Run:
        """End it from outside, as a subscriber does."""
        for connection in self.context.connections:
            connection.dispose()
        self.connection.dispose()
        return self.finish()

    def finish(self) -> Run:
        """See all its threads gone."""
        self.context.close()
        for connection in self.source.connections:
            connection.thread.join(DEADLINE)
        see_threads_end(self._threads, ("rx-script", "rx-check-"))
        return self

    def report(self) -> Report:
        """Give the balance sheet, as of now while it runs."""
        final = not any(connection.thread.is_alive() for connection in self.source.connections)
        return Report.of(self.context.ledger, seconds=0, exit_code=0, final=final and self.probe.ended.is_set())

    def check(self, *, balanced: bool = True) -> None:
        """Check what holds for every run: no breach of the rules of signals, nothing raised upstream, the ledger."""
        assert not self.probe.wrong, "; ".join(dict.fromkeys(self.probe.wrong))
        raised = [error for connection in self.source.connections for error in connection.raised]
        assert not raised, f"an exception travelled upstream: {raised!r}"
        report = Report.of(self.context.ledger, seconds=0, exit_code=0)
        assert not balanced or report.balanced, "; ".join(report.unbalanced)


def see_threads_end(before: set[threading.Thread], prefixes: tuple[str, ...] = ("",)) -> None:
    """Wait until the threads are gone that were not there `before`, of those whose names begin so.

    Raises AssertionError when one is left. One that is just being started cannot be joined yet.
    """
    end = time.monotonic() + DEADLINE
    while left := [one for one in set(threading.enumerate()) - before if one.name.startswith(prefixes)]:
        assert time.monotonic() < end, f"the thread {left[0].name} is left"
        for thread in left:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))


def run_script(script: Script, *operators: Any, probe: Probe | None = None) -> Run:
    """Start a script through some operators. Does not block."""
    return Run(Scripted(script), operators, probe or Probe())
