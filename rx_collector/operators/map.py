"""map: make another payload of each event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rx_collector.config.options import described, option
from rx_collector.event import Event
from rx_collector.expressions import Expression
from rx_collector.expressions.option import EXPRESSION, Evaluation
from rx_collector.stream.operator import Stage, operator

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["Map"]


@operator("map", summary="Make another payload of each event.", example='map: \'{"who": comm, "what": filename}\'')
@described
class Map(Stage):
    """Make another payload of each event; the envelope stays.

    A Python function gets the `Event` and gives a new payload, or an `Event` that takes its place.
    """

    independent = True

    shorthand: ClassVar[str | None] = "to"

    to: Evaluation = option(EXPRESSION, "The new payload.", example="'{\"who\": comm}'")

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        if isinstance(self.to, Expression):
            code.assign(code.value(self.to))
            return
        code.take_event(f"{code.bind(_as_event, 'as_event')}({code.value(self.to)}, {code.event()})")


def _as_event(result: Any, event: Event) -> Event:
    return result if isinstance(result, Event) else event.replace(result)
