"""conflate: waiting events are merged."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from rx_collector.backpressure.queue import size_of
from rx_collector.backpressure.strategy import Change, Store, Strategy, WorstCase, strategy
from rx_collector.config.function import FUNCTION
from rx_collector.config.options import ListOf, MappingOf, Scope, described, option
from rx_collector.event import Event
from rx_collector.expressions import Expression
from rx_collector.expressions.aggregate import AGGREGATE, Aggregate
from rx_collector.expressions.keys import hashable, keys_of
from rx_collector.expressions.option import KEY, Evaluation

__all__ = ["Conflate"]


@strategy(
    "conflate",
    summary="Waiting events are merged, by named aggregates or a function.",
    guarantee="Every event arrives as a part of what it was merged into, those of one key in order; an event of a key for "
    "which there is no room is refused and counted. What was merged is counted as merged, what it was merged into as made.",
    example="file: sizes.ndjson\n"
    "backpressure: {strategy: conflate, by: comm, aggregate: {n: count(), total: sum(bytes)}}",
)
@described
class Conflate(Strategy):
    """Waiting events are merged, those with the same `by` with each other.

    With ``aggregate`` the payload has the fields of `by` and the aggregates, also where only one event waited, so that
    the sink always gets the same shape. With ``merge``, a function of two events, the older and the newer, gives the
    payload or event that stands for both; an event that waits alone stays as it is. It is called under the boundary's
    lock and must not block. The envelope is that of the first event, with ``+n`` in the id for the n others.
    `capacity` bounds the number of keys. An event for which an aggregate or the function fails is rejected.
    """

    by: tuple[Evaluation, ...] | None = option(
        ListOf(KEY, single=True, least=1), "What tells apart what is merged; none: all is merged.", None
    )
    aggregate: Mapping[str, Aggregate] | None = option(
        MappingOf(AGGREGATE, least=1), "The fields of the merged payload, for example {n: count()}.", None
    )
    merge: Callable[[Event, Event], Any] | None = option(
        FUNCTION, "The function of the older and the newer event.", None, example="mypackage.pipes:sum_up"
    )

    def check(self, scope: Scope) -> None:
        super().check(scope)
        if (self.aggregate is None) == (self.merge is None):
            scope.wrong("say either 'aggregate', for example {n: count(), total: sum(bytes)}, or 'merge', a function")
        if self.aggregate is not None:
            for index, by in enumerate(self.by or ()):
                if not isinstance(by, Expression):
                    scope.child("by").child(index).wrong("a function has no name; beside 'aggregate' write expressions")

    def worst_case(self) -> WorstCase:
        # A group keeps its first event, and of others one value for each aggregate; max_bytes counts the first alone.
        values = None if self.aggregate is None else 1 + len(self.by or ()) + len(self.aggregate)
        return WorstCase(self.capacity, None, each=values)

    def open(self, clock: Callable[[], float] = time.monotonic) -> Store:
        return _Conflating(self, clock)


class _Prepared(NamedTuple):
    key: Hashable
    by: tuple[Any, ...]
    event: Event
    values: tuple[Any, ...]


class _Group:
    """What some events of one key were merged into so far."""

    __slots__ = ("arrived", "by", "count", "event", "first", "size", "states")

    def __init__(self, by: tuple[Any, ...], first: Event, arrived: float, size: int) -> None:
        self.by = by
        self.first = self.event = first
        self.arrived = arrived
        self.size = size
        self.count = 1
        self.states: tuple[Any, ...] = ()


class _Conflating(Store):
    def __init__(self, spec: Conflate, clock: Callable[[], float]) -> None:
        self._by = spec.by or ()
        self._names = [by.text for by in self._by if isinstance(by, Expression)]
        self._aggregates = dict(spec.aggregate or {})
        self._merge = spec.merge
        self._capacity = spec.capacity
        self._most = max(1, spec.capacity // 2)
        self._max_bytes = spec.max_bytes
        self._max_age = spec.max_age
        self._clock = clock
        self._groups: dict[Hashable, _Group] = {}
        self._held = 0
        self._bytes = self._bytes_in_hand = 0

    @property
    def waiting(self) -> int:
        return len(self._groups)

    @property
    def held(self) -> int:
        return self._held

    def prepare(self, batch: list[Event], change: Change) -> Sequence[_Prepared]:
        prepared = []
        aggregates = list(self._aggregates.values())
        for event in batch:
            try:
                by = keys_of(self._by, event)
                values = tuple([aggregate.value(event) for aggregate in aggregates])
                prepared.append(_Prepared(hashable(by), by, event, values))
            except Exception as error:
                change.rejections.append((event, error))
        return prepared

    def admit(self, batch: Sequence[Any], change: Change) -> Sequence[Any]:
        now = self._clock() if self._max_age is not None else 0.0
        for prepared in batch:
            change.taken += 1
            try:
                fitted = self._fold(prepared, now)
            except Exception as error:
                change.taken -= 1  # a rejection is taken in where it is counted
                change.rejections.append((prepared.event, error))
                continue
            if not fitted:
                change.dropped["conflate"] += 1
        return ()

    def _fold(self, prepared: _Prepared, now: float) -> bool:
        group = self._groups.get(prepared.key)
        if group is None:
            # The payload of the first stands for the size of the group, which stays that of one event.
            size = size_of(prepared.event) if self._max_bytes is not None else 0
            if not self._fits(size):
                return False
            group = _Group(prepared.by, prepared.event, now, size)
            states = tuple(aggregate.function.start() for aggregate in self._aggregates.values())
            group.states = self._step(states, prepared.values)
            self._groups[prepared.key] = group
            self._bytes += size
        else:
            # All is computed before anything is changed: an event that fails leaves the group as it was.
            if self._merge is not None:
                merged = self._merge(group.event, prepared.event)
                group.event = merged if isinstance(merged, Event) else group.first.replace(merged)
            group.states = self._step(group.states, prepared.values)
            group.count += 1
        self._held += 1
        return True

    def _step(self, states: tuple[Any, ...], values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not values:
            return ()
        functions = (aggregate.function for aggregate in self._aggregates.values())
        return tuple(
            function.step(state, value) for function, state, value in zip(functions, states, values, strict=True)
        )

    def _fits(self, size: int) -> bool:
        in_flight = len(self._groups) + self.in_hand
        if in_flight >= self._capacity or self._max_bytes is None:
            return in_flight < self._capacity
        return not in_flight or self._bytes + self._bytes_in_hand + size <= self._max_bytes

    def take(self, change: Change) -> list[Event]:
        batch: list[Event] = []
        limit = self._clock() - self._max_age if self._max_age is not None else None
        size = 0
        for key in list(self._groups):
            group = self._groups[key]
            if limit is not None and group.arrived < limit:
                change.dropped["max_age"] += group.count
            elif len(batch) == self._most:
                break
            else:
                batch.append(self._result(group))
                size += group.size
                if group.count > 1:
                    change.merged += group.count
                    change.made += 1
                change.out += 1
            del self._groups[key]
            self._held -= group.count
            self._bytes -= group.size
        self.in_hand, self._bytes_in_hand = len(batch), size
        return batch

    def _result(self, group: _Group) -> Event:
        first, others = group.first, group.count - 1
        part = f"{first.part}+{others}" if others else first.part
        if not self._aggregates:
            return group.event.replace(group.event.data, part) if others else group.event
        results = (
            aggregate.function.result(state)
            for aggregate, state in zip(self._aggregates.values(), group.states, strict=True)
        )
        fields = {**dict(zip(self._names, group.by, strict=True)), **dict(zip(self._aggregates, results, strict=True))}
        return first.replace(fields, part)

    def finish(self) -> bool:
        self._bytes_in_hand = 0
        return super().finish()

    def clear(self, reason: str, change: Change) -> None:
        change.dropped[reason] += self._held
        self._groups.clear()
        self._held = self._bytes = 0
