"""What several processes can share of a row of stages, and how lines are shared out to them.

Where each stage is independent, any process can do any batch. One that keeps something by a key (`Stage.keyed_by`) can be
shared, too, where all events of a key go to the same process: then the key is read here, ahead of everything else, with as
few stages as it is made by. That has to cost less than what is shared, so it is done for keys that are read from lines of
JSON, or from lines as they are.

Of stages with several keys those values count that are in all of them: events with the same `pid` and `comm` have the same
`pid`, so by that the events of each of both keys are together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, TypeAlias

from rx_collector.config.options import described
from rx_collector.expressions import Expression
from rx_collector.expressions.option import OF_LINES, fields_read
from rx_collector.frozen import frozen
from rx_collector.stream.flow import Batch
from rx_collector.stream.operator import Stage
from rx_collector.stream.segment import Segment, Step, Taken, compile_segment, taken_of

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["Router", "Share", "Sharing", "share_of", "why_not_by_key"]


@frozen
class Sharing:
    """How lines are shared out by a key: the values that make it, and the stages that these are read with."""

    key: tuple[Expression, ...]
    steps: tuple[Step, ...] = ()


@frozen
class Share:
    """How many of the first stages of a row are shared, and by which key, if any."""

    count: int
    by: Sharing | None = None


#: The stages that something is made by, by index.
_Steps: TypeAlias = dict[int, Step]
#: Values of a key. One that is read at two places is the same where it is made by the same stages.
_Values: TypeAlias = dict[tuple[Expression, tuple[int, ...]], _Steps]


def share_of(row: Sequence[Step]) -> Share | None:
    """Give what of a row of stages can be shared; None where not even the first can be."""
    by_key = _shared_by_key(row)
    if by_key is not None:
        return by_key
    count = len([*takewhile(lambda step: step.operator.independent, row)])
    return Share(count) if count else None


def _shared_by_key(row: Sequence[Step]) -> Share | None:
    count = 0
    common: _Values = {}
    for index, step in enumerate(row):
        if not step.operator.independent:
            values = _values_of(row, index)
            both = {value: steps for value, steps in values.items() if not common or value in common}
            if not both:
                break
            common = both
        count = index + 1
    if not common:
        return None
    steps: _Steps = {}
    for made_by in common.values():
        steps |= made_by
    return Share(count, Sharing(tuple(value for value, _ in common), tuple(steps[index] for index in sorted(steps))))


def why_not_by_key(row: Sequence[Step], index: int) -> str:
    """Say why a stage with a key is not shared by it, in words."""
    stage = row[index].operator
    key = (stage.keyed_by() if isinstance(stage, Stage) else None) or ()
    if not all(isinstance(value, Expression) for value in key):
        return "a Python function makes its key"
    fields = frozenset(field for value in key if isinstance(value, Expression) for field in value.fields or ())
    _, hidden_by = _made_by(row[:index], fields)
    if hidden_by is None:
        return "its key is not made of fields"
    return f"its key is read from what {hidden_by.label} makes, which costs as much as what could be shared"


def _values_of(row: Sequence[Step], index: int) -> _Values:
    """Give the values of the key of a stage that can be read ahead."""
    stage = row[index].operator
    key = stage.keyed_by() if isinstance(stage, Stage) else None
    values: _Values = {}
    for value in key or ():
        if not isinstance(value, Expression):
            return {}  # a user's function may keep something by itself
        if value.fields and value.metas <= OF_LINES:
            made_by, hidden_by = _made_by(row[:index], value.fields)
            if hidden_by is None:
                values[value, tuple(made_by)] = made_by
    return values


def _made_by(before: Sequence[Step], fields: frozenset[str]) -> tuple[_Steps, Step | None]:
    """Give the stages that these fields are made by, last one first, and the one for which they cannot be read ahead."""
    made_by: _Steps = {}
    for index in reversed(range(len(before))):
        step = before[index]
        stage = step.operator
        assert isinstance(stage, Stage)
        if stage.leaves(fields):
            continue
        reader = stage.key_reader()
        if reader is None:
            return made_by, step
        instead, read = reader
        made_by[index] = Step(instead, step.label, step.place)
        fields |= read
    return made_by, None


@described
class _Route(Stage):
    """The end of the loop that reads keys: it takes down which lane an event goes to."""

    name = "route"

    router: Router
    key: tuple[Expression, ...]

    def needs(self) -> frozenset[str] | None:
        return fields_read(*self.key)

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        lanes, first = code.temporary(), code.temporary()
        code.prologue.append(f"{lanes} = {code.bind(self.router.begin, 'begin')}(batch)")
        code.prologue.append(f"{first} = {'batch.first' if code.envelope == 'lines' else '1'}")
        number = code.number()
        key = code.key(self.key)
        # As the part of a tuple, since numbers are their own hashes, and those in use may all be even.
        code.write(f"{lanes}[{number} - {first}] = hash(({key},)) % {self.router.count}")
        code.absorbed = True


class Router:
    """Finds the lane, from 0 to `count` - 1, for each event of a batch: the same for all with the same key.

    What has no key, since it is no JSON or an expression fails for it, gets lane 0: there it fails again, and is rejected.
    """

    def __init__(self, sharing: Sharing, count: int) -> None:
        self.count = count
        self._steps = (*sharing.steps, Step(_Route(self, sharing.key), "route"))
        self._segments: dict[Taken, Segment] = {}
        self._lanes = bytearray()

    def begin(self, batch: Batch) -> bytearray:
        """Make ready for a batch. The loop calls it."""
        self._lanes = bytearray(len(batch))
        return self._lanes

    def lanes(self, batch: Batch) -> bytes:
        """Give the lane of each event of a batch."""
        takes = taken_of(batch)
        segment = self._segments.get(takes)
        if segment is None:
            segment = self._segments[takes] = compile_segment(self._steps, takes)
        segment.run(batch, _go_on)
        return bytes(self._lanes)


def _go_on(error: Exception, values: dict[str, Any]) -> bool:
    error.__traceback__ = None
    return False
