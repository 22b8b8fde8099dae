"""A chain: a row of operators attached before an observer, neighbouring stages as one loop.

The operators of a file are a `Chain` when it runs. Who composes in Python has an `EventStream`, which is one, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rx_collector.errors import RxCollectorError
from rx_collector.ledger import Node
from rx_collector.stream.flow import Absorber, BatchObserver, Connection, Context, Source
from rx_collector.stream.operator import BatchOperator, Operator, Stage
from rx_collector.stream.segment import Compiled, SegmentObserver, Step
from rx_collector.switches import is_on

if TYPE_CHECKING:
    from rx_collector.stream.sharing import Share

__all__ = ["Chain", "attach", "rows_of", "shared_by"]

_MOST_NESTED = 8  # loops within the loop of a segment, each of which takes two blocks


class Chain:
    """A source and the operators behind it. Immutable; each connection starts anew."""

    def __init__(self, source: Source, steps: Sequence[Step] = ()) -> None:
        self.source = source
        self.steps = tuple(steps)

    def then(self, operator: Operator, label: str | None = None, place: str = "") -> Chain:
        """Give the chain with one more operator behind it."""
        label = label or f"operators[{len(self.steps)}] {operator.name}"
        return Chain(self.source, (*self.steps, Step(operator, label, place)))

    def connect(self, observer: BatchObserver, context: Context) -> Connection:
        """Start it with an observer of batches (lists of `Event`). What goes wrong goes to ``observer.on_error``."""
        nodes = [Node(step.label) for step in self.steps]
        for node, step in zip(nodes, self.steps, strict=True):
            node.place = step.place
        with context.ledger.lock:
            context.pipeline.operators[0:0] = nodes
        if nodes:
            nodes[0].first = True
        parts: list[Connection] = []
        workers = context.workers if self.source.emits_lines else 1
        head = attach(self.steps, nodes, observer, context, parts, workers=workers)
        if head is None:
            return _Connected(parts)
        if self.source.emits_lines and not (self.steps and isinstance(self.steps[0].operator, Stage)):
            head = SegmentObserver((), (), head, context)
        return _Connected([self.source.connect(head, context), *parts])


class _Connected(Connection):
    """The source of a chain, if it was started, and those of its operators that have something to let go."""

    def __init__(self, parts: Sequence[Connection]) -> None:
        self._parts = parts

    def stop(self) -> None:
        """Stop the source, and what else an operator reads; the others end when what comes before them does."""
        for part in self._parts:
            part.stop()

    def dispose(self) -> None:
        """End them in the order of the flow."""
        for part in self._parts:
            part.dispose()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the threads and processes of all of them, for each at most `timeout` seconds."""
        over = [part.wait(timeout) for part in self._parts]
        return all(over)


def attach(
    steps: Sequence[Step],
    nodes: Sequence[Node],
    observer: BatchObserver,
    context: Context,
    parts: list[Connection],
    compiled: Compiled | None = None,
    workers: int = 1,
) -> BatchObserver | None:
    """Give the observer that stands before all these operators, and put into `parts` those that have to be let go.

    So many `workers` share the first of them, as far as they can be shared.

    One that cannot be made ready tells its error to what follows it; then there is none, and `parts` has what was begun.
    """
    head = observer
    share = shared_by(steps, workers)
    try:
        for row in reversed(rows_of(steps, workers)):
            operator = steps[row.start].operator
            if isinstance(operator, BatchOperator):
                head = operator.attach(head, context, nodes[row.start])
                if context.meter is not None:
                    closing = ("end_absorbing",) if isinstance(head, Absorber) else ()
                    key = context.pipeline.name, nodes[row.start].name
                    context.meter.watch(head, key, "on_batch", "on_completed", *closing)
                if isinstance(head, Connection):
                    parts.insert(0, head)
            else:
                here = slice(row.start, row.stop)
                shared = None if compiled is None else (compiled, row.start)
                to_bytes = compiled is None and row.stop == len(steps)  # then a sink is next, most probably
                if share is not None and row == range(share.count):
                    from rx_collector.stream.workers import Workers

                    head = Workers(workers, steps[here], nodes[here], head, context, by=share.by, to_bytes=to_bytes)
                    parts.insert(0, head)
                    continue
                head = SegmentObserver(steps[here], nodes[here], head, context, shared, to_bytes=to_bytes)
    except RxCollectorError as error:
        head.on_error(error)
        return None
    return head


def shared_by(steps: Sequence[Step], workers: int) -> Share | None:
    """Give what of the first row of stages so many workers share, and how; None where there is nothing."""
    if workers < 2 or not steps or not is_on("workers"):
        return None
    from rx_collector.stream.sharing import share_of

    first_row = steps[: rows_of(steps)[0].stop]
    return share_of(first_row) if isinstance(first_row[0].operator, Stage) else None


def rows_of(steps: Sequence[Step], workers: int = 1) -> list[range]:
    """Give the index ranges of what is attached as one: rows of stages, and each batch operator alone.

    What so many `workers` share is a row by itself.
    """
    ranges: list[range] = []
    nested = 0
    share = shared_by(steps, workers)
    shared = 0 if share is None else share.count
    for index, step in enumerate(steps):
        stage = isinstance(step.operator, Stage)
        nests = stage and step.operator.nests  # type: ignore[attr-defined]
        if index == shared:
            ranges.append(range(index, index + 1))
            nested = int(nests)
        elif stage and ranges and isinstance(steps[index - 1].operator, Stage) and nested + nests <= _MOST_NESTED:
            ranges[-1] = range(ranges[-1].start, index + 1)
            nested += nests
        else:
            ranges.append(range(index, index + 1))
            nested = int(nests)
    return ranges
