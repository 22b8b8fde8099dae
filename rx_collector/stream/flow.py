"""What two neighbours in the flow say to each other: batches downstream, a connection upstream.

The rules are those of Rx: signals of one observer never overlap, and none follows `on_error` or `on_completed`. A batch
is never changed by who receives it, since several may.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from reactivex.abc import DisposableBase, SchedulerBase

from rx_collector.clock import Look
from rx_collector.event import Event, Lines
from rx_collector.ledger import Ledger, Node, PipelineLedger
from rx_collector.stream.meter import Meter
from rx_collector.stream.timers import TimerScheduler

__all__ = [
    "Absorber",
    "Acknowledgement",
    "Acknowledging",
    "Batch",
    "BatchObserver",
    "Connection",
    "Context",
    "Source",
    "Timers",
]

Batch = Lines | list[Event]


class BatchObserver(Protocol):
    """Receives batches. `on_batch` may block (backpressure) and must not raise."""

    def on_batch(self, batch: Batch) -> None: ...

    def on_error(self, error: Exception) -> None: ...

    def on_completed(self) -> None: ...


class Absorber(ABC):
    """An observer that can take events in the loop of the segment before it, so that they need not be made at all.

    Who runs the loop holds it between `begin_absorbing` and `end_absorbing`.
    """

    #: Its counts.
    node: Node

    @abstractmethod
    def absorbing_stage(self) -> Any:
        """Give the `Stage` that takes one event in, the last of its loop; None when that cannot be."""

    @abstractmethod
    def begin_absorbing(self) -> bool:
        """Make ready for a batch. False when it is over: then what passes the loop has to come by `on_batch`."""

    @abstractmethod
    def end_absorbing(self, came: int, rejected: int) -> None:
        """Take account of a batch: so many events came, of which so many could not be taken."""


class Acknowledgement(Protocol):
    """Who wants to know what became of the events that it gave out, in their order."""

    def acknowledge(self, count: int) -> None:
        """The next `count` events need not be given out again."""

    def keep(self, count: int) -> int:
        """The next `count` events, which are all that are left, did not arrive. Gives how many of them are kept."""


@runtime_checkable
class Acknowledging(Protocol):
    """An observer that says later than at the return of `on_batch` what became of the events: a sink that buffers."""

    def acknowledge_to(self, acknowledgement: Acknowledgement) -> None: ...


class Connection(DisposableBase):
    """What a source gives to who connected to it. Both ways of ending are idempotent and safe from any thread."""

    @abstractmethod
    def stop(self) -> None:
        """Ask the source to end: what it has printed is still delivered, then the stream completes. Does not block."""

    @abstractmethod
    def dispose(self) -> None:
        """End the connection: no signal follows (but for one that is being sent just now). Does not block."""

    def wait(self, timeout: float | None = None) -> bool:
        """Block until a thread or a child of it is gone, at most `timeout` seconds. False when it is still there."""
        return True


def _log_nothing(record: Event) -> None:
    """Take a rejected record where nobody asked for it; the ledger has counted it already."""


class Timers:
    """The one timer thread of a pipeline, ``rx-<pipeline>-timer``, started when an operator first asks for it.

    What a timer does may block (backpressure), so pipelines do not share theirs.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._scheduler: TimerScheduler | None = None
        self._closed = False

    def scheduler(self) -> SchedulerBase:
        """Give the scheduler that runs on this thread. After `close` it tells the time, and runs nothing any more."""
        with self._lock:
            if self._scheduler is None:
                self._scheduler = TimerScheduler(self._name)
                if self._closed:  # a timer that was just running asks for the next one
                    self._scheduler.dispose()
            return self._scheduler

    def close(self) -> None:
        """End the thread; what was scheduled does not happen."""
        with self._lock:
            self._closed = True
            if self._scheduler is not None:
                self._scheduler.dispose()


@dataclass(frozen=True)
class Context:
    """What everything in one subscription shares.

    `reject` takes the record of each rejected event (made by `rx_collector.event.rejected`), on the thread that found
    it. `scheduler` is the one that was asked for when subscribing (None: none); operators ask `clock` for theirs.
    """

    ledger: Ledger
    pipeline: PipelineLedger
    run: str
    scheduler: SchedulerBase | None = None
    reject: Callable[[Event], None] = _log_nothing
    connections: list[Connection] = field(default_factory=list)
    timers: Timers = field(default_factory=lambda: Timers("stream"))
    #: Where an operator can send events beside its stream, by name: ``audit.errors``.
    outlets: Mapping[str, BatchObserver] = field(default_factory=dict)
    #: Lets an observer read what else there is of that name, from the start on; None where there is nothing else.
    read: Callable[[str, BatchObserver], None] | None = None
    #: Gives how the clocks stand to each other, in the place of this machine's; None: this machine's.
    look: Callable[[], Look] | None = None
    #: Takes the time of everything; None: nobody asks for it.
    meter: Meter | None = None
    #: How many processes share the first stages of what reads lines; 1: it is all done in this one.
    workers: int = 1

    def for_pipeline(self, name: str, reject: Callable[[Event], None]) -> Context:
        """Give the context of a pipeline of the same run."""
        return replace(self, pipeline=self.ledger.pipeline(name), reject=reject, timers=Timers(name))

    def clock(self) -> SchedulerBase:
        """Give the scheduler for an operator that waits: the one asked for, else this pipeline's timer thread."""
        return self.scheduler if self.scheduler is not None else self.timers.scheduler()

    def close(self) -> None:
        """Release what the context holds, after the last signal."""
        self.timers.close()


class Source(ABC):
    """Where batches begin. It is cold: each `connect` starts anew."""

    #: The name in ledgers, ids and thread names.
    name: str
    #: True when batches are `Lines`, False when they are lists of events.
    emits_lines: bool = False

    @abstractmethod
    def connect(self, observer: BatchObserver, context: Context) -> Connection:
        """Start, and send what is observed to `observer` from a thread of the source's own. Does not block.

        What goes wrong at the start goes to ``observer.on_error``; nothing is raised. The connection is also put into
        ``context.connections``, before anything starts.
        """
