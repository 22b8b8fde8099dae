"""retry: how often, and how long, a sink that fails is tried again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

from rx_collector.config.options import COUNT, DURATION, DURATION_RANGE, Spec, described, option

__all__ = ["ON_FAILURE", "Retry"]

#: What becomes of events that a sink did not take, once it is not tried again.
ON_FAILURE: Final = ("fail", "dead_letter", "drop")


@described
class Retry(Spec):
    """How often, and how long, a sink that fails is tried again. Progress, if only of one event, begins a new row of tries.

    Only what has not arrived is written again, in order, and nothing upstream runs again. Waiting ends at once when the
    branch is cut short.
    """

    name: ClassVar[str] = "retry"
    example: ClassVar[str] = "retry: {limit: 5, backoff: 100ms..10s}"
    shorthand: ClassVar[str | None] = "limit"

    limit: int = option(COUNT, "The most tries in a row after the first; 0: none.", 5)
    backoff: tuple[float, float] = option(
        DURATION_RANGE,
        "The shortest and the longest wait; it doubles, and each is shortened by up to a half.",
        (0.1, 10.0),
    )
    within: float | None = option(DURATION, "Give up when a row of tries has lasted this long; none: no limit.", None)

    def waits(self, seed: str) -> Iterator[float]:
        """Give the seconds to wait before each try of a row.

        Waits need not be unpredictable, only unlike those of the neighbours, so the same `seed` gives the same ones.

        >>> [round(wait, 2) for wait in Retry(limit=3, backoff="1s..3s").waits("file")] == [
        ...     round(wait, 2) for wait in Retry(limit=3, backoff="1s..3s").waits("file")]
        True
        """
        from random import Random

        jitter = Random(seed)
        low, high = self.backoff
        for _ in range(self.limit):
            yield low * jitter.uniform(0.5, 1.0)
            low = min(high, low * 2)
