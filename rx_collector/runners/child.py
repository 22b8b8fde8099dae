"""One child: a started process from its first moment to the end of all that it left behind."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from rx_collector.errors import ProcessError
from rx_collector.log import logger
from rx_collector.runners.descriptors import give_back, make_room
from rx_collector.runners.framing import LineFramer, Refused, Row, Transcoder
from rx_collector.runners.launch import launch
from rx_collector.runners.spec import RunnerSpec
from rx_collector.units import format_duration

if TYPE_CHECKING:
    from rx_collector.runners.supervisor import Supervisor, Timer

__all__ = ["Child"]

_STDERR_READ = 1 << 16
_STDERR_LOGGED = 1 << 11  # bytes at once when each line is logged, which takes time that other children wait for
_LAST_STDERR = 1 << 20  # the most that is still read when the child is gone: more than a pipe holds
_TAIL_LINES, _TAIL_WIDTH = 20, 500
_FIRST_LOOK, _LATER_LOOK = 0.02, 0.2  # seconds between looks at what is left of the group


def _most_memory() -> int:
    """Give the most memory that this process had, in KiB: what the kernel takes a child to have had that shares it."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1])
    return 0


class Child:
    """One started process. Its attributes are set by the supervisor; `stop` is safe from any thread and never blocks.

    `stdout` is the reading end for the reader, who closes it and then calls `output_ended`. `exited` is set when the
    process is gone and reaped, and nothing is left of its group.
    """

    def __init__(
        self, owner: Supervisor, name: str, spec: RunnerSpec, on_stderr: Callable[[list[Row]], None], *, fed: bool
    ) -> None:
        self.name = name
        self.spec = spec
        self.pid = 0
        self.stdout = -1
        #: Our end of its standard input, when it is fed with events; the reader closes it.
        self.stdin = -1
        self.code: int | None = None
        self.signal: int | None = None
        #: User and system seconds of processor time, and the largest resident memory in bytes, when it has ended. The
        #: kernel counts the memory that this process had when it started the child; None when it never had more.
        self.usage: tuple[float, float, int | None] = (0.0, 0.0, None)
        self.started = time.monotonic()
        self.ended: float | None = None
        self.exited = threading.Event()
        #: Why it was asked to stop, in words that follow the runner's name; empty when the user asked.
        self.stop_reason: str | None = None
        #: How it missed the deadline of a stop, in words that follow the runner's name.
        self.missed: str | None = None
        self.abandoned = False  # who holds the pipe now is beyond our reach; the reader need not wait for it
        #: Called when it was abandoned and when it has exited.
        self.on_news: Callable[[], None] = lambda: None
        self.stderr_tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._fed = fed
        self._owner = owner
        self._on_stderr = on_stderr
        self._stderr_encoding = Transcoder(spec.encoding) if spec.encoding != "utf-8" else None
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._stderr = -1
        self._stderr_lines = LineFramer(spec.max_line, truncate=spec.stderr != "events" or spec.overlong == "truncate")
        self._output_ended = False
        self._reaped = False
        self._killed = False  # it was asked to end at once
        self._inherited_rss = 0
        self._timer: Timer | None = None

    @property
    def running(self) -> bool:
        """Whether the process itself still runs; others of its group may, when it does not."""
        return self.ended is None

    def stop(self, reason: str = "") -> None:
        """Begin the stop ladder, once. The first `reason` counts."""
        self._submit(lambda: self._begin_stop(reason))

    def kill(self) -> None:
        """Send SIGKILL to the group now, whatever the ladder says."""
        self._submit(self._kill)

    def output_ended(self) -> None:
        """The reader is at the end of stdout, or gave it up."""
        self._submit(self._on_output_ended)

    def _submit(self, command: Callable[[], None]) -> None:
        try:
            self._owner.submit(command)
        except RuntimeError:
            # There are no threads any more, at the end of the interpreter say; one that is gone needs none.
            if not self.exited.is_set():
                raise

    # What follows runs on the supervisor's thread.

    def start(self) -> None:
        """Start the process. Raises ProcessError."""
        guardian = self._owner.guardian
        make_room(len(self._owner.children()) + 1)
        try:
            launched = launch(self.name, self.spec, fed=self._fed, announce=guardian.starting)
        except ProcessError:
            guardian.not_started()
            raise
        self._inherited_rss = _most_memory()
        self._process, self.pid = launched.process, launched.process.pid
        self.stdout, self.stdin, self._stderr = launched.stdout, launched.stdin, launched.stderr
        guardian.started(self.pid)
        if self.spec.limits is None or self.spec.limits.open_files is None:
            give_back(self.pid)
        logger.debug("{}: started, pid {}", self.name, self.pid)
        try:
            self._pidfd = os.pidfd_open(self.pid)
            self._owner.watch(self._pidfd, self._on_exit)
            self._owner.watch(self._stderr, self._on_stderr_ready)
        except OSError:
            self._undo()
            raise

    def _undo(self) -> None:
        """Take back a start that cannot be watched: no descriptors left, or a system that has no pidfds."""
        self._signal_group(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        self._owner.guardian.over(self.pid)
        if self._pidfd >= 0:
            self._owner.unwatch(self._pidfd)
        for descriptor in (self.stdout, self.stdin, self._stderr, self._pidfd):
            if descriptor >= 0:
                os.close(descriptor)

    # Stopping

    def _begin_stop(self, reason: str) -> None:
        if self.stop_reason is not None or self.exited.is_set():
            return
        self.stop_reason = reason
        self._climb(self._ladder())

    def _ladder(self) -> list[tuple[signal.Signals, float]]:
        stop = self.spec.stop
        rungs = [(stop.signal, stop.grace)] if stop.signal is not signal.SIGKILL else []
        if rungs and stop.signal is not signal.SIGTERM:
            rungs.append((signal.SIGTERM, stop.terminate_grace))
        return [*rungs, (signal.SIGKILL, stop.kill_grace)]

    def _kill(self) -> None:
        if not self.exited.is_set():
            self._killed = True
            self.stop_reason = self.stop_reason or ""
            self._climb([(signal.SIGKILL, self.spec.stop.kill_grace)])

    def _climb(self, rungs: list[tuple[signal.Signals, float]], waited: str = "") -> None:
        """Send the signal of the first rung, and climb on when its grace is over."""
        if self._timer is not None:
            self._timer.cancel()
        if self._reaped:
            return
        if not rungs:
            self._abandon()
            return
        (number, grace), rest = rungs[0], rungs[1:]
        if number is signal.SIGKILL and waited and self.missed is None:
            if self.running:
                self.missed = f"did not end within {waited} and was killed"
            elif self._has_company():
                self.missed = f"left processes that did not end within {waited} and were killed"
        logger.debug("{}: {} to the group of pid {}", self.name, number.name, self.pid)
        self._signal_group(number)
        if number is not signal.SIGKILL:
            self._signal_group(signal.SIGCONT)  # a stopped process sees no other signal
        waited = f"{waited} and {format_duration(grace)}" if waited else format_duration(grace)
        waited += f" after {number.name}"
        self._timer = self._owner.call_later(grace, lambda: self._climb(rest, waited))

    def _signal_group(self, number: signal.Signals) -> bool:
        """Send a signal to all of the group. False when there is nobody left in it."""
        # The number is nobody else's: the leader is not reaped yet, or was a moment ago, or a member of the group holds it.
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # all that are left have another user
        return True

    def _abandon(self) -> None:
        """Wait no longer: for the output that others hold open, or for a child that no signal reaches."""
        self.abandoned = True
        if self.running:
            self.missed = "did not end, and could not be killed"
            self.exited.set()  # it stays ours to reap, whenever that may be
        self.on_news()

    # Ending

    def _on_exit(self) -> None:
        self._owner.unwatch(self._pidfd)
        with contextlib.suppress(ChildProcessError):  # somebody who waits for any child has taken its status
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            assert result is not None
            if result.si_code == os.CLD_EXITED:
                self.code = result.si_status
            else:
                self.signal = result.si_status
        self.ended = time.monotonic()
        logger.debug("{}: pid {} ended, code {}, signal {}", self.name, self.pid, self.code, self.signal)
        self._finish_when_over()
        if self._output_ended:
            return
        if self.stop_reason is None:
            self._timer = self._owner.call_later(self.spec.linger, self._outlived)
        elif not self._has_company():
            # If somebody holds the output open, it is nobody that a rung of the ladder would reach.
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._owner.call_later(self.spec.stop.kill_grace, self._abandon)

    def _outlived(self) -> None:
        """The child is gone, others have held its output open for long enough."""
        if self._output_ended or self.stop_reason is not None:
            return
        if self._has_company():
            self._begin_stop("")
        else:
            self._abandon()

    def _has_company(self) -> bool:
        """Tell whether the group has members beside its dead leader."""
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == self.pid:
                continue
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == self.pid and fields[0] not in (b"Z", b"X"):
                return True
        return False

    def _on_output_ended(self) -> None:
        if not self._output_ended:
            self._output_ended = True
            self._finish_when_over()

    def _finish_when_over(self) -> None:
        if self.running or not self._output_ended or self._reaped:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._reaped = True
        process = self._process
        assert process is not None
        with contextlib.suppress(ChildProcessError):
            _, status, usage = os.wait4(self.pid, 0)  # it is a zombie already, so this does not wait
            process.returncode = os.waitstatus_to_exitcode(status)
            memory = usage.ru_maxrss * 1024 if usage.ru_maxrss > self._inherited_rss else None
            self.usage = (usage.ru_utime, usage.ru_stime, memory)
        if process.returncode is None:
            process.returncode = 0  # somebody else has reaped it; subprocess need not try
        os.close(self._pidfd)
        self._clear_group()

    def _clear_group(self) -> None:
        """See to it that nobody is left of the group, and then be over."""
        if not self._signal_group(signal.SIGTERM):
            self._be_over()
            return
        self._signal_group(signal.SIGCONT)
        now = time.monotonic()
        grace = self.spec.stop.terminate_grace
        killed_at = now + grace
        given_up_at = killed_at + self.spec.stop.kill_grace
        waits = itertools.chain([_FIRST_LOOK] * 10, itertools.repeat(_LATER_LOOK))

        def look() -> None:
            now = time.monotonic()
            if now >= given_up_at or not self._has_company():
                self._be_over()
                return
            wait = next(waits)
            if self._killed or now >= killed_at:
                if not self._killed and self.missed is None:
                    after = f"within {format_duration(grace)} after SIGTERM"
                    self.missed = f"left processes that did not end {after} and were killed"
                self._signal_group(signal.SIGKILL)
                wait = _FIRST_LOOK
            else:
                wait = min(wait, killed_at - now)
            self._owner.call_later(wait, look)

        look()

    def _be_over(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-self.pid, os.WNOHANG)[0]:
                pass  # orphans of the group that became our children, as they do when we are process 1
        self._owner.guardian.over(self.pid)
        if self._stderr >= 0:
            self._on_stderr_ready(last=True)
        self._owner.forget(self)
        self.exited.set()
        self.on_news()

    # Standard error

    def _on_stderr_ready(self, last: bool = False) -> None:
        size = _STDERR_LOGGED if self.spec.stderr == "log" and not last else _STDERR_READ
        left = _LAST_STDERR  # somebody outside the group may go on writing for ever
        while self._stderr >= 0 and left > 0:
            try:
                chunk = os.read(self._stderr, size)
            except BlockingIOError:
                break
            except OSError:
                chunk = b""
            if not chunk:
                self._close_stderr()
                return
            left -= len(chunk)
            if self._stderr_encoding is not None:
                chunk = self._stderr_encoding.feed(chunk)
            self._take_stderr(self._stderr_lines.feed(chunk) if chunk else [])
            if not last:
                return  # others have their turn, too; the selector comes back
        if last:
            self._close_stderr()

    def _close_stderr(self) -> None:
        self._owner.unwatch(self._stderr)
        os.close(self._stderr)
        self._stderr = -1
        rest = self._stderr_encoding.feed(b"", final=True) if self._stderr_encoding is not None else b""
        self._take_stderr([*(self._stderr_lines.feed(rest) if rest else []), *self._stderr_lines.end()])

    def _take_stderr(self, rows: list[Row]) -> None:
        if not rows:
            return
        lines = [line for row in rows if not isinstance(row, Refused) for line in row]
        tail = [line[: 4 * _TAIL_WIDTH].decode("utf-8", "replace")[:_TAIL_WIDTH] for line in lines[-_TAIL_LINES:]]
        self.stderr_tail.extend(tail)
        self._on_stderr(rows)
