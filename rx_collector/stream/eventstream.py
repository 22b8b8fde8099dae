"""EventStream, the Observable that our operators return.

It keeps its source and the row of operators behind it, and does nothing before it is subscribed. Then neighbouring
stages are compiled into segments, and batches travel through them. To any other Rx operator or observer it is a plain
Observable of single events; any other Observable becomes an EventStream again when one of our operators follows it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import reactivex
from loguru import logger
from reactivex import abc
from reactivex.disposable import Disposable

from rx_collector.event import Event, Origin
from rx_collector.ledger import Ledger, Node
from rx_collector.stream.chain import attach
from rx_collector.stream.flow import Batch, BatchObserver, Connection, Context, Source, Timers
from rx_collector.stream.operator import Operator, Stage
from rx_collector.stream.segment import SegmentObserver, Step

__all__ = ["EventStream", "ForeignSource", "new_context", "new_run"]

_context: ContextVar[Context | None] = ContextVar("rx_collector_context", default=None)
_foreign: ContextVar[ForeignNode | None] = ContextVar("rx_collector_foreign", default=None)


def new_run() -> str:
    """Give the name of a new run: when it began, to the microsecond, in UTC (``20261124T105009.123456Z``)."""
    now = time.time_ns()
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(now // 10**9)) + f".{now // 1000 % 10**6:06d}Z"


def new_context(name: str = "stream", scheduler: abc.SchedulerBase | None = None) -> Context:
    """Give the context of a subscription that belongs to no other."""
    ledger = Ledger(name)
    return Context(ledger, ledger.pipeline(name), new_run(), scheduler, timers=Timers(name))


class EventStream(reactivex.Observable[Event]):
    """A cold Observable of events: a source and the operators behind it. Immutable; each subscription starts anew.

    `on_next` comes from the thread of the source, or of the last ``backpressure`` before; `subscribe` does not block,
    `dispose` neither. Errors arrive through `on_error`.
    """

    def __init__(self, source: Source, steps: Sequence[Step] = ()) -> None:
        super().__init__()
        self.source = source
        self.steps = tuple(steps)

    @classmethod
    def of(cls, observable: abc.ObservableBase[Any]) -> EventStream:
        """Give the observable itself when it is an EventStream, else one that receives its items one by one.

        An item that is no `Event` becomes the payload of one, with the source ``rx``.
        """
        if isinstance(observable, EventStream):
            return observable
        return EventStream(ForeignSource(observable))

    def then(self, operator: Operator, label: str | None = None, place: str = "") -> EventStream:
        """Give the stream with one more operator behind it."""
        label = label or f"operators[{len(self.steps)}] {operator.name}"
        return EventStream(self.source, (*self.steps, Step(operator, label, place)))

    def connect(self, observer: BatchObserver, context: Context) -> Connection:
        """Start it with an observer of batches (lists of `Event`). What goes wrong goes to ``observer.on_error``."""
        nodes = [Node(step.label) for step in self.steps]
        for node, step in zip(nodes, self.steps, strict=True):
            node.place = step.place
        with context.ledger.lock:
            context.pipeline.operators[0:0] = nodes
        if nodes:
            nodes[0].first = True
        parts: list[Connection] = []
        workers = context.workers if self.source.emits_lines else 1
        head = attach(self.steps, nodes, observer, context, parts, workers=workers)
        if head is None:
            return _Chain(parts)
        if self.source.emits_lines and not (self.steps and isinstance(self.steps[0].operator, Stage)):
            head = SegmentObserver((), (), head, context)
        return _Chain([self.source.connect(head, context), *parts])

    def _subscribe_core(
        self, observer: abc.ObserverBase[Event], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        outer = _context.get()
        context = outer if outer is not None else new_context(scheduler=scheduler)
        node = _foreign.get()
        if node is None:
            node = ForeignNode("subscriber")
            with context.ledger.lock:
                context.pipeline.operators.append(node)
        single = _SingleEvents(observer, node, context, owns_context=outer is None)
        with _inside(None, None):
            single.connection = self.connect(single, context)
        if single.disposed:  # by an observer that was called before there was a connection to end
            single.connection.dispose()
        return Disposable(single.dispose)


class _Chain(Connection):
    """The source of a stream, if it was started, and those of its operators that have something to let go."""

    def __init__(self, parts: Sequence[Connection]) -> None:
        self._parts = parts

    def stop(self) -> None:
        """Stop the source, and what else an operator reads; the others end when what comes before them does."""
        for part in self._parts:
            part.stop()

    def dispose(self) -> None:
        """End them in the order of the flow."""
        for part in self._parts:
            part.dispose()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the threads and processes of all of them, for each at most `timeout` seconds."""
        over = [part.wait(timeout) for part in self._parts]
        return all(over)


class ForeignNode(Node):
    """The count of what operators that are not ours took and gave; what is between is theirs, so it is inferred."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.first = self.foreign = True
        self._ended = False
        self.held = self._held

    def _held(self) -> int:
        return 0 if self._ended else max(0, self.taken - self.out - self.dropped.total())

    def end(self) -> None:
        """No more comes out."""
        self._ended = True
        self.settle()

    def settle(self) -> None:
        """Infer: what came out beyond what went in was made; at the end, what did not come out was filtered."""
        rest = self.taken - self.out - self.dropped.total()
        self.made = max(0, -rest)
        self.filtered = max(0, rest) if self._ended else 0


class _SingleEvents:
    """Hands the events of batches to an Rx observer one by one, and stops in the middle of a batch when disposed."""

    def __init__(
        self, observer: abc.ObserverBase[Event], node: ForeignNode, context: Context, owns_context: bool
    ) -> None:
        self._observer = observer
        self._node = node
        self._context = context
        self._owns_context = owns_context
        self.disposed = False
        self._direct = node.name == "subscriber"
        self.connection: Connection | None = None

    def on_batch(self, batch: Batch) -> None:
        on_next, node = self._observer.on_next, self._node
        sent = 0
        with self._context.ledger.lock:
            node.taken += len(batch)
        try:
            for event in batch.events() if not isinstance(batch, list) else batch:
                if self.disposed:
                    break
                sent += 1
                on_next(event)
        except Exception as error:
            # Rx has no signal for an observer that throws; letting it travel would kill the source's thread.
            logger.opt(exception=error).error(
                "an observer of {} failed; it is unsubscribed", self._context.pipeline.name
            )
            self.dispose()
        finally:
            with self._context.ledger.lock:
                if self._direct:
                    node.out += sent
                if sent < len(batch):
                    node.dropped["disposed"] += len(batch) - sent
                node.settle()

    def on_error(self, error: Exception) -> None:
        self._end()
        if not self.disposed:
            self._observer.on_error(error)

    def on_completed(self) -> None:
        self._end()
        if not self.disposed:
            self._observer.on_completed()

    def dispose(self) -> None:
        self.disposed = True
        if self.connection is not None:
            self.connection.dispose()
        self._end()

    def _end(self) -> None:
        if self._direct:
            with self._context.ledger.lock:
                self._node.end()
        if self._owns_context:
            self._context.close()


class ForeignSource(Source):
    """Any Observable as the source of an EventStream. Its items come as batches of one, on its own threads."""

    name = "rx"

    def __init__(self, observable: abc.ObservableBase[Any]) -> None:
        self.observable = observable

    def connect(self, observer: BatchObserver, context: Context) -> Connection:
        node = ForeignNode("reactivex")
        with context.ledger.lock:
            context.pipeline.operators.insert(0, node)
        receiver = _Receiver(observer, node, context)
        context.connections.append(receiver)
        try:
            with _inside(context, node):
                receiver.subscription = self.observable.subscribe(
                    receiver.on_next, receiver.on_error, receiver.on_completed, scheduler=context.scheduler
                )
        except Exception as error:
            receiver.on_error(error)
        if receiver.ended:
            receiver.subscription.dispose()
        return receiver


class _Receiver(Connection):
    def __init__(self, observer: BatchObserver, node: ForeignNode, context: Context) -> None:
        self._observer = observer
        self._node = node
        self._context = context
        self._lock = threading.RLock()
        self._origin = Origin(context.run, "rx", 1, None, time.time_ns(), "item")
        self._number = 0
        self.ended = False
        self.subscription: abc.DisposableBase = Disposable()

    def on_next(self, item: Any) -> None:
        with self._lock:
            if self.ended:
                return
            self._number += 1
            event = item if isinstance(item, Event) else Event(item, None, self._origin, self._number)
            with self._context.ledger.lock:
                self._node.out += 1
                self._node.settle()
            self._observer.on_batch([event])

    def on_error(self, error: Exception) -> None:
        if self._finish():
            self._observer.on_error(error)

    def on_completed(self) -> None:
        if self._finish():
            self._observer.on_completed()

    def _finish(self) -> bool:
        with self._lock:
            if self.ended:
                return False
            self.ended = True
        with self._context.ledger.lock:
            self._node.end()
        return True

    def stop(self) -> None:
        """Stop: an Rx source knows no other way to end than to be disposed, so the stream completes here."""
        self.subscription.dispose()
        self.on_completed()

    def dispose(self) -> None:
        self.ended = True
        self.subscription.dispose()
        with self._context.ledger.lock:
            self._node.end()


@contextmanager
def _inside(context: Context | None, node: ForeignNode | None) -> Iterator[None]:
    """Let subscriptions that other operators make upstream, on this thread, join this context."""
    context_token, node_token = _context.set(context), _foreign.set(node)
    try:
        yield
    finally:
        _context.reset(context_token)
        _foreign.reset(node_token)
