"""log: write a line into the log for some of the events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rx_collector.config.options import COUNT, DURATION, Choice, Scope, described, option
from rx_collector.expressions.option import EXPRESSION, Evaluation, fields_read
from rx_collector.log import logger
from rx_collector.operators._state import SET_BACK
from rx_collector.stream.operator import Stage, operator

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["Log"]


@operator(
    "log",
    summary="Write a line into the log for events, within a limit.",
    example="log: {show: \"f'{comm} failed'\", level: warning, count: 5, time: 1m}",
)
@described
class Log(Stage):
    """Write the value of an expression into the log, at most `count` times in each `time`; the events go on unchanged.

    How many lines were left out is said with the first one of the next time, and noted as ``unlogged`` in the ledger.
    Time is when the events were read. Runs on the thread that brings the event, which the log may hold up.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> rx.runner("echo", "x").pipe(op.log("f'seen {message}'", level="debug")).run()["message"]
    'x'
    """

    shorthand: ClassVar[str | None] = "show"

    show: Evaluation = option(EXPRESSION, "What to log of an event.", example="this")
    level: str = option(Choice("debug", "info", "warning", "error"), "How loud.", "info")
    count: int = option(COUNT, "How many lines.", 10)
    time: float = option(DURATION, "In which time.", 1.0)

    def check(self, scope: Scope) -> None:
        for name in ("count", "time"):
            if getattr(self, name) == 0:
                scope.child(name).wrong("it must be more than nothing")

    def needs(self) -> frozenset[str] | None:
        return fields_read(self.show)

    def leaves(self, fields: frozenset[str]) -> bool:
        return True

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        limit = code.state(lambda: _Limit(self.count, round(self.time * 1e9), self.level.upper()), "limit")
        value = code.value(self.show)
        code.write(f"if {limit}.room({code.observed()}):")
        code.write(f"    {limit}.write({value})")
        code.write("else:")
        code.write(f"    {code.counter('unlogged')} += 1")


class _Limit:
    def __init__(self, count: int, nanoseconds: int, level: str) -> None:
        self._count = count
        self._nanoseconds = nanoseconds
        self._level = level
        self._since: int | None = None
        self._written = 0
        self._left_out = 0

    def room(self, now: int) -> bool:
        if self._since is None or not -SET_BACK < now - self._since < self._nanoseconds:
            self._since, self._written = now, 0
        if self._written < self._count:
            self._written += 1
            return True
        self._left_out += 1
        return False

    def write(self, value: object) -> None:
        left_out, self._left_out = self._left_out, 0
        more = f" ({left_out:,} more like this were not logged)" if left_out else ""
        logger.log(self._level, "{}{}", value, more)
