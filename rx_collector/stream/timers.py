"""Timers: the scheduler for operators that wait, on one thread a pipeline.

It is a scheduler of reactivex, to which it is made known where that is imported. Our own operators need no more of it
than is here, so a run of a file does not import reactivex for the sake of a timer.

reactivex's EventLoopScheduler goes by the wall clock, so a step of it moves every timer; an action that raises kills its
thread without a word; and a disposal at the wrong moment leaves the thread asleep for ever. This one does none of that.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from datetime import UTC, datetime, timedelta
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from rx_collector.log import logger
from rx_collector.stream.disposable import Disposable

__all__ = ["TimerScheduler"]

if TYPE_CHECKING:
    from reactivex import abc, typing
    from reactivex.scheduler.periodicscheduler import PeriodicScheduler as _Scheduler
else:
    _Scheduler = object


class _Item(Disposable):
    """An action that was scheduled. What it gives back, if that can be disposed, is disposed with it."""

    def __init__(self, scheduler: TimerScheduler, action: typing.ScheduledAction[Any], state: Any) -> None:
        self.cancelled = False
        self._scheduler = scheduler
        self._action = action
        self._state = state
        self._lock = threading.Lock()
        self._following: abc.DisposableBase | None = None

    def invoke(self) -> None:
        following = self._action(self._scheduler, self._state)
        if following is None or not hasattr(following, "dispose"):
            return
        with self._lock:
            if not self.cancelled:
                self._following = following
                return
        following.dispose()

    def dispose(self) -> None:
        with self._lock:
            cancelled, self.cancelled = self.cancelled, True
            following, self._following = self._following, None
        if following is not None:
            following.dispose()
        if not cancelled:
            self._scheduler.forget()


class TimerScheduler(_Scheduler):
    """Runs actions on the thread ``rx-<name>-timer``, which is started when there is something to wait for.

    Its clock never jumps: wall time at the beginning, and the monotonic clock since. An action that raises is logged. After
    `dispose` nothing more is run, and what is scheduled then is dropped.
    """

    def __init__(self, name: str) -> None:
        if TYPE_CHECKING:
            super().__init__()
        self._name = name
        self._began = datetime.now(UTC), time.monotonic()
        self._changed = threading.Condition()
        self._entries: list[tuple[float, int, _Item]] = []
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
        if isinstance(duetime, timedelta):
            duetime = duetime.total_seconds()
        return self._enqueue(time.monotonic() + max(0.0, duetime), action, state)

    def schedule_absolute(
        self, duetime: typing.AbsoluteTime, action: typing.ScheduledAction[Any], state: Any = None
    ) -> abc.DisposableBase:
        return self.schedule_relative(self.to_datetime(duetime) - self.now, action, state)

    def _enqueue(self, due: float, action: typing.ScheduledAction[Any], state: Any) -> abc.DisposableBase:
        item = _Item(self, action, state)
        with self._changed:
            if self._disposed:
                return item
            heapq.heappush(self._entries, (due, next(self._order), item))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"rx-{self._name}-timer", daemon=True)
                self._thread.start()
            elif self._entries[0][2] is item:
                self._changed.notify()
        return item

    def forget(self) -> None:
        """Let go of what was cancelled, as far as it comes next."""
        with self._changed:
            while self._entries and self._entries[0][2].cancelled:
                heapq.heappop(self._entries)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Give what else a scheduler of reactivex can do, made from the above."""
            from reactivex.scheduler.periodicscheduler import PeriodicScheduler

            found = getattr(PeriodicScheduler, name)
            return MethodType(found, self) if isinstance(found, FunctionType) else found

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._disposed and (not self._entries or self._entries[0][0] > time.monotonic()):
                    self._changed.wait(self._entries[0][0] - time.monotonic() if self._entries else None)
                if self._disposed:
                    return
                item = heapq.heappop(self._entries)[2]
            if item.cancelled:
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
