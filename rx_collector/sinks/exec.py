"""The exec sink: events to the standard input of a program."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rx_collector.config.options import BOOLEAN, DURATION, PATH, TEXT, Either, ListOf, MappingOf, Scope, option
from rx_collector.errors import OutputError
from rx_collector.event import Event
from rx_collector.sinks.base import Sink, Writer, sink
from rx_collector.sinks.descriptor import CancellableWriter, Cancelled, TimedOut
from rx_collector.sinks.format import FORMATS, encoder, flatten
from rx_collector.units import format_duration

__all__ = ["Exec"]

_PIPE_SIZE = 1 << 20
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
@dataclass(frozen=True)
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
        self._start()

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
        assert self._process.stdin is not None
        descriptor = os.dup(self._process.stdin.fileno())
        self._process.stdin.close()
        self._process.stdin = None
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
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
        data = b"\n".join(lines) + b"\n"
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

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "closed its input"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"

    def cancel(self) -> None:
        self._cancelled = True
        self._out.cancel()

    def close(self) -> int:
        return self._end(self._spec.grace)

    def _end(self, grace: float) -> int:
        if self._out.descriptor < 0:
            return 0
        os.close(self._out.descriptor)
        self._out.descriptor = -1
        self._out.close()
        late = False
        for number, wait in ((None, grace), (signal.SIGTERM, _TERM_GRACE), (signal.SIGKILL, None)):
            if number is not None:
                late = True
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)
            try:
                self._process.wait(wait)
                break
            except subprocess.TimeoutExpired:
                continue
        if late:
            raise OutputError(f"{self._name}: did not end with its input and was stopped")
        if self._process.returncode:
            raise OutputError(f"{self._name}: {self._how_it_ended()}")
        return 0
