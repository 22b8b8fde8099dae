"""A chain: a row of operators attached before an observer, neighbouring stages as one loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from rx_collector.errors import RxCollectorError
from rx_collector.ledger import Node
from rx_collector.stream.flow import Absorber, BatchObserver, Connection, Context
from rx_collector.stream.operator import BatchOperator, Stage
from rx_collector.stream.segment import Segment, SegmentObserver, Step
from rx_collector.stream.switches import is_on
from rx_collector.stream.workers import Workers

__all__ = ["Compiled", "attach", "rows_of", "shared_by"]

_MOST_NESTED = 8  # loops within the loop of a segment, each of which takes two blocks

#: The loops of a chain by where they begin and what they take. Chains of the same steps can share them.
Compiled: TypeAlias = dict[tuple[int, str], Segment]


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
                if row.stop == shared_by(steps, workers):
                    head = Workers(workers, steps[here], nodes[here], head, context, to_bytes=to_bytes)
                    parts.insert(0, head)
                    continue
                head = SegmentObserver(steps[here], nodes[here], head, context, shared, to_bytes=to_bytes)
    except RxCollectorError as error:
        head.on_error(error)
        return None
    return head


def shared_by(steps: Sequence[Step], workers: int) -> int:
    """Give how many of the first operators so many workers share: the stages of the first row that are independent."""
    if workers < 2 or not is_on("workers"):
        return 0
    count = nested = 0
    for step in steps:
        stage = step.operator
        if not isinstance(stage, Stage) or not stage.independent or nested + stage.nests > _MOST_NESTED:
            break
        count += 1
        nested += stage.nests
    return count


def rows_of(steps: Sequence[Step], workers: int = 1) -> list[range]:
    """Give the index ranges of what is attached as one: rows of stages, and each batch operator alone.

    What so many `workers` share is a row by itself.
    """
    ranges: list[range] = []
    nested = 0
    shared = shared_by(steps, workers)
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
