"""The parts a running project is put together from: the hub behind a runner or pipeline, the merge before a pipeline,
and the branches at its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from loguru import logger

from rx_collector.backpressure.consumer import Consumer
from rx_collector.errors import BackpressureError, OutputError
from rx_collector.event import Event
from rx_collector.ledger import Node
from rx_collector.operators.delivery import Delivery
from rx_collector.operators.placed import PlacedOperator, steps_of
from rx_collector.operators.python import Python
from rx_collector.pipeline.spec import Branch
from rx_collector.stream.eventstream import EventStream
from rx_collector.stream.flow import Batch, BatchObserver, Connection, Context, Source

__all__ = ["BranchEnd", "DeadLetter", "Hub", "Limit", "Merge", "OpenBranch", "with_operators"]


def with_operators(stream: EventStream, operators: Sequence[PlacedOperator]) -> EventStream:
    """Give a stream with the operators of a pipeline behind it, named as in the ledger."""
    for step in steps_of(operators):
        if isinstance(step.operator, Python):
            stream = step.operator(stream)
        else:
            stream = stream.then(step.operator, step.label, step.place)
    return stream


class Hub:
    """Gives what one source sends to all who read it. An error ends the source for them like a completion."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.observers: list[BatchObserver] = []
        self.ended = False
        self.error: Exception | None = None

    def on_batch(self, batch: Batch) -> None:
        for observer in self.observers:
            observer.on_batch(batch)

    def on_error(self, error: Exception) -> None:
        self.error = error
        self.on_completed()

    def on_completed(self) -> None:
        self.ended = True
        for observer in self.observers:
            observer.on_completed()


class Merge(Source):
    """Several hubs as one source. Their threads take turns, a batch each; it completes when all of them have.

    One that fails does not end the others: the run reports it, and goes on with what it has.
    """

    emits_lines = True  # or events; a segment takes both

    def __init__(self, name: str, hubs: list[Hub]) -> None:
        self.name = name
        self._hubs = hubs

    def connect(self, observer: BatchObserver, context: Context) -> Connection:
        inlet = _Inlet(observer, context, len(self._hubs))
        for hub in self._hubs:
            hub.observers.append(inlet)
        return inlet


class _Inlet(Connection):
    def __init__(self, observer: BatchObserver, context: Context, sources: int) -> None:
        self._observer = observer
        self._context = context
        self._left = sources
        self._lock = threading.Lock()

    def on_batch(self, batch: Batch) -> None:
        with self._lock:
            with self._context.ledger.lock:
                self._context.pipeline.taken += len(batch)
            self._observer.on_batch(batch)

    def on_error(self, error: Exception) -> None:
        self.on_completed()

    def on_completed(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._observer.on_completed()

    def stop(self) -> None:
        """Nothing: the runners are stopped by the collector."""

    def dispose(self) -> None:
        """Nothing: the runners are stopped by the collector."""


class BranchEnd:
    """The end of a branch: it notes that, and why, the branch has ended."""

    def __init__(self, name: str, on_failure: Callable[[], None]) -> None:
        self.name = name
        self.error: Exception | None = None
        self.boundary_cancel: Callable[[str], None] = lambda reason: None
        self.on_end: Callable[[], None] = lambda: None
        self._on_failure = on_failure

    def on_batch(self, batch: Batch) -> None:
        """What was delivered is counted already."""

    def on_error(self, error: Exception) -> None:
        if self.error is None:
            self.error = error
            if isinstance(error, OutputError | BackpressureError):
                logger.error("{}: {}", self.name, error)
            self.boundary_cancel("sink failed")
            self._on_failure()
            self.on_end()

    def on_completed(self) -> None:
        """All is delivered, or the failure was told before."""
        if self.error is None:
            self.on_end()


class OpenBranch:
    """A branch with its sink open and its consumer running."""

    def __init__(
        self, branch: Branch, nodes: tuple[Node, Node], name: str, context: Context, on_failure: Callable[[], None]
    ) -> None:
        boundary_node, node = nodes
        self.end = BranchEnd(f"{context.pipeline.name}, {name}", on_failure)
        try:
            writer = branch.sink.open()
        except OutputError as error:
            raise OutputError(f"{context.pipeline.name}, {name}: {error}") from None
        self.delivery = Delivery(writer, self.end, context, node, branch.retry, branch.on_failure, branch.place)
        try:
            consumer = branch.backpressure.attach(self.delivery, context, boundary_node, name, branch.place)
        except OutputError as error:
            self.delivery.on_completed()
            raise OutputError(f"{context.pipeline.name}, {name}: {error}") from None
        assert isinstance(consumer, Consumer)
        self.consumer = consumer
        self.end.boundary_cancel = self.consumer.boundary.cancel

    def cancel(self, patience: float) -> None:
        """Drop what waits, or keep it, and make a write that hangs give up. A disk that hangs is waited for so long."""
        name = f"rx-{self.end.name.replace(', ', '-')}-cut-short"
        thread = threading.Thread(target=self.consumer.boundary.cancel, args=("cut short",), name=name, daemon=True)
        thread.start()
        thread.join(patience)
        self.delivery.cancel()

    def abandon(self) -> None:
        """Leave behind what could not be made to give up; what a sink has in hand is counted as failed."""
        if self.consumer.thread.is_alive():
            logger.error("{}: it does not return and is left behind", self.end.name)
            self.consumer.boundary.abandon("left behind")
            self.delivery.abandon()


class DeadLetter:
    """Takes the records of rejected events of one pipeline, from any of its threads, until all `users` have left it."""

    def __init__(self, branch: OpenBranch, node: Node, lock: threading.Lock, users: int = 1) -> None:
        self.branch = branch
        self._node = node
        self._lock = lock
        self._order = threading.Lock()
        self._users = users
        self._closed = False

    def reject(self, record: Event) -> None:
        """Take a record. Blocks when the dead-letter sink is slower."""
        with self._order:
            if not self._closed:
                self.branch.consumer.on_batch([record])
                return
        with self._lock:
            self._node.taken += 1
            self._node.dropped["pipeline ended"] += 1

    def leave(self) -> None:
        """One of those who may send records, the operators or a branch, has ended; with the last of them this does."""
        with self._order:
            self._users -= 1
            if self._users:
                return
            self._closed = True
            self.branch.consumer.on_completed()


class Limit:
    """Lets so many events through in all, over all pipelines of a run, and then asks for the end."""

    def __init__(self, most: int, reached: Callable[[], None]) -> None:
        self._left = most
        self._lock = threading.Lock()
        self._reached = reached

    def before(self, downstream: BatchObserver, context: Context) -> BatchObserver:
        """Give the observer to put before the end of a pipeline."""
        node = context.pipeline.node("max_events")
        return _Limited(self, downstream, node, context)

    def take(self, wanted: int) -> int:
        """Give how many of so many events may pass."""
        with self._lock:
            granted = min(wanted, self._left)
            self._left -= granted
            if self._left == 0 and granted:
                self._reached()
            return granted


class _Limited:
    def __init__(self, limit: Limit, downstream: BatchObserver, node: Node, context: Context) -> None:
        self._limit = limit
        self._downstream = downstream
        self._node = node
        self._context = context

    def on_batch(self, batch: Batch) -> None:
        assert isinstance(batch, list)
        granted = self._limit.take(len(batch))
        with self._context.ledger.lock:
            self._node.taken += len(batch)
            self._node.out += granted
            if granted < len(batch):
                self._node.dropped["limit reached"] += len(batch) - granted
        if granted:
            self._downstream.on_batch(batch[:granted] if granted < len(batch) else batch)

    def on_error(self, error: Exception) -> None:
        self._downstream.on_error(error)

    def on_completed(self) -> None:
        self._downstream.on_completed()
