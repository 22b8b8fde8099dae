"""debounce: of events that follow each other closely, the last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rx_collector.config.options import COUNT, DURATION, Scope, described, option
from rx_collector.event import Event
from rx_collector.expressions.option import KEYS, Evaluation
from rx_collector.ledger import Node
from rx_collector.operators._windows import Sessions, State, place_of
from rx_collector.operators.window import Grouping
from rx_collector.stream.flow import BatchObserver, Context
from rx_collector.stream.operator import operator

__all__ = ["Debounce"]


@operator(
    "debounce",
    summary="Of events that follow each other closely, let pass the last.",
    example="debounce: {time: 500ms, key: filename}",
)
@described
class Debounce(Grouping):
    """Let pass an event when nothing with the same key came for `time` after it; those before it are merged into it.

    The clock is that of the scheduler of the subscription. Of more than `size` keys that wait, the one that got no event
    for longest passes early, which the ledger notes as ``evicted``. What waits at the end of the stream is sent.

    Sends on the thread of the scheduler, or at the end on the one that brings it. Disposing drops what waits, counted.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> rx.runner("seq", "3").pipe(op.debounce("10s")).run()["message"]
    '3'
    """

    shorthand: ClassVar[str | None] = "time"

    time: float = option(DURATION, "How long nothing may come.", example="500ms")
    key: Mapping[str, Evaluation] | None = option(KEYS, "What is debounced by itself.", None)
    size: int = option(COUNT, "How many keys may wait.", 10_000)

    def group_by(self) -> Mapping[str, Evaluation]:
        return self.key or {}

    def apart(self) -> str:
        return "the last event of each key is sent on, so each has to be made"

    def check(self, scope: Scope) -> None:
        for name in ("time", "size"):
            if getattr(self, name) == 0:
                scope.child(name).wrong("it must be more than nothing")

    def attach(self, downstream: BatchObserver, context: Context, node: Node) -> BatchObserver:
        return _Debounced(self, self.time, downstream, context, node)


class _Debounced(Sessions):
    """A session of which the last event is left."""

    def absorbing_stage(self) -> None:
        return None

    def _take(self, event: Event, keys: tuple[Any, ...], values: list[Any]) -> bool:
        taken = super()._take(event, keys, values)
        for state in self._of_key[place_of(keys)]:
            state.first = event
        return taken

    def _event_of(self, state: State) -> Event:
        return state.first
