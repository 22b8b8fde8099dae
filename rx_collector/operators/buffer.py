"""buffer: gather events into lists."""

from __future__ import annotations

from typing import ClassVar

from rx_collector.config.options import COUNT, DURATION, Scope, described, option
from rx_collector.event import Event
from rx_collector.ledger import Node
from rx_collector.operators._holding import Holding
from rx_collector.operators._timer import Timer
from rx_collector.stream.flow import Batch, BatchObserver, Context
from rx_collector.stream.operator import BatchOperator, operator

__all__ = ["Buffer"]


@operator("buffer", summary="Gather events into lists.", example="buffer: {count: 500, time: 1s}")
@described
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


class _Gatherer(Holding):
    """Gathers on the thread that brings the batches; the timer's thread only sends what is overdue."""

    def __init__(self, spec: Buffer, downstream: BatchObserver, context: Context, node: Node) -> None:
        super().__init__(downstream, context, node)
        self._count = spec.count or 1 << 62
        self._time = round(spec.time * 1e9) if spec.time is not None else None
        self._timer = Timer(context, self._lock, self._on_time)
        self._gathered: list[Event] = []
        self._since: int | None = None  # when the first of them came

    def on_batch(self, batch: Batch) -> None:
        assert isinstance(batch, list)
        with self._lock:
            position = 0
            lists: list[Event] = []
            while position < len(batch):
                room = self._count - len(self._gathered)
                part = batch[position : position + room]
                position += len(part)
                with self._context.ledger.lock:
                    self._node.taken += len(part)
                    if self._disposed:
                        self._node.dropped["disposed"] += len(part)
                        continue
                    self._gathered.extend(part)
                    self._held = len(self._gathered)
                if len(self._gathered) >= self._count:
                    lists += self._take()
            if lists:
                self._downstream.on_batch(lists)
            if self._held and self._time is not None and self._since is None:
                self._since = self._timer.now()
                self._timer.at(self._since + self._time)

    def _take(self) -> list[Event]:
        """Give the list that is gathered, none where there is nothing in it."""
        self._since = None
        with self._context.ledger.lock:
            gathered, self._gathered = self._gathered, []
            if not gathered or self._disposed:
                return []
            self._held = 0
            self._node.merged += len(gathered)
            self._node.made += 1
            self._node.out += 1
        return [gathered[0].replace(gathered, f"{gathered[0].part}+{len(gathered) - 1}")]

    def _send(self) -> None:
        if made := self._take():
            self._downstream.on_batch(made)

    def _on_time(self) -> None:
        if self._since is None or self._time is None:
            return
        due = self._since + self._time
        if due > self._timer.now():  # the list it was set for is gone, this is a younger one
            self._timer.at(due)
        else:
            self._send()

    def _end(self) -> None:
        self._timer.close()
        self._send()

    def dispose(self) -> None:
        super().dispose()
        self._timer.close()
