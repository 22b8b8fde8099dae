"""skip: leave out the first events."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, ClassVar

from rx_collector.config.options import COUNT, described, option
from rx_collector.stream.operator import Stage, operator

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["Skip"]


@operator("skip", summary="Leave out the first events.", example="skip: 2")
@described
class Skip(Stage):
    """Leave out the first `count` events of the stream, counted as filtered.

    The header lines of each start of a child are left out by its runner's ``skip_lines``. Runs on the thread that brings the
    event and does not block.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> rx.runner("seq", "3").pipe(op.skip(2)).run()["message"]
    '3'
    """

    shorthand: ClassVar[str | None] = "count"

    count: int = option(COUNT, "How many events.", example="2")

    def needs(self) -> frozenset[str] | None:
        return frozenset()

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        number = code.state(count, "number")
        code.write(f"if {code.bind(next, 'next')}({number}) < {self.count}:")
        code.indent()
        code.lose()
        code.dedent()
