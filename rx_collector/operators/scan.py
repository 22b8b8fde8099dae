"""scan and diff: what an event says together with those before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rx_collector.config.options import BOOLEAN, COUNT, TEXT, ListOf, MappingOf, Scope, described, option
from rx_collector.expressions import Expression
from rx_collector.expressions.option import KEY, LITERAL_EXPRESSION, Evaluation, may_be_payload
from rx_collector.operators._state import Bounded
from rx_collector.stream.operator import Stage, operator

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["Diff", "Scan"]


@operator(
    "scan",
    summary="Set fields to values that go on from event to event.",
    example="scan: {fields: {total: 'default(total, 0) + len(message)'}, by: comm}",
)
@described
class Scan(Stage):
    """Set fields to values that go on from event to event, for each key: totals, running states, numbers in order.

    An expression sees the fields as the event before left them, null at first, whatever the event itself has there. A
    Python function gets what the field was, and the `Event`. Of more than `size` keys, the one not seen for longest is
    forgotten (``evicted`` in the ledger) and begins anew. An event for which an expression fails is rejected and changes
    nothing.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> stream = rx.runner("seq", "3").pipe(op.scan({"sum": "default(sum, 0) + int(message)"}))
    >>> [event["sum"] for event in stream.to_list().run()]
    [1, 3, 6]
    """

    fields: Mapping[str, Evaluation] = option(
        MappingOf(LITERAL_EXPRESSION, least=1), "The fields and their next values.", example="{n: 'default(n, 0) + 1'}"
    )
    by: Sequence[Evaluation] | None = option(
        ListOf(KEY, single=True), "What goes on by itself; all events go on together unless said.", None
    )
    size: int = option(COUNT, "How many keys are remembered.", 10_000)

    def check(self, scope: Scope) -> None:
        if self.size == 0:
            scope.child("size").wrong("at least one key has to be remembered")

    def keyed_by(self) -> Sequence[Evaluation] | None:
        functions = any(not isinstance(value, Expression) for value in self.fields.values())
        return None if functions else self.by  # a function may keep something by itself

    def leaves(self, fields: frozenset[str]) -> bool:
        return fields.isdisjoint(self.fields)

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        names = tuple(self.fields)
        states = code.state(lambda: Bounded(self.size, (None,) * len(names)), "states")
        key = code.temporary()
        code.write(f"{key} = {code.key(self.by or ())}")
        code.data()
        before, after = [code.temporary() for _ in names], [code.temporary() for _ in names]
        code.write(f"{', '.join(before)}, = {states}.get({key})")
        code.peek = dict(zip(names, before, strict=True))  # what the expressions see in the place of these fields
        for old, new, evaluation in zip(before, after, self.fields.values(), strict=True):
            if isinstance(evaluation, Expression):
                source = code.value(evaluation)
            else:
                source = f"{code.bind(evaluation, 'step')}({old}, {code.event()})"
            code.write(f"{new} = {source}")
        if any(map(may_be_payload, self.fields.values())):
            code.owned = False  # it is kept as it is, and would be put into itself
        code.own()
        for name, new in zip(names, after, strict=True):
            code.write(f"data[{name!r}] = {new}")
        values = "".join(f"{new}, " for new in after)
        code.write(f"if {states}.put({key}, ({values})): {code.counter('evicted')} += 1")


@operator(
    "diff",
    summary="Turn counters into their change, and its rate.",
    example="diff: {fields: [rx_bytes, tx_bytes], by: interface, rate: true}",
)
@described
class Diff(Stage):
    """Set, for each field, ``FIELD_change`` to how much it grew since the event before with the same key.

    With ``rate``, ``FIELD_rate`` is the change a second, by the events' own times. Both are null for the first event of a
    key, and where a counter went back: it was reset, so nothing is known of the time between. A field that is missing
    is passed over; one that is no number rejects its event. Of more than `size` keys, the one not seen for longest is
    forgotten (``evicted`` in the ledger).

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> stream = rx.runner("printf", "3\\n5\\n").pipe(op.set(n="int(message)"), op.diff("n"))
    >>> [event["n_change"] for event in stream.to_list().run()]
    [None, 2]
    """

    shorthand = "fields"

    fields: Sequence[str] = option(ListOf(TEXT, single=True, least=1), "The counters.", example="[rx_bytes]")
    by: Sequence[Evaluation] | None = option(
        ListOf(KEY, single=True), "What has counters of its own; all events have the same unless said.", None
    )
    rate: bool = option(BOOLEAN, "Whether the change a second is set, too.", False)
    size: int = option(COUNT, "How many keys are remembered.", 10_000)

    def check(self, scope: Scope) -> None:
        if self.size == 0:
            scope.child("size").wrong("at least one key has to be remembered")

    def keyed_by(self) -> Sequence[Evaluation] | None:
        return self.by

    def leaves(self, fields: frozenset[str]) -> bool:
        return fields.isdisjoint(f"{name}{what}" for name in self.fields for what in ("_change", "_rate"))

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        states = code.state(lambda: _Counters(self), "counters")
        key, made, evicted = code.temporary(), code.temporary(), code.temporary()
        code.write(f"{key} = {code.key(self.by or ())}")
        code.data()
        time = "0"
        if self.rate:
            owned = code.owned
            code.event()
            code.owned = owned  # only its time is read
            time = "event.time_ns"
        code.write(f"{made}, {evicted} = {states}.next({key}, data, {time})")
        code.write(f"if {evicted}: {code.counter('evicted')} += 1")
        code.own()
        code.write(f"data.update({made})")


class _Counters:
    def __init__(self, spec: Diff) -> None:
        self._fields = [(name, f"{name}_change", f"{name}_rate") for name in spec.fields]
        self._rate = spec.rate
        self._last: Bounded[dict[str, tuple[Any, int]]] = Bounded(spec.size, {})

    def next(self, key: Any, data: Any, time_ns: int) -> tuple[dict[str, Any], bool]:
        """Give the fields to set, and whether a key was forgotten."""
        last = self._last.get(key)
        made: dict[str, Any] = {}
        now = dict(last)
        for name, change_name, rate_name in self._fields:
            value = data.get(name) if isinstance(data, dict) else None
            if value is None:
                continue
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise TypeError(f"a number is wanted in field {name!r}, not a {type(value).__name__}")
            before, then = last.get(name, (None, 0))
            change = None if before is None or value < before else value - before
            made[change_name] = change
            if self._rate:
                seconds = (time_ns - then) / 1e9
                made[rate_name] = None if change is None or seconds <= 0 else change / seconds
            now[name] = (value, time_ns)
        return made, self._last.put(key, now)
