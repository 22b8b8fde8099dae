"""join: add what another stream said last."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

from rx_collector.config.options import COUNT, DURATION, TEXT, Choice, Kind, ListOf, Scope, described, option, plainly
from rx_collector.errors import OutputError
from rx_collector.event import Event, Origin
from rx_collector.expressions.keys import hashable
from rx_collector.expressions.option import KEY, Evaluation
from rx_collector.ledger import Node
from rx_collector.operators._state import Bounded, reject
from rx_collector.stream.code import with_fields
from rx_collector.stream.flow import Batch, BatchObserver, Connection, Context
from rx_collector.stream.operator import BatchOperator, operator

__all__ = ["OTHER_STREAM", "Join"]


class _OtherKind(Kind):
    """In a file the name of a runner, pipeline or branch; in Python an Observable."""

    wanted = "the name of a pipeline"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, str) and value:
            return value
        if scope.document is not None:
            return self._wanted(value, scope)
        from reactivex import Observable

        if isinstance(value, Observable):
            return value
        return scope.wrong(
            f"an Observable such as rx.runner('vmstat', '1') is wanted here, or {self.wanted}, not {plainly(value)}"
        )

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


OTHER_STREAM = _OtherKind()


@operator(
    "join",
    summary="Add the fields that another pipeline said last.",
    example="join: {with: started, on: pid, fields: [filename], prefix: program_}",
)
@described
class Join(BatchOperator):
    """Add to an event the fields of the last event of another stream with the same key.

    The other one is a pipeline, a runner or a branch of the same file, or in Python an Observable. What it said last for
    each key is kept, at most for `size` keys; of more, the one it said nothing of for longest is forgotten, which the
    ledger notes as ``evicted``; with `age` also what is older than that when the event was read. The two streams run on
    threads of their own, so what it said last is what has arrived when the event does.

    An event for which there is nothing passes as it is, or is filtered or rejected as `missing` says. The end of the other
    stream ends nothing; what it said stays.

    >>> import reactivex
    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> names = reactivex.of({"pid": "7", "comm": "bash"})
    >>> rx.runner("echo", "7").pipe(op.join(names, "message", key="pid", fields="comm")).run().data
    {'message': '7', 'comm': 'bash'}

    Runs on the thread that brings the event and does not block.
    """

    in_groups: ClassVar[bool] = False

    other: Any = option(OTHER_STREAM, "The pipeline.", example="started", key="with")
    on: Evaluation = option(KEY, "What is looked for.", example="pid")
    key: Evaluation | None = option(KEY, "What it is in the other one; the same unless said.", None)
    fields: Sequence[str] | None = option(
        ListOf(TEXT, single=True, least=1), "The fields that are added; all of them unless said.", None
    )
    prefix: str = option(TEXT, "What stands before their names.", "")
    missing: str = option(
        Choice("pass", "drop", "reject"), "What becomes of an event for which there is nothing.", "pass"
    )
    size: int = option(COUNT, "For how many keys it is kept.", 100_000)
    age: float | None = option(DURATION, "How long it counts; for ever unless said.", None)

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.other,) if isinstance(self.other, str) else ()

    def check(self, scope: Scope) -> None:
        if self.size == 0:
            scope.child("size").wrong("at least one key has to be kept")

    def attach(self, downstream: BatchObserver, context: Context, node: Node) -> BatchObserver:
        joiner = _Joiner(self, downstream, context, node)
        if isinstance(self.other, str):
            if context.read is None:
                raise OutputError(f"{node.name}: there is no pipeline {self.other!r} here")
            context.read(self.other, joiner.memory)
        else:
            joiner.subscription = self.other.subscribe(joiner.memory.on_next, scheduler=context.scheduler)
        return joiner


class _Memory:
    """What the other stream said last, by key. Its events come on a thread of their own."""

    def __init__(self, spec: Join, node: Node, context: Context) -> None:
        self._key = spec.key or spec.on
        self._fields = spec.fields
        self._prefix = spec.prefix
        self._node = node
        self._context = context
        self._lock = threading.Lock()
        self._origin = Origin(context.run, "rx", 1, None, 1, "item")  # of items that are no events
        self._rows: Bounded[tuple[int, dict[str, Any]]] = Bounded(spec.size, (0, {}))

    def rows(self, keys: list[Hashable]) -> list[tuple[int, dict[str, Any]]]:
        """Give for each key when it was said, 0 when nothing was, and the fields to add."""
        with self._lock:
            return [self._rows.get(key) for key in keys]

    def on_next(self, item: Any) -> None:
        """Take an item of an Observable."""
        self.on_batch([item if isinstance(item, Event) else Event(item, None, self._origin, 0)])

    def on_batch(self, batch: Batch) -> None:
        """Take events of a pipeline. One without fields or key is passed over: who else reads that stream has it."""
        said: list[tuple[Hashable, tuple[int, dict[str, Any]]]] = []
        unusable = 0
        for event in batch.events() if not isinstance(batch, list) else batch:
            data = event.data
            if not isinstance(data, Mapping):
                continue
            try:
                key = hashable(self._key(event))
            except Exception:
                unusable += 1
                continue
            fields = data if self._fields is None else {name: data.get(name) for name in self._fields}
            row = {f"{self._prefix}{name}": value for name, value in fields.items()}
            said.append((key, (event.origin.observed_ns, row)))
        with self._lock:
            evicted = sum(self._rows.put(key, row) for key, row in said)
        if evicted or unusable:
            with self._context.ledger.lock:
                notes = {"evicted": evicted, "unusable": unusable}
                self._node.notes.update({name: count for name, count in notes.items() if count})

    def on_error(self, error: Exception) -> None:
        """Its failure is its own affair."""

    def on_completed(self) -> None:
        """What it said stays."""


class _Joiner(Connection):
    def __init__(self, spec: Join, downstream: BatchObserver, context: Context, node: Node) -> None:
        self.memory = _Memory(spec, node, context)
        self.subscription: Any = None
        self._on = spec.on
        self._missing = spec.missing
        self._age = None if spec.age is None else round(spec.age * 1e9)
        self._downstream = downstream
        self._context = context
        self._node = node
        self._disposed = False

    def on_batch(self, batch: Batch) -> None:
        assert isinstance(batch, list)
        out: list[Event] = []
        rejections: list[tuple[Event, Exception]] = []
        filtered = 0
        events = [] if self._disposed else batch
        keys = [self._key_of(event) for event in events]
        for event, key, (said, row) in zip(events, keys, self.memory.rows(keys), strict=True):
            if isinstance(key, Exception):
                rejections.append((event, key))
                continue
            if not said or (self._age is not None and event.origin.observed_ns - said > self._age):
                if self._missing == "pass":
                    out.append(event)
                elif self._missing == "drop":
                    filtered += 1
                else:
                    rejections.append((event, LookupError("the other stream has said nothing of it")))
                continue
            try:
                out.append(event.replace({**with_fields(event.data), **row}))
            except TypeError as failure:
                rejections.append((event, failure))
        with self._context.ledger.lock:
            node = self._node
            node.taken += len(batch)
            if self._disposed:
                node.dropped["disposed"] += len(batch)
                return
            node.rejected += len(rejections)
            node.filtered += filtered
            node.out += len(out)
        for event, error in rejections:
            reject(error, event, self._node, self._context)
        if out:
            self._downstream.on_batch(out)

    def _key_of(self, event: Event) -> Hashable:
        """Give what is looked for, or the error of an event for which that fails."""
        try:
            return hashable(self._on(event))
        except Exception as failure:
            return failure

    def stop(self) -> None:
        """Nothing: it ends when what comes before it does."""

    def dispose(self) -> None:
        """Drop what still comes, counted, and leave the other stream."""
        self._disposed = True
        self._leave()

    def _leave(self) -> None:
        if self.subscription is not None:
            self.subscription.dispose()

    def on_error(self, error: Exception) -> None:
        self._leave()
        if not self._disposed:
            self._downstream.on_error(error)

    def on_completed(self) -> None:
        self._leave()
        if not self._disposed:
            self._downstream.on_completed()
