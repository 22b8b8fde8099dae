"""route: send events different ways by conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar

from rx_collector.config.options import INVALID, Kind, Scope, described, option
from rx_collector.event import Event
from rx_collector.expressions.option import CONDITION, Evaluation
from rx_collector.later import pattern
from rx_collector.ledger import Node
from rx_collector.operators._state import reject
from rx_collector.stream.flow import Batch, BatchObserver, Connection, Context
from rx_collector.stream.operator import BatchOperator, operator

if TYPE_CHECKING:
    from reactivex.abc import ObserverBase

__all__ = ["Route"]

_ELSE = "else"
_NAME = pattern(r"[A-Za-z_][\w-]*")


class _BranchesKind(Kind):
    """Names and conditions; ``else`` has none."""

    wanted = "a mapping of names of branches to conditions"

    def convert(self, value: Any, scope: Scope) -> Any:
        if not isinstance(value, Mapping):
            return self._wanted(value, scope)
        if not value:
            return scope.wrong("the mapping is empty")
        made: dict[str, Any] = {}
        for name, condition in value.items():
            at = scope.child(str(name))
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                at.wrong(f"{name!r} cannot name a branch; a name has letters, digits, _ and -", on_key=True)
                made[str(name)] = INVALID
            elif name != _ELSE:
                made[name] = CONDITION.convert(condition, at)
            elif condition is not None:
                made[name] = at.wrong("'else' has no condition: it gets what no other branch has")
            else:
                made[name] = None
        if INVALID not in made.values() and list(made) == [_ELSE]:
            return scope.wrong("beside 'else' there is no branch; leave the route out")
        return INVALID if any(condition is INVALID for condition in made.values()) else made

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^{_NAME.pattern}$"},
            "properties": {_ELSE: {"type": "null"}},
            "additionalProperties": CONDITION.schema(),
            "minProperties": 1,
        }


@operator(
    "route",
    summary="Send events different ways by conditions.",
    example="route: {errors: \"level == 'error'\", slow: seconds > 1}",
)
@described
class Route(BatchOperator):
    """Send each event to the first branch whose condition is true; the others go on.

    In a file other pipelines read a branch: ``from: audit.errors`` is the branch ``errors`` of the pipeline ``audit``. With
    a branch ``else:``, which has no condition, nothing goes on: it gets what no other branch has. In Python `into` has an
    Rx observer for each branch, a ``reactivex.Subject`` say; the events of a branch that leads nowhere are filtered.

    >>> import reactivex
    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> even, seen = reactivex.Subject(), []
    >>> subscription = even.subscribe(lambda event: seen.append(event["message"]))
    >>> stream = rx.runner("seq", "3").pipe(op.route({"even": "int(message) % 2 == 0"}, into={"even": even}))
    >>> [event["message"] for event in stream.to_list().run()], seen
    (['1', '3'], ['2'])

    Runs on the thread that brings the events; what follows on each way runs before the next batch. An event for which a
    condition fails is rejected. A branch ends when the stream does, with its error.
    """

    in_groups: ClassVar[bool] = False
    shorthand: ClassVar[str | None] = "branches"
    shorthand_only: ClassVar[bool] = True

    branches: Mapping[str, Evaluation | None] = option(_BranchesKind(), "The branches and their conditions.")
    into: Mapping[str, ObserverBase[Event]] | None = field(default=None, compare=False, repr=False)

    @property
    def ways(self) -> tuple[str, ...]:
        """The names of its branches."""
        return tuple(self.branches)

    def attach(self, downstream: BatchObserver, context: Context, node: Node) -> BatchObserver:
        outlets: dict[str, BatchObserver] = {}
        for name in self.branches:
            if self.into is not None and name in self.into:
                outlets[name] = _Into(self.into[name])
            elif (outlet := context.outlets.get(f"{context.pipeline.name}.{name}")) is not None:
                outlets[name] = outlet
        return _Router(self.branches, outlets, downstream, context, node)


class _Into:
    """Hands batches to an Rx observer, one event after the other."""

    def __init__(self, observer: ObserverBase[Event]) -> None:
        self._observer = observer

    def on_batch(self, batch: Batch) -> None:
        assert isinstance(batch, list)
        for event in batch:
            self._observer.on_next(event)

    def on_error(self, error: Exception) -> None:
        self._observer.on_error(error)

    def on_completed(self) -> None:
        self._observer.on_completed()


class _Router(Connection):
    def __init__(
        self,
        branches: Mapping[str, Evaluation | None],
        outlets: Mapping[str, BatchObserver],
        downstream: BatchObserver,
        context: Context,
        node: Node,
    ) -> None:
        self._conditions = [(name, condition) for name, condition in branches.items() if condition is not None]
        self._rest = _ELSE if _ELSE in branches else None
        self._outlets = outlets
        self._downstream = downstream
        self._context = context
        self._node = node
        self._disposed = False
        node.passed = 0

    def on_batch(self, batch: Batch) -> None:
        assert isinstance(batch, list)
        ways: dict[str | None, list[Event]] = {}
        rejections: list[tuple[Event, Exception]] = []
        for event in batch if not self._disposed else ():
            way = self._rest
            try:
                for name, condition in self._conditions:
                    if condition(event):
                        way = name
                        break
            except Exception as failure:
                rejections.append((event, failure))
                continue
            ways.setdefault(way, []).append(event)
        with self._context.ledger.lock:
            node = self._node
            node.taken += len(batch)
            if self._disposed:
                node.dropped["disposed"] += len(batch)
                return
            node.rejected += len(rejections)
            for way, events in ways.items():
                if way is not None and way not in self._outlets:
                    node.filtered += len(events)
                    continue
                node.out += len(events)
                if way is None:
                    node.passed = (node.passed or 0) + len(events)
                else:
                    node.branches[way] += len(events)
        for event, error in rejections:
            reject(error, event, self._node, self._context)
        for way, events in ways.items():
            if way is None:
                self._downstream.on_batch(events)
            elif way in self._outlets:
                self._outlets[way].on_batch(events)

    def stop(self) -> None:
        """Nothing: it ends when what comes before it does."""

    def dispose(self) -> None:
        """Drop what still comes, counted, and tell of no end."""
        self._disposed = True

    def on_error(self, error: Exception) -> None:
        if not self._disposed:
            self._downstream.on_error(error)
            for outlet in self._outlets.values():
                outlet.on_error(error)

    def on_completed(self) -> None:
        if not self._disposed:
            self._downstream.on_completed()
            for outlet in self._outlets.values():
                outlet.on_completed()
