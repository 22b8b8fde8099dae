"""What a sink is: a frozen description that opens a writer, and the writer that its consumer thread drives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeVar

from rx_collector.config.options import Spec, described
from rx_collector.config.registry import Registry
from rx_collector.event import Event

__all__ = ["SINKS", "Sink", "Writer", "sink"]


class Writer(ABC):
    """An open sink. All calls come from one thread, the consumer of its boundary, and may block.

    `write`, `flush` and `close` give how many events have arrived for good during the call. A writer that buffers gives
    fewer than it was handed and the rest later, in their order; events are counted as held until then. When a call
    raises OutputError, ``error.delivered`` counts those that arrived during it, and the writer has forgotten all others:
    they are handed to it again after `recover`, or given up, as the branch declares (`retry`, `on_failure`).
    """

    #: Seconds between calls of `flush` while there is something to flush; None when nothing is ever buffered.
    flush_interval: float | None = None

    @abstractmethod
    def write(self, events: list[Event]) -> int:
        """Take a batch. Raises OutputError."""

    def flush(self) -> int:
        """Send on what is buffered. Raises OutputError."""
        return 0

    def recover(self) -> None:
        """Make ready for another try after a call has raised. Raises OutputError while that cannot be done.

        What was written for good stays written. Also called after `close`, when it was that that raised.
        """

    def close(self) -> int:
        """Flush and release everything; also called after a failure, then there is nothing to flush."""
        return 0

    def cancel(self) -> None:
        """Make a call that blocks in another thread give up soon, and all later ones at once. Safe from any thread.

        A sink that cannot be interrupted is left behind at the end of a run, with what it has counted as failed.
        """


@described
class Sink(Spec, ABC):
    """The description of a sink. `open` makes the real thing; one description can be opened many times."""

    #: The name in YAML, ledgers and thread names.
    name: ClassVar[str] = ""
    #: One sentence for `list`.
    summary: ClassVar[str] = ""
    #: What is promised about each event handed to it.
    guarantee: ClassVar[str] = ""
    #: A whole example for `describe`, in YAML.
    example: ClassVar[str] = ""

    @abstractmethod
    def open(self) -> Writer:
        """Open it, before any runner starts. Raises OutputError with one line that names what cannot be written."""


SINKS: Registry[Sink] = Registry("sink")
S = TypeVar("S", bound=Sink)


def sink(name: str, *, summary: str, guarantee: str, example: str) -> Callable[[type[S]], type[S]]:
    """Register a sink under its name."""

    def register(component: type[S]) -> type[S]:
        component.name, component.summary, component.guarantee, component.example = name, summary, guarantee, example
        SINKS.add(name, component)
        return component

    return register
