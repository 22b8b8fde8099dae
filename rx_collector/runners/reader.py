"""The reader: the thread of a runner. It drives one incarnation after the other and sends what they print."""

from __future__ import annotations

import fcntl
import os
import random
import select
import signal
import threading
import time
from collections import deque
from typing import Any

from loguru import logger

from rx_collector.errors import ProcessError
from rx_collector.event import Event, Lines, Origin, rejected
from rx_collector.runners.framing import LineFramer, Overlong, repair
from rx_collector.runners.spec import RunnerSpec
from rx_collector.runners.supervisor import Child, supervisor
from rx_collector.stream.flow import BatchObserver, Connection, Context
from rx_collector.units import format_duration

__all__ = ["Reader"]

_PIPE_SIZE = 1 << 20
_READ_SIZE = 1 << 18
_MOST_STDERR_WAITING = 10_000


class Reader(Connection):
    """One subscription to a runner: the thread ``rx-<name>-stdout``, and the way to stop it.

    It reads what is there, at most 256 KiB at once, and never waits for more, so an idle stream has no latency. While
    the observer blocks, the pipe fills and the child waits in write(2); stderr is drained by the supervisor all the same.
    """

    def __init__(self, name: str, spec: RunnerSpec, observer: BatchObserver, context: Context) -> None:
        self._name = name
        self._spec = spec
        self._observer = observer
        self._context = context
        self._counts = context.ledger.runner(name)
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._ending = threading.Event()  # stop or dispose was called
        self._disposed = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._stderr: deque[str] = deque()
        self._stderr_line = 0
        self._incarnation = 0
        # Restarts need not be unpredictable, only unlike those of the neighbours.
        self._random = random.Random(name)
        self.thread = threading.Thread(target=self._run, name=f"rx-{name}-stdout", daemon=True)

    def start(self) -> None:
        """Begin. Does not block."""
        self.thread.start()

    def stop(self) -> None:
        """Ask the child to end; what it still prints is delivered, then the stream completes."""
        with self._lock:
            self._ending.set()
            child = self._child
        if child is not None:
            child.stop()

    def dispose(self) -> None:
        """End: nothing more is sent, the child is stopped."""
        with self._lock:
            self._disposed = True
        self.stop()
        self._awake()

    def _awake(self) -> None:
        with self._lock:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    # The thread.

    def _run(self) -> None:
        try:
            failure = self._drive()
        except Exception as error:  # a bug; the stream must not end as if all were well
            logger.opt(exception=error).error("the reader of {} failed", self._name)
            failure = error
            child = self._child
            if child is not None:
                child.stop()
                child.output_ended()
        finally:
            with self._lock:
                os.close(self._wake)
                self._wake = -1
        if self._disposed:
            return
        if failure is None:
            self._observer.on_completed()
        else:
            with self._context.ledger.lock:
                self._counts.error = str(failure)
            self._observer.on_error(failure)

    def _drive(self) -> Exception | None:
        """Run incarnations until there is no next one. Gives the error that ends the stream, None when all is well."""
        spec, restarts, wait = self._spec, deque[float](), 0.0
        while not self._ending.is_set():
            begun = time.monotonic()
            try:
                child = self._spawn()
            except ProcessError as error:
                return error  # a command that cannot be started now cannot be started later
            timed_out = self._attend(child)
            failure = None if self._ending.is_set() else self._failure(child, timed_out)
            if self._ending.is_set():
                break
            if spec.every is not None:
                if failure is not None:
                    logger.warning("{}", failure)
                self._ending.wait(max(0.0, begun + spec.every - time.monotonic()))
                continue
            when = spec.restart.when
            if when == "never" or (when == "on-failure" and failure is None):
                return failure
            now = time.monotonic()
            if spec.restart.limit is not None:
                most, window = spec.restart.limit
                while restarts and restarts[0] <= now - window:
                    restarts.popleft()
                if len(restarts) >= most:
                    what = str(failure) if failure is not None else f"{self._name}: exited with code {child.code}"
                    return ProcessError(
                        f"{what}; gave up after {self._incarnation} starts "
                        f"({most} restarts in {format_duration(window)} are the limit)",
                        runner=self._name,
                        code=child.code,
                        signal=child.signal,
                        stderr=tuple(child.stderr_tail),
                    )
                restarts.append(now)
            low, high = spec.restart.backoff
            # A run that lasted longer than the longest wait was a healthy one.
            wait = low if not wait or now - begun > high else min(high, wait * 2)
            logger.info("{}: {}; started again in {}", self._name, failure or "ended", format_duration(round(wait, 3)))
            self._ending.wait(wait * self._random.uniform(0.8, 1.0))
        return None

    def _spawn(self) -> Child:
        child = supervisor.spawn(self._name, self._spec, self._take_stderr)
        self._incarnation += 1
        with self._context.ledger.lock:
            self._counts.starts += 1
        with self._lock:
            self._child = child
            child.on_abandoned = self._awake
            ending = self._ending.is_set()
        if ending:
            child.stop()
        return child

    def _attend(self, child: Child) -> bool:
        """Read a child to its end and see it gone. True when it was stopped because it took too long."""
        timed_out: list[bool] = []
        timer = None
        if self._spec.timeout is not None:

            def too_long() -> None:
                timed_out.append(True)
                child.stop()

            timer = supervisor.call_later(self._spec.timeout, too_long)
        try:
            self._read(child)
        finally:
            os.close(child.stdout)
            child.output_ended()
        child.exited.wait()
        if timer is not None:
            timer.cancel()
        self._send_stderr(child)
        with self._lock:
            self._child = None
        with self._context.ledger.lock:
            self._counts.exits.append(
                {
                    "incarnation": self._incarnation,
                    "code": child.code,
                    "signal": child.signal,
                    "seconds": round(time.monotonic() - child.started, 3),
                }
            )
        return bool(timed_out)

    def _failure(self, child: Child, timed_out: bool) -> ProcessError | None:
        if timed_out:
            assert self._spec.timeout is not None
            what = f"took longer than {format_duration(self._spec.timeout)} and was stopped"
        elif child.signal is not None:
            what = f"was killed by {signal.Signals(child.signal).name}"
        elif child.code in self._spec.success_codes:
            return None
        else:
            what = f"exited with code {child.code}"
        return ProcessError(
            f"{self._name}: {what}",
            runner=self._name,
            code=child.code,
            signal=child.signal,
            stderr=tuple(child.stderr_tail),
        )

    def _read(self, child: Child) -> None:
        descriptor = child.stdout
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        except OSError:
            pass  # a pty has no size, and a user's pipes may be limited; it is a matter of speed only
        os.set_blocking(descriptor, False)
        framer = LineFramer(self._spec.max_line, truncate=self._spec.overlong == "truncate")
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        number = 0
        while not self._disposed:
            try:
                chunk = os.read(descriptor, _READ_SIZE)
            except BlockingIOError:
                if child.abandoned:
                    logger.warning("{}: somebody outside its process group holds its output open; given up", self._name)
                    break
                poll.poll()
                self._clear_wake()
                if self._stderr:
                    self._send_stderr(child)
                continue
            except OSError:
                chunk = b""  # a pty whose other side is closed
            if not chunk:
                number = self._send(child, framer.end(), number, 0)
                return
            number = self._send(child, framer.feed(chunk), number, len(chunk))

    def _clear_wake(self) -> None:
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            pass

    def _send(self, child: Child, rows: list[list[bytes] | Overlong], number: int, size: int) -> int:
        """Send rows of lines, the first of them numbered `number` + 1. Gives the number of the last."""
        counts, lock = self._counts, self._context.ledger.lock
        if size:
            with lock:
                counts.bytes += size
        if not rows:
            return number
        origin = Origin(self._context.run, self._name, self._incarnation, child.pid, time.time_ns())
        for row in rows:
            if isinstance(row, Overlong):
                number += 1
                with lock:
                    counts.lines += 1
                    counts.rejected["line_too_long"] += 1
                self._context.reject(self._too_long(row, origin, number))
                continue
            lines, repaired = repair(row, number + 1)
            disposed = self._disposed
            with lock:
                counts.lines += len(lines)
                counts.invalid_utf8 += len(repaired or ())
                if disposed:
                    counts.dropped["disposed"] += len(lines)
                else:
                    counts.out += len(lines)
            if not disposed:
                self._observer.on_batch(Lines(lines, number + 1, origin, repaired))
            number += len(lines)
        return number

    def _too_long(self, line: Overlong, origin: Origin, number: int) -> Event:
        return rejected(
            origin=origin,
            line=number,
            part="",
            raw=line.head,
            data=None,
            operator="runner",
            reason="line_too_long",
            error=f"the line has {line.length} bytes, {self._spec.max_line} are allowed; raw holds its beginning",
        )

    # stderr: taken on the supervisor's thread, sent from the reader's.

    def _take_stderr(self, lines: list[str]) -> None:
        mode = self._spec.stderr
        lost = 0
        if mode == "events":
            room = max(0, _MOST_STDERR_WAITING - len(self._stderr))
            self._stderr.extend(lines[:room])
            lost = len(lines) - min(room, len(lines))
        with self._context.ledger.lock:
            self._counts.stderr_lines += len(lines)
            if mode == "events":
                self._counts.stderr_events += len(lines)
                if lost:
                    self._counts.dropped["stderr queue full"] += lost
        if mode == "log":
            for line in lines:
                logger.info("{} stderr: {}", self._name, line)
        elif mode == "events":
            self._awake()

    def _send_stderr(self, child: Child) -> None:
        if not self._stderr:
            return
        lines = []
        while self._stderr:
            lines.append(self._stderr.popleft().encode())
        disposed = self._disposed
        with self._context.ledger.lock:
            if disposed:
                self._counts.dropped["disposed"] += len(lines)
            else:
                self._counts.out += len(lines)
        origin: Any = Origin(self._context.run, self._name, self._incarnation, child.pid, time.time_ns(), "stderr")
        first = self._stderr_line + 1
        self._stderr_line += len(lines)
        if not disposed:
            self._observer.on_batch(Lines(lines, first, origin))
