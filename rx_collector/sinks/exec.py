"""The exec sink: events to the standard input of a program."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Mapping
from typing import Any, ClassVar

from rx_collector.config.options import (
    BOOLEAN,
    DURATION,
    PATH,
    TEXT,
    Either,
    ListOf,
    MappingOf,
    Scope,
    described,
    option,
)
from rx_collector.errors import OutputError
from rx_collector.event import Event
from rx_collector.guardian import Guardian
from rx_collector.pipes import LARGEST, widen
from rx_collector.sinks.base import Sink, Writer, sink
from rx_collector.sinks.descriptor import CancellableWriter, Cancelled, TimedOut
from rx_collector.sinks.format import FORMATS, encoder, flatten, joined
from rx_collector.units import format_duration
from rx_collector.waker import Waker

__all__ = ["Exec"]

_TERM_GRACE = 2.0


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


_COMMAND = Either(
    "a list of arguments", (_is_list, ListOf(TEXT, least=1)), (lambda value: isinstance(value, str), TEXT)
)


@sink(
    "exec",
    summary="Write events to the standard input of a program.",
    guarantee="Delivered means taken by the pipe; a program that ends badly fails the sink.",
    example="exec: {command: [gzip, -c]}\nbackpressure: {strategy: block, capacity: 10_000}",
)
@described
class Exec(Sink):
    """Write events to the standard input of a program that is started with the run. Its output goes where ours does.

    After a failure the program is ended, and another one is started when the branch has a ``retry``.
    """

    shorthand: ClassVar[str | None] = "command"

    command: tuple[str, ...] | str = option(_COMMAND, "The program and its arguments.", example="[gzip, -c]")
    shell: bool = option(BOOLEAN, "Whether the command is one text for /bin/sh.", False)
    cwd: str | None = option(PATH, "The working directory.", None)
    env: Mapping[str, str] | None = option(MappingOf(TEXT), "Variables added to the collector's own.", None)
    format: str = option(FORMATS, "How an event is written.", "ndjson")
    envelope: bool = option(BOOLEAN, "Whether the whole event is written, not its payload alone.", False)
    grace: float = option(DURATION, "How long it may take to end once its input has.", 5.0)
    timeout: float | None = option(DURATION, "How long a write may make no progress before it fails.", None)

    def check(self, scope: Scope) -> None:
        if self.shell != isinstance(self.command, str):
            scope.child("command").wrong("a text goes with 'shell: true', a list of arguments without")

    def open(self) -> Writer:
        return _ExecWriter(self)


class _ExecWriter(Writer):
    def __init__(self, spec: Exec) -> None:
        self._spec = spec
        self._argv = ["/bin/sh", "-c", spec.command] if isinstance(spec.command, str) else list(spec.command)
        self._name = os.path.basename(self._argv[0]) if not spec.shell else "sh"
        self._encode = encoder(spec.format, spec.envelope)
        self._cancelled = False
        self._waker = Waker()
        self._guardian = Guardian()
        try:
            self._start()
        except OutputError:
            self._waker.close()
            raise

    def _start(self) -> None:
        spec = self._spec
        try:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                cwd=spec.cwd,
                env={**os.environ, **(spec.env or {})},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            why = "command not found" if isinstance(error, FileNotFoundError) else str(error)
            raise OutputError(f"cannot start {self._argv[0]!r}: {why}") from None
        self._guardian.started(self._process.pid, ends_by_itself=True)
        self._pidfd = os.pidfd_open(self._process.pid)
        assert self._process.stdin is not None
        descriptor = os.dup(self._process.stdin.fileno())
        self._process.stdin.close()
        self._process.stdin = None
        widen(descriptor, LARGEST)
        os.set_blocking(descriptor, False)
        self._out = CancellableWriter(descriptor, spec.timeout)
        if self._cancelled:
            self._out.cancel()

    def recover(self) -> None:
        with contextlib.suppress(OutputError):  # that it ended badly has been said
            self._end(grace=0.0)
        self._start()

    def write(self, events: list[Event]) -> int:
        lines = list(map(self._encode, flatten(events)))
        data = joined(lines)
        try:
            self._out.write(data)
        except (OSError, Cancelled, TimedOut) as error:
            delivered = data.count(b"\n", 0, self._out.written) if len(lines) == len(events) else 0
            if isinstance(error, Cancelled):
                why = "took nothing any more and was given up"
            elif isinstance(error, TimedOut):
                why = f"took nothing for {format_duration(self._spec.timeout or 0.0)}"
            else:
                why = self._how_it_ended()
            raise OutputError(f"{self._name}: {why}", delivered=delivered) from None
        return len(events)

    def _ends_within(self, seconds: float) -> bool:
        """Wait for its end, at most so long, and no longer than until `cancel`. It stays to be reaped."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        poll.register(self._waker, select.POLLIN)
        return any(descriptor == self._pidfd for descriptor, _ in poll.poll(seconds * 1000))

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # it is not reaped yet, so the number is its own
            os.killpg(self._process.pid, number)

    def _how_it_ended(self) -> str:
        if not self._ends_within(1.0):
            return "closed its input"
        result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if result is None or result.si_code == os.CLD_EXITED:
            return f"exited with code {0 if result is None else result.si_status}"
        return f"was killed by {signal.Signals(result.si_status).name}"

    def cancel(self) -> None:
        self._cancelled = True
        self._waker.set()
        self._out.cancel()

    def close(self) -> int:
        try:
            return self._end(self._spec.grace)
        finally:
            self._guardian.close()
            self._waker.close()

    def _end(self, grace: float) -> int:
        if self._out.descriptor < 0:
            return 0
        os.close(self._out.descriptor)
        self._out.descriptor = -1
        self._out.close()
        late = not self._ends_within(grace)
        if late and not self._cancelled:
            self._signal(signal.SIGTERM)
            self._ends_within(_TERM_GRACE)
        self._signal(signal.SIGKILL)  # what is left of its group, too
        how = "" if late else self._how_it_ended()
        self._process.wait()
        os.close(self._pidfd)
        self._guardian.over(self._process.pid)
        if late:
            raise OutputError(f"{self._name}: did not end with its input and was stopped")
        if self._process.returncode:
            raise OutputError(f"{self._name}: {how}")
        return 0
