"""sample: let pass a part of the events."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

from rx_collector.config.options import COUNT, RATE, ListOf, Scope, described, option
from rx_collector.expressions.keys import canonical
from rx_collector.expressions.option import KEY, Evaluation, fields_read
from rx_collector.operators._state import Bounded, emit_verdict
from rx_collector.stream.operator import Stage, operator

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["Sample"]


@operator("sample", summary="Let pass a part of the events.", example="sample: {rate: 0.1, key: pid}")
@described
class Sample(Stage):
    """Let pass a part of the events: by a `rate` from 0 to 1, or each n-th with `every`; filter the others.

    Nothing is left to chance: with a key, `rate` keeps all events of some keys and none of the others, and the same ones
    in every run; without a key the number of the line decides. With `every` each key is counted by itself, the first one
    passes, and of more than `size` keys the one not seen for longest is forgotten (``evicted`` in the ledger).

    Runs on the thread that brings the event and does not block.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> [event["message"] for event in rx.runner("seq", "6").pipe(op.sample(every=3)).to_list().run()]
    ['1', '4']
    """

    rate: float | None = option(RATE, "Which part of the events passes.", None)
    every: int | None = option(COUNT, "Of how many events one passes.", None)
    key: Sequence[Evaluation] | None = option(
        ListOf(KEY, single=True), "What is sampled as a whole (rate) or counted by itself (every).", None
    )
    size: int = option(COUNT, "How many keys are counted.", 10_000)

    def check(self, scope: Scope) -> None:
        if (self.rate is None) == (self.every is None):
            scope.wrong("say 'rate' or 'every', one of them, for example {rate: 0.1}")
        if self.every == 0:
            scope.child("every").wrong("one of at least one passes")
        if self.size == 0:
            scope.child("size").wrong("at least one key has to be counted")

    def needs(self) -> frozenset[str] | None:
        return fields_read(*(self.key or ()))

    @property
    def independent(self) -> bool:  # type: ignore[override]
        """Whether the event alone decides."""
        return self.rate is not None

    def keyed_by(self) -> Sequence[Evaluation] | None:
        return self.key

    def leaves(self, fields: frozenset[str]) -> bool:
        return True

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        if self.rate is not None:
            source, line = "origin" if code.envelope == "lines" else "event.origin", code.meta("line")
            name = f"({source}.runner, {source}.incarnation, {line})"
            values = [code.value(evaluation) for evaluation in self.key or ()]
            key = (values[0] if len(values) == 1 else f"({', '.join(values)})") if values else name
            part = code.bind(_part_of, "part_of")
            code.write(f"if {part}({key}) >= {self.rate!r}:")
            code.indent()
            code.lose()
            code.dedent()
            return
        turns = code.state(lambda: _Turns(self.size, self.every or 1), "turns")
        emit_verdict(code, f"{turns}.take({code.key(self.key or ())})")


def _part_of(key: Any) -> float:
    """Give a number from 0 to 1 that looks random and is the same for the same key, in each run and on each machine."""
    digest = hashlib.blake2b(canonical(key), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


class _Turns:
    def __init__(self, size: int, every: int) -> None:
        self._every = every
        self._counts: Bounded[int] = Bounded(size, 0)

    def take(self, key: Hashable) -> bool | None:
        """True: it may pass; False: it may not; None: it may, and a key was forgotten for it."""
        count = self._counts.get(key)
        if self._counts.put(key, (count + 1) % self._every):
            return None
        return count == 0
