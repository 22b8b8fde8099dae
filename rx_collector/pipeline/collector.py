"""The collector: a project while it runs, from opening the sinks to the balance sheet."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from rx_collector.clock import Look
from rx_collector.errors import OutputError
from rx_collector.ledger import Ledger, Report
from rx_collector.log import logger
from rx_collector.pipeline.generation import Generation
from rx_collector.pipeline.network import Network
from rx_collector.pipeline.parts import Limit, OpenBranch, with_operators
from rx_collector.pipeline.project import Project
from rx_collector.pipeline.reload import Reloader
from rx_collector.pipeline.spec import PipelineSpec
from rx_collector.runners.feed import Feed
from rx_collector.runners.source import RunnerConnection, RunnerSource
from rx_collector.runners.spec import RunnerSpec
from rx_collector.stream.chain import Chain
from rx_collector.stream.flow import BatchObserver, Context, new_run
from rx_collector.units import format_duration, parse_duration
from rx_collector.waker import Waker

if TYPE_CHECKING:
    from reactivex.abc import SchedulerBase

    from rx_collector.stream.meter import Meter

__all__ = ["Collector"]

_WHILE_STOPPING = 0.05  # seconds between two looks at the children that were asked to end
_AT_ONCE = 2.0  # seconds that what is cut short may take to be gone


class Collector:
    """Runs a project once.

    `run` blocks; `stop` and `abort` are safe from any thread and from signal handlers, and do not block.
    """

    #: The clock of the operators, and how clocks stand to each other, where these are not this machine's.
    _scheduler: SchedulerBase | None = None
    _look: Callable[[], Look] | None = None

    def __init__(self, project: Project, meter: Meter | None = None) -> None:
        """`meter` takes the time of everything in the run."""
        self._meter = meter
        self.started = time.monotonic()
        self._news = Waker()
        self._run = new_run()
        self._network = Network(project, self._news)
        me = weakref.proxy(self)  # one that is never run is gone, with its descriptors, when nobody has it any more
        self._reloader = Reloader(
            self._network,
            self._news,
            ending=lambda: me._stopping or me._draining or me._ended,
            aborted=lambda: me._aborted,
        )
        self._stopping = False
        self._aborted = False
        self._draining = False  # the sources have ended
        self._reason = ""  # why it stops, until that is in the log
        self._cut = ""  # why the end was cut short, in words
        self._ended = False  # all branches are done; a thread that has said so may still be alive for a moment
        self._fed_until: dict[str, float] = {}  # when they are stopped if the end of their input does not, monotonic

    @property
    def project(self) -> Project:
        """What runs: after a reload what was loaded then."""
        return self._network.project

    @property
    def ledger(self) -> Ledger:
        """The counts of the run."""
        return self._network.ledger

    @property
    def branches(self) -> Sequence[OpenBranch]:
        """All branches that there were, with dead letters."""
        return self._network.branches

    @property
    def _pipelines(self) -> Mapping[str, Generation]:
        return self._network.pipelines

    @property
    def _readers(self) -> Mapping[str, RunnerConnection]:
        return self._network.readers

    @property
    def _feeds(self) -> Mapping[str, Feed]:
        return self._network.feeds

    def stop(self, reason: str = "") -> None:
        """Ask the runners to end; what they have printed is still delivered. `reason` is logged."""
        self._stopping = True
        self._reason = reason or self._reason
        self._news.set()

    def abort(self) -> None:
        """End at once: kill the children, drop what waits."""
        self._aborted = self._stopping = True
        self._news.set()

    def reload(self, load: Callable[[], Project | None]) -> None:
        """Ask for a change of what runs into what `load` gives, on a thread of its own; None: into nothing else.

        What is described as before goes on untouched. A ConfigError that `load` raises is logged, and so is why a change
        cannot be made; what ran runs on then. A request that comes while another one is carried out is carried out after
        it, of several only the last one. When the run is ending it is ignored.
        """
        self._reloader.ask(load)

    def signals(self) -> int:
        """Give a descriptor for `signal.set_wakeup_fd`, so that no signal handled on the thread of `run` is late."""
        return self._news.for_signals()

    def report(self, exit_code: int = 0, *, errors: Sequence[str] = (), final: bool = False) -> Report:
        """Give the balance sheet as of now. `errors` says in words what went wrong."""
        seconds = time.monotonic() - self.started
        return Report.of(self.ledger, seconds=seconds, exit_code=exit_code, errors=errors, final=final)

    def run(
        self,
        *,
        duration: float | str | None = None,
        max_events: int | None = None,
        drain: float | str = "30s",
        tick: Callable[[], None] | None = None,
        interval: float = 0.25,
    ) -> Report:
        """Run to the end. `tick` is called every `interval` seconds on this thread. Raises OutputError at the start."""
        lasting = None if duration is None else parse_duration(duration)
        patience = parse_duration(drain)
        limit = None if max_events is None else Limit(max_events, self.stop)
        try:
            try:
                self._assemble(limit)
            except OutputError:
                self._close_branches()
                raise
            self.started = time.monotonic()
            try:
                self._start()
            except BaseException:
                self._kill_children()
                self._close_branches()
                raise
            deadline = None if lasting is None else self.started + lasting
            self._watch(deadline, patience, tick, interval)
            return self._finish()
        finally:
            self._news.close()

    def _assemble(self, limit: Limit | None) -> None:
        self._network.begin(
            self._run, self._scheduler, self._look, self._with_operators, self._start_runner, self._meter
        )
        self._network.build(limit)

    def _with_operators(self, stream: Chain, spec: PipelineSpec) -> Chain:
        return with_operators(stream, spec.operators)

    def _start(self) -> None:
        with self._network.lock:
            self._network.start(self.project.runners)

    def _start_runner(
        self, name: str, spec: RunnerSpec, observer: BatchObserver, context: Context, lifecycle: BatchObserver | None
    ) -> RunnerConnection:
        before = self.ledger.runner(name).starts
        source = RunnerSource(name, spec, feed=self._feeds.get(name), lifecycle=lifecycle, before=before)
        return source.connect(observer, context)

    # While it runs

    def _watch(self, deadline: float | None, patience: float, tick: Callable[[], None] | None, interval: float) -> None:
        """Wait for the end, a signal, a deadline or a failure, and do what each of them asks for."""
        asked = False
        give_up: float | None = None
        waiters = threading.Thread(target=self._wait_for_branches, name="rx-end", daemon=True)
        waiters.start()
        network = self._network
        while not (self._ended and network.readers_are_over() and not self._reloader.busy):
            now = time.monotonic()
            self._reloader.look()
            if not self._reloader.busy:
                self._stop_what_nobody_wants()
            if deadline is not None and now >= deadline:
                if not self._stopping:
                    self.stop("the duration is over: stopping")
                deadline = None
            if self._reason:  # also while it ends by itself, so that who has asked for it sees that
                reason, self._reason = self._reason, ""
                logger.info("{}", reason)
            if self._stopping and not asked:
                asked = True
                with network.lock:  # nothing is started from now on
                    readers = network.readers
                for name, reader in readers.items():
                    if name not in network.feeds:  # the others end when their input does
                        reader.stop()
            if give_up is None and (asked or not self._reloader.busy) and network.sources_are_over(asked):
                self._draining = True
                give_up = now + patience
            feeds_end = self._stop_those_without_input(now) if asked else None
            if self._aborted or (give_up is not None and now >= give_up):
                self._cut_short(patience)
                break
            ends = [end for end in (deadline, give_up, feeds_end) if end is not None]
            wait = min(end - now for end in ends) if ends else None
            if asked and give_up is None:
                wait = _WHILE_STOPPING if wait is None else min(wait, _WHILE_STOPPING)
            if tick is not None:
                tick()
                wait = interval if wait is None else min(wait, interval)
            self._news.wait(wait)
        waiters.join(_AT_ONCE)
        self._reloader.wait(_AT_ONCE)
        if self._aborted:
            for branch in network.branches:
                branch.abandon()

    def _stop_what_nobody_wants(self) -> None:
        network = self._network
        unwanted = network.unwanted_readers()
        if self._ended or len(unwanted) == len(network.readers):
            self._stopping = True  # nobody is left to take what the runners print
        for name in unwanted:
            network.unwanted.add(name)
            network.readers[name].stop()

    def _stop_those_without_input(self, now: float) -> float | None:
        """Stop the children that were fed, when the end of their input did not make them end. Give when to look again."""
        again: list[float] = []
        network = self._network
        for name, feed in network.feeds.items():
            reader = network.readers.get(name)
            if reader is None or not feed.finished or network.hubs[name].ended:
                continue
            until = self._fed_until.setdefault(name, now + network.project.runners[name].stop.grace)
            if now < until:
                again.append(until)
            else:
                reader.stop()
        return min(again, default=None)

    def _wait_for_branches(self) -> None:
        """Runs on a thread of its own, so that the main thread can sleep until there is news and none is polled for."""
        network = self._network
        while not self._ended:
            for branch in network.branches:
                branch.consumer.thread.join()
            self._reloader.wait()
            with network.lock:  # none is begun any more once the end was noted
                over = not any(branch.consumer.thread.is_alive() for branch in network.branches)
                self._ended = over and not self._reloader.busy
        network.close()
        self._news.set()

    def _cut_short(self, patience: float) -> None:
        """End at once: what is not delivered yet is dropped and counted."""
        why = f"the sinks did not take all events within {format_duration(patience)}"
        self._cut = "asked to end at once" if self._aborted else why
        logger.error("{}; what is left is dropped and counted", self._cut)
        self._kill_children()
        for generation in self._network.generations:
            generation.dispose()
        for branch in self._network.branches:
            branch.cancel(_AT_ONCE)

    def _kill_children(self) -> None:
        self._aborted = self._stopping = True
        with self._network.lock:  # nothing is started from now on
            self._network.kill()

    def _close_branches(self) -> None:
        for branch in self._network.branches:
            branch.consumer.on_completed()
            branch.consumer.thread.join(_AT_ONCE)

    def _sources_ended(self) -> list[str]:
        """Let go of what is needed until the last runner has ended; give what was wrong with it, in words."""
        return []

    def _finish(self) -> Report:
        network = self._network
        for reader in network.readers.values():
            reader.wait(_AT_ONCE)
        for generation in network.generations:
            generation.wait_for_operators(_AT_ONCE)
        errors = [*([self._cut] if self._cut else []), *self._sources_ended()]
        for name, runner in self.ledger.runners.items():
            if runner.missed is not None:
                errors.append(f"{name} {runner.missed}")
                logger.error("{}", errors[-1])
        for name in self.ledger.runners:
            error = network.hubs[name].error
            if error is not None:
                logger.error("{}", error)
                stderr = getattr(error, "stderr", ())
                for line in stderr if not network.logs_stderr(name) else ():
                    logger.error("{} stderr: {}", name, line)
                errors.append(str(error))
        errors += [str(generation.error) for generation in network.generations if generation.error is not None]
        errors += [f"{branch.end.name}: {branch.end.error}" for branch in network.branches if branch.end.error]
        redact = self.project.redact
        for runner in self.ledger.runners.values():
            runner.error = runner.error and redact(runner.error)
        report = self.report(1 if errors else 0, errors=list(map(redact, errors)), final=True)
        for line in report.unbalanced:
            logger.error("the ledger does not balance: {}", line)
        return report
