"""The errors a user of rx_collector can meet, each named for whose fault it is.

Everything raised on purpose is an `RxCollectorError`; anything else that escapes is a bug in rx_collector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Final

from rx_collector.frozen import frozen

__all__ = [
    "USED_AT",
    "BackpressureError",
    "ConfigError",
    "Mistake",
    "OutputError",
    "ParseError",
    "ProcessError",
    "RxCollectorError",
]


#: What stands in the message of a mistake in a template that only arises by a use, before where that is.
USED_AT: Final = " (used at "


class RxCollectorError(Exception):
    """The base of every error that rx_collector raises on purpose."""


@frozen
class Mistake:
    """One thing that is wrong in a description, and where.

    `where` is a dotted path (``pipelines.audit.operators[0].filter``). `file` is None for descriptions made in Python.
    `line` and `column` count from 1; 0 means unknown. `source` is that line of the file (None where it is unknown or holds
    a secret) and `example` the right form of what is meant there, as YAML; both are for eyes, and not in ``str()``.
    With `warning` it is nothing that is wrong, but something that is likely not meant.
    """

    message: str
    where: str = ""
    file: str | None = None
    line: int = 0
    column: int = 0
    source: str | None = field(default=None, repr=False, compare=False)
    example: str = field(default="", repr=False, compare=False)
    warning: bool = False

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.file is not None else ""
        where = f"{self.where}: " if self.where else ""
        return f"{place}{where}{'warning: ' if self.warning else ''}{self.message}"


class ConfigError(RxCollectorError):
    """A description (a YAML file, a call, an expression) is wrong. The author of the description can mend it.

    `mistakes` holds every mistake that was found, in the order of the file; ``str()`` gives one line for each. `files` are
    the absolute paths of the files that were read, or looked for, when a file was loaded.
    """

    def __init__(self, mistakes: str | Sequence[Mistake], files: Sequence[str] = ()) -> None:
        if isinstance(mistakes, str):
            mistakes = [Mistake(mistakes)]
        self.mistakes: tuple[Mistake, ...] = tuple(mistakes)
        self.files: tuple[str, ...] = tuple(files)
        super().__init__("\n".join(map(str, self.mistakes)))


class ProcessError(RxCollectorError):
    """A child process could not be started, or ended in failure.

    `runner` names the runner, `code` is the exit code (None when it did not exit by itself), `signal` the number of the
    signal that ended it, `stderr` the last lines it wrote there.
    """

    def __init__(
        self,
        message: str,
        *,
        runner: str = "",
        code: int | None = None,
        signal: int | None = None,
        stderr: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.runner = runner
        self.code = code
        self.signal = signal
        self.stderr: tuple[str, ...] = tuple(stderr)


class OutputError(RxCollectorError):
    """A sink could not take events: the disk is full, the path cannot be written, the receiving program is gone.

    `delivered` counts the events of the failed write that did arrive, whole and in order, before it failed. `of_event`
    says that the fault is with the event behind those, and that the sink would take the others.
    """

    def __init__(self, message: str, *, delivered: int = 0, of_event: bool = False) -> None:
        super().__init__(message)
        self.delivered = delivered
        self.of_event = of_event


class ParseError(RxCollectorError):
    """A line could not be turned into an event, and the pipeline asked to fail for it (``on_error: fail``)."""


class BackpressureError(RxCollectorError):
    """A boundary with strategy ``error`` was full."""
