"""One incarnation: the reading of one child's output, from its start to its end, on the reader's thread."""

from __future__ import annotations

import math
import os
import select
import signal
import threading
import time
from collections import deque

from rx_collector.errors import ProcessError
from rx_collector.log import logger
from rx_collector.pipes import LARGEST, share, widen
from rx_collector.runners.child import Child
from rx_collector.runners.framing import Framer, Row, Transcoder, framer
from rx_collector.runners.loss import LossFinder
from rx_collector.runners.outlet import Outlet
from rx_collector.runners.spec import RunnerSpec
from rx_collector.runners.supervisor import supervisor
from rx_collector.switches import is_on
from rx_collector.units import format_duration
from rx_collector.waker import LONGEST_WAIT, Waker

__all__ = ["Incarnation"]

_READ_SIZE = 1 << 18
_MOST_STDERR_WAITING = 10_000


class Incarnation:
    """The n-th start of a runner's child.

    It reads what is there, at most 256 KiB at once, and never waits for more, so an idle stream has no latency. While the
    observer blocks, the pipe fills and the child waits in write(2); stderr is drained by the supervisor all the same.
    """

    def __init__(
        self, name: str, spec: RunnerSpec, number: int, outlet: Outlet, loss: LossFinder, waker: Waker
    ) -> None:
        self.number = number
        self.replaced = False  # it was stopped because the next run was due
        self._name = name
        self._spec = spec
        self._outlet = outlet
        self._loss = loss
        self._waker = waker
        self._stderr: deque[Row] = deque()
        self._stderr_waiting = 0  # lines in it
        self._lost_on_stderr = 0
        self._lock = threading.Lock()  # for what the supervisor's thread and the reader's both change
        self._ready_line = spec.ready.line.search if spec.ready is not None else None
        self._ready_on = spec.ready.on if spec.ready is not None else "stdout"
        self._ready = False
        self._ready_told = False
        self._asked = False  # we have asked for its stop
        self._last = 0.0  # when we began to wait for its output, on the monotonic clock
        self._replace_at: float | None = None
        self.child: Child

    def start(self, *, fed: bool) -> None:
        """Start the child. Raises ProcessError."""
        self.child = supervisor.spawn(self._name, self._spec, self._take_stderr, fed=fed)
        self.child.on_news = self._waker.set

    def run(self, replace_at: float | None) -> None:
        """Read to the end and see the child gone. At `replace_at`, on the monotonic clock, it is stopped for the next."""
        spec, child = self._spec, self.child
        self._replace_at = replace_at
        timer = None
        if spec.timeout is not None:  # not one of ours: it must end a child whose output nobody takes, too
            reason = f"took longer than {format_duration(spec.timeout)} and was stopped"
            # Of one that has ended by itself only others hold the output; how long they may is the linger's affair.
            timer = supervisor.call_later(spec.timeout, lambda: child.stop(reason) if child.running else None)
        poll = select.poll()
        poll.register(self._waker, select.POLLIN)
        try:
            poll.register(child.stdout, select.POLLIN)
            self._read(poll)
        finally:
            poll.unregister(child.stdout)
            os.close(child.stdout)
            child.output_ended()
        while not child.exited.is_set():  # it may live on without its output
            self._wait(poll, None)
            self._send_notes()
        if timer is not None:
            timer.cancel()
        self._send_notes()

    def failure(self) -> ProcessError | None:
        """Give the error that this end of the child is, None for a success. After `run`."""
        child = self.child
        if child.stop_reason:
            what = child.stop_reason
        elif self.replaced:
            return None
        elif child.signal is not None:
            what = f"was killed by {signal.Signals(child.signal).name}"
        elif child.code is None:
            what = "ended, and somebody else has taken its exit code"
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

    def _read(self, poll: select.poll) -> None:
        child, outlet, spec = self.child, self._outlet, self._spec
        descriptor = child.stdout
        pipe_size = widen(descriptor, share(len(supervisor.children())))
        widens = 0 < pipe_size < LARGEST  # once it has been full
        os.set_blocking(descriptor, False)
        frames = framer(spec.framing, spec.max_line, truncate=spec.overlong == "truncate")
        transcoder = Transcoder(spec.encoding) if spec.encoding != "utf-8" else None
        number = 0
        plain = not outlet.tapped and not self._loss.watches_stdout  # nobody looks at the lines before they are sent
        left = LARGEST  # that is still read when it is abandoned: who holds the pipe may write for ever
        self._last = time.monotonic()
        trusts = is_on("reads")
        drained = False  # there was no more than the last read gave, so poll(2) is asked before the next one
        while not outlet.closed:
            abandoned = child.abandoned
            chunk: bytes | None = None
            if left > 0 and (abandoned or not drained):
                try:
                    chunk = os.read(descriptor, _READ_SIZE)
                except BlockingIOError:
                    pass
                except OSError:
                    chunk = b""  # a pty whose other side is closed
            if chunk is None:
                drained = False
                if abandoned:
                    child.missed = child.missed or "left its output open in the hands of a process outside its group"
                    logger.warning("{} {}; it is read no longer", self._name, child.missed)
                    break
                flush_due = self._wait(poll, frames.flush_after)
                if self._has_notes:
                    self._send_notes()
                if flush_due:
                    number = self._send(frames.flush(), number, frames)
                    self._last = time.monotonic()  # the time that others took is not the child's
                continue
            if not chunk:
                break
            drained = pipe_size > 0 and len(chunk) < _READ_SIZE and trusts
            if widens and 2 * len(chunk) >= pipe_size:  # a page that is not filled counts as full
                widens = False
                widen(descriptor, LARGEST)
            with outlet.lock:
                outlet.counts.bytes += len(chunk)
            if transcoder is not None:
                chunk = transcoder.feed(chunk)
            if chunk:
                lines = frames.ended(chunk) if plain and number >= spec.skip_lines and self._ready_known else None
                if lines is not None:
                    number = outlet.ended(lines, (chunk, frames.begin), number, self.number, child.pid)
                else:
                    number = self._send(frames.feed(chunk), number, frames)
            if abandoned:
                left -= len(chunk)
            # A child that never pauses has its deadlines, too, and so have the notes of the supervisor's thread.
            self._last = time.monotonic()
            self._stop_when_due(self._last)
            if self._has_notes:
                self._send_notes()
        rest = transcoder.feed(b"", final=True) if transcoder is not None else b""
        number = self._send([*(frames.feed(rest) if rest else []), *frames.end()], number, frames)
        if transcoder is not None and transcoder.replaced:
            with outlet.lock:
                outlet.counts.invalid_utf8 += transcoder.replaced

    def _wait(self, poll: select.poll, flush_after: float | None) -> bool:
        """Sleep until there is output or news, or something is due. True when that is the flush of the framer."""
        flush_at = math.inf if flush_after is None else self._last + flush_after
        due = min(flush_at, *self._dues())
        wait = None if due == math.inf else min(max(0.0, due - time.monotonic()), LONGEST_WAIT) * 1000 + 1
        if ready := poll.poll(wait):
            waker = self._waker.fileno()
            if any(descriptor == waker for descriptor, _ in ready):
                self._waker.clear()
            return False
        now = time.monotonic()
        self._stop_when_due(now)
        return now >= flush_at

    def _dues(self) -> tuple[float, float, float]:
        """Give when it is to be stopped: for not being ready, for printing nothing, for the next run; infinity for never."""
        spec = self._spec
        if self._asked or self.child.stop_reason is not None or not self.child.running:
            return math.inf, math.inf, math.inf
        return (
            math.inf if spec.start_timeout is None or self._ready else self.child.started + spec.start_timeout,
            math.inf if spec.idle_timeout is None else self._last + spec.idle_timeout,
            math.inf if self._replace_at is None else self._replace_at,
        )

    def _stop_when_due(self, now: float) -> None:
        spec, child = self._spec, self.child
        ready_by, silent_at, replaced_at = self._dues()
        if now >= ready_by:
            reason = f"was not ready within {format_duration(spec.start_timeout or 0)} and was stopped"
        elif now >= silent_at:
            reason = f"printed nothing for {format_duration(spec.idle_timeout or 0)} and was stopped"
            self._outlet.lifecycle("stalled", self.number, child.pid, seconds=round(now - self._last, 3))
        elif now >= replaced_at:
            self.replaced, reason = True, ""
        else:
            return
        self._asked = True  # the supervisor may take a moment to note it
        child.stop(reason)

    def _send(self, rows: list[Row], number: int, frames: Framer) -> int:
        """Send rows of lines, the first of them numbered `number` + 1. Gives the number of the last."""
        if not rows:
            return number
        child = self.child
        if not self._ready_known:
            self._look_for_ready(rows)
        lost = 0
        if self._loss.watches_stdout:
            lost = sum(self._loss.in_lines(row) for row in rows if isinstance(row, list))
        number = self._outlet.rows(
            rows,
            number,
            self.number,
            child.pid,
            skip=self._spec.skip_lines,
            multiline=frames.multiline,
            ascii=frames.ascii,
        )
        if lost:
            self._lose(lost)
        return number

    # Notes: what is found out on the supervisor's thread, and sent by the reader's.

    def _take_stderr(self, rows: list[Row]) -> None:
        """Take rows of lines of standard error. Runs on the supervisor's thread."""
        mode, counts = self._spec.stderr, self._outlet.counts
        texts = [line.decode("utf-8", "replace") for row in rows if isinstance(row, list) for line in row]
        came = sum(len(row) if isinstance(row, list) else 1 for row in rows)
        lost = self._loss.in_texts(texts)
        taken = 0
        with self._lock:
            if mode == "events":
                for row in rows:
                    room = _MOST_STDERR_WAITING - self._stderr_waiting - taken
                    if room > 0:
                        self._stderr.append(row[:room] if isinstance(row, list) else row)
                        taken += min(room, len(row)) if isinstance(row, list) else 1
                self._stderr_waiting += taken
            self._lost_on_stderr += lost
        with self._outlet.lock:
            counts.stderr_lines += came
            if mode == "events":
                counts.stderr_events += came
                if taken < came:
                    counts.dropped["stderr queue full"] += came - taken
        if not self._ready and self._ready_on != "stdout" and self._ready_line is not None:
            self._ready = any(self._ready_line(text) for text in texts)
        if mode == "events":  # then they are its output as well
            self._ready = self._ready or (self._ready_line is None and taken > 0)
            self._last = time.monotonic()
        if taken or lost or self._ready != self._ready_told:
            self._waker.set()
        if mode == "log":
            for text in texts:
                logger.info("{} stderr: {}", self._name, text)

    @property
    def _ready_known(self) -> bool:
        """Whether its output needs not be looked at to know that it is ready."""
        return self._ready or self._ready_on == "stderr"

    def _look_for_ready(self, rows: list[Row]) -> None:
        if self._ready_line is None:
            self._ready = True
        else:
            lines = (line for row in rows if isinstance(row, list) for line in row)
            self._ready = any(self._ready_line(line.decode("utf-8", "replace")) for line in lines)
        self._tell_ready()

    def _tell_ready(self) -> None:
        if self._ready and not self._ready_told:
            self._ready_told = True
            after = round(time.monotonic() - self.child.started, 3)
            self._outlet.lifecycle("ready", self.number, self.child.pid, seconds=after)

    def _lose(self, count: int) -> None:
        with self._outlet.lock:
            self._outlet.counts.lost_upstream += count
        logger.warning("{} reports that it lost {} events", self._name, count)
        self._outlet.lifecycle("lost", self.number, self.child.pid, count=count)

    @property
    def _has_notes(self) -> bool:
        return bool(self._stderr or self._lost_on_stderr) or self._ready != self._ready_told

    def _send_notes(self) -> None:
        self._tell_ready()
        with self._lock:
            rows, lost = list(self._stderr), self._lost_on_stderr
            self._stderr.clear()
            self._stderr_waiting = self._lost_on_stderr = 0
        if rows:
            self._outlet.stderr(rows, self.number, self.child.pid)
        if lost:
            self._lose(lost)
