"""group_by: operators of its own for each key."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rx_collector.config.options import COUNT, DURATION, ListOf, Scope, described, option
from rx_collector.event import Event
from rx_collector.expressions.keys import hashable
from rx_collector.expressions.option import KEY, Evaluation
from rx_collector.ledger import GroupNode, Node
from rx_collector.operators._state import reject
from rx_collector.operators._timer import Timer
from rx_collector.operators.placed import OperatorItem, steps_of
from rx_collector.stream.chain import attach
from rx_collector.stream.flow import Batch, BatchObserver, Connection, Context
from rx_collector.stream.operator import BatchOperator, PlacedOperator, operator
from rx_collector.stream.segment import Compiled

if TYPE_CHECKING:
    from reactivex.abc import SchedulerBase

__all__ = ["GroupBy"]


@operator(
    "group_by",
    summary="Give the events of each key operators of their own.",
    example="group_by: {key: pid, operators: [limit: 100, buffer: {count: 10}], idle: 5m}",
)
@described
class GroupBy(BatchOperator):
    """Give the events of each key a row of operators of their own, and merge what comes out of them.

    Whatever an operator keeps or counts, it does for each key by itself: ``limit: 3`` lets pass three events of each,
    ``buffer`` gathers those of each. The order of events is that of the stream, unless an operator within holds them.

    At most `size` groups are there at once. Of more, the one that got no event for longest is completed, as at the end
    of the stream: what its operators hold is sent. The ledger notes that as ``evicted``. With `idle` a group that got
    nothing for so long, by the clock of the subscription, is completed (``expired``). When its key comes again, a new
    group begins. The ledger counts events, not groups: each operator within has one node for all groups.

    An event for which the key fails is rejected. An error of one group ends the stream, after what the others hold has
    been sent. Operators that lead out of the stream, or read another one, cannot stand within; nor can `group_by`: give it
    a list of keys.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> stream = rx.runner("seq", "7").pipe(op.group_by("int(message) % 2", op.skip(1), op.buffer(count=2)))
    >>> [[event["message"] for event in pair.data] for pair in stream.to_list().run()]
    [['3', '5'], ['4', '6'], ['7']]

    Sends on the thread that brings the events, or that of the scheduler when an operator within does or a group is idle.
    Disposing drops what they hold, counted.
    """

    in_groups: ClassVar[bool] = False

    key: Sequence[Evaluation] = option(ListOf(KEY, single=True, least=1), "What makes the groups.", example="pid")
    operators: tuple[PlacedOperator, ...] = option(
        ListOf(OperatorItem(within="group_by"), least=1),
        "What is done with the events of each group, in order.",
        example="[limit: 3]",
    )
    size: int = option(COUNT, "How many groups there are at once.", 10_000)
    idle: float | None = option(DURATION, "How long a group may get nothing; for ever unless said.", None)

    @property
    def within(self) -> tuple[PlacedOperator, ...]:
        return self.operators

    def check(self, scope: Scope) -> None:
        for name in ("size", "idle"):
            if getattr(self, name) == 0:
                scope.child(name).wrong("it must be more than nothing")

    def attach(self, downstream: BatchObserver, context: Context, node: Node) -> BatchObserver:
        return _Groups(self, downstream, context, node)


class _Group:
    """The operators of one key."""

    __slots__ = ("head", "number", "parts", "touched")

    def __init__(self, number: int) -> None:
        self.number = number
        self.parts: list[Connection] = []
        self.head: BatchObserver | None = None
        self.touched = 0


class _Groups(Connection):
    """Hands events to the operators of their group.

    The lock is held while events go through a group, and before the locks of the operators in it are taken. These send,
    with their locks held, to `_Outlet`, which takes none of those before it: so no two threads wait for each other.
    """

    def __init__(self, spec: GroupBy, downstream: BatchObserver, context: Context, node: Node) -> None:
        self._key = tuple(spec.key)
        self._single = self._key[0] if len(self._key) == 1 else None
        self._size = spec.size
        self._idle = None if spec.idle is None else round(spec.idle * 1e9)
        self._downstream = downstream
        self._context = context
        self._node = node
        self._lock = threading.RLock()
        self._groups: dict[Hashable, _Group] = {}  # in the order of the last event
        self._alive: dict[int, _Group] = {}  # all of them at any moment, for who disposes without the lock
        self._numbers = 0
        self._compiled: Compiled = {}
        self._steps = steps_of(spec.operators, node.name)
        self._nodes = [GroupNode(step.label) for step in self._steps]
        for inner, step in zip(self._nodes, self._steps, strict=True):
            inner.place = step.place
        with context.ledger.lock:
            context.pipeline.insert(node, self._nodes)
        self._outlet = _Outlet(self, downstream)
        self._timer = Timer(context, self._lock, self._on_time)
        self._sending = False  # on the thread that holds the lock
        self._ended = False
        self._disposed = False

    def on_batch(self, batch: Batch) -> None:
        assert isinstance(batch, list)
        with self._lock:
            self._sending = True
            try:
                self._hand_out(batch)
            finally:
                self._sending = False
            self._end_if_failed()

    def _hand_out(self, batch: list[Event]) -> None:
        now = self._timer.now() if self._idle is not None else 0
        run: list[Event] = []  # of events of one group that follow each other
        last: Hashable = None
        for event in batch:
            try:
                key = hashable(self._key_of(event))
            except Exception as failure:
                self._reject(event, failure)
                continue
            if run and key != last:
                self._send(last, run, now)
                run = []
            run.append(event)
            last = key
        if run:
            self._send(last, run, now)

    def _key_of(self, event: Event) -> Any:
        return self._single(event) if self._single is not None else tuple(part(event) for part in self._key)

    def _reject(self, event: Event, failure: Exception) -> None:
        with self._context.ledger.lock:
            self._node.taken += 1
            self._node.rejected += 1
        reject(failure, event, self._node, self._context)

    def _drop(self, count: int) -> None:
        reason = "disposed" if self._disposed else "stream failed"
        with self._context.ledger.lock:
            self._node.taken += count
            self._node.dropped[reason] += count

    def _send(self, key: Hashable, events: list[Event], now: int) -> None:
        if self._disposed or self._ended or self._outlet.error is not None:
            self._drop(len(events))
            return
        group = self._groups.pop(key, None)
        if group is None:
            group = self._begin()
        self._groups[key] = group
        group.touched = now
        if group.head is None:
            self._drop(len(events))
            return
        with self._context.ledger.lock:
            self._node.taken += len(events)
            self._node.out += len(events)
        group.head.on_batch(events)
        if self._idle is not None:
            self._timer.at(now + self._idle)  # no later than that: see `_on_time`

    def _begin(self) -> _Group:
        """Attach the operators of a new group, and complete another one where there are too many."""
        if len(self._groups) >= self._size:
            self._complete(next(iter(self._groups)), "evicted")
        self._numbers += 1
        group = self._alive[self._numbers] = _Group(self._numbers)
        for node in self._nodes:
            node.enter(group.number)
        group.head = attach(self._steps, self._nodes, self._outlet, self._context, group.parts, self._compiled)
        if self._disposed:  # it was not there yet when the others were
            for part in group.parts:
                part.dispose()
        return group

    def _complete(self, key: Hashable, note: str | None = None) -> None:
        group = self._groups.pop(key)
        if group.head is not None:
            group.head.on_completed()
        del self._alive[group.number]
        for node in self._nodes:
            node.leave(group.number)
        if note is not None:
            with self._context.ledger.lock:
                self._node.notes[note] += 1

    def _on_time(self) -> None:
        assert self._idle is not None
        now = self._timer.now()
        while self._groups and not self._disposed:
            key, group = next(iter(self._groups.items()))
            if now < group.touched + self._idle:
                self._timer.at(group.touched + self._idle)
                break
            self._complete(key, "expired")
        self._end_if_failed()

    # The end

    def failed(self) -> None:
        """Take note that a group has failed. Who sends now looks at it by itself; else it is looked at soon."""
        if not self._sending:
            self._context.clock().schedule(self._look)

    def _look(self, clock: SchedulerBase, state: Any = None) -> None:
        with self._lock:
            self._end_if_failed()

    def _end_if_failed(self) -> None:
        if self._outlet.error is not None:
            self._end(self._outlet.error)

    def _end(self, error: Exception | None) -> None:
        if self._ended or self._disposed:
            return
        self._timer.close()
        self._sending = True  # a group that fails now is looked at below
        while self._groups:
            self._complete(next(iter(self._groups)))
        self._ended = True
        error = error or self._outlet.error
        if error is not None:
            self._downstream.on_error(error)
        else:
            self._downstream.on_completed()

    def on_error(self, error: Exception) -> None:
        with self._lock:
            self._end(error)

    def on_completed(self) -> None:
        with self._lock:
            self._end(None)

    def stop(self) -> None:
        """Nothing: it ends when what comes before it does."""

    def dispose(self) -> None:
        """Drop what the groups hold, counted, and everything that still comes."""
        # Without the lock, which may be held by a thread that waits further down.
        self._disposed = True
        self._timer.close()
        for group in list(self._alive.values()):
            for part in list(group.parts):
                part.dispose()


class _Outlet:
    """Stands behind the operators of all groups: one of them sends at a time."""

    def __init__(self, groups: _Groups, downstream: BatchObserver) -> None:
        self._groups = groups
        self._downstream = downstream
        self._order = threading.Lock()
        self.error: Exception | None = None

    def on_batch(self, batch: Batch) -> None:
        with self._order:
            self._downstream.on_batch(batch)

    def on_error(self, error: Exception) -> None:
        if self.error is None:
            self.error = error
            self._groups.failed()

    def on_completed(self) -> None:
        """One group is at its end; the others are not."""
