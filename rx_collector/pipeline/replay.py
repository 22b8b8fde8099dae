"""Replaying: a project whose runners' children are those of a recording, in the time of the recording."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from loguru import logger

from rx_collector.backpressure.block import Block
from rx_collector.clock import Look
from rx_collector.config.options import did_you_mean
from rx_collector.errors import ConfigError, OutputError, ProcessError
from rx_collector.ledger import Report
from rx_collector.operators.backpressure import Backpressure
from rx_collector.pipeline.collector import Collector
from rx_collector.pipeline.parts import with_operators
from rx_collector.pipeline.project import Project
from rx_collector.pipeline.recording import (
    Clocks,
    Closed,
    Lifecycle,
    Lines,
    Record,
    Recording,
    RefusedLine,
    RunnerEnd,
    Stderr,
    Totals,
)
from rx_collector.pipeline.spec import Branch, PipelineSpec
from rx_collector.runners.framing import Refused, Row
from rx_collector.runners.outlet import Outlet
from rx_collector.runners.source import RunnerConnection
from rx_collector.runners.spec import RunnerSpec
from rx_collector.sinks.null import Null
from rx_collector.sinks.stdin import Stdin
from rx_collector.stream.eventstream import EventStream
from rx_collector.stream.flow import BatchObserver, Context
from rx_collector.stream.virtual_time import VirtualTime
from rx_collector.units import format_duration
from rx_collector.waker import Waker

__all__ = ["ReplayCollector"]

_EPOCH: Final = datetime(1970, 1, 1)
_MOST_TIMERS_AT_THE_END: Final = 100_000


class ReplayCollector(Collector):
    """Plays a recording through the pipelines of a project, once, into its real sinks. No runner is started.

    `speed` is how many seconds of the recording are played in one; None: as fast as it goes. One thread, ``rx-replay``,
    plays all runners and moves the clock of the operators, so nothing that a pipeline makes depends on the speed. Before
    each sink is a boundary with the strategy ``block``, whatever the file says. Raises ConfigError for a speed that is
    none, and when the recording has nothing of any runner of the project.
    """

    def __init__(self, project: Project, recording: Recording, *, speed: float | None = None) -> None:
        if speed is not None and not 0 < speed < math.inf:
            raise ConfigError(f"speed: a number above 0 such as 10.0, or None, is wanted here, not {speed!r}")
        self._strangers = _compare(project, recording)
        super().__init__(_without_loss(project))
        self._run = recording.header.run
        self._playback = _Playback(recording, speed, self._is_over)
        self._scheduler, self._look = self._playback.clock, self._playback.look

    def run(
        self,
        *,
        duration: float | str | None = None,
        max_events: int | None = None,
        drain: float | str = "30s",
        tick: Callable[[], None] | None = None,
        interval: float = 0.25,
    ) -> Report:
        """Play to the end. Raises OutputError when a sink cannot be opened."""
        for line in self._strangers:
            logger.warning("{}", line)
        try:
            return super().run(duration=duration, max_events=max_events, drain=drain, tick=tick, interval=interval)
        finally:
            self._playback.release()

    def reload(self, load: Callable[[], Project | None]) -> None:
        """Refused, with a line in the log: a replay plays to its end through what it began with."""
        logger.error("reload refused, what ran runs on: a replay is begun anew with another description")

    def _with_operators(self, stream: EventStream, spec: PipelineSpec) -> EventStream:
        stream = with_operators(stream, spec.operators)
        # A boundary in a Python operator of the user's would bring a second thread into what goes by one clock.
        return EventStream(
            stream.source, [step for step in stream.steps if not isinstance(step.operator, Backpressure)]
        )

    def _start(self) -> None:
        super()._start()
        self._playback.start()

    def _start_runner(
        self, name: str, spec: RunnerSpec, observer: BatchObserver, context: Context, lifecycle: BatchObserver | None
    ) -> RunnerConnection:
        return self._playback.add(name, spec, observer, context, lifecycle)

    def _is_over(self) -> bool:
        """Whether no pipeline takes anything any more."""
        return all(pipeline.over for pipeline in self._pipelines.values())

    def _sources_ended(self) -> list[str]:
        return [] if self._playback.failure is None else [self._playback.failure]


def _compare(project: Project, recording: Recording) -> list[str]:
    """Say which runners only one of the two has, a line each. Raises ConfigError when they have none in common."""
    recorded, described = recording.header.runners, list(project.runners)
    if not set(described) <= set(recorded):  # a reload may have added some
        with suppress(OutputError):  # it will be played as far as it can be read
            recorded = recording.runners()
    if not set(recorded) & set(described):
        has, wants = " and ".join(recorded) or "no runner", " and ".join(described)
        raise ConfigError(f"{recording.path}: it has nothing of {wants}; what was recorded is {has}")
    unknown = [name for name in recorded if name not in described]
    missing = [name for name in described if name not in recorded]
    return [
        *(f"runner {name} was recorded and is not described, so it is not played" for name in unknown),
        *(f"runner {name} was not recorded, so nothing comes from it{did_you_mean(name, unknown)}" for name in missing),
    ]


def _without_loss(project: Project) -> Project:
    """Give the project with boundaries that wait, and with nobody at the standard input of its runners."""

    def lossless(branch: Branch) -> Branch:
        strategy = branch.backpressure.strategy
        waits = Backpressure(Block(capacity=strategy.capacity, max_bytes=strategy.max_bytes))
        return replace(branch, backpressure=waits, sink=Null() if isinstance(branch.sink, Stdin) else branch.sink)

    pipelines = {
        name: replace(
            spec,
            sinks=tuple(map(lossless, spec.sinks)),
            dead_letter=None if spec.dead_letter is None else lossless(spec.dead_letter),
        )
        for name, spec in project.pipelines.items()
    }
    return replace(project, pipelines=pipelines)


class _Playback:
    """The thread ``rx-replay``, which plays one record after the other, and its clock."""

    def __init__(self, recording: Recording, speed: float | None, is_over: Callable[[], bool]) -> None:
        header = recording.header
        self._recording = recording
        self._speed = speed
        self._is_over = is_over
        self._began = _EPOCH + timedelta(microseconds=header.wall_ns // 1000)
        self.clock = VirtualTime(self._began)
        self._monotonic = header.monotonic_ns
        self._look = Look(header.boot_ns, header.suspended_ns, header.monotonic_ns)
        self._players: dict[str, _Player] = {}
        self._waker = Waker()
        self._started = 0.0  # when it was, on the monotonic clock
        self._stopping = False
        self.over = False
        self._too_late: dict[str, int] = {}  # records of runners that had ended already
        #: What was wrong with the recording itself, in words.
        self.failure: str | None = None
        self.thread = threading.Thread(target=self._run, name="rx-replay", daemon=True)

    def add(
        self, name: str, spec: RunnerSpec, observer: BatchObserver, context: Context, lifecycle: BatchObserver | None
    ) -> _Player:
        player = self._players[name] = _Player(name, spec, observer, context, lifecycle, self)
        return player

    def start(self) -> None:
        self._started = time.monotonic()
        self.thread.start()

    def look(self) -> Look:
        """Give how the clocks of the recording stood at the record that is played."""
        return self._look

    def asked(self) -> None:
        """A player was asked to end. When all were, this does; before, one that nobody listens to plays to nobody."""
        if all(player.asked for player in self._players.values()):
            self._stopping = True
            self._waker.set()

    def release(self) -> None:
        """Let go of what it holds, when it was never started or has ended."""
        if not self.thread.is_alive():
            self._waker.close()

    # The thread

    def _run(self) -> None:
        try:
            self._play()
        except OutputError as error:  # the file
            self.failure = str(error)
            logger.error("{}", error)
        except Exception as error:  # a bug; the streams must end all the same
            self.failure = f"the replay failed: {type(error).__name__}: {error}"
            logger.opt(exception=error).error("the replay failed")
        for name, count in self._too_late.items():
            message = f"runner {name} had ended before a reload started it again: {count:,} records were not played"
            self.failure = self.failure or message
            logger.error("{}", message)
        for player in self._players.values():
            player.end(None)
        self._finish_timers()
        for failed in self.clock.errors:
            logger.opt(exception=failed).error("a timer failed")
        self.over = True
        self._waker.close()

    def _play(self) -> None:
        tick = 0
        for record in self._recording.records():
            tick = record.tick
            if not self._go_on_to(self._began + timedelta(microseconds=tick // 1000)):
                return
            if isinstance(record, Clocks):
                self._look = Look(record.boot_ns, record.suspended_ns, self._monotonic + tick)
            else:
                self._look = Look(*self._look[:2], self._monotonic + tick)
                self._hand_over(record)
            if self._stopping or self._is_over():
                return
        if self._recording.cut_off is not None:
            lasted = format_duration(round(tick / 1e9, 3))
            path, cut = self._recording.path, self._recording.cut_off
            logger.warning("{}: {}: what came later than after {} is not in it", path, cut, lasted)

    def _go_on_to(self, moment: datetime) -> bool:
        """Move the clock to a moment, and run what is due until then. False when the end was asked for."""
        if self._speed is not None:
            while (due := self.clock.next_due()) is not None and due < moment:
                if not self._wait_for(due):
                    return False
                self.clock.advance_to(due)
            if not self._wait_for(moment):
                return False
        self.clock.advance_to(moment)
        return not self._stopping

    def _wait_for(self, moment: datetime) -> bool:
        """Wait until it is time for a moment of the recording. False when the end was asked for."""
        assert self._speed is not None
        due = self._started + (moment - self._began).total_seconds() / self._speed
        while not self._stopping and (rest := due - time.monotonic()) > 0:
            self._waker.wait(rest)
        return not self._stopping

    def _hand_over(self, record: Record) -> None:
        if isinstance(record, Clocks | Closed):
            return
        player = self._players.get(record.runner)
        if player is None:
            return
        if player.ended:
            self._too_late[record.runner] = self._too_late.get(record.runner, 0) + 1
        else:
            player.play(record)

    def _finish_timers(self) -> None:
        """Run what operators that are not ours still wait for (a delay, say) when the runners have ended."""
        for _ in range(_MOST_TIMERS_AT_THE_END):
            due = self.clock.next_due()
            if due is None or self._is_over():
                break
            if self._speed is not None:
                self._wait_for(due)  # when the end was asked for, only what takes no time is left
            self.clock.run_next()


class _Player:
    """Stands for the children of one runner. `play` and `end` belong to the thread that plays, the others to any."""

    def __init__(
        self,
        name: str,
        spec: RunnerSpec,
        observer: BatchObserver,
        context: Context,
        lifecycle: BatchObserver | None,
        playback: _Playback,
    ) -> None:
        self._name = name
        self._spec = spec
        self._playback = playback
        self._wall = 0
        self._outlet = Outlet(
            name, observer, context, in_stream=spec.lifecycle, apart=lifecycle, now=lambda: self._wall
        )
        self.asked = False
        self.ended = False

    @property
    def running(self) -> bool:
        """Whether it still plays, and was not asked to end."""
        return not (self.asked or self._playback.over)

    def stop(self) -> None:
        self.asked = True
        self._playback.asked()

    def dispose(self) -> None:
        self._outlet.close()
        self.stop()

    def kill(self) -> None:
        """Nothing: there is no child."""

    def wait(self, timeout: float | None = None) -> bool:
        thread = self._playback.thread
        thread.join(timeout)
        return not thread.is_alive()

    def play(self, record: Lines | Stderr | Lifecycle | RunnerEnd) -> None:
        """Send what a record holds, as the runner's reader did."""
        outlet, counts = self._outlet, self._outlet.counts
        self._wall = record.wall_ns
        if isinstance(record, Lines):
            with outlet.lock:
                counts.bytes = record.read
            rows, skip = list(map(_row, record.rows)), self._spec.skip_lines
            outlet.rows(rows, record.first - 1, record.incarnation, record.pid, skip=skip, multiline=True)
        elif isinstance(record, Stderr):
            if self._spec.stderr == "events":
                rows = list(map(_row, record.rows))
                lines = sum(1 if isinstance(row, Refused) else len(row) for row in rows)
                with outlet.lock:
                    counts.stderr_lines += lines
                    counts.stderr_events += lines
                outlet.stderr(rows, record.incarnation, record.pid)
        elif isinstance(record, Lifecycle):
            self._count(record)
            outlet.lifecycle(record.what, record.incarnation, record.pid, **record.facts)
        else:
            self._total(record.totals)
            failed = record.error
            error = None
            if failed is not None:
                what = {"code": failed.code, "signal": failed.signal, "stderr": failed.stderr}
                error = ProcessError(failed.message, runner=self._name, **what)  # type: ignore[arg-type]
            self.end(error)

    def end(self, error: Exception | None) -> None:
        """The runner is over, if it was not before."""
        if not self.ended:
            self.ended = True
            self._outlet.end(error)

    def _count(self, record: Lifecycle) -> None:
        counts = self._outlet.counts
        with self._outlet.lock:
            if record.what == "started":
                counts.starts += 1
            elif record.what == "exited":
                counts.exits.append({"incarnation": record.incarnation, **record.facts})
            elif record.what == "lost":
                counts.lost_upstream += record.facts["count"]
        if record.totals is not None:
            self._total(record.totals)

    def _total(self, totals: Totals) -> None:
        """Take over what the run counted and no other record tells."""
        counts = self._outlet.counts
        with self._outlet.lock:
            counts.bytes = totals.read
            counts.stderr_lines = totals.stderr_lines
            counts.invalid_utf8 = max(counts.invalid_utf8, totals.invalid_utf8)
            counts.missed = totals.missed
            if self._spec.stderr == "events":
                more = totals.stderr_dropped - counts.dropped.get("stderr queue full", 0)
                if more:
                    counts.stderr_events += more
                    counts.dropped["stderr queue full"] += more


def _row(row: list[bytes] | RefusedLine) -> Row:
    return Refused(row.reason, row.error, row.head) if isinstance(row, RefusedLine) else row
