"""Recording: a run that also writes down what its children give, and when."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from loguru import logger

from rx_collector.clock import Look, SteadyLook
from rx_collector.errors import OutputError, ProcessError
from rx_collector.event import format_time
from rx_collector.ledger import Report, RunnerLedger
from rx_collector.pipeline import recording as form
from rx_collector.pipeline.collector import Collector
from rx_collector.pipeline.project import Project, lifecycle_of
from rx_collector.runners.framing import Refused, Row
from rx_collector.runners.source import RunnerConnection, RunnerSource
from rx_collector.runners.spec import RunnerSpec
from rx_collector.sinks.stdin import Stdin
from rx_collector.stream.flow import BatchObserver, Context
from rx_collector.units import format_count

__all__ = ["RecordingCollector"]

_AT_ONCE: Final = 2.0  # seconds that a disk which hangs is waited for at the end


class RecordingCollector(Collector):
    """Runs a project once, as `Collector` does, and writes a recording to a file that is not there yet.

    After a reload it goes on with what runs then; a replay plays all of it through one description. What a child gives is
    in the recording before any pipeline sees it. A recording that cannot be written goes on no
    further, is told and counted in the report's errors, and takes nothing from the sinks.
    """

    def __init__(self, project: Project, path: str | os.PathLike[str]) -> None:
        super().__init__(project)
        self._path = os.fspath(path)
        self._recorder: _Recorder | None = None

    def run(
        self,
        *,
        duration: float | str | None = None,
        max_events: int | None = None,
        drain: float | str = "30s",
        tick: Callable[[], None] | None = None,
        interval: float = 0.25,
    ) -> Report:
        """Run to the end. Raises OutputError when a sink, or the recording, cannot be opened."""
        recorder = self._recorder = _Recorder(self._path, self.project.name, self._run, _started(self.project))
        self._look = recorder.look  # what is in the recording is what counted
        try:
            return super().run(duration=duration, max_events=max_events, drain=drain, tick=tick, interval=interval)
        finally:
            recorder.close()
            if not self._readers:  # nothing was begun; the next try shall find no file in its way
                os.unlink(self._path)

    def _start_runner(
        self, name: str, spec: RunnerSpec, observer: BatchObserver, context: Context, lifecycle: BatchObserver | None
    ) -> RunnerConnection:
        assert self._recorder is not None
        tap = _Tap(self._recorder, name, context.ledger.runner(name), self.project.redact, self._goes_on)
        before = self.ledger.runner(name).starts
        if name in self._recorder.ended:
            logger.warning("runner {} had ended and begins again: a replay plays it to its first end", name)
        source = RunnerSource(name, spec, feed=self._feeds.get(name), lifecycle=lifecycle, before=before, tap=tap)
        return source.connect(observer, context)

    def _goes_on(self, name: str) -> bool:
        """Whether a runner ends only to be started again, as a reload says."""
        return name in self._network.restarting

    def _sources_ended(self) -> list[str]:
        assert self._recorder is not None
        failure = self._recorder.close()
        return [] if failure is None else [failure]


def _started(project: Project) -> list[str]:
    """Give the names of the runners that a run of it starts."""
    wanted = {source for pipeline in project.pipelines.values() for source in pipeline.reads}
    wanted |= {
        branch.sink.runner
        for pipeline in project.pipelines.values()
        for branch in pipeline.sinks
        if isinstance(branch.sink, Stdin)
    }
    return [name for name in project.runners if wanted & {name, lifecycle_of(name)}]


class _Recorder:
    """Writes records, each with one write(2) when it happens: nothing waits in this process that its death could lose.

    Safe from any thread. A disk that is slow makes the readers wait, as a sink with `block` does. The first failure ends
    the recording at the last whole record; what comes later is counted. Raises OutputError when it cannot begin.
    """

    def __init__(self, path: str, name: str, run: str, runners: list[str]) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._look = SteadyLook()
        self._latest = self._look()
        self._began = self._latest.monotonic
        self._size = 0
        self._failure: str | None = None
        self._left_out = 0  # lines that are not in it
        self._closed = False
        self.ended: set[str] = set()  # runners of which that is in the recording
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise OutputError(f"cannot record to {path}: {_why(error)}") from None
        wall = time.time_ns()
        boot, suspended, monotonic = self._latest
        header = form.Header(form.VERSION, name, run, format_time(wall), wall, monotonic, boot, suspended, runners)
        try:
            self._write_all(form.encode(header))
        except OSError as error:
            os.close(self._descriptor)
            os.unlink(path)
            raise OutputError(f"cannot record to {path}: {_why(error)}") from None

    def look(self) -> Look:
        """Give how the clocks stood at the latest record."""
        return self._latest

    def write(self, record: Callable[[int, int], form.Record], lines: int = 0) -> int:
        """Write what `record` makes of the tick and the wall time; `lines` is how many are in it. Gives that time."""
        with self._lock:
            look = self._look()
            tick, wall = look.monotonic - self._began, time.time_ns()
            before, self._latest = self._latest, look
            if self._failure is not None or self._closed:  # a reader that was left behind may still come
                self._left_out += lines
                return wall
            data = form.encode(record(tick, wall))
            if look[:2] != before[:2]:
                data = form.encode(form.Clocks(tick, look.boot, look.suspended)) + data
            try:
                self._write_all(data)
            except OSError as error:
                self._left_out += lines
                self._fail(error)
        return wall

    def _write_all(self, data: bytes) -> None:
        written = os.write(self._descriptor, data)
        while written < len(data):
            written += os.write(self._descriptor, data[written:])
        self._size += len(data)

    def _fail(self, error: OSError) -> None:
        self._failure = f"cannot record to {self._path}: {_why(error)}"
        logger.error("{}; the run goes on and is recorded no further", self._failure)
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError as another:  # who reads it sees by itself that its last record has no end
            logger.debug("cannot cut {} after its last record: {}", self._path, another)

    def close(self) -> str | None:
        """End it, once. Gives what was wrong with it, in words."""
        if not self._lock.acquire(timeout=_AT_ONCE):
            return f"cannot record to {self._path}: a write does not return"
        try:
            if not self._closed:
                self._closed = True
                if self._failure is None:
                    try:
                        self._write_all(form.encode(form.Closed(time.monotonic_ns() - self._began)))
                    except OSError as error:
                        self._fail(error)
                os.close(self._descriptor)
        finally:
            self._lock.release()
        if self._failure is None:
            return None
        return f"{self._failure}; {format_count(self._left_out)} lines of the run are not in it"


class _Tap:
    """Makes the records of one runner."""

    def __init__(
        self,
        recorder: _Recorder,
        name: str,
        counts: RunnerLedger,
        redact: Callable[[str], str],
        goes_on: Callable[[str], bool],
    ) -> None:
        self._recorder = recorder
        self._redact = redact
        self._goes_on = goes_on
        self._name = name
        self._counts = counts
        self._wall = time.time_ns()

    def now(self) -> int:
        return self._wall

    def lines(self, rows: list[Row], first: int, incarnation: int, pid: int) -> None:
        name, count = self._name, self._counts.bytes
        made = list(map(_row, rows))  # before the lock is taken
        self._wall = self._recorder.write(
            lambda tick, wall: form.Lines(tick, wall, name, incarnation, pid, first, count, made), _lines_in(rows)
        )

    def stderr(self, rows: list[Row], incarnation: int, pid: int) -> None:
        made = list(map(_row, rows))
        self._wall = self._recorder.write(
            lambda tick, wall: form.Stderr(tick, wall, self._name, incarnation, pid, made), _lines_in(rows)
        )

    def lifecycle(self, what: str, incarnation: int, pid: int | None, facts: dict[str, Any]) -> None:
        totals = self._totals() if what == "exited" else None
        self._wall = self._recorder.write(
            lambda tick, wall: form.Lifecycle(tick, wall, self._name, incarnation, pid, what, facts, totals)
        )

    def end(self, error: Exception | None) -> None:
        if self._goes_on(self._name):
            return  # who reads it does not see this end; what was counted came with that of the child
        failure = None
        if isinstance(error, ProcessError):
            said = list(map(self._redact, error.stderr))
            failure = form.Failure(self._redact(str(error)), error.code, error.signal, said)
        elif error is not None:
            failure = form.Failure(self._redact(str(error)) or type(error).__name__)
        totals = self._totals()
        self._recorder.ended.add(self._name)
        self._wall = self._recorder.write(lambda tick, wall: form.RunnerEnd(tick, wall, self._name, totals, failure))

    def _totals(self) -> form.Totals:
        counts = self._counts
        return form.Totals(
            counts.bytes,
            counts.stderr_lines,
            counts.dropped.get("stderr queue full", 0),
            counts.invalid_utf8,
            counts.missed,
        )


def _row(row: Row) -> list[bytes] | form.RefusedLine:
    return form.RefusedLine(row.reason, row.error, row.head) if isinstance(row, Refused) else row


def _lines_in(rows: list[Row]) -> int:
    return sum(1 if isinstance(row, Refused) else len(row) for row in rows)


def _why(error: OSError) -> str:
    if isinstance(error, FileExistsError):
        return "the file is there already"
    return os.strerror(error.errno).lower() if error.errno else str(error)
