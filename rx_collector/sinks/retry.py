"""retry: how often, and how long, a sink that fails is tried again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from rx_collector.config.options import COUNT, DURATION, Kind, Scope, Spec, option
from rx_collector.units import parse_duration

__all__ = ["ON_FAILURE", "Retry"]

#: What becomes of events that a sink did not take, once it is not tried again.
ON_FAILURE: Final = ("fail", "dead_letter", "drop")


class _Backoff(Kind):
    wanted = "a range of durations such as 100ms..10s"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, list | tuple) and len(value) == 2:
            low, high = value
        elif isinstance(value, str):
            low, dots, high = value.partition("..")
            high = high if dots else low
        elif isinstance(value, int | float) and not isinstance(value, bool):
            low = high = value
        else:
            return self._wanted(value, scope)
        try:
            bounds = (parse_duration(low), parse_duration(high))
        except ValueError as error:
            return scope.wrong(f"{self.wanted} is wanted here: {error}")
        if not 0 < bounds[0] <= bounds[1]:
            return scope.wrong(f"{value!r} is no range; the lower duration comes first and is more than nothing")
        return bounds

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "number"]}


@dataclass(frozen=True)
class Retry(Spec):
    """How often, and how long, a sink that fails is tried again. Progress, if only of one event, begins a new row of tries.

    Only what has not arrived is written again, in order, and nothing upstream runs again. Waiting ends at once when the
    branch is cut short.
    """

    name: ClassVar[str] = "retry"
    shorthand: ClassVar[str | None] = "limit"

    limit: int = option(COUNT, "The most tries in a row after the first; 0: none.", 5)
    backoff: tuple[float, float] = option(
        _Backoff(), "The shortest and the longest wait; it doubles, and each is shortened by up to a half.", (0.1, 10.0)
    )
    within: float | None = option(DURATION, "Give up when a row of tries has lasted this long; none: no limit.", None)

    def waits(self, seed: str) -> Iterator[float]:
        """Give the seconds to wait before each try of a row.

        Waits need not be unpredictable, only unlike those of the neighbours, so the same `seed` gives the same ones.

        >>> [round(wait, 2) for wait in Retry(limit=3, backoff="1s..3s").waits("file")] == [
        ...     round(wait, 2) for wait in Retry(limit=3, backoff="1s..3s").waits("file")]
        True
        """
        jitter = random.Random(seed)
        low, high = self.backoff
        for _ in range(self.limit):
            yield low * jitter.uniform(0.5, 1.0)
            low = min(high, low * 2)
