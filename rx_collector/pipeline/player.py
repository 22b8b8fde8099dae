"""The player: it stands for a runner's children in a test, and does what the test gives it, in virtual time."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

from rx_collector.errors import ProcessError
from rx_collector.pipeline.given import Given
from rx_collector.runners.framing import Framer, Row, framer
from rx_collector.runners.loss import LossFinder
from rx_collector.runners.outlet import Outlet
from rx_collector.runners.restart import GaveUp, RestartPolicy
from rx_collector.runners.schedule import Schedule
from rx_collector.runners.spec import FramingSpec, RunnerSpec
from rx_collector.stream.flow import BatchObserver, Context
from rx_collector.stream.virtual_time import VirtualTime

__all__ = ["Player"]

_LENGTH = 8  # bytes of the number before a frame, see `_rows`


class Player:
    """Plays what one runner prints, incarnation by incarnation, as its reader would send it.

    Lines that follow each other without a delay travel in one batch. What is left out at the beginning, restarts with
    their waits, the limits of a line, lifecycle events and reports of loss are as the runner describes them. What the
    collector does to a child (time-outs, stops) is not played.
    """

    def __init__(
        self,
        name: str,
        spec: RunnerSpec,
        given: Sequence[Given],
        observer: BatchObserver,
        context: Context,
        clock: VirtualTime,
        new_pid: Callable[[], int],
        lifecycle: BatchObserver | None,
    ) -> None:
        self.name = name
        #: What could not be played, since the runner was not started again.
        self.unplayed: Given | None = None
        self._spec = spec
        self._items = [item for item in given for _ in range(item.times)]
        self._next = 0
        self._clock = clock
        self._began = clock.now
        self._new_pid = new_pid
        self._outlet = Outlet(name, observer, context, in_stream=spec.lifecycle, apart=lifecycle, now=clock.nanoseconds)
        self._loss = LossFinder(spec)
        # A frame is given whole, so it comes with its length, and the framer does no more than to look at that.
        whole = FramingSpec("length", size=_LENGTH)
        self._framer: Framer = framer(whole, spec.max_line, truncate=spec.overlong == "truncate")
        ready = spec.ready
        self._ready_line = ready.line.search if ready is not None and ready.on != "stderr" else None
        self._watched_for_ready = ready is None or ready.on != "stderr"
        self._last = clock.now  # when the last item was played
        self._last_end: datetime | None = None
        self._starts = 0

    def play(self) -> Iterator[datetime]:
        """Do what is due; each time that is yielded is when to go on. It ends when the runner does."""
        spec = self._spec
        policy = RestartPolicy(spec.restart, self.name)
        schedule = Schedule(spec.every, self.name, now=0.0) if spec.every is not None else None
        failure: ProcessError | None = None
        while True:
            begun = self._clock.now
            pid = self._start()
            failure = yield from self._run(pid, begun)
            if failure is None and self._next == len(self._items) and not self._exited:
                break  # the test is over: the runner was asked to end
            wait: float | None
            try:
                if schedule is not None:
                    wait = max(0.0, schedule.after(self._seconds()) - self._seconds())
                else:
                    lasted = (self._clock.now - begun).total_seconds()
                    wait = policy.after(failed=failure is not None, lasted=lasted, now=self._seconds())
            except GaveUp as reason:
                self._outlet.lifecycle("gave_up", self._starts, None, reason=str(reason))
                what = failure or f"{self.name}: ended again and again"
                failure = ProcessError(f"{what}; gave up after {self._starts} starts ({reason})", runner=self.name)
                break
            if wait is None:
                break
            if self._next == len(self._items):
                failure = None  # it would be started again, but the test is over
                break
            if schedule is None:
                self._outlet.lifecycle("restarting", self._starts, None, seconds=round(wait, 3))
            yield self._clock.now + timedelta(seconds=wait)
        if self._next < len(self._items):
            self.unplayed = self._items[self._next]
        self._outlet.end(failure)

    def _seconds(self) -> float:
        return (self._clock.now - self._began).total_seconds()

    def _start(self) -> int:
        self._starts += 1
        self._number = 0
        self._exited = False
        self._ready = False
        pid = self._new_pid()
        with self._outlet.lock:
            self._outlet.counts.starts += 1
        gap = {} if self._last_end is None else {"gap": round((self._clock.now - self._last_end).total_seconds(), 3)}
        self._outlet.lifecycle("started", self._starts, pid, **gap)
        return pid

    def _run(self, pid: int, begun: datetime) -> Generator[datetime, None, ProcessError | None]:
        """Play one incarnation; gives its failure."""
        lines: list[bytes] = []
        end: int | signal.Signals = 0
        while self._next < len(self._items):
            item = self._items[self._next]
            due = self._last + timedelta(seconds=item.after) if item.after else self._last
            if due > self._clock.now:
                if lines:
                    self._send(lines, pid)
                    lines = []
                yield due
            self._last = max(due, self._clock.now)
            self._next += 1
            if item.sort == "line":
                lines.append(item.value.encode("utf-8", "replace"))
                continue
            if lines:
                self._send(lines, pid)
                lines = []
            if item.sort == "exit":
                end, self._exited = item.value, True
                break
            self._number += 1
            self._outlet.payload(deepcopy(item.value), self._number, self._starts, pid)
        if lines:
            self._send(lines, pid)
        return self._ended(end, pid, begun)

    def _ended(self, end: int | signal.Signals, pid: int, begun: datetime) -> ProcessError | None:
        number = int(end) if isinstance(end, signal.Signals) else None
        code = int(end) if number is None else None
        facts: dict[str, Any] = {
            "code": code,
            "signal": number,
            "seconds": round((self._clock.now - begun).total_seconds(), 3),
        }
        self._last_end = self._clock.now
        with self._outlet.lock:
            self._outlet.counts.exits.append({"incarnation": self._starts, **facts})
        self._outlet.lifecycle("exited", self._starts, pid, **facts)
        if isinstance(end, signal.Signals):
            what = f"was killed by {end.name}"
        elif end in self._spec.success_codes:
            return None
        else:
            what = f"exited with code {end}"
        return ProcessError(f"{self.name}: {what}", runner=self.name, code=code, signal=number)

    def _send(self, lines: list[bytes], pid: int) -> None:
        counts, outlet = self._outlet.counts, self._outlet
        with outlet.lock:
            counts.bytes += sum(map(len, lines)) + len(lines)
        if self._watched_for_ready and not self._ready:
            self._look_for_ready(lines, pid)
        lost = self._loss.in_lines(lines) if self._loss.watches_stdout else 0
        skip = self._spec.skip_lines
        self._number = outlet.rows(self._rows(lines), self._number, self._starts, pid, skip=skip, multiline=True)
        if lost:
            with outlet.lock:
                counts.lost_upstream += lost
            outlet.lifecycle("lost", self._starts, pid, count=lost)

    def _rows(self, lines: list[bytes]) -> list[Row]:
        """Give rows of the lines, what is too long as what becomes of it."""
        if max(map(len, lines)) <= self._spec.max_line:
            return [lines]
        return self._framer.feed(b"".join(len(line).to_bytes(_LENGTH, "big") + line for line in lines))

    def _look_for_ready(self, lines: list[bytes], pid: int) -> None:
        if self._ready_line is None or any(self._ready_line(line.decode()) for line in lines):
            self._ready = True
            self._outlet.lifecycle("ready", self._starts, pid)
