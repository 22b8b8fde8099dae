"""buffer: gather events into lists."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from reactivex.abc import DisposableBase, SchedulerBase

from rx_collector.config.options import COUNT, DURATION, Scope, option
from rx_collector.event import Event
from rx_collector.ledger import Node
from rx_collector.stream.flow import Batch, BatchObserver, Connection, Context
from rx_collector.stream.operator import BatchOperator, operator

__all__ = ["Buffer"]


@operator("buffer", summary="Gather events into lists.", example="buffer: {count: 500, time: 1s}")
@dataclass(frozen=True)
class Buffer(BatchOperator):
    """Gather events into lists: of `count` events, or what came within `time` of the first, whichever is first.

    Gives one event a list, whose payload is the list of events; a file, console or exec sink writes them one by one
    again. There are no empty lists. What is gathered when the stream ends is sent; when it fails, it is sent before
    the error. The clock is that of the scheduler of the subscription.
    """

    shorthand: ClassVar[str | None] = "count"

    count: int | None = option(COUNT, "The most events in a list.", None)
    time: float | None = option(DURATION, "The longest wait after the first event of a list, in seconds.", None)

    def check(self, scope: Scope) -> None:
        if self.count is None and self.time is None:
            scope.wrong("say 'count' or 'time' or both, for example {count: 500, time: 1s}")
        if self.count == 0:
            scope.child("count").wrong("a list holds at least one event")
        if self.time == 0:
            scope.child("time").wrong("the wait must be longer than nothing")

    def attach(self, downstream: BatchObserver, context: Context, node: Node) -> BatchObserver:
        return _Gatherer(self, downstream, context, node)


class _Gatherer(Connection):
    """Gathers on the thread that brings the batches; the timer's thread only sends what is overdue."""

    def __init__(self, spec: Buffer, downstream: BatchObserver, context: Context, node: Node) -> None:
        self._count = spec.count or 1 << 62
        self._time = timedelta(seconds=spec.time) if spec.time is not None else None
        self._downstream = downstream
        self._context = context
        self._node = node
        self._lock = threading.RLock()
        self._held: list[Event] = []
        self._since: datetime | None = None
        self._timer: DisposableBase | None = None
        self._ended = False
        self._disposed = False
        node.held = lambda: len(self._held)

    def on_batch(self, batch: Batch) -> None:
        assert isinstance(batch, list)
        with self._lock:
            position = 0
            lists: list[Event] = []
            while position < len(batch):
                room = self._count - len(self._held)
                part = batch[position : position + room]
                position += len(part)
                with self._context.ledger.lock:
                    self._node.taken += len(part)
                    if self._disposed:
                        self._node.dropped["disposed"] += len(part)
                        continue
                    self._held.extend(part)
                if len(self._held) >= self._count:
                    lists += self._take()
            if lists:
                self._downstream.on_batch(lists)
            if self._held and self._time is not None and self._since is None:
                clock = self._context.clock()
                self._since = clock.now
                if self._timer is None:
                    self._schedule(clock, self._time)

    def _take(self) -> list[Event]:
        """Give the list that is gathered, none where there is nothing in it."""
        self._since = None
        with self._context.ledger.lock:
            held, self._held = self._held, []
            if not held:
                return []
            self._node.merged += len(held)
            self._node.made += 1
            self._node.out += 1
        return [held[0].replace(held, f"{held[0].part}+{len(held) - 1}")]

    def _send(self) -> None:
        if made := self._take():
            self._downstream.on_batch(made)

    def _schedule(self, clock: SchedulerBase, wait: timedelta) -> None:
        self._timer = clock.schedule_relative(wait, _action(self._on_time))

    def _on_time(self, clock: SchedulerBase) -> None:
        with self._lock:
            self._timer = None
            if self._ended or self._since is None or self._time is None:
                return
            rest = self._since + self._time - clock.now
            if rest > timedelta(0):  # the list it was set for is gone, this is a younger one
                self._schedule(clock, rest)
            else:
                self._send()

    def _end(self) -> None:
        self._ended = True
        if self._timer is not None:
            self._timer.dispose()
            self._timer = None
        self._send()

    def stop(self) -> None:
        """Nothing: it ends when what comes before it does."""

    def dispose(self) -> None:
        """Drop what is held, counted, and everything that still comes."""
        # Without the lock, which may be held by a thread that waits further down: the ledger's own is enough here.
        self._disposed = True
        with self._context.ledger.lock:
            self._node.dropped["disposed"] += len(self._held)
            self._held = []
        timer = self._timer
        if timer is not None:
            timer.dispose()

    def on_error(self, error: Exception) -> None:
        with self._lock:
            self._end()
            self._downstream.on_error(error)

    def on_completed(self) -> None:
        with self._lock:
            self._end()
            self._downstream.on_completed()


def _action(function: Callable[[SchedulerBase], None]) -> Callable[[SchedulerBase, Any], None]:
    def action(scheduler: SchedulerBase, state: Any = None) -> None:
        function(scheduler)

    return action
