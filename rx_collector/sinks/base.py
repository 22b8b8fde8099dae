"""What a sink is: a frozen description that opens a writer, and the writer that its consumer thread drives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from rx_collector.config.options import Spec
from rx_collector.config.registry import Registry
from rx_collector.event import Event

__all__ = ["SINKS", "Sink", "Writer", "sink"]


class Writer(ABC):
    """An open sink. All calls come from one thread, the consumer of its boundary, and may block.

    `write`, `flush` and `close` give how many events have arrived for good during the call. A writer that buffers gives
    fewer than it was handed and the rest later; events are counted as held until then. When a call raises OutputError,
    ``error.delivered`` counts those that arrived during it, and all others the writer has are lost and counted failed.
    """

    #: Seconds between calls of `flush` while there is something to flush; None when nothing is ever buffered.
    flush_interval: float | None = None

    @abstractmethod
    def write(self, events: list[Event]) -> int:
        """Take a batch. Raises OutputError."""

    def flush(self) -> int:
        """Send on what is buffered. Raises OutputError."""
        return 0

    def close(self) -> int:
        """Flush and release everything; also called after a failure, then without a promise to flush."""
        return 0

    def cancel(self) -> None:
        """Make a `write` that blocks in another thread give up soon. Safe from any thread; nothing unless overridden."""


@dataclass(frozen=True)
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
