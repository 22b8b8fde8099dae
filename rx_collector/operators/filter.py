"""filter: let an event pass or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rx_collector.config.options import described, option
from rx_collector.expressions import Expression
from rx_collector.expressions.option import CONDITION, Evaluation, fields_read
from rx_collector.stream.operator import Stage, operator

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["Filter", "Where"]


@operator(
    "filter",
    summary="Let pass the events for which a condition is true.",
    example='filter: uid != 0 and not filename.startswith("/usr/bin/dpkg")',
)
@described
class Filter(Stage):
    """Let pass the events for which a condition is true; the others are counted as filtered."""

    independent = True

    shorthand: ClassVar[str | None] = "where"

    where: Evaluation = option(CONDITION, "The condition.", example="uid != 0")

    def needs(self) -> frozenset[str] | None:
        return fields_read(self.where)

    def leaves(self, fields: frozenset[str]) -> bool:
        return True

    def implies(self) -> bytes | None:
        text = self.where.implied if isinstance(self.where, Expression) else None
        if text is None or not text.isascii() or not text.isprintable() or '"' in text or "\\" in text:
            return None  # it could be written in several ways without a backslash, or cannot be without one
        return f'"{text}"'.encode()

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        code.pass_if(code.value(self.where))


@operator("where", summary="The same as filter.", example="where: uid != 0")
@described
class Where(Filter):
    """Let pass the events for which a condition is true; another name for `filter`."""
