"""Timers: the scheduler for operators that wait, on one thread a pipeline.

reactivex's EventLoopScheduler goes by the wall clock, so a step of it moves every timer; an action that raises kills its
thread without a word; and a disposal at the wrong moment leaves the thread asleep for ever. This one does none of that.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from reactivex import abc, typing
from reactivex.disposable import Disposable
from reactivex.scheduler.periodicscheduler import PeriodicScheduler
from reactivex.scheduler.scheduleditem import ScheduledItem

from rx_collector.log import logger

__all__ = ["TimerScheduler"]

_Entry = tuple[float, int, ScheduledItem]


class TimerScheduler(PeriodicScheduler):
    """Runs actions on the thread ``rx-<name>-timer``, which is started when there is something to wait for.

    Its clock never jumps: wall time at the beginning, and the monotonic clock since. An action that raises is logged. After
    `dispose` nothing more is run, and what is scheduled then is dropped.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._began = datetime.now(UTC), time.monotonic()
        self._changed = threading.Condition()
        self._entries: list[_Entry] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None
        self._disposed = False

    @property
    def now(self) -> datetime:
        """The time, in UTC without a zone, as reactivex has it."""
        wall, monotonic = self._began
        return (wall + timedelta(seconds=time.monotonic() - monotonic)).replace(tzinfo=None)

    def schedule(self, action: typing.ScheduledAction[Any], state: Any = None) -> abc.DisposableBase:
        return self._enqueue(time.monotonic(), action, state)

    def schedule_relative(
        self, duetime: typing.RelativeTime, action: typing.ScheduledAction[Any], state: Any = None
    ) -> abc.DisposableBase:
        return self._enqueue(time.monotonic() + max(0.0, self.to_seconds(duetime)), action, state)

    def schedule_absolute(
        self, duetime: typing.AbsoluteTime, action: typing.ScheduledAction[Any], state: Any = None
    ) -> abc.DisposableBase:
        return self.schedule_relative(self.to_datetime(duetime) - self.now, action, state)

    def _enqueue(self, due: float, action: typing.ScheduledAction[Any], state: Any) -> abc.DisposableBase:
        item: ScheduledItem = ScheduledItem(self, state, action, self.now)
        with self._changed:
            if self._disposed:
                return Disposable()
            heapq.heappush(self._entries, (due, next(self._order), item))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"rx-{self._name}-timer", daemon=True)
                self._thread.start()
            elif self._entries[0][2] is item:
                self._changed.notify()
        return Disposable(lambda: self._cancel(item))

    def _cancel(self, item: ScheduledItem) -> None:
        item.cancel()
        with self._changed:
            while self._entries and self._entries[0][2].is_cancelled():
                heapq.heappop(self._entries)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._disposed and (not self._entries or self._entries[0][0] > time.monotonic()):
                    self._changed.wait(self._entries[0][0] - time.monotonic() if self._entries else None)
                if self._disposed:
                    return
                item = heapq.heappop(self._entries)[2]
            if item.is_cancelled():
                continue
            try:
                item.invoke()
            except Exception as error:  # one operator's bug must not stop the timers of the others
                logger.opt(exception=error).error("a timer of {} failed", self._name)

    def dispose(self) -> None:
        """End the thread; what was scheduled does not happen. Does not block."""
        with self._changed:
            self._disposed = True
            self._entries.clear()
            self._changed.notify()
