"""window and aggregate: one event of many, for each stretch of time and each key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rx_collector.config.options import COUNT, DURATION, INVALID, Choice, MappingOf, Scope, described, option
from rx_collector.expressions.aggregate import WINDOW_AGGREGATE, Aggregate
from rx_collector.expressions.option import KEYS, Evaluation
from rx_collector.ledger import Node
from rx_collector.operators._windows import Counted, Sessions, Tiles, Whole
from rx_collector.stream.flow import BatchObserver, Context
from rx_collector.stream.operator import BatchOperator, operator

__all__ = ["Aggregated", "Grouping", "Window"]

_MOST_WINDOWS = 1000  # that one event may be in


@described
class Grouping(BatchOperator):
    def group_by(self) -> Mapping[str, Evaluation]:
        """Give the keys by name."""
        return {}

    def aggregates(self) -> Mapping[str, Aggregate]:
        """Give the aggregates by name."""
        return {}

    def apart(self) -> str:
        """Say why it cannot take events in within the loop before it, in words; empty where it can."""
        return ""

    def check_names(self, scope: Scope) -> None:
        """Refuse names that two values would have."""
        for name in self.aggregates():
            if name in self.group_by() or name in ("window_start", "window_end"):
                scope.child("aggregate").child(name).wrong(f"there is a field {name!r} already", on_key=True)


@operator(
    "window",
    summary="Make one event of those of a stretch of time, for each key.",
    example="window: {every: 1m, by: comm, aggregate: {n: count(), total: sum(bytes)}}",
)
@described
class Window(Grouping):
    """Make one event of those that came within a stretch of time, or of so many, for each key.

    The kinds: ``every: 1m`` windows that follow each other, aligned to the clock; with ``slide: 10s`` one begins each ten
    seconds, so that they overlap; ``session: 30s`` closes when nothing came for so long; ``count: 100`` after so many
    events, with ``step: 10`` after each ten of them over the last hundred.

    Time is when an event arrives (``time: arrival``, by the clock of the subscription), or the event's own (``time:
    event``): then a window closes when an event comes that is later than its end by `lateness`, and what comes after that
    is dropped as ``late``. Windows that are open at the end of the stream are closed and sent, before an error as well.

    The payload has the keys, the aggregates, ``window_start`` and ``window_end`` (of a session or of so many events,
    the times of its first and last); the envelope is that of the first event
    in it, with the window's start in the id. At most `size` windows are open at once, over all keys: of more, the one that
    got no event for longest is closed early, which the ledger notes as ``evicted``. An event for which a key or an
    aggregate fails is rejected. What a window took in is `held` until it is closed, then `merged`.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> stream = rx.runner("seq", "6").pipe(op.window(count=3, aggregate={"sum": "sum(int(message))"}))
    >>> [event["sum"] for event in stream.to_list().run()]
    [6, 15]

    Sends on the thread that brings the events, or that of the scheduler when the time is up. Disposing drops what is
    held, counted.
    """

    aggregate: Mapping[str, Aggregate] = option(
        MappingOf(WINDOW_AGGREGATE, least=1), "The fields of the new event.", example="{n: count()}"
    )
    by: Mapping[str, Evaluation] | None = option(KEYS, "The key: a window for each value of it.", None)
    every: float | None = option(DURATION, "How long a window is.", None)
    slide: float | None = option(DURATION, "How long after one window the next begins; at its end unless said.", None)
    session: float | None = option(DURATION, "How long nothing may come until a window closes.", None)
    count: int | None = option(COUNT, "How many events a window has.", None)
    step: int | None = option(COUNT, "After how many events there is a window over the last 'count'.", None)
    time: str = option(Choice("arrival", "event"), "Which time counts.", "arrival")
    lateness: float = option(DURATION, "How late an event may come (time: event).", 0.0)
    size: int = option(COUNT, "How many windows are open at once.", 10_000)

    def group_by(self) -> Mapping[str, Evaluation]:
        return self.by or {}

    def aggregates(self) -> Mapping[str, Aggregate]:
        return self.aggregate

    def check(self, scope: Scope) -> None:
        kinds = [name for name in ("every", "session", "count") if getattr(self, name) is not None]
        if len(kinds) != 1:
            scope.wrong("say one of 'every', 'session' and 'count', for example {every: 1m, aggregate: {n: count()}}")
        for name in ("every", "slide", "session", "count", "step", "size"):
            if getattr(self, name) == 0:
                scope.child(name).wrong("it must be more than nothing")
        if self.slide is not None and self.every is None:
            scope.child("slide").wrong("'slide' goes with 'every'")
        elif self.slide and self.every and not self.slide <= self.every <= self.slide * _MOST_WINDOWS:
            scope.child("slide").wrong(f"an event can be in 1 to {_MOST_WINDOWS:,} windows")
        if self.step is not None and self.count is None:
            scope.child("step").wrong("'step' goes with 'count'")
        elif self.step and self.count and self.count % self.step:
            scope.child("step").wrong("a window has so many whole steps: 'count' must be a multiple of 'step'")
        if self.count is not None and self.time == "event":
            scope.child("time").wrong("a window of so many events has no time")
        if self.lateness and self.time != "event":
            scope.child("lateness").wrong("'lateness' goes with 'time: event'")
        self.check_names(scope)

    def attach(self, downstream: BatchObserver, context: Context, node: Node) -> BatchObserver:
        if self.count is not None:
            return Counted(self, self.count, self.step or self.count, downstream, context, node)
        lateness = self.lateness if self.time == "event" else None
        if self.session is not None:
            return Sessions(self, self.session, downstream, context, node, lateness)
        every = self.every or 0.0
        return Tiles(self, every, self.slide or every, lateness, downstream, context, node)


@operator(
    "aggregate",
    summary="Make one event of all events of a stream, for each key.",
    example="aggregate: {by: comm, n: count(), total: sum(bytes)}",
)
@described
class Aggregated(Grouping):
    """Make one event of all events of a stream, for each key, when the stream ends; a `window` without an end.

    The aggregates stand beside ``by`` and ``size``, or in a mapping ``aggregate``. The payload has the keys and the
    aggregates; the envelope is that of the first event of the key. Of more than `size` keys, the one that got no event for
    longest is sent early, which the ledger notes as ``evicted``.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> rx.runner("seq", "4").pipe(op.aggregate({"n": "count()", "most": "max(int(message))"})).run().data
    {'n': 4, 'most': 4}
    """

    aggregate: Mapping[str, Aggregate] = option(
        MappingOf(WINDOW_AGGREGATE, least=1), "The fields of the new event.", example="{n: count()}"
    )
    by: Mapping[str, Evaluation] | None = option(KEYS, "The key: an event for each value of it.", None)
    size: int = option(COUNT, "How many keys there can be.", 100_000)

    @classmethod
    def from_value(cls, value: Any, scope: Scope) -> Any:
        if not isinstance(value, Mapping) or "aggregate" in value:
            return super().from_value(value, scope)
        kind = MappingOf(WINDOW_AGGREGATE, least=1)
        options = {name: value[name] for name in ("by", "size") if name in value}
        aggregate = kind.convert({name: item for name, item in value.items() if name not in options}, scope)
        given = {
            name: cls.options()[name].metadata["kind"].convert(item, scope.child(name))
            for name, item in options.items()
        }
        if any(item is INVALID for item in (aggregate, *given.values())):
            return INVALID
        return cls._build({"aggregate": aggregate, **given}, scope)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        own = {name: option.metadata["kind"].schema() for name, option in cls.options().items() if name != "aggregate"}
        short = {
            "type": "object",
            "properties": own,
            "additionalProperties": WINDOW_AGGREGATE.schema(),
            "not": {"required": ["aggregate"]},
        }
        return {"anyOf": [super().schema(), short]}

    def group_by(self) -> Mapping[str, Evaluation]:
        return self.by or {}

    def aggregates(self) -> Mapping[str, Aggregate]:
        return self.aggregate

    def check(self, scope: Scope) -> None:
        if self.size == 0:
            scope.child("size").wrong("at least one key has to be remembered")
        self.check_names(scope)

    def attach(self, downstream: BatchObserver, context: Context, node: Node) -> BatchObserver:
        return Whole(self, downstream, context, node)
