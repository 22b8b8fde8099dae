"""sort: put events into the order of their times."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from typing import ClassVar

from rx_collector.config.options import COUNT, DURATION, Choice, Scope, described, option
from rx_collector.event import Event
from rx_collector.ledger import Node
from rx_collector.operators._holding import Holding
from rx_collector.operators._timer import Timer
from rx_collector.stream.flow import Batch, BatchObserver, Context
from rx_collector.stream.operator import BatchOperator, operator

__all__ = ["Sort"]


@operator("sort", summary="Put events into the order of their times.", example="sort: {lateness: 2s, size: 10_000}")
@described
class Sort(BatchOperator):
    """Put events into the order of their own times, those of the same time into the order in which they came.

    An event is sent when one came that is later by `lateness`, when it has waited so long, or at the end. What comes even
    later passes out of order, noted as ``late`` in the ledger, or is dropped and counted with ``late: drop``. Of more than
    `size` events that wait, the earliest is sent at once, noted as ``early``.

    Sends on the thread that brings the events, or that of the scheduler of the subscription, whose clock it goes by.
    Disposing drops what waits, counted.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> lines = rx.runner("printf", '{"t": 2}\\n{"t": 1}\\n').pipe(op.parse("json", time="t"), op.sort("5s")).to_list().run()
    >>> [event["t"] for event in lines]
    [1, 2]
    """

    shorthand: ClassVar[str | None] = "lateness"

    lateness: float = option(DURATION, "How late an event may come.", example="2s")
    size: int = option(COUNT, "How many events may wait.", 10_000)
    late: str = option(Choice("pass", "drop"), "What becomes of an event that comes too late.", "pass")

    def check(self, scope: Scope) -> None:
        for name in ("lateness", "size"):
            if getattr(self, name) == 0:
                scope.child(name).wrong("it must be more than nothing")

    def attach(self, downstream: BatchObserver, context: Context, node: Node) -> BatchObserver:
        return _Sorter(self, downstream, context, node)


class _Sorter(Holding):
    def __init__(self, spec: Sort, downstream: BatchObserver, context: Context, node: Node) -> None:
        super().__init__(downstream, context, node)
        self._lateness = round(spec.lateness * 1e9)
        self._size = spec.size
        self._drops = spec.late == "drop"
        self._timer = Timer(context, self._lock, self._on_time)
        self._waiting: list[tuple[int, int, Event]] = []  # a heap: time, number, event
        self._arrived: deque[tuple[int, int]] = deque()  # when it came, and the time up to which all is sent then
        self._numbers = itertools.count()
        self._latest = self._sent_to = -(1 << 63)

    def on_batch(self, batch: Batch) -> None:
        assert isinstance(batch, list)
        with self._lock:
            waiting, dropped, late, early = self._waiting, 0, 0, 0
            out: list[Event] = []
            for event in batch if not self._disposed else ():
                moment = event.time_ns
                if moment < self._sent_to:
                    if self._drops:
                        dropped += 1
                    else:
                        late += 1
                        out.append(event)
                    continue
                heapq.heappush(waiting, (moment, next(self._numbers), event))
                if moment > self._latest:
                    self._latest = moment
                    out += self._up_to(moment - self._lateness)
                if len(waiting) > self._size:
                    early += 1
                    out += self._up_to(waiting[0][0], most=1)
            self._account(len(batch), out, dropped=dropped, late=late, early=early)
            if waiting and not self._disposed:
                self._note_arrival()
            self._send(out)

    def _note_arrival(self) -> None:
        """Note up to when everything is sent, and when. Of moments that are the same the first one is enough, and one up to
        which all has been sent says nothing any more: so there are no more of them than events that wait.
        """
        arrived = self._arrived
        while arrived and arrived[0][1] < self._sent_to:
            arrived.popleft()
        if not arrived or arrived[-1][1] < self._latest:
            arrived.append((self._timer.now() + self._lateness, self._latest))
        self._timer.at(arrived[0][0])

    def _up_to(self, moment: int, most: int = 1 << 62) -> list[Event]:
        """Take out what is no later than this."""
        out: list[Event] = []
        while self._waiting and self._waiting[0][0] <= moment and len(out) < most:
            self._sent_to, _, event = heapq.heappop(self._waiting)
            out.append(event)
        return out

    def _account(self, came: int, out: list[Event], *, dropped: int = 0, late: int = 0, early: int = 0) -> None:
        with self._context.ledger.lock:
            node = self._node
            node.taken += came
            if self._disposed:
                node.dropped["disposed"] += came
                out.clear()
                return
            node.out += len(out)
            if dropped:
                node.dropped["late"] += dropped
            for name, count in (("late", late), ("early", early)):
                if count:
                    node.notes[name] += count
            self._held = len(self._waiting)

    def _send(self, out: list[Event]) -> None:
        if out:
            self._downstream.on_batch(out)

    def _on_time(self) -> None:
        now, moment = self._timer.now(), -(1 << 63)
        while self._arrived and self._arrived[0][0] <= now:
            moment = max(moment, self._arrived.popleft()[1])
        out = self._up_to(moment)
        self._account(0, out)
        if not self._waiting:
            self._arrived.clear()
        if self._arrived:
            self._timer.at(self._arrived[0][0])
        self._send(out)

    def _end(self) -> None:
        self._timer.close()
        out = self._up_to(1 << 63)
        self._account(0, out)
        self._send(out)

    def dispose(self) -> None:
        super().dispose()
        self._timer.close()
