"""The description of a runner: one declaration for YAML, the builder and keyword arguments."""

from __future__ import annotations

import os
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
)
from rx_collector.units import parse_count, parse_duration

__all__ = ["RestartSpec", "RunnerSpec", "StopSpec"]


class _Signal(Kind):
    wanted = "a signal such as SIGINT"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, signal.Signals):
            return value
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value)  # a variable's value, or a number in quotes
        if isinstance(value, str):
            names = [member.name for member in signal.Signals]
            name = value.strip().upper()
            name = name if name.startswith("SIG") else f"SIG{name}"
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
    """Two durations, ``1s..30s``; from Python also a pair of seconds. One duration is both ends."""

    wanted = "a range of durations such as 1s..30s"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, tuple) and len(value) == 2:
            low, high = value
        elif isinstance(value, str):
            low, dots, high = value.partition("..")
            high = high if dots else low
        else:
            return self._wanted(value, scope)
        try:
            bounds = (parse_duration(low), parse_duration(high))
        except ValueError as error:
            return scope.wrong(f"{self.wanted} is wanted here: {error}")
        if not 0 < bounds[0] <= bounds[1]:
            return scope.wrong(f"{_shown(value)} is no range: the shorter duration comes first and is more than nothing")
        return bounds

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


class _Limit(Kind):
    """So many in so long, ``5 in 1m``; from Python also a pair of a count and seconds."""

    wanted = "a limit such as 5 in 1m"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, tuple) and len(value) == 2:
            count, window = value
        elif isinstance(value, str) and (match := re.fullmatch(r"(\S+)\s+in\s+(\S.*)", value.strip())):
            count, window = match[1], match[2]
        else:
            return self._wanted(value, scope)
        try:
            limit = (parse_count(count), parse_duration(window))
        except ValueError as error:
            return scope.wrong(f"{self.wanted} is wanted here: {error}")
        if not limit[0] or not limit[1]:
            return scope.wrong(f"{_shown(value)} is no limit: the count and the time are more than nothing")
        return limit

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"\S+\s+in\s+\S+|\$\{"}


class _Command(Kind):
    """An argv; with ``shell: true`` a text."""

    wanted = "a list of arguments such as [bpftrace, -q, exec.bt]"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, str):
            if "\0" in value:
                return scope.wrong("a command cannot hold a NUL character")
            return value if value.strip() else scope.wrong("the command is empty")
        if not isinstance(value, list | tuple):
            return self._wanted(value, scope)
        if not value:
            return scope.wrong("the command is empty")
        items = ListOf(TEXT).convert(value, scope)
        if items is INVALID:
            return INVALID
        wrong = [index for index, item in enumerate(items) if "\0" in item]
        for index in wrong:
            scope.child(index).wrong("an argument cannot hold a NUL character")
        if not items[0]:
            scope.child(0).wrong("the command is empty")
        return INVALID if wrong or not items[0] else items

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [ListOf(TEXT, least=1).schema(), {"type": "string", "minLength": 1}]}


class _Environment(Kind):
    wanted = "a mapping of names to texts"

    def convert(self, value: Any, scope: Scope) -> Any:
        if not isinstance(value, Mapping):
            return self._wanted(value, scope)
        made: dict[str, str | None] = {}
        for key, text in value.items():
            name = str(key)
            if not name or "=" in name or "\0" in name:
                made[name] = scope.child(name).wrong(f"{name!r} cannot name a variable", on_key=True)
            elif text is None:
                made[name] = None
            else:
                converted = TEXT.convert(text, scope.child(name))
                if isinstance(converted, str) and "\0" in converted:
                    converted = scope.child(name).wrong("a variable cannot hold a NUL character")
                made[name] = converted
        return INVALID if any(text is INVALID for text in made.values()) else made

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


def _shown(value: object) -> str:
    """Write a range or limit that is wrong the way it was given."""
    return repr(value) if isinstance(value, str) else str(value)


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
        _Range(), "The wait before the first restart and the longest; it doubles in between.", (1.0, 30.0)
    )
    limit: tuple[int, float] | None = option(_Limit(), "How many restarts in which time are too many.", None)


@dataclass(frozen=True)
class RunnerSpec(Spec):
    """The description of a runner. `command` is an argv; no shell is involved unless `shell` is true.

    Durations are seconds and sizes bytes once it is made. Raises ConfigError with every mistake.
    """

    name: ClassVar[str] = "runner"

    command: tuple[str, ...] | str = option(_Command(), "The program and its arguments.", example="[vmstat, 1]")
    shell: bool = option(BOOLEAN, "Whether the command is one text for /bin/sh.", False)
    cwd: str | None = option(PATH, "The working directory; that of the collector unless said.", None)
    env: Mapping[str, str | None] | None = option(
        _Environment(), "Variables added to the collector's own; null removes one.", None
    )
    stop: StopSpec = option(Nested(StopSpec), "How the child is asked to end.", StopSpec())
    restart: RestartSpec = option(Nested(RestartSpec), "When a child that ended is started again.", RestartSpec())
    success_codes: tuple[int, ...] = option(
        ListOf(_ExitCode(), single=True, least=1), "Exit codes that mean success.", (0,)
    )
    max_line: int = option(SIZE, "The longest line, in bytes.", 1 << 20)
    overlong: str = option(Choice("reject", "truncate"), "What becomes of a longer line.", "reject")
    stderr: str = option(Choice("log", "events", "drop"), "Where standard error goes; it is read in any case.", "log")
    output: str = option(
        Choice("pipe", "pty"), "What standard output is; pty for programs that block-buffer into a pipe.", "pipe"
    )
    every: float | None = option(DURATION, "Run the command again and again, this long from start to start.", None)
    timeout: float | None = option(
        DURATION, "How long one run may take; a longer one is stopped and counts as failed.", None
    )

    def check(self, scope: Scope) -> None:
        """Report options that contradict each other, and numbers that are out of range."""
        if self.shell and not isinstance(self.command, str):
            scope.child("command").wrong("with 'shell: true' the command is one text, not a list")
        if not self.shell and isinstance(self.command, str):
            scope.child("command").wrong(
                f"a list of arguments is wanted here, such as {self.command.split()}; a text needs 'shell: true'"
            )
        if self.max_line == 0:
            scope.child("max_line").wrong("a line needs at least one byte")
        if self.every is not None and self.every <= 0:
            scope.child("every").wrong("the interval must be longer than nothing")
        if self.timeout is not None and self.timeout <= 0:
            scope.child("timeout").wrong("the time-out must be longer than nothing")
        if self.every is not None and self.restart.when != "never":
            scope.child("every").wrong("a command that is run every so often is started again anyway; leave 'restart' out")

    def argv(self) -> list[str]:
        """Give the argument vector to execute."""
        return ["/bin/sh", "-c", self.command] if isinstance(self.command, str) else list(self.command)

    def default_name(self) -> str:
        """Give the name of a runner that was not given one: that of its program, ``sh`` for a shell command."""
        return os.path.basename(self.argv()[0]) or "runner"
