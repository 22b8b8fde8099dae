"""flat_map: make several events of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rx_collector.config.options import described, option
from rx_collector.event import Event
from rx_collector.expressions.option import EXPRESSION, Evaluation
from rx_collector.stream.operator import Stage, operator

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["FlatMap", "emit_parts"]


@operator("flat_map", summary="Make any number of events of each event.", example="flat_map: items")
@described
class FlatMap(Stage):
    """Make any number of events of each event: one for each payload in a list.

    A Python function gets the `Event` and gives an iterable of payloads or events. An event of which none is made
    counts as filtered; where several are made, those beyond the first count as made, and their ids end in ``.0``,
    ``.1`` and so on. The list is complete before the first of its events goes on, so a function that fails half way
    rejects its event and nothing of it is sent.
    """

    independent = True

    shorthand: ClassVar[str | None] = "to"
    nests: ClassVar[bool] = True

    to: Evaluation = option(EXPRESSION, "The list of payloads.", example="items")

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        emit_parts(code, code.value(self.to))


def emit_parts(code: SegmentCode, source: str) -> None:
    """Write a loop over the events that are made of the payloads in a list; the rest of the segment is within it."""
    items = code.temporary()
    code.write(f"{items} = {code.bind(_events_of, 'events_of')}({source}, {code.event()})")
    code.write(f"if not {items}:")
    code.indent()
    code.lose()
    code.dedent()
    code.write(f"{code.counter('made')} += len({items}) - 1")
    code.nest(items)


def _events_of(items: Any, event: Event) -> list[Event]:
    if items is None:
        return []
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        raise TypeError(f"a list of payloads is wanted, not a {type(items).__name__}")
    parts = []
    prefix = f"{event.part}." if event.part else ""
    for number, item in enumerate(items):
        payload = item.data if item is event else item
        parts.append(payload if isinstance(payload, Event) else event.replace(payload, f"{prefix}{number}"))
    return parts
