"""The description of a runner: one declaration for YAML, the builder and keyword arguments."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rx_collector.config.options import (
    BOOLEAN,
    DURATION,
    INVALID,
    PATH,
    SIZE,
    TEXT,
    Choice,
    Kind,
    ListOf,
    Nested,
    Scope,
    Spec,
    did_you_mean,
    option,
    plainly,
)
from rx_collector.units import parse_duration

__all__ = ["RestartSpec", "RunnerSpec", "StopSpec"]


class _Signal(Kind):
    wanted = "a signal such as SIGINT"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, signal.Signals):
            return value
        names = [member.name for member in signal.Signals]
        if isinstance(value, str):
            name = value.upper() if value.upper().startswith("SIG") else f"SIG{value.upper()}"
            if name in names:
                return signal.Signals[name]
            return scope.wrong(f"unknown signal {value!r}{did_you_mean(name, names)}")
        if isinstance(value, int) and not isinstance(value, bool):
            try:
                return signal.Signals(value)
            except ValueError:
                return scope.wrong(f"there is no signal {value}")
        return self._wanted(value, scope)

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "integer"]}


class _Range(Kind):
    wanted = "a range of durations such as 1s..30s"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, tuple):
            return value
        if not isinstance(value, str):
            return self._wanted(value, scope)
        low, dots, high = value.partition("..")
        try:
            bounds = (parse_duration(low), parse_duration(high if dots else low))
        except ValueError as error:
            return scope.wrong(f"{self.wanted} is wanted here: {error}")
        if not 0 < bounds[0] <= bounds[1]:
            return scope.wrong(f"{value!r} is no range; the lower duration comes first and is more than nothing")
        return bounds

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


class _Limit(Kind):
    wanted = "a limit such as 5 in 1m"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d+)\s+in\s+(\S+)", value.strip()) if isinstance(value, str) else None
        if match is None:
            return scope.wrong(f"{self.wanted} is wanted here")
        try:
            return int(match[1]), parse_duration(match[2])
        except ValueError as error:
            return scope.wrong(str(error))

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"\d+\s+in\s+\S+|\$\{"}


class _Command(Kind):
    """An argv; with ``shell: true`` a text."""

    wanted = "a list of arguments such as [bpftrace, -q, exec.bt]"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, list | tuple):
            items = ListOf(TEXT, least=1).convert(value, scope)
            if items is not INVALID:
                if any("\0" in item for item in items):
                    return scope.wrong("an argument cannot hold a NUL character")
                if not items[0]:
                    return scope.wrong("the command is empty")
            return items
        if isinstance(value, str):
            return value if value.strip() else scope.wrong("the command is empty")
        return self._wanted(value, scope)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [ListOf(TEXT, least=1).schema(), {"type": "string", "minLength": 1}]}


class _Environment(Kind):
    wanted = "a mapping of names to texts"

    def convert(self, value: Any, scope: Scope) -> Any:
        if not isinstance(value, Mapping):
            return scope.wrong(f"{self.wanted} is wanted here, not {plainly(value)}")
        made: dict[str, str | None] = {}
        for name, text in value.items():
            if not name or "=" in name or "\0" in name:
                scope.child(name).wrong(f"{name!r} cannot name a variable", on_key=True)
                return INVALID
            made[name] = None if text is None else TEXT.convert(text, scope.child(name))
            if made[name] is INVALID:
                return INVALID
        return made

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}}


class _ExitCode(Kind):
    wanted = "an exit code from 0 to 255"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255:
            return value
        return self._wanted(value, scope)

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": 0, "maximum": 255}


@dataclass(frozen=True)
class StopSpec(Spec):
    """How the child is asked to end: this signal, then SIGTERM, then SIGKILL, to its whole process group."""

    name: ClassVar[str] = "stop"
    shorthand: ClassVar[str | None] = "signal"

    signal: signal.Signals = option(_Signal(), "The first signal.", signal.SIGTERM)
    grace: float = option(DURATION, "How long the child may take after the first signal, in seconds.", 5.0)


@dataclass(frozen=True)
class RestartSpec(Spec):
    """When a child that ended is started again."""

    name: ClassVar[str] = "restart"
    shorthand: ClassVar[str | None] = "when"

    when: str = option(Choice("never", "on-failure", "always"), "After which ends it is started again.", "never")
    backoff: tuple[float, float] = option(
        _Range(), "The wait before the first restart and the longest one; it doubles in between.", (1.0, 30.0)
    )
    limit: tuple[int, float] | None = option(_Limit(), "How many restarts in which time are too many.", None)


@dataclass(frozen=True)
class RunnerSpec(Spec):
    """The description of a runner. `command` is an argv; no shell is involved unless `shell` is true."""

    name: ClassVar[str] = "runner"

    command: tuple[str, ...] | str = option(_Command(), "The program and its arguments.", example="[vmstat, 1]")
    shell: bool = option(BOOLEAN, "Whether the command is one text for /bin/sh.", False)
    cwd: str | None = option(PATH, "The working directory; that of the file unless said.", None)
    env: Mapping[str, str | None] | None = option(
        _Environment(), "Variables added to the collector's own; null removes one.", None
    )
    stop: StopSpec = option(Nested(StopSpec), "How the child is asked to end.", StopSpec())
    restart: RestartSpec = option(Nested(RestartSpec), "When a child that ended is started again.", RestartSpec())
    success_codes: tuple[int, ...] = option(ListOf(_ExitCode(), single=True), "Exit codes that mean success.", (0,))
    max_line: int = option(SIZE, "The longest line, in bytes.", 1 << 20)
    overlong: str = option(Choice("reject", "truncate"), "What becomes of a longer line.", "reject")
    stderr: str = option(Choice("log", "events", "drop"), "Where standard error goes; it is read in any case.", "log")
    output: str = option(
        Choice("pipe", "pty"), "What standard output is; pty for programs that block-buffer into a pipe.", "pipe"
    )
    every: float | None = option(DURATION, "Run the command again and again, this long from start to start.", None)
    timeout: float | None = option(DURATION, "How long one run may take before it is stopped.", None)

    def check(self, scope: Scope) -> None:
        if self.shell and not isinstance(self.command, str):
            scope.child("command").wrong("with 'shell: true' the command is one text, not a list")
        if not self.shell and isinstance(self.command, str):
            scope.child("command").wrong("a list of arguments is wanted here, not a text; a text needs 'shell: true'")
        if self.max_line == 0:
            scope.child("max_line").wrong("a line needs at least one byte")
        if self.every is not None and self.every <= 0:
            scope.child("every").wrong("the interval must be longer than nothing")
        if self.timeout is not None and self.timeout <= 0:
            scope.child("timeout").wrong("the time-out must be longer than nothing")
        if self.every is not None and self.restart.when != "never":
            scope.child("every").wrong(
                "a command that is run every so often is started again anyway; leave 'restart' out"
            )

    def argv(self) -> list[str]:
        """Give the argument vector to execute."""
        return ["/bin/sh", "-c", self.command] if isinstance(self.command, str) else list(self.command)
