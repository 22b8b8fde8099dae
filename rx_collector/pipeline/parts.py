"""The parts a running project is put together from: the hub behind a runner or pipeline, the merge before a pipeline,
and the branches at its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from rx_collector.backpressure.consumer import Consumer
from rx_collector.errors import BackpressureError, OutputError
from rx_collector.event import Event
from rx_collector.ledger import Node
from rx_collector.log import logger
from rx_collector.operators.delivery import Delivery
from rx_collector.operators.placed import PlacedOperator, steps_of
from rx_collector.operators.python import Python
from rx_collector.pipeline.spec import Branch
from rx_collector.stream.chain import Chain
from rx_collector.stream.flow import Batch, BatchObserver, Connection, Context, Source

__all__ = [
    "BranchEnd",
    "DeadLetter",
    "Hub",
    "Inlet",
    "Limit",
    "Link",
    "Merge",
    "OpenBranch",
    "Sender",
    "Tap",
    "with_operators",
]


def with_operators(stream: Chain, operators: Sequence[PlacedOperator]) -> Chain:
    """Give a stream with the operators of a pipeline behind it, named as in the ledger."""
    for step in steps_of(operators):
        if isinstance(step.operator, Python):
            stream = step.operator(stream)
        else:
            stream = stream.then(step.operator, step.label, step.place)
    return stream


class Hub:
    """Gives what one source sends to all who read it. An error ends the source for them like a completion.

    Who reads it may change between two batches, under `changing`. It has as many senders as were counted by `join`, one at
    the beginning; it ends with the last of them.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.observers: list[BatchObserver] = []
        self.ended = False
        self.error: Exception | None = None
        self.sent = 0  # events, to each who read it
        self._senders = 1
        self._counting = threading.Lock()
        # Reentrant, since an observer may end what it reads.
        self._passing = threading.RLock()
        # A thread that sends without a pause would take the lock again before another one could have it.
        self._free = threading.Event()
        self._free.set()

    def on_batch(self, batch: Batch) -> None:
        if not self._free.is_set():
            self._free.wait()
        with self._passing:
            self.sent += len(batch)
            for observer in self.observers:
                observer.on_batch(batch)

    def on_error(self, error: Exception) -> None:
        self.error = error
        self.on_completed()

    def on_completed(self) -> None:
        with self._passing:
            with self._counting:
                if self.ended:
                    return
                self._senders -= 1
                if self._senders:
                    return
                self.ended = True
            for observer in self.observers:
                observer.on_completed()

    def join(self) -> bool:
        """Count one more sender. False when it had ended: then it begins anew, and who read it has heard of the end."""
        with self._counting:
            had_ended, self.ended = self.ended, False
            self._senders += 1
        if not had_ended:
            return True
        with self._passing:
            return False  # the end was passed on to everybody

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keep batches away, from between two of them on. Blocks while one is being passed on."""
        self._free.clear()
        try:
            with self._passing:
                yield
        finally:
            self._free.set()


class Sender:
    """One of those who send to a hub: its end is the hub's only when it is the last."""

    def __init__(self, hub: Hub) -> None:
        self.on_batch = hub.on_batch
        self._hub = hub
        self._lock = threading.Lock()
        self._ended = False

    def on_error(self, error: Exception) -> None:
        self.on_completed()

    def on_completed(self) -> None:
        with self._lock:
            ended, self._ended = self._ended, True
        if not ended:
            self._hub.on_completed()


class Merge(Source):
    """Several hubs as one source. Their threads take turns, a batch each; it completes when all of them have.

    One that fails does not end the others: the run reports it, and goes on with what it has. `enter` takes the inlet where
    it is to be connected to the hubs later, or by somebody else.
    """

    emits_lines = True  # or events; a segment takes both

    def __init__(self, name: str, hubs: list[Hub], enter: Callable[[Inlet], None] | None = None) -> None:
        self.name = name
        self._hubs = hubs
        self._enter = enter

    def connect(self, observer: BatchObserver, context: Context) -> Connection:
        inlet = Inlet(observer, context, self._hubs)
        if self._enter is not None:
            self._enter(inlet)
            return inlet
        for link in inlet.links:
            link.hub.observers = [*link.hub.observers, link]
        return inlet


class Link:
    """One hub that an inlet reads."""

    def __init__(self, inlet: Inlet, hub: Hub) -> None:
        self.hub = hub
        self.inlet = inlet
        self.live = True  # the hub has not ended for it
        self.on_batch = inlet.on_batch

    def on_error(self, error: Exception) -> None:
        self.on_completed()

    def on_completed(self) -> None:
        self.inlet.end_of(self)


class Inlet(Connection):
    """The door of a pipeline: what its hubs send goes through here, a batch at a time, and is counted."""

    def __init__(self, observer: BatchObserver, context: Context, hubs: Sequence[Hub]) -> None:
        self.over = False
        self.links = [Link(self, hub) for hub in hubs]
        self._observer = observer
        self._context = context
        self._lock = threading.Lock()

    def on_batch(self, batch: Batch) -> None:
        with self._lock:
            with self._context.ledger.lock:
                self._context.pipeline.taken += len(batch)
            self._observer.on_batch(batch)

    def end_of(self, link: Link) -> None:
        """One of the hubs has ended."""
        with self._lock:
            link.live = False
            self._end_if(not any(other.live for other in self.links))

    def begin_again(self, link: Link) -> None:
        """A hub that had ended has not ended after all. Call it while the hub sends nothing."""
        with self._lock:
            link.live = True

    def finish(self) -> None:
        """End, whatever the hubs do: nothing comes from them any more. Blocks while what was held is sent on."""
        with self._lock:
            self._end_if(True)

    def close(self) -> None:
        """Let everybody wait who comes, until `open`, which the same thread calls."""
        self._lock.acquire()

    def open(self) -> None:
        """Let them in again."""
        self._lock.release()

    def _end_if(self, ended: bool) -> None:
        if ended and not self.over:
            self.over = True
            self._observer.on_completed()

    def stop(self) -> None:
        """Nothing: the runners are stopped by the collector."""

    def dispose(self) -> None:
        """Nothing: the runners are stopped by the collector."""


class Tap:
    """One hub that an operator reads beside its stream."""

    def __init__(self, source: str, observer: BatchObserver) -> None:
        self.source = source
        self.live = True  # the hub has not ended for it
        self._observer = observer
        self._lock = threading.Lock()

    def on_batch(self, batch: Batch) -> None:
        with self._lock:
            self._observer.on_batch(batch)

    def on_error(self, error: Exception) -> None:
        self.on_completed()

    def on_completed(self) -> None:
        with self._lock:
            if self.live:
                self.live = False
                self._observer.on_completed()

    def close(self) -> None:
        """Let everybody wait who comes, until `open`, which the same thread calls."""
        self._lock.acquire()

    def open(self) -> None:
        """Let them in again."""
        self._lock.release()


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
    """A branch with its sink open and its consumer running. It ends when all `join` have left it, one at the beginning."""

    def __init__(
        self, branch: Branch, nodes: tuple[Node, Node], name: str, context: Context, on_failure: Callable[[], None]
    ) -> None:
        self.branch = branch
        self.name = name
        self.pipeline = context.pipeline.name
        self.nodes = boundary_node, node = nodes
        self._users = 1
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._letter: DeadLetter | None = None
        self._ended = False
        context = replace(context, reject=self._reject)
        self.end = BranchEnd(f"{context.pipeline.name}, {name}", on_failure)
        self.end.on_end = self._leave_letter
        try:
            writer = branch.sink.open()
        except OutputError as error:
            raise OutputError(f"{context.pipeline.name}, {name}: {error}") from None
        if context.meter is not None:
            context.meter.watch(writer, (context.pipeline.name, node.name), "write", "flush", "close")
        self.delivery = Delivery(writer, self.end, context, node, branch.retry, branch.on_failure, branch.place)
        try:
            consumer = branch.backpressure.attach(self.delivery, context, boundary_node, name, branch.place)
        except OutputError as error:
            self.delivery.on_completed()
            raise OutputError(f"{context.pipeline.name}, {name}: {error}") from None
        assert isinstance(consumer, Consumer)
        self.consumer = consumer
        self.end.boundary_cancel = self.consumer.boundary.cancel

    def on_batch(self, batch: Batch) -> None:
        """Take a batch, of one thread at a time. Blocks as the strategy says."""
        with self._turn:
            self.consumer.on_batch(batch)

    def join(self) -> bool:
        """Count one more who sends to it. False when it has ended already."""
        with self._counting:
            if not self._users:
                return False
            self._users += 1
            return True

    @property
    def used(self) -> bool:
        """Whether anybody still sends to it."""
        return self._users > 0

    def leave(self) -> None:
        """One of those who send to it sends no more; with the last of them it completes."""
        with self._counting:
            self._users -= 1
            if self._users:
                return
        self.consumer.on_completed()

    def reject_to(self, letter: DeadLetter | None) -> None:
        """Send what is rejected from now on to this dead letter, and leave the one before."""
        with self._counting:
            if self._ended:
                return
            old, self._letter = self._letter, letter
            if letter is not None:
                letter.join()
        if old is not None:
            old.leave()

    def _reject(self, record: Event) -> None:
        while (letter := self._letter) is not None and not letter.take(record):
            if letter is self._letter:
                letter.refuse()
                return

    def _leave_letter(self) -> None:
        with self._counting:
            self._ended = True
            letter = self._letter
        if letter is not None:
            letter.leave()

    def cancel(self, patience: float) -> None:
        """Drop what waits, or keep it, and make a write that hangs give up. A disk that hangs is waited for so long."""
        name = f"rx-{self.end.name.replace(', ', '-')}-cut-short"
        drop = partial(self.consumer.boundary.cancel, "cut short", release=False)
        thread = threading.Thread(target=drop, name=name, daemon=True)
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
    """Takes the records of rejected events of one pipeline, from any of its threads, until all users have left it.

    One user is there at the beginning: the operators.
    """

    def __init__(self, branch: OpenBranch, node: Node, lock: threading.Lock) -> None:
        self.branch = branch
        self._node = node
        self._lock = lock
        self._order = threading.Lock()
        self._users = 1
        self._closed = False

    def take(self, record: Event) -> bool:
        """Take a record. Blocks when the dead-letter sink is slower. False when all have left it."""
        with self._order:
            if self._closed:
                return False
            self.branch.consumer.on_batch([record])
            return True

    @property
    def used(self) -> bool:
        """Whether anybody may still send records."""
        return not self._closed

    def refuse(self) -> None:
        """Count a record that came too late, and that nobody else takes."""
        with self._lock:
            self._node.taken += 1
            self._node.dropped["pipeline ended"] += 1

    def join(self) -> bool:
        """Count one more who may send records. False when all have left it already."""
        with self._order:
            if not self._closed:
                self._users += 1
            return not self._closed

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
