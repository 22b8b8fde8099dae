"""The pace at which a consumer takes events: each batch as it comes while few come, and several at once while many do."""

from __future__ import annotations

from typing import Final

__all__ = ["Pace"]

_MANY: Final = 5_000  # events a second
_SHARE: Final = 1 / 8  # of the latest taking in the averages
_SILENCE: Final = 0.005  # seconds between two takings after which what was before says no more


class Pace:
    """How long a consumer lets more events come before it takes them.

    A thread that takes an event wakes up for it, has to wait for the interpreter, and calls all that follows: some tens of
    microseconds, for one event as for a hundred. So while more than 5,000 events a second come, for ten takings or so,
    they are taken every `pause` seconds, and else each as soon as it is there; always so without a pause. For one thread.

    >>> pace = Pace(0.002)
    >>> for moment in range(1, 21):
    ...     pace.took(1, moment / 1000)
    >>> pace.until
    0.0
    >>> for moment in range(1, 21):
    ...     pace.took(50, 0.02 + moment / 1000)
    >>> round(pace.until, 6)
    0.042
    """

    __slots__ = ("_count", "_gap", "_last", "_pause", "until")

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._last = 0.0
        self._gap = _SILENCE  # seconds between two takings, on average
        self._count = 0.0  # events of one, on average
        #: The moment before which no more are taken, unless there are many or none will follow; 0 for at once.
        self.until = 0.0

    def took(self, count: int, now: float) -> None:
        """So many events were taken at this moment, on the monotonic clock."""
        gap, self._last = now - self._last, now
        if gap >= _SILENCE:
            self._gap, self._count, self.until = _SILENCE, 0.0, 0.0
            return
        self._gap += (gap - self._gap) * _SHARE
        self._count += (count - self._count) * _SHARE
        self.until = now + self._pause if self._count > self._gap * _MANY else 0.0
