"""The restart policy: whether, and after how long, a child that ended is started again. It knows no clock and no child."""

from __future__ import annotations

from collections import deque

from rx_collector.runners.jitter import Jitter
from rx_collector.runners.spec import RestartSpec
from rx_collector.units import format_duration

__all__ = ["GaveUp", "RestartPolicy"]

_MOST_FAILED_STARTS = 5


class GaveUp(Exception):
    """There are no more restarts; the text says why."""


class RestartPolicy:
    """Decides after each end of a child. `name` seeds the jitter, so that equal runs wait equally long.

    >>> policy = RestartPolicy(RestartSpec("on-failure", backoff="1s..4s"), "x")
    >>> policy.after(failed=False, lasted=0.5, now=0.0) is None
    True
    >>> [round(policy.after(failed=True, lasted=0.5, now=0.0)) for _ in range(4)]
    [1, 2, 4, 4]
    """

    def __init__(self, spec: RestartSpec, name: str) -> None:
        self._spec = spec
        self._wait = 0.0
        self._restarts: deque[float] = deque()  # when, within the time of the limit
        self._failed_starts = 0
        self._jitter = Jitter(name)

    def after(self, *, failed: bool, lasted: float, now: float) -> float | None:
        """Give the seconds to wait before the next start, None when there is none to be. Raises GaveUp.

        `failed` tells whether the end was a failure, `lasted` how long the child ran, `now` is any monotonic clock.
        """
        self._failed_starts = 0
        when = self._spec.when
        if when == "never" or (when == "on-failure" and not failed):
            return None
        healthy = self._spec.backoff[1] if self._spec.healthy is None else self._spec.healthy
        return self._restart(now, begin_anew=lasted >= healthy)

    def after_failed_start(self, *, now: float) -> float | None:
        """The same for a child that could not be started although one could be before."""
        if self._spec.when == "never":
            return None
        self._failed_starts += 1
        if self._failed_starts >= _MOST_FAILED_STARTS:
            raise GaveUp(f"it could not be started {_MOST_FAILED_STARTS} times in a row")
        return self._restart(now, begin_anew=False)

    def _restart(self, now: float, *, begin_anew: bool) -> float:
        if self._spec.limit is not None:
            most, window = self._spec.limit
            while self._restarts and self._restarts[0] <= now - window:
                self._restarts.popleft()
            if len(self._restarts) >= most:
                raise GaveUp(f"{most} restarts in {format_duration(window)} are the limit")
            self._restarts.append(now)
        low, high = self._spec.backoff
        self._wait = low if begin_anew or not self._wait else min(high, self._wait * 2)
        return self._wait * self._jitter.between(0.8, 1.0)
