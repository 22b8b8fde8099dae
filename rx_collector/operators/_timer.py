"""A timer of an operator: one action at one time, by the clock of the subscription."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rx_collector.stream.flow import Context

if TYPE_CHECKING:
    from reactivex.abc import DisposableBase, SchedulerBase

__all__ = ["Timer", "nanoseconds"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nanoseconds(clock: SchedulerBase) -> int:
    """Give the time of a scheduler in nanoseconds since 1970."""
    now = clock.now  # some schedulers say UTC, others mean it
    return ((now if now.tzinfo else now.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1) * 1000


class Timer:
    """Calls `action` on the scheduler's thread, with `lock` held. All methods want the caller to hold `lock`, too."""

    def __init__(self, context: Context, lock: Any, action: Callable[[], None]) -> None:
        self._context = context
        self._lock = lock
        self._action = action
        self._pending: DisposableBase | None = None
        self._at = 0
        self._over = False

    def now(self) -> int:
        """Give the time, in nanoseconds since 1970."""
        return nanoseconds(self._context.clock())

    def at(self, moment: int) -> None:
        """See that the action is called no later than at that time, once."""
        if self._over or (self._pending is not None and self._at <= moment):
            return
        self.cancel()
        self._at = moment
        wait = timedelta(microseconds=max(0, -((self.now() - moment) // 1000)))
        self._pending = self._context.clock().schedule_relative(wait, self._due)

    def cancel(self) -> None:
        """Forget what was to be called."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.dispose()

    def close(self) -> None:
        """Call nothing any more. Needs no lock."""
        self._over = True
        self.cancel()

    def _due(self, clock: SchedulerBase, state: Any = None) -> None:
        with self._lock:
            self._pending = None
            if not self._over:
                self._action()
