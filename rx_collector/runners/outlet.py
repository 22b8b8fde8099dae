"""The outlet: where what a runner prints leaves it, counted. Nothing is sent after it was closed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from rx_collector.event import Event, Lines, Origin, rejected
from rx_collector.ledger import RunnerLedger
from rx_collector.runners.framing import Refused, Row, repair
from rx_collector.stream.flow import BatchObserver, Context

__all__ = ["Outlet", "Tap"]


class Tap(Protocol):
    """Is told of all that a runner's children give, before anybody else is. Called from the reader's thread.

    `now` gives the time, in nanoseconds since 1970, at which it was told last: the one at which that was observed.
    """

    def now(self) -> int: ...

    def lines(self, rows: list[Row], first: int, incarnation: int, pid: int) -> None: ...

    def stderr(self, rows: list[Row], incarnation: int, pid: int) -> None: ...

    def lifecycle(self, what: str, incarnation: int, pid: int | None, facts: dict[str, Any]) -> None: ...

    def end(self, error: Exception | None) -> None: ...


class Outlet:
    """Sends what one subscription to a runner has observed. All calls but `close` come from the reader's thread.

    `apart` receives the lifecycle events beside those in the stream (None: nobody asked for them). `now` gives the time
    that is observed, in nanoseconds since 1970; a `tap` that is told of everything gives it itself.
    """

    def __init__(
        self,
        name: str,
        observer: BatchObserver,
        context: Context,
        *,
        in_stream: bool,
        apart: BatchObserver | None,
        now: Callable[[], int] = time.time_ns,
        tap: Tap | None = None,
    ) -> None:
        self.counts: RunnerLedger = context.ledger.runner(name)
        self.closed = False
        self._name = name
        self._observer = observer
        self._apart = apart
        self._in_stream = in_stream
        self._context = context
        self._now = now if tap is None else tap.now
        self._tap = tap
        self.lock = context.ledger.lock
        self._stderr_line = 0
        self._lifecycle_line = 0

    def close(self) -> None:
        """Send nothing more; what is still read is counted as dropped. Safe from any thread."""
        self.closed = True

    def _origin(self, incarnation: int, pid: int | None, kind: str = "line") -> Origin:
        return Origin(self._context.run, self._name, incarnation, pid, self._now(), kind)

    def rows(
        self,
        rows: list[Row],
        number: int,
        incarnation: int,
        pid: int,
        *,
        skip: int,
        multiline: bool,
        ascii: bool = False,
    ) -> int:
        """Send rows of lines, the first of them numbered `number` + 1, without the first `skip` of an incarnation.

        Gives the number of the last line. `ascii` says that they are known to be that, and so valid.
        """
        if self._tap is not None and rows:
            self._tap.lines(rows, number + 1, incarnation, pid)
        origin = self._origin(incarnation, pid)
        for row in rows:
            if number < skip:
                size = 1 if isinstance(row, Refused) else len(row)
                skipped = min(size, skip - number)
                number += skipped
                with self.lock:
                    self.counts.lines += skipped
                    self.counts.skipped += skipped
                if skipped == size:
                    continue
                assert isinstance(row, list)
                row = row[skipped:]
            if isinstance(row, Refused):
                number += 1
                self._refuse(row, origin, number)
            else:
                self._send(row, number + 1, origin, multiline, ascii)
                number += len(row)
        return number

    def _send(self, row: list[bytes], first: int, origin: Origin, multiline: bool, ascii: bool) -> None:
        lines, repaired = (row, None) if ascii else repair(row, first)
        closed = self.closed
        with self.lock:
            counts = self.counts
            counts.lines += len(lines)
            counts.invalid_utf8 += len(repaired or ())
            if closed:
                counts.dropped["disposed"] += len(lines)
            else:
                counts.out += len(lines)
        if not closed:
            broken = multiline and any(b"\n" in line for line in lines)
            self._observer.on_batch(Lines(lines, first, origin, repaired, broken))

    @property
    def tapped(self) -> bool:
        """Whether somebody is told of each row before it is sent."""
        return self._tap is not None

    def ended(self, lines: list[bytes], block: tuple[bytes, int], number: int, incarnation: int, pid: int) -> int:
        """Send valid lines that still have their newlines, the first numbered `number` + 1, where nothing is `tapped`.

        `block` is that of `Lines`. Gives the number of the last line.
        """
        closed = self.closed
        with self.lock:
            counts = self.counts
            counts.lines += len(lines)
            if closed:
                counts.dropped["disposed"] += len(lines)
            else:
                counts.out += len(lines)
        if not closed:
            self._observer.on_batch(Lines.of_ended(lines, number + 1, self._origin(incarnation, pid), block))
        return number + len(lines)

    def _refuse(self, frame: Refused, origin: Origin, number: int) -> None:
        with self.lock:
            self.counts.lines += 1
            self.counts.rejected[frame.reason] += 1
        self._reject(frame, origin, number)

    def _reject(self, frame: Refused, origin: Origin, number: int) -> None:
        record = rejected(
            origin=origin,
            line=number,
            part="",
            raw=frame.head,
            data=None,
            operator="runner",
            reason=frame.reason,
            error=frame.error,
        )
        self._context.reject(record)

    def payload(self, data: Any, number: int, incarnation: int, pid: int) -> None:
        """Send an event that has its fields already, in the place of line `number`."""
        origin = Origin(self._context.run, self._name, incarnation, pid, self._now(), parsed=True)
        with self.lock:
            self.counts.lines += 1
            self.counts.out += 1
        self._observer.on_batch([Event(data, None, origin, number)])

    def stderr(self, rows: list[Row], incarnation: int, pid: int) -> None:
        """Send rows of lines of standard error as events."""
        if self._tap is not None:
            self._tap.stderr(rows, incarnation, pid)
        origin = self._origin(incarnation, pid, "stderr")
        for row in rows:
            if isinstance(row, Refused):
                self._stderr_line += 1
                with self.lock:
                    self.counts.rejected[row.reason] += 1
                self._reject(row, origin, self._stderr_line)
                continue
            first = self._stderr_line + 1
            self._stderr_line += len(row)
            lines, repaired = repair(row, first)
            closed = self.closed
            with self.lock:
                self.counts.invalid_utf8 += len(repaired or ())
                if closed:
                    self.counts.dropped["disposed"] += len(lines)
                else:
                    self.counts.out += len(lines)
            if not closed:
                self._observer.on_batch(Lines(lines, first, origin, repaired))

    def lifecycle(self, what: str, incarnation: int, pid: int | None, **facts: Any) -> None:
        """Send a lifecycle event, to whom asked for it."""
        if self._tap is not None:
            self._tap.lifecycle(what, incarnation, pid, facts)
        if self.closed or (self._apart is None and not self._in_stream):
            return
        self._lifecycle_line += 1
        origin = self._origin(incarnation, pid, "lifecycle")
        event = Event({"event": what, **facts}, None, origin, self._lifecycle_line)
        with self.lock:
            if self._in_stream:
                self.counts.lifecycle += 1
                self.counts.out += 1
            if self._apart is not None:
                self.counts.lifecycle_apart += 1
        if self._in_stream:
            self._observer.on_batch([event])
        if self._apart is not None:
            self._apart.on_batch([event])

    def end(self, error: Exception | None) -> None:
        """Send the end of the stream."""
        if self._tap is not None:
            self._tap.end(error)
        if error is not None:
            with self.lock:
                self.counts.error = str(error)
        if self._apart is not None:
            self._apart.on_completed()
        if self.closed:
            return
        if error is None:
            self._observer.on_completed()
        else:
            self._observer.on_error(error)
