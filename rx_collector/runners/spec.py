"""The description of a runner: one declaration for YAML, the builder and keyword arguments."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from typing import ClassVar

from rx_collector.config.options import (
    BOOLEAN,
    COUNT,
    DURATION,
    DURATION_RANGE,
    PATH,
    SIZE,
    TEXT,
    Choice,
    ListOf,
    Nested,
    Scope,
    Spec,
    described,
    option,
)
from rx_collector.config.pattern import PatternKind
from rx_collector.runners.kinds import (
    AccountKind,
    CommandKind,
    EncodingKind,
    EnvironmentKind,
    ExitCodeKind,
    NiceKind,
    ResourceKind,
    RestartsKind,
    SignalKind,
    UmaskKind,
)

__all__ = [
    "EverySpec",
    "FramingSpec",
    "LimitsSpec",
    "LossSpec",
    "ReadySpec",
    "RestartSpec",
    "RunnerSpec",
    "StdinSpec",
    "StopSpec",
]


@described
class StopSpec(Spec):
    """How the child is asked to end: this signal, then SIGTERM, then SIGKILL, to its whole process group.

    What it prints until then is delivered. A child that had to be killed is named, and the collector exits with 1.
    """

    name: ClassVar[str] = "stop"
    example: ClassVar[str] = "stop: {signal: SIGINT, grace: 5s}"
    shorthand: ClassVar[str | None] = "signal"

    signal: signal.Signals = option(SignalKind(), "The first signal.", signal.SIGTERM)
    grace: float = option(DURATION, "How long the child may take after the first signal.", 5.0)
    terminate_grace: float = option(DURATION, "How long after SIGTERM, when that was not the first.", 2.0)
    kill_grace: float = option(
        DURATION, "How long after SIGKILL somebody outside the process group may still hold the output open.", 1.0
    )


@described
class RestartSpec(Spec):
    """When a child that ended is started again.

    The wait before a restart begins at the lower bound of ``backoff`` and doubles up to the upper one, less up to a fifth
    by chance, so that many runners do not start together. A child that cannot be started any more, after it once could, is
    tried five times in a row at the most.
    """

    name: ClassVar[str] = "restart"
    example: ClassVar[str] = "restart: {when: on-failure, backoff: 1s..30s, limit: 5 in 1m}"
    shorthand: ClassVar[str | None] = "when"

    when: str = option(Choice("never", "on-failure", "always"), "After which ends it is started again.", "never")
    backoff: tuple[float, float] = option(
        DURATION_RANGE, "The wait before the first restart and the longest one; it doubles in between.", (1.0, 30.0)
    )
    healthy: float | None = option(
        DURATION,
        "A child that ran for so long begins with the shortest wait again; the longest wait unless said.",
        None,
    )
    limit: tuple[int, float] | None = option(RestartsKind(), "How many restarts in which time are too many.", None)


@described
class EverySpec(Spec):
    """Run the command again and again, at even distances from the first start."""

    name: ClassVar[str] = "every"
    example: ClassVar[str] = "every: {interval: 10s, overlap: skip}"
    shorthand: ClassVar[str | None] = "interval"

    interval: float = option(DURATION, "The time from start to start.", example="10s")
    overlap: str = option(
        Choice("skip", "queue", "replace"),
        "When a run is not over at the time of the next: leave that one out, start it at once afterwards, or stop the old.",
        "skip",
    )
    jitter: float = option(DURATION, "Each start is late by up to so long, by chance.", 0.0)

    def check(self, scope: Scope) -> None:
        if self.interval <= 0:
            scope.child("interval").wrong("the interval must be longer than nothing")
        if self.jitter > self.interval:
            scope.child("jitter").wrong("the jitter cannot be longer than the interval")


@described
class FramingSpec(Spec):
    """How the bytes of standard output become lines.

    ``newline`` (also before it a carriage return), ``nul``, ``length`` (a binary number of bytes comes before each),
    ``json_seq`` (RFC 7464), ``multiline`` (a line that matches ``start`` begins a record, the others belong to it).
    """

    name: ClassVar[str] = "framing"
    example: ClassVar[str] = "framing: {by: multiline, start: '^\\d{4}-'}"
    shorthand: ClassVar[str | None] = "by"

    by: str = option(
        Choice("newline", "nul", "length", "json_seq", "multiline"), "What tells one record from the next.", "newline"
    )
    start: re.Pattern[str] | None = option(
        PatternKind(), "What the first line of a record looks like (multiline).", None
    )
    most_lines: int = option(COUNT, "The most lines of a record (multiline); then it is sent.", 1000)
    flush: float = option(
        DURATION, "How long a record whose end is not yet known may wait for more (multiline, json_seq).", 0.25
    )
    size: int = option(COUNT, "The bytes of the number before each record: 1, 2, 4 or 8 (length).", 4)
    order: str = option(Choice("big", "little"), "Which byte of that number comes first (length).", "big")

    def check(self, scope: Scope) -> None:
        if self.by == "multiline" and self.start is None:
            scope.wrong("say what the first line of a record looks like, for example start: '^\\d{4}-'")
        if self.by != "multiline" and self.start is not None:
            scope.child("start").wrong("'start' goes with 'by: multiline'")
        if self.size not in (1, 2, 4, 8):
            scope.child("size").wrong("the number has 1, 2, 4 or 8 bytes", example="framing: {by: length, size: 4}")
        if self.most_lines == 0:
            scope.child("most_lines").wrong("a record has at least one line")


@described
class StdinSpec(Spec):
    """What the child reads on standard input: a text or a file, anew for each start; nothing unless said.

    The events of a pipeline reach it by the sink ``stdin``.
    """

    name: ClassVar[str] = "stdin"
    example: ClassVar[str] = "stdin: {file: commands.txt}"
    shorthand: ClassVar[str | None] = "text"

    text: str | None = option(TEXT, "A text.", None)
    file: str | None = option(PATH, "A file.", None)

    def check(self, scope: Scope) -> None:
        if (self.text is None) == (self.file is None):
            scope.wrong("say 'text' or 'file', one of them")


@described
class ReadySpec(Spec):
    """How it is known that the child is ready: a line that matches. Without this, its first line of output."""

    name: ClassVar[str] = "ready"
    example: ClassVar[str] = "ready: {line: '^Attaching', on: stderr}"
    shorthand: ClassVar[str | None] = "line"

    line: re.Pattern[str] = option(
        PatternKind(), "What the line looks like; it is searched for.", example="'^Attaching'"
    )
    on: str = option(Choice("stdout", "stderr", "either"), "Where the line appears.", "either")


@described
class LossSpec(Spec):
    """A line with which the tool itself reports that it lost events."""

    name: ClassVar[str] = "lost"
    example: ClassVar[str] = "lost: {line: 'lost (?P<count>\\d+)', on: stderr}"
    shorthand: ClassVar[str | None] = "line"

    line: re.Pattern[str] = option(
        PatternKind("count"),
        "What the line looks like; the group 'count' is how many.",
        example="'lost (?P<count>\\d+)'",
    )
    on: str = option(Choice("stdout", "stderr", "either"), "Where the line appears.", "either")


@described
class LimitsSpec(Spec):
    """Resource limits of the child, soft and hard (setrlimit(2)); what it starts inherits them."""

    name: ClassVar[str] = "limits"
    example: ClassVar[str] = "limits: {memory: 512MiB, open_files: 1_024}"

    cpu: float | None = option(DURATION, "Processor time, in whole seconds; then SIGXCPU, then SIGKILL.", None)
    memory: int | None = option(ResourceKind("size"), "The address space (RLIMIT_AS).", None)
    file_size: int | None = option(ResourceKind("size"), "The largest file it may write.", None)
    open_files: int | None = option(ResourceKind("count"), "The most open descriptors.", None)
    processes: int | None = option(ResourceKind("count"), "The most processes of its user.", None)
    core: int | None = option(ResourceKind("size"), "The largest core dump.", None)
    stack: int | None = option(ResourceKind("size"), "The stack.", None)
    locked_memory: int | None = option(ResourceKind("size"), "Memory that may be locked.", None)


@described
class RunnerSpec(Spec):
    """The description of a runner. `command` is an argv; no shell is involved unless `shell` is true."""

    name: ClassVar[str] = "runner"
    example: ClassVar[str] = "runners:\n  load: {command: [vmstat, 1], stop: SIGINT}"

    command: tuple[str, ...] | str = option(CommandKind(), "The program and its arguments.", example="[vmstat, 1]")
    shell: bool = option(BOOLEAN, "Whether the command is one text for /bin/sh.", False)
    cwd: str | None = option(PATH, "The working directory; that of the file unless said.", None)
    env: Mapping[str, str | None] | None = option(
        EnvironmentKind(),
        "Variables added to the collector's own, or put in their place; null removes one.",
        None,
        example="{LC_ALL: C.UTF-8, DEBUG: null}",
    )
    clear_env: bool = option(BOOLEAN, "Whether the child sees the variables of 'env' alone.", False)
    stdin: StdinSpec | None = option(Nested(StdinSpec), "What the child reads; nothing unless said.", None)
    user: str | int | None = option(AccountKind(), "The user it runs as (needs root); its groups come along.", None)
    group: str | int | None = option(AccountKind(), "The group it runs as; that of the user unless said.", None)
    umask: int | None = option(UmaskKind(), "Its umask; the collector's unless said.", None)
    nice: int | None = option(NiceKind(), "Its scheduling priority.", None, example="10")
    limits: LimitsSpec | None = option(Nested(LimitsSpec), "Its resource limits.", None)
    stop: StopSpec = option(Nested(StopSpec), "How the child is asked to end.", StopSpec())
    linger: float = option(
        DURATION,
        "How long others may hold its output open after the child itself has ended; then they are stopped.",
        5.0,
    )
    restart: RestartSpec = option(Nested(RestartSpec), "When a child that ended is started again.", RestartSpec())
    success_codes: tuple[int, ...] = option(ListOf(ExitCodeKind(), single=True), "Exit codes that mean success.", (0,))
    ready: ReadySpec | None = option(Nested(ReadySpec), "How it is known that it is ready; by its first line.", None)
    start_timeout: float | None = option(DURATION, "How long it may take to be ready; then it is stopped.", None)
    idle_timeout: float | None = option(
        DURATION, "How long it may print nothing while we read; then it is stopped, which counts as a failure.", None
    )
    timeout: float | None = option(
        DURATION, "How long one run may take before it is stopped, which is a failure.", None
    )
    every: EverySpec | None = option(Nested(EverySpec), "Run the command again and again instead of once.", None)
    framing: FramingSpec = option(Nested(FramingSpec), "How its output becomes lines.", FramingSpec())
    encoding: str = option(EncodingKind(), "The encoding of its output.", "utf-8")
    max_line: int = option(SIZE, "The longest line, in bytes.", 1 << 20)
    overlong: str = option(Choice("reject", "truncate"), "What becomes of a longer line.", "reject")
    skip_lines: int = option(COUNT, "How many lines at the beginning of each run are left out (headers).", 0)
    stderr: str = option(Choice("log", "events", "drop"), "Where standard error goes; it is read in any case.", "log")
    output: str = option(
        Choice("pipe", "pty"), "What standard output is; pty for programs that block-buffer into a pipe.", "pipe"
    )
    lifecycle: bool = option(
        BOOLEAN, "Whether starts, ends and stalls of the child are events among its lines, of type lifecycle.", False
    )
    lost: tuple[LossSpec, ...] | None = option(
        ListOf(Nested(LossSpec), single=True),
        "How the tool reports lost events; known for bpftrace, tcpdump and perf.",
        None,
    )

    def check(self, scope: Scope) -> None:
        if self.shell and not isinstance(self.command, str):
            problem = "with 'shell: true' the command is one text, not a list"
            scope.child("command").wrong(problem, example="command: vmstat 1 | head\nshell: true")
        if not self.shell and isinstance(self.command, str):
            scope.child("command").wrong("a list of arguments is wanted here, not a text; a text needs 'shell: true'")
        if self.framing.by == "length" and self.encoding != "utf-8":
            scope.child("encoding").wrong("records that say their length are read as UTF-8; its numbers are no text")
        if self.max_line == 0:
            scope.child("max_line").wrong("a line needs at least one byte", example="max_line: 1MiB")
        for name in ("timeout", "start_timeout", "idle_timeout"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                scope.child(name).wrong("the time-out must be longer than nothing", example=f"{name}: 30s")
        if self.every is not None and self.restart.when != "never":
            scope.child("every").wrong(
                "a command that is run every so often is started again anyway; leave 'restart' out",
                example="runners:\n  disks: {command: [df, -P], every: 1m}",
            )

    def argv(self) -> list[str]:
        """Give the argument vector to execute."""
        return ["/bin/sh", "-c", self.command] if isinstance(self.command, str) else list(self.command)
