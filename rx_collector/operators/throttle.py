"""throttle: let pass no more than so many events in a time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from rx_collector.config.options import COUNT, DURATION, ListOf, Scope, described, option
from rx_collector.expressions.option import KEY, Evaluation, fields_read
from rx_collector.operators._state import SET_BACK, Bounded, emit_verdict
from rx_collector.stream.operator import Stage, operator

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["Throttle"]


@operator(
    "throttle",
    summary="Let pass no more than so many events in a time.",
    example="throttle: {count: 100, time: 1s, key: comm}",
)
@described
class Throttle(Stage):
    """Let pass at most `count` events at once, and `count` more in each `time`, for each key; filter the others.

    A token bucket: it holds `count` tokens, each event takes one, and they come back evenly, all of them within `time`. Time
    is when the events were read. Of more than `size` keys, the one not seen for longest is forgotten (``evicted`` in the
    ledger), and begins with a full bucket again.

    Runs on the thread that brings the event and does not block.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> len(rx.runner("seq", "100").pipe(op.throttle(5, "1h")).to_list().run())
    5
    """

    count: int = option(COUNT, "How many events.", example="100")
    time: float = option(DURATION, "In which time.", 1.0)
    key: Sequence[Evaluation] | None = option(
        ListOf(KEY, single=True), "What has a limit of its own; all events share one unless said.", None
    )
    size: int = option(COUNT, "How many keys are remembered.", 10_000)

    def check(self, scope: Scope) -> None:
        for name in ("count", "time", "size"):
            if getattr(self, name) == 0:
                scope.child(name).wrong("it must be more than nothing")

    def needs(self) -> frozenset[str] | None:
        return fields_read(*(self.key or ()))

    def keyed_by(self) -> Sequence[Evaluation] | None:
        return self.key

    def leaves(self, fields: frozenset[str]) -> bool:
        return True

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        buckets = code.state(lambda: _Buckets(self.size, self.count, self.time), "buckets")
        emit_verdict(code, f"{buckets}.take({code.key(self.key or ())}, {code.observed()})")


class _Buckets:
    def __init__(self, size: int, count: int, time: float) -> None:
        self._count = count
        self._per_nanosecond = count / (time * 1e9)
        self._buckets: Bounded[tuple[float, int]] = Bounded(size, (float(count), 0))

    def take(self, key: Hashable, now: int) -> bool | None:
        """True: it may pass; False: it may not; None: it may, and a key was forgotten for it."""
        tokens, then = self._buckets.get(key)
        if then > now + SET_BACK:
            then = now
        elif then:
            tokens = min(self._count, tokens + max(0, now - then) * self._per_nanosecond)
        passes = tokens >= 1
        if self._buckets.put(key, (tokens - passes, max(now, then))):
            return None
        return passes
