"""merge: let the events of other streams in."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rx_collector.config.options import INVALID, ListOf, Scope, described, option
from rx_collector.errors import OutputError
from rx_collector.event import Event
from rx_collector.ledger import Node
from rx_collector.operators.join import OTHER_STREAM
from rx_collector.stream.flow import Batch, BatchObserver, Connection, Context
from rx_collector.stream.operator import BatchOperator, operator

if TYPE_CHECKING:
    from reactivex.abc import DisposableBase

    from rx_collector.stream.eventstream import EventStream

__all__ = ["Merge"]


class _OthersKind(ListOf):
    """Streams of which none is named twice."""

    def convert(self, value: Any, scope: Scope) -> Any:
        others = super().convert(value, scope)
        twice = (
            [index for index, other in enumerate(others) if other in others[:index]] if others is not INVALID else []
        )
        for index in twice:
            scope.child(index).wrong(f"{others[index]!r} is named twice", example="merge: [started, disks]")
        return INVALID if twice else others


@operator(
    "merge",
    summary="Let the events of other pipelines in.",
    example="merge: [started, disks]",
)
@described
class Merge(BatchOperator):
    """Let the events of other streams in, here, between two operators.

    The others are pipelines, runners or branches of the same file, or in Python Observables. A pipeline that begins with
    several streams names them in ``from``; this is for those that join later, when the first have been parsed, say.

    Each keeps its order; which event of two streams is first is decided by when they arrive. The streams take turns, a
    batch each, and one that waits (backpressure) makes all wait. It completes when all have. In a file the failure of one
    ends that one alone; in Python the first error ends the stream. The ledger counts events of the others as made, and
    says from where (``joined``).

    >>> import reactivex
    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> stream = rx.runner("seq", "2").pipe(op.merge(reactivex.of({"message": "3"})))
    >>> sorted(event["message"] for event in stream.to_list().run())
    ['1', '2', '3']

    Sends on the threads of the streams, one at a time; each blocks as long as what follows does.
    """

    in_groups: ClassVar[bool] = False
    shorthand: ClassVar[str | None] = "others"
    shorthand_only: ClassVar[bool] = True

    others: Sequence[Any] = option(
        _OthersKind(OTHER_STREAM, single=True, least=1), "What is let in.", example="[started, disks]"
    )

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(other for other in self.others if isinstance(other, str))

    def attach(self, downstream: BatchObserver, context: Context, node: Node) -> BatchObserver:
        merger = _Merger(len(self.others), downstream, context, node)
        for other in self.others:
            merger.add(other)
        return merger


class _Merger(Connection):
    def __init__(self, others: int, downstream: BatchObserver, context: Context, node: Node) -> None:
        self._downstream = downstream
        self._context = context
        self._node = node
        self._lock = threading.RLock()
        self._left = 1 + others
        self._ended = False
        self._disposed = False
        self._guests: list[_Items] = []

    def add(self, other: Any) -> None:
        """Begin to read another stream."""
        if not isinstance(other, str):
            from rx_collector.stream.eventstream import EventStream

            guest = _Items(self)
            self._guests.append(guest)
            guest.subscribe_to(EventStream.of(other), self._context)
        elif self._context.read is not None:
            self._context.read(other, _Guest(self, other))
        else:
            raise OutputError(f"{self._node.name}: there is no pipeline {other!r} here")

    def on_batch(self, batch: Batch) -> None:
        assert isinstance(batch, list)
        self._send(batch)

    def let_in(self, events: list[Event], source: str | None) -> None:
        """Send events of another stream on, which is named where the ledger knows it. They are made here."""
        self._send(events, made=True, source=source)

    def _send(self, events: list[Event], *, made: bool = False, source: str | None = None) -> None:
        with self._lock:
            over = self._disposed or self._ended
            with self._context.ledger.lock:
                node = self._node
                if made:
                    node.made += len(events)
                else:
                    node.taken += len(events)
                if source is not None:
                    node.joined[source] += len(events)
                if over:
                    node.dropped["disposed" if self._disposed else "stream failed"] += len(events)
                else:
                    node.out += len(events)
            if not over:
                self._downstream.on_batch(events)

    def on_error(self, error: Exception) -> None:
        with self._lock:
            if not self._ended:
                self._ended = True
                self._leave()
                if not self._disposed:
                    self._downstream.on_error(error)

    def on_completed(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0 and not self._ended:
                self._ended = True
                if not self._disposed:
                    self._downstream.on_completed()

    def stop(self) -> None:
        """End the Observables; the others end when what comes before them does."""
        for guest in self._guests:
            guest.stop()

    def _leave(self) -> None:
        for guest in self._guests:
            guest.dispose()

    def dispose(self) -> None:
        """Drop what still comes, counted, and tell of no end."""
        self._disposed = True
        self._leave()


class _Guest:
    """Takes the batches of one other stream. Its error ends it, and no other."""

    def __init__(self, merger: _Merger, source: str | None = None) -> None:
        self._merger = merger
        self._source = source

    def on_batch(self, batch: Batch) -> None:
        self._merger.let_in(batch if isinstance(batch, list) else batch.events(), self._source)

    def on_error(self, error: Exception) -> None:
        self._merger.on_completed()

    def on_completed(self) -> None:
        self._merger.on_completed()


class _Items(_Guest):
    """Takes the events of an Observable."""

    def __init__(self, merger: _Merger) -> None:
        super().__init__(merger)
        self._subscription: DisposableBase | None = None
        self._disposed = False

    def subscribe_to(self, stream: EventStream, context: Context) -> None:
        """Begin. Blocks as long as an Observable does that sends everything at once."""
        self._subscription = stream.subscribe(
            self.on_next, self._merger.on_error, self.on_completed, scheduler=context.scheduler
        )
        if self._disposed:
            self.dispose()

    def on_next(self, event: Event) -> None:
        self.on_batch([event])

    def stop(self) -> None:
        """End it. An Observable knows no other way than to be disposed, and says nothing then."""
        if not self._disposed:
            self.dispose()
            self.on_completed()

    def on_completed(self) -> None:
        self._disposed = True
        super().on_completed()

    def dispose(self) -> None:
        """Leave it."""
        self._disposed = True
        if self._subscription is not None:
            self._subscription.dispose()
