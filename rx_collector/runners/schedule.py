"""The schedule of a periodic command: when the next run is due, and when it is said that one was left out. It knows no
clock and no child.
"""

from __future__ import annotations

import math

from rx_collector.runners.jitter import Jitter
from rx_collector.runners.spec import EverySpec

__all__ = ["Reminder", "Schedule"]


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
        self._jitter = Jitter(name)
        self.skipped = 0

    @property
    def due(self) -> float:
        """When the run after the last one is due, without jitter."""
        return self._start + (self._done + 1) * self._spec.interval

    @property
    def interval(self) -> float:
        """The time from start to start, in seconds."""
        return self._spec.interval

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
        return at + self._jitter.between(0.0, self._spec.jitter) if self._spec.jitter else at


class Reminder:
    """Says of what happens again and again how often it did: at once, then after a minute, and each time after twice as
    long as before, up to an hour. After an hour without it, it is news again.

    >>> reminder = Reminder()
    >>> [now for now in range(1000) if reminder.happened(now)]
    [0, 60, 180, 420, 900]
    >>> reminder.happened(903, 2), reminder.happened(1860)
    (0, 102)
    """

    FIRST, MOST = 60.0, 3600.0  # seconds

    def __init__(self) -> None:
        self._count = 0  # not yet said
        self._wait = self.FIRST
        self._next = self._last = -math.inf

    def happened(self, now: float, count: int = 1) -> int:
        """Take note that it happened so often. Gives how often it did since it was said last, 0 where that can wait."""
        if now - self._last >= self.MOST:
            self._wait = self.FIRST
            self._next = now
        self._last = now
        self._count += count
        if now < self._next:
            return 0
        self._next = now + self._wait
        self._wait = min(self._wait * 2, self.MOST)
        count, self._count = self._count, 0
        return count
