"""tap: look at events as they pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rx_collector.config.options import described, option
from rx_collector.expressions import Expression
from rx_collector.expressions.option import EXPRESSION, Evaluation
from rx_collector.log import logger
from rx_collector.stream.operator import Stage, operator

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["Tap"]


@operator("tap", summary="Look at events as they pass.", example="tap: f'{comm} opened {filename}'")
@described
class Tap(Stage):
    """Log the value of an expression for each event, or call a Python function with it; the event goes on unchanged.

    Meant for looking at a pipeline while it is made: it is the one operator that logs each event.
    """

    shorthand: ClassVar[str | None] = "show"

    show: Evaluation = option(EXPRESSION, "What to log of each event.", example="this")

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        source = code.value(self.show)
        if isinstance(self.show, Expression):
            source = f"{code.bind(_log, 'log')}({source})"
        code.write(source)


def _log(value: object) -> None:
    logger.info("tap: {}", value)
