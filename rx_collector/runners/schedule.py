"""The schedule of a periodic command: when the next run is due. It knows no clock and no child."""

from __future__ import annotations

import math
import os
from functools import cached_property
from typing import TYPE_CHECKING

from rx_collector.runners.spec import EverySpec

if TYPE_CHECKING:
    from random import Random

__all__ = ["Schedule"]


class Schedule:
    """Runs are due at even distances from the first; so a run that is late makes no later one late.

    >>> schedule = Schedule(EverySpec("10s"), "x", now=100.0)
    >>> schedule.after(104.0), schedule.after(127.0)
    (110.0, 130.0)
    >>> Schedule(EverySpec("10s", overlap="queue"), "x", now=100.0).after(127.0)
    127.0
    """

    def __init__(self, spec: EverySpec, name: str, *, now: float) -> None:
        self._spec = spec
        self._start = now
        self._done = 0  # the number of the last run that has begun or was left out
        self._seed = f"{name}@{os.uname().nodename}"
        self.skipped = 0

    @property
    def due(self) -> float:
        """When the run after the last one is due, without jitter."""
        return self._start + (self._done + 1) * self._spec.interval

    @property
    def replaces(self) -> bool:
        """Whether a run is stopped when the next is due."""
        return self._spec.overlap == "replace"

    def after(self, now: float) -> float:
        """Give the time at which the next run begins, now that the last one has ended."""
        if now <= self.due or self._spec.overlap != "skip":
            # Runs that were due in the meantime become one.
            self._done = max(self._done + 1, math.floor((now - self._start) / self._spec.interval))
            at = max(now, self._start + self._done * self._spec.interval)
        else:
            number = math.ceil((now - self._start) / self._spec.interval)
            self.skipped += number - self._done - 1
            self._done = number
            at = self._start + number * self._spec.interval
        return at + self._random.uniform(0.0, self._spec.jitter) if self._spec.jitter else at

    @cached_property
    def _random(self) -> Random:
        from random import Random

        return Random(self._seed)
