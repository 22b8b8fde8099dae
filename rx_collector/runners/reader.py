"""The reader: the thread of a runner. It drives one incarnation after the other and sends what they print."""

from __future__ import annotations

import threading
import time
from typing import Any

from loguru import logger

from rx_collector.errors import ProcessError
from rx_collector.runners.child import Child
from rx_collector.runners.feed import Feed
from rx_collector.runners.incarnation import Incarnation
from rx_collector.runners.loss import LossFinder
from rx_collector.runners.outlet import Outlet, Tap
from rx_collector.runners.restart import GaveUp, RestartPolicy
from rx_collector.runners.schedule import Reminder, Schedule
from rx_collector.runners.spec import RunnerSpec
from rx_collector.runners.supervisor import supervisor
from rx_collector.stream.flow import BatchObserver, Connection, Context
from rx_collector.units import format_duration
from rx_collector.waker import Waker

__all__ = ["Reader"]


class Reader(Connection):
    """One subscription to a runner: the thread ``rx-<name>-stdout``, and the way to stop it."""

    def __init__(
        self,
        name: str,
        spec: RunnerSpec,
        observer: BatchObserver,
        context: Context,
        *,
        lifecycle: BatchObserver | None = None,
        feed: Feed | None = None,
        before: int = 0,
        tap: Tap | None = None,
    ) -> None:
        """Make it; `before` incarnations of this runner, described otherwise, have been in this run already."""
        self._name = name
        self._spec = spec
        self._outlet = Outlet(name, observer, context, in_stream=spec.lifecycle, apart=lifecycle, tap=tap)
        self._feed = feed
        self._loss = LossFinder(spec)
        # `stop` may be called by a signal handler that interrupts `stop`, so there is no lock about these two: who stops
        # sets the first and then looks at the second, who starts a child does it the other way round.
        self._ending = False  # stop or dispose was called
        self._child: Child | None = None
        self._waker = Waker()
        self._begun = threading.Event()
        self.over = False  # its thread has come to its end
        self._before = before
        self._starts = 0
        self._overruns = Reminder()
        self._last_end: float | None = None
        self.thread = threading.Thread(target=self._run, name=f"rx-{name}-stdout", daemon=True)

    def start(self) -> None:
        """Begin. Does not block. Raises RuntimeError when there can be no more threads."""
        try:
            self.thread.start()
        finally:
            self._begun.set()

    def stop(self) -> None:
        """Ask the child to end; what it still prints is delivered, then the stream completes. Does not block."""
        self._ending = True
        child = self._child
        if child is not None:
            child.stop()
        self._waker.set()

    def dispose(self) -> None:
        """End: nothing more is sent, the child is stopped. Does not block."""
        self._outlet.close()
        self.stop()

    @property
    def _incarnation(self) -> int:
        """The number of the latest start, over all descriptions that the runner has had."""
        return self._before + self._starts

    @property
    def running(self) -> bool:
        """Whether there is a child just now, and it has not ended."""
        child = self._child
        return child is not None and child.running

    def kill(self) -> None:
        """Send SIGKILL to the child's group, whatever the ladder says. Does not block."""
        child = self._child
        if child is not None:
            child.kill()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the last child is gone and counted, at most `timeout` seconds. True when it is."""
        # It is among the connections of its context before it begins, so others may wait for it from then on.
        if not self._begun.wait(timeout):
            return False
        if self.thread.ident is None:
            return True  # it could not be started
        self.thread.join(timeout)
        return not self.thread.is_alive()

    # The thread.

    def _run(self) -> None:
        failure: Exception | None
        try:
            failure = self._drive()
        except Exception as error:  # a bug; the stream must not end as if all were well
            logger.opt(exception=error).error("the reader of {} failed", self._name)
            failure = error
            child = self._child
            if child is not None:
                child.stop()
                child.output_ended()
        finally:
            self.over = True
            self._waker.close()
            if self._feed is not None:
                self._feed.end()
        if (
            not supervisor.at_exit
        ):  # then an observer that raises, as one without `on_error` does, would find no interpreter
            self._outlet.end(failure)

    def _drive(self) -> Exception | None:
        """Run incarnations until there is no next one. Gives the error that ends the stream, None when all is well."""
        policy = RestartPolicy(self._spec.restart, self._name)
        every = self._spec.every
        schedule = Schedule(every, self._name, now=time.monotonic()) if every is not None else None
        failed_starts = 0
        while not self._ending:
            lasted = 0.0
            try:
                incarnation = self._spawn()
            except ProcessError as error:
                if not self._starts:
                    return error  # one that cannot be started at all is not tried again
                failed_starts += 1
                failure: ProcessError | None = error
            else:
                failed_starts = 0
                failure = self._attend(incarnation, schedule)
                child = incarnation.child  # how long it lived; that its reader was held up is no merit of it
                lasted = (child.ended or time.monotonic()) - child.started
            if self._ending:
                return None
            now = time.monotonic()
            wait: float | None
            try:
                if schedule is not None:
                    wait = self._until_next(schedule, failure, failed_starts, now)
                elif failed_starts:
                    wait = policy.after_failed_start(now=now)
                else:
                    wait = policy.after(failed=failure is not None, lasted=lasted, now=now)
            except GaveUp as reason:
                return self._give_up(failure, str(reason))
            if wait is None:
                return failure
            if schedule is None:
                what = failure or f"{self._name}: ended"
                logger.info("{}; started again in {}", what, format_duration(round(wait, 3)))
                self._outlet.lifecycle("restarting", self._incarnation, None, seconds=round(wait, 3))
            self._sleep(wait)
        return None

    def _sleep(self, seconds: float) -> None:
        """Wait so long, or until the end is asked for."""
        until = time.monotonic() + seconds
        while not self._ending and (rest := until - time.monotonic()) > 0:
            self._waker.wait(rest)

    def _until_next(self, schedule: Schedule, failure: ProcessError | None, failed_starts: int, now: float) -> float:
        if failure is not None:
            logger.warning("{}", failure)
        if failed_starts >= 5:
            raise GaveUp(f"it could not be started {failed_starts} times in a row")
        skipped = schedule.skipped
        wait = max(0.0, schedule.after(now) - now)
        if schedule.skipped > skipped:
            count = schedule.skipped - skipped
            if said := self._overruns.happened(now, count):
                interval = format_duration(schedule.interval)
                logger.warning(
                    "{}: a run took longer than the interval of {}; {:,} left out", self._name, interval, said
                )
            self._outlet.lifecycle("skipped", self._incarnation, None, count=count)
        return wait

    def _give_up(self, failure: ProcessError | None, reason: str) -> ProcessError:
        what = str(failure) if failure is not None else f"{self._name}: ended again and again"
        self._outlet.lifecycle("gave_up", self._incarnation, None, reason=reason)
        return ProcessError(
            f"{what}; gave up after {self._starts} starts ({reason})",
            runner=self._name,
            code=failure.code if failure is not None else None,
            signal=failure.signal if failure is not None else None,
            stderr=failure.stderr if failure is not None else (),
        )

    def _spawn(self) -> Incarnation:
        incarnation = Incarnation(self._name, self._spec, self._incarnation + 1, self._outlet, self._loss, self._waker)
        incarnation.start(fed=self._feed is not None)
        child = incarnation.child
        self._starts += 1
        with self._outlet.lock:
            self._outlet.counts.starts += 1
        self._child = child
        if self._ending:
            child.stop()
        if self._feed is not None:
            self._feed.attach(child.stdin)
        gap = {} if self._last_end is None else {"gap": round(child.started - self._last_end, 3)}
        self._outlet.lifecycle("started", self._incarnation, child.pid, **gap)
        return incarnation

    def _attend(self, incarnation: Incarnation, schedule: Schedule | None) -> ProcessError | None:
        """Read a child to its end and take account of it. Gives its failure."""
        child = incarnation.child
        try:
            incarnation.run(schedule.due if schedule is not None and schedule.replaces else None)
        finally:
            if self._feed is not None:
                self._feed.detach()
        self._child = None
        self._last_end = child.ended
        user, system, memory = child.usage
        facts: dict[str, Any] = {
            "code": child.code,
            "signal": child.signal,
            "seconds": round((child.ended or child.started) - child.started, 3),
            "user_seconds": round(user, 3),
            "system_seconds": round(system, 3),
            "max_rss": memory,
        }
        if child.stop_reason:
            facts["reason"] = child.stop_reason
        if child.missed is not None:
            facts["missed"] = child.missed
            logger.warning("{} {}", self._name, child.missed)
        with self._outlet.lock:
            self._outlet.counts.exits.append({"incarnation": incarnation.number, **facts})
            if child.missed is not None and self._ending:
                self._outlet.counts.missed = child.missed
        failure = incarnation.failure()
        self._outlet.lifecycle("exited", incarnation.number, child.pid, **facts)
        return failure
