"""timeout and heartbeat: what happens when nothing comes."""

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import ClassVar

from rx_collector.config.options import BOOLEAN, DURATION, Scope, described, option
from rx_collector.errors import ProcessError
from rx_collector.event import Event, Origin
from rx_collector.ledger import Node
from rx_collector.operators._timer import Timer
from rx_collector.stream.flow import Batch, BatchObserver, Connection, Context
from rx_collector.stream.operator import BatchOperator, operator
from rx_collector.units import format_duration

__all__ = ["Heartbeat", "Timeout"]


@operator("timeout", summary="Fail when no event came for a time.", example="timeout: 5m")
@described
class Timeout(BatchOperator):
    """Fail the stream with ProcessError when no event came for `time`, from the start on; the events pass unchanged.

    A child that prints nothing is started again by its runner's ``idle_timeout``; this looks at what is left of its output.
    The clock is that of the scheduler of the subscription, on whose thread the error is sent.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> rx.runner("sleep", "3600").pipe(op.timeout("10ms")).run()
    Traceback (most recent call last):
        ...
    rx_collector.errors.ProcessError: stream, operators[0] timeout: no event for 10ms
    """

    shorthand: ClassVar[str | None] = "time"

    time: float = option(DURATION, "How long nothing may come.", example="5m")

    def check(self, scope: Scope) -> None:
        if self.time == 0:
            scope.wrong("the time must be longer than nothing")

    def attach(self, downstream: BatchObserver, context: Context, node: Node) -> BatchObserver:
        return _Timeout(self.time, downstream, context, node)


@operator(
    "heartbeat",
    summary="Send an event each time that so much time has gone by.",
    example="heartbeat: {every: 10s, idle: true}",
)
@described
class Heartbeat(BatchOperator):
    """Send an event of type ``heartbeat`` after each `every`, with `idle` only when nothing else came in that time.

    Its payload is ``{heartbeat: N, events: M}``: its number, and how many events have passed since the one before. Its
    source is the pipeline. It counts as made. The events pass unchanged. The clock is that of the scheduler of the
    subscription, on whose thread it is sent.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> rx.runner("sleep", "3600").pipe(op.heartbeat("10ms"), op.limit(1)).run().data
    {'heartbeat': 1, 'events': 0}
    """

    in_groups: ClassVar[bool] = False
    shorthand: ClassVar[str | None] = "every"

    every: float = option(DURATION, "How much time.", example="10s")
    idle: bool = option(BOOLEAN, "Whether it is left out where events have passed.", False)

    def check(self, scope: Scope) -> None:
        if self.every == 0:
            scope.child("every").wrong("the time must be longer than nothing")

    def attach(self, downstream: BatchObserver, context: Context, node: Node) -> BatchObserver:
        return _Heart(self, downstream, context, node)


class _Watch(Connection):
    """Lets all events pass, and acts when the time is up."""

    def __init__(self, time: float, downstream: BatchObserver, context: Context, node: Node) -> None:
        self._time = round(time * 1e9)
        self._downstream = downstream
        self._context = context
        self._node = node
        self._lock = threading.RLock()
        self._timer = Timer(context, self._lock, self._on_time)
        self._over = False
        self._passed = 0  # since it last acted, or looked
        with self._lock:
            self._timer.at(self._timer.now() + self._time)

    @abstractmethod
    def _on_time(self) -> None:
        """The time is up. Called with the lock held."""

    def on_batch(self, batch: Batch) -> None:
        assert isinstance(batch, list)
        with self._lock:
            with self._context.ledger.lock:
                self._node.taken += len(batch)
                if self._over:
                    self._node.dropped["disposed"] += len(batch)
                    return
                self._node.out += len(batch)
            self._passed += len(batch)
            self._downstream.on_batch(batch)

    def stop(self) -> None:
        """Nothing: it ends when what comes before it does."""

    def dispose(self) -> None:
        """Act no more; what still comes is dropped, counted."""
        with self._context.ledger.lock:
            self._over = True
        self._timer.close()

    def on_error(self, error: Exception) -> None:
        with self._lock:
            if not self._over:
                self.dispose()
                self._downstream.on_error(error)

    def on_completed(self) -> None:
        with self._lock:
            if not self._over:
                self.dispose()
                self._downstream.on_completed()


class _Timeout(_Watch):
    def __init__(self, time: float, downstream: BatchObserver, context: Context, node: Node) -> None:
        self._last: int | None = None  # when the last event came
        super().__init__(time, downstream, context, node)

    def on_batch(self, batch: Batch) -> None:
        with self._lock:
            self._last = self._timer.now()
            super().on_batch(batch)
            self._last = self._timer.now()  # the time that what follows took is not the stream's

    def _on_time(self) -> None:
        now = self._timer.now()
        if self._last is not None and now - self._last < self._time:
            self._timer.at(self._last + self._time)
            return
        name = self._context.pipeline.name
        self.on_error(ProcessError(f"{name}, {self._node.name}: no event for {format_duration(self._time / 1e9)}"))


class _Heart(_Watch):
    def __init__(self, spec: Heartbeat, downstream: BatchObserver, context: Context, node: Node) -> None:
        self._number = 0
        self._idle = spec.idle
        super().__init__(spec.every, downstream, context, node)

    def _on_time(self) -> None:
        now = self._timer.now()
        passed, self._passed = self._passed, 0
        self._timer.at(now + self._time)
        if passed and self._idle:
            return
        self._number += 1
        origin = Origin(self._context.run, self._context.pipeline.name, 1, None, now, "heartbeat")
        with self._context.ledger.lock:
            if self._over:
                return
            self._node.made += 1
            self._node.out += 1
        self._downstream.on_batch([Event({"heartbeat": self._number, "events": passed}, None, origin, self._number)])
