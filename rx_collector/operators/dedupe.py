"""dedupe: let pass one of the events that are the same."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, ClassVar

from rx_collector.config.options import COUNT, DURATION, ListOf, Scope, described, option
from rx_collector.expressions.option import KEY, Evaluation, fields_read
from rx_collector.operators._state import SET_BACK
from rx_collector.stream.operator import Stage, operator

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["Dedupe"]

_NEW, _SAME, _FORGETFUL = 0, 1, 2


@operator(
    "dedupe",
    summary="Let pass one of the events that are the same.",
    example="dedupe: {key: [comm, filename], time: 10s, size: 10_000}",
)
@described
class Dedupe(Stage):
    """Let pass the first of the events with the same key; the others are merged into it, and counted so.

    With `time` one passes again when the last that passed was read so long ago. `size` bounds what is remembered: when
    there are more keys, the one that passed longest ago is forgotten, which the ledger notes as ``evicted``.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> [event["message"] for event in rx.runner("printf", "a\\nb\\na\\n").pipe(op.dedupe("message")).to_list().run()]
    ['a', 'b']

    Runs on the thread that brings the event and does not block.
    """

    shorthand: ClassVar[str | None] = "key"

    key: Sequence[Evaluation] = option(
        ListOf(KEY, single=True, least=1), "What makes events the same.", example="[pid, filename]"
    )
    time: float | None = option(DURATION, "How long after one the next may pass; never, unless said.", None)
    size: int = option(COUNT, "How many keys are remembered.", 10_000)

    def check(self, scope: Scope) -> None:
        if self.size == 0:
            scope.child("size").wrong("at least one key has to be remembered")

    def needs(self) -> frozenset[str] | None:
        return fields_read(*self.key)

    def keyed_by(self) -> Sequence[Evaluation] | None:
        return self.key

    def leaves(self, fields: frozenset[str]) -> bool:
        return True

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        nanoseconds = None if self.time is None else round(self.time * 1e9)
        seen = code.state(lambda: _Seen(self.size, nanoseconds), "seen")
        answer = code.temporary()
        code.write(f"{answer} = {seen}.look({code.key(self.key)}, {code.observed()})")
        code.write(f"if {answer}:")
        code.indent()
        code.write(f"if {answer} == {_SAME}:")
        code.indent()
        code.lose("merged")
        code.dedent()
        code.write(f"{code.counter('evicted')} += 1")
        code.dedent()


class _Seen:
    """The keys that passed, in the order in which they did, each with when it did."""

    def __init__(self, size: int, nanoseconds: int | None) -> None:
        self._size = size
        self._nanoseconds = nanoseconds
        self._times: dict[Hashable, int] = {}

    def look(self, key: Hashable, now: int) -> int:
        times = self._times
        if key in times:
            if self._nanoseconds is None or -SET_BACK < now - times[key] < self._nanoseconds:
                return _SAME
            del times[key]
        times[key] = now
        if len(times) <= self._size:
            return _NEW
        del times[next(iter(times))]
        return _FORGETFUL
