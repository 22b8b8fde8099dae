"""The supervisor: the one thread that starts children, reads their stderr, sees them end, and stops them.

It runs while there is a child or a timer and ends by itself. Nothing it does blocks: exits come by pidfd, stderr is
read without waiting, and the steps of a stop are timers. So stderr is drained and a stop is obeyed whatever the
consumers of stdout do.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import heapq
import itertools
import os
import pty
import selectors
import shutil
import signal
import subprocess
import threading
import time
import tty
from collections import deque
from collections.abc import Callable
from typing import Any

from loguru import logger

from rx_collector.errors import ProcessError
from rx_collector.runners.spec import RunnerSpec

__all__ = ["Child", "Supervisor", "Timer", "supervisor"]

_TERM_GRACE = 2.0  # after SIGTERM, before SIGKILL
_KILL_GRACE = 1.0  # after SIGKILL, before the pipe is given up: somebody outside the group holds it
_STDERR_READ = 1 << 16
_TAIL_LINES, _TAIL_WIDTH = 20, 500


class Timer:
    """Something to be done later on the supervisor's thread."""

    def __init__(self, due: float, action: Callable[[], None]) -> None:
        self.due = due
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Do not do it, if it is not being done already. Safe from any thread."""
        self.action = None


class Child:
    """One started process. Its attributes are set by the supervisor; `stop` is safe from any thread and never blocks.

    `stdout` is the reading end for the reader, who closes it and then calls `output_ended`. `exited` is set when the
    process is gone and reaped, and what was left of its group was killed.
    """

    def __init__(self, owner: Supervisor, name: str, spec: RunnerSpec, on_stderr: Callable[[list[str]], None]) -> None:
        self.name = name
        self.spec = spec
        self.pid = 0
        self.stdout = -1
        self.code: int | None = None
        self.signal: int | None = None
        self.started = time.monotonic()
        self.exited = threading.Event()
        self.abandoned = False  # who holds the pipe now is beyond our reach; the reader need not wait for it
        self.on_abandoned: Callable[[], None] = lambda: None
        self.stderr_tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._owner = owner
        self._on_stderr = on_stderr
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._stderr = -1
        self._stderr_rest = b""
        self._leader_gone = False
        self._output_ended = False
        self._stopping = False
        self._timer: Timer | None = None

    @property
    def running(self) -> bool:
        """Whether the process itself still runs; others of its group may, when it does not."""
        return not self._leader_gone

    def stop(self) -> None:
        """Begin the stop ladder, once."""
        self._owner.submit(self._begin_stop)

    def kill(self) -> None:
        """Send SIGKILL to the group now, whatever the ladder says."""
        self._owner.submit(self._kill)

    def output_ended(self) -> None:
        """The reader is at the end of stdout, or gave it up."""
        self._owner.submit(self._on_output_ended)

    # What follows runs on the supervisor's thread.

    def start(self) -> None:
        """Start the process. Raises ProcessError."""
        spec = self.spec
        if spec.cwd is not None and not os.path.isdir(spec.cwd):
            what = "is not a directory" if os.path.exists(spec.cwd) else "does not exist"
            raise ProcessError(f"{self.name}: the working directory {spec.cwd!r} {what}", runner=self.name)
        environment = dict(os.environ)
        for variable, value in (spec.env or {}).items():
            if value is None:
                environment.pop(variable, None)
            else:
                environment[variable] = value
        if spec.output == "pty":
            reading, writing = pty.openpty()
            tty.setraw(writing)
        else:
            reading, writing = os.pipe()
        try:
            process = subprocess.Popen(
                spec.argv(),
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=subprocess.PIPE,
                cwd=spec.cwd,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            os.close(reading)
            raise ProcessError(f"{self.name}: {_why_not(error, spec, environment)}", runner=self.name) from None
        finally:
            os.close(writing)
        self._process, self.pid, self.stdout = process, process.pid, reading
        self._pidfd = os.pidfd_open(process.pid)
        assert process.stderr is not None
        self._stderr = os.dup(process.stderr.fileno())
        process.stderr.close()
        os.set_blocking(self._stderr, False)
        self._owner.watch(self._pidfd, self._on_exit)
        self._owner.watch(self._stderr, self._on_stderr_ready)

    def _begin_stop(self) -> None:
        if self._stopping or self.exited.is_set():
            return
        self._stopping = True
        stop = self.spec.stop
        rungs: list[tuple[signal.Signals, float]] = [(stop.signal, stop.grace)]
        if stop.signal not in (signal.SIGTERM, signal.SIGKILL):
            rungs.append((signal.SIGTERM, _TERM_GRACE))
        if stop.signal is signal.SIGKILL:
            rungs = [(signal.SIGKILL, _KILL_GRACE)]
        else:
            rungs.append((signal.SIGKILL, _KILL_GRACE))
        self._climb(rungs)

    def _kill(self) -> None:
        if not self.exited.is_set():
            self._stopping = True
            if self._timer is not None:
                self._timer.cancel()
            self._climb([(signal.SIGKILL, _KILL_GRACE)])

    def _climb(self, rungs: list[tuple[signal.Signals, float]]) -> None:
        if self.exited.is_set():
            return
        if not rungs:
            self._abandon()
            return
        (number, grace), rest = rungs[0], rungs[1:]
        self._signal_group(number)
        if number is not signal.SIGKILL:
            self._signal_group(signal.SIGCONT)  # a stopped process sees no other signal
        self._timer = self._owner.call_later(grace, lambda: self._climb(rest))

    def _signal_group(self, number: signal.Signals) -> None:
        # The leader is not reaped before the end, so its number, which is the group's, cannot be somebody else's.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _abandon(self) -> None:
        self.abandoned = True
        self.on_abandoned()

    def _on_exit(self) -> None:
        self._owner.unwatch(self._pidfd)
        result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        assert result is not None
        if result.si_code == os.CLD_EXITED:
            self.code = result.si_status
        else:
            self.signal = result.si_status
        self._leader_gone = True
        self._finish_when_over()

    def _on_output_ended(self) -> None:
        self._output_ended = True
        self._finish_when_over()

    def _finish_when_over(self) -> None:
        if not (self._leader_gone and self._output_ended) or self.exited.is_set():
            return
        if self._timer is not None:
            self._timer.cancel()
        self._signal_group(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()  # it is a zombie already, so this does not wait
        os.close(self._pidfd)
        if self._stderr >= 0:
            self._on_stderr_ready(last=True)
        self._owner.forget(self)
        self.exited.set()

    def _on_stderr_ready(self, last: bool = False) -> None:
        while self._stderr >= 0:
            try:
                chunk = os.read(self._stderr, _STDERR_READ)
            except BlockingIOError:
                break
            except OSError:
                chunk = b""
            if not chunk:
                self._close_stderr()
                return
            self._take_stderr(chunk)
            if not last:
                return  # others have their turn, too; the selector comes back
        if last:
            self._close_stderr()

    def _close_stderr(self) -> None:
        self._owner.unwatch(self._stderr)
        os.close(self._stderr)
        self._stderr = -1
        if self._stderr_rest:
            self._take_stderr(b"\n")

    def _take_stderr(self, chunk: bytes) -> None:
        block = self._stderr_rest + chunk
        *lines, rest = block.split(b"\n")
        if len(rest) > self.spec.max_line:
            lines.append(rest)
            rest = b""
        self._stderr_rest = rest
        if lines:
            texts = [line[: self.spec.max_line].decode("utf-8", "replace").rstrip("\r") for line in lines]
            self.stderr_tail.extend(text[:_TAIL_WIDTH] for text in texts[-_TAIL_LINES:])
            self._on_stderr(texts)


class Supervisor:
    """The thread ``rx-supervisor``, started when there is something to do, and its hands: all is safe from any thread."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake = -1
        self._commands: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._children: set[Child] = set()
        self._selector: selectors.BaseSelector | None = None

    def spawn(self, name: str, spec: RunnerSpec, on_stderr: Callable[[list[str]], None]) -> Child:
        """Start a child. Blocks until it is started; raises ProcessError when it cannot be. Not for this thread."""
        child = Child(self, name, spec, on_stderr)
        started = threading.Event()
        failure: list[Exception] = []

        def start() -> None:
            try:
                child.start()
                self._children.add(child)
            except Exception as error:
                failure.append(error)
            finally:
                started.set()

        self.submit(start)
        started.wait()
        if failure:
            raise failure[0]
        return child

    def submit(self, command: Callable[[], None]) -> None:
        """Do something soon on the supervisor's thread. Never blocks."""
        with self._lock:
            self._commands.append(command)
            if self._thread is None:
                self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                self._thread = threading.Thread(target=self._run, name="rx-supervisor", daemon=True)
                self._thread.start()
            else:
                os.eventfd_write(self._wake, 1)

    def call_later(self, delay: float, action: Callable[[], None]) -> Timer:
        """Do something on the supervisor's thread after `delay` seconds."""
        timer = Timer(time.monotonic() + delay, action)
        self.submit(lambda: heapq.heappush(self._timers, (timer.due, next(self._order), timer)))
        return timer

    def children(self) -> list[Child]:
        """Give the children that are not gone yet."""
        return list(self._children)

    def stop_all(self, deadline: float) -> bool:
        """Stop all children and wait at most `deadline` seconds for them. True when all are gone. For the very end."""
        until = time.monotonic() + deadline
        children = self.children()
        for child in children:
            child.stop()
            child.output_ended()  # nobody will read it any more
        return all(child.exited.wait(max(0.0, until - time.monotonic())) for child in children)

    # What follows runs on the supervisor's thread.

    def watch(self, descriptor: int, action: Callable[[], None]) -> None:
        """Call `action` whenever the descriptor can be read."""
        assert self._selector is not None
        self._selector.register(descriptor, selectors.EVENT_READ, action)

    def unwatch(self, descriptor: int) -> None:
        """Stop watching, if it is watched."""
        assert self._selector is not None
        with contextlib.suppress(KeyError):
            self._selector.unregister(descriptor)

    def forget(self, child: Child) -> None:
        """A child is gone."""
        self._children.discard(child)

    def _run(self) -> None:
        self._selector = selectors.DefaultSelector()
        wake = self._wake
        self._selector.register(wake, selectors.EVENT_READ, lambda: os.eventfd_read(wake))
        try:
            while True:
                self._run_commands()
                self._run_timers()
                with self._lock:
                    if not (self._commands or self._children or self._timers):
                        self._thread = None
                        return
                    waiting = self._commands
                timeout = 0.0 if waiting else max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
                for key, _ in self._selector.select(timeout):
                    self._guarded(key.data)
        finally:
            self._selector.close()
            os.close(wake)

    def _run_commands(self) -> None:
        while self._commands:
            self._guarded(self._commands.popleft())

    def _run_timers(self) -> None:
        while self._timers:
            due, _, timer = self._timers[0]
            if timer.action is not None and due > time.monotonic():
                return
            heapq.heappop(self._timers)
            if timer.action is not None:
                self._guarded(timer.action)

    def _guarded(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:  # a bug: the other children must not be left alone for it
            logger.opt(exception=error).error("the supervisor failed in {}", action)


def _why_not(error: OSError | ValueError, spec: RunnerSpec, environment: dict[str, str]) -> str:
    """Say in plain words why a command could not be started."""
    command = spec.argv()[0]
    if isinstance(error, ValueError):
        return f"cannot start {command!r}: {error}"
    path = (
        os.path.join(spec.cwd or "", command) if "/" in command else shutil.which(command, path=environment.get("PATH"))
    )
    if error.errno == errno.ENOENT:
        if path is not None and os.path.exists(path):
            return f"cannot start {command!r}: the interpreter its first line names was not found"
        return f"command not found: {command!r}"
    if path is not None and os.path.isdir(path):
        return f"cannot start {command!r}: it is a directory"
    if error.errno == errno.EACCES:
        return f"cannot start {command!r}: permission denied (is it executable?)"
    if error.errno == errno.ENOEXEC:
        return f"cannot start {command!r}: it is not a program this system can run"
    return f"cannot start {command!r}: {os.strerror(error.errno or 0).lower()}"


#: The one supervisor of this process.
supervisor = Supervisor()


@atexit.register
def _at_exit() -> None:
    children = supervisor.children()
    if children:
        supervisor.stop_all(max(child.spec.stop.grace for child in children) + _TERM_GRACE + _KILL_GRACE)


os.register_at_fork(after_in_child=supervisor._reset)
