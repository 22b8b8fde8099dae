"""Virtual time: a scheduler whose clock moves only when it is told to.

reactivex's own virtual scheduler moves its clock ahead by itself after a hundred actions at one moment, and tells time in
binary fractions of a second. This one does neither, so the same actions give the same times, to the microsecond.
"""

from __future__ import annotations

import heapq
import itertools
from datetime import datetime, timedelta
from typing import Any

from reactivex import abc, typing
from reactivex.disposable import Disposable
from reactivex.scheduler.periodicscheduler import PeriodicScheduler
from reactivex.scheduler.scheduleditem import ScheduledItem

__all__ = ["VirtualTime"]

_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


class VirtualTime(PeriodicScheduler):
    """Runs actions on the thread that moves the clock, in the order of their times, and of scheduling where those are equal.

    >>> clock = VirtualTime(datetime(2026, 1, 1))
    >>> _ = clock.schedule_relative(3600.0, lambda scheduler, state: print("after an hour"))
    >>> clock.advance_to(datetime(2026, 1, 1, 2))
    after an hour

    What is to be done now is done at once, or when the action that is being run has returned, as on reactivex's scheduler
    of the current thread. An action that raises ends nothing: its error is put into `errors`.
    """

    def __init__(self, began: datetime) -> None:
        super().__init__()
        self._now = began
        self._entries: list[tuple[datetime, int, ScheduledItem]] = []
        self._order = itertools.count()
        self._running = False
        self.errors: list[Exception] = []

    @property
    def now(self) -> datetime:
        """The time, in UTC without a zone, as reactivex has it."""
        return self._now

    def nanoseconds(self) -> int:
        """Give the time in nanoseconds since 1970."""
        return (self._now - _EPOCH) // _MICROSECOND * 1000

    def schedule(self, action: typing.ScheduledAction[Any], state: Any = None) -> abc.DisposableBase:
        disposable = self.schedule_absolute(self._now, action, state)
        if not self._running:
            self.advance_to(self._now)
        return disposable

    def schedule_relative(
        self, duetime: typing.RelativeTime, action: typing.ScheduledAction[Any], state: Any = None
    ) -> abc.DisposableBase:
        return self.schedule_absolute(self._now + self.to_timedelta(duetime), action, state)

    def schedule_absolute(
        self, duetime: typing.AbsoluteTime, action: typing.ScheduledAction[Any], state: Any = None
    ) -> abc.DisposableBase:
        due = max(self._now, self.to_datetime(duetime))
        item: ScheduledItem = ScheduledItem(self, state, action, due)
        heapq.heappush(self._entries, (due, next(self._order), item))
        return Disposable(item.cancel)

    def advance_to(self, moment: datetime) -> None:
        """Move the clock to a moment, and run what is due until then, at the times at which it is due."""
        while (due := self.next_due()) is not None and due <= moment:
            self.run_next()
        self._now = max(self._now, moment)

    def next_due(self) -> datetime | None:
        """Give when the next action is due, None when there is none."""
        while self._entries and self._entries[0][2].is_cancelled():
            heapq.heappop(self._entries)
        return self._entries[0][0] if self._entries else None

    def run_next(self) -> bool:
        """Move the clock to the next action and run it. False when there is none."""
        if self.next_due() is None:
            return False
        due, _, item = heapq.heappop(self._entries)
        self._now = due
        self._running = True
        try:
            item.invoke()
        except Exception as error:  # one operator's bug must not stop the timers of the others
            self.errors.append(error)
        finally:
            self._running = False
        return True
