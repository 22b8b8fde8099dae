"""The collector: a project while it runs, from opening the sinks to the balance sheet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from loguru import logger
from reactivex.abc import SchedulerBase

from rx_collector.clock import Look
from rx_collector.errors import OutputError, RxCollectorError
from rx_collector.event import Event
from rx_collector.ledger import Ledger, Node, Report
from rx_collector.pipeline.parts import DeadLetter, Hub, Limit, Merge, OpenBranch, with_operators
from rx_collector.pipeline.project import Project, branch_of, lifecycle_of
from rx_collector.pipeline.spec import PipelineSpec
from rx_collector.runners.feed import Feed
from rx_collector.runners.source import RunnerConnection, RunnerSource
from rx_collector.runners.spec import RunnerSpec
from rx_collector.sinks.stdin import Stdin
from rx_collector.stream.eventstream import EventStream, new_run
from rx_collector.stream.flow import Batch, BatchObserver, Connection, Context
from rx_collector.units import format_duration, parse_duration
from rx_collector.waker import Waker

__all__ = ["Collector"]

_WHILE_STOPPING = 0.05  # seconds between two looks at the children that were asked to end
_AT_ONCE = 2.0  # seconds that what is cut short may take to be gone


class _Pipeline:
    """One pipeline while it runs: the observer at the end of its operators, which feeds its branches and readers."""

    def __init__(self, name: str, spec: PipelineSpec, context: Context, news: Callable[[], None]) -> None:
        self.name = name
        self._news = news
        self.spec = spec
        self.context = context
        self.branches: list[OpenBranch] = []
        self.dead_letter: DeadLetter | None = None
        self.hub = Hub(name)
        self.error: Exception | None = None
        self.over = False
        self.connection: Connection

    def on_batch(self, batch: Batch) -> None:
        for branch in self.branches:
            branch.consumer.on_batch(batch)
        self.hub.on_batch(batch)

    def on_error(self, error: Exception) -> None:
        self.error = error
        logger.error("{}", error)
        self._end()

    def on_completed(self) -> None:
        self._end()

    def _end(self) -> None:
        self.over = True
        for branch in self.branches:
            branch.consumer.on_completed()
        if self.dead_letter is not None:
            self.dead_letter.leave()
        self.hub.on_completed()
        self._news()

    def reject(self, record: Event) -> None:
        if self.dead_letter is not None:
            self.dead_letter.reject(record)

    @property
    def delivers(self) -> bool:
        """Whether what it takes can still reach a sink of its own."""
        return not self.over and any(branch.end.error is None for branch in self.branches)


class Collector:
    """Runs a project once.

    `run` blocks; `stop` and `abort` are safe from any thread and from signal handlers, and do not block.
    """

    #: The clock of the operators, and how clocks stand to each other, where these are not this machine's.
    _scheduler: SchedulerBase | None = None
    _look: Callable[[], Look] | None = None

    def __init__(self, project: Project) -> None:
        self.project = project
        self.ledger = Ledger(project.name)
        self.started = time.monotonic()
        self._run = new_run()
        self._news = Waker()
        self._stopping = False
        self._aborted = False
        self._reason = ""  # why it stops, for the log
        self._cut = ""  # why the end was cut short, in words
        self._ended = False  # all branches are done; a thread that has said so may still be alive for a moment
        self._pipelines: dict[str, _Pipeline] = {}
        self._hubs: dict[str, Hub] = {}  # of runners, of their lifecycle events, and of pipelines
        self._feeds: dict[str, Feed] = {}  # of the runners that a sink writes to
        self._fed_until: dict[str, float] = {}  # when they are stopped if the end of their input does not, monotonic
        self._readers: dict[str, RunnerConnection] = {}  # of the runners that were started

    def stop(self, reason: str = "") -> None:
        """Ask the runners to end; what they have printed is still delivered. `reason` is logged."""
        self._stopping = True
        self._reason = self._reason or reason
        self._news.set()

    def abort(self) -> None:
        """End at once: kill the children, drop what waits."""
        self._aborted = self._stopping = True
        self._news.set()

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

    # Putting it together

    def _assemble(self, limit: Limit | None) -> None:
        for name in self.project.runners:
            self._hubs[name] = Hub(name)
            self._hubs[lifecycle_of(name)] = Hub(lifecycle_of(name))
            self.ledger.runner(name)
        contexts = Context(
            self.ledger,
            self.ledger.pipeline(""),
            self._run,
            scheduler=self._scheduler,
            connections=[],
            outlets=self._hubs,
            read=self._read,
            look=self._look,
        )
        del self.ledger.pipelines[""]
        for name, spec in self.project.pipelines.items():
            pipeline: _Pipeline
            context = contexts.for_pipeline(name, lambda record, name=name: self._pipelines[name].reject(record))  # type: ignore[misc]
            pipeline = self._pipelines[name] = _Pipeline(name, spec, context, self._news.set)
            context.pipeline.sources = list(spec.sources)
            self._hubs[name] = pipeline.hub
            self._hubs |= {branch_of(name, branch): Hub(branch_of(name, branch)) for branch in spec.branches}
        for pipeline in self._pipelines.values():
            self._open_branches(pipeline)
        for pipeline in self._pipelines.values():
            self._connect(pipeline, limit)

    def _read(self, source: str, observer: BatchObserver) -> None:
        self._hubs[source].observers.append(observer)

    def _open_branches(self, pipeline: _Pipeline) -> None:
        context = replace(pipeline.context, scheduler=None)  # sinks go by this machine's clock, whatever operators do
        for branch in pipeline.spec.sinks:
            nodes = context.pipeline.sink(branch.name)
            name = nodes[1].name.partition(" ")[2]
            if isinstance(branch.sink, Stdin):
                feed = self._feeds[branch.sink.runner] = Feed(branch.sink.runner, self._news.set, branch.sink.timeout)
                branch = replace(branch, sink=branch.sink.bound_to(feed))
            pipeline.branches.append(OpenBranch(branch, nodes, name, context, self._news.set))
        letter = pipeline.spec.dead_letter
        if letter is not None:
            boundary = context.pipeline.dead_letter_boundary = Node("dead_letter backpressure")
            node = context.pipeline.dead_letter = Node("dead_letter")
            opened = OpenBranch(letter, (boundary, node), "dead_letter", context, self._news.set)
            users = 1 + len(pipeline.branches)
            pipeline.dead_letter = DeadLetter(opened, boundary, self.ledger.lock, users)
            for open_branch in pipeline.branches:
                open_branch.end.on_end = pipeline.dead_letter.leave

    def _connect(self, pipeline: _Pipeline, limit: Limit | None) -> None:
        spec, context = pipeline.spec, pipeline.context
        stream = EventStream(Merge(pipeline.name, [self._hubs[source] for source in spec.sources]))
        stream = self._with_operators(stream, spec)
        before = pipeline if limit is None else limit.before(pipeline, context)
        pipeline.connection = stream.connect(before, context)

    def _with_operators(self, stream: EventStream, spec: PipelineSpec) -> EventStream:
        return with_operators(stream, spec.operators)

    def _start(self) -> None:
        """Start the children, now that everything that reads them is connected."""
        for name, spec in self.project.runners.items():
            hub = self._hubs[name]
            names = {name, lifecycle_of(name)}
            readers = [pipeline for pipeline in self._pipelines.values() if names & pipeline.spec.reads]
            if not readers and name not in self._feeds:
                # A warning about it, with its place, came when the file was loaded.
                logger.debug("runner {} is read by no pipeline and is not started", name)
                hub.ended = True
                continue

            def reject(record: Event, readers: list[_Pipeline] = readers) -> None:
                for pipeline in readers:
                    pipeline.reject(record)

            pipeline = (readers or list(self._pipelines.values()))[0]
            context = Context(self.ledger, pipeline.context.pipeline, self._run, reject=reject)
            told = self._hubs[lifecycle_of(name)]
            lifecycle = told if told.observers else None
            self._readers[name] = self._start_runner(name, spec, _Watched(hub, self._news), context, lifecycle)

    def _start_runner(
        self, name: str, spec: RunnerSpec, observer: BatchObserver, context: Context, lifecycle: BatchObserver | None
    ) -> RunnerConnection:
        source = RunnerSource(name, spec, feed=self._feeds.get(name), lifecycle=lifecycle)
        return source.connect(observer, context)

    # While it runs

    def _branches(self) -> list[OpenBranch]:
        return [
            branch
            for pipeline in self._pipelines.values()
            for branch in [*pipeline.branches, *([pipeline.dead_letter.branch] if pipeline.dead_letter else [])]
        ]

    def _watch(self, deadline: float | None, patience: float, tick: Callable[[], None] | None, interval: float) -> None:
        """Wait for the end, a signal, a deadline or a failure, and do what each of them asks for."""
        asked = False
        give_up: float | None = None
        waiters = threading.Thread(target=self._wait_for_branches, name="rx-end", daemon=True)
        waiters.start()
        while not (self._ended and self._readers_are_over()):
            now = time.monotonic()
            unwanted = [name for name in self._readers if not self._wanted(name)]
            if self._ended or len(unwanted) == len(self._readers):
                self._stopping = True  # nobody is left to take what the runners print
            for name in unwanted:
                self._readers[name].stop()
            if deadline is not None and now >= deadline:
                self.stop("the duration is over: stopping")
                deadline = None
            if self._stopping and not asked:
                asked = True
                if self._reason:
                    logger.info("{}", self._reason)
                for name, reader in self._readers.items():
                    if name not in self._feeds:  # the others end when their input does
                        reader.stop()
            if give_up is None and self._sources_are_over(asked):
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
        if self._aborted:
            for branch in self._branches():
                branch.abandon()

    def _wanted(self, source: str) -> bool:
        """Whether anything can still become of what a runner or pipeline sends."""
        branches = self.project.pipelines[source].branches if source in self.project.pipelines else ()
        names = {source, lifecycle_of(source), *(branch_of(source, branch) for branch in branches)}
        readers = [pipeline for pipeline in self._pipelines.values() if names & pipeline.spec.reads]
        feed = self._feeds.get(source)
        if feed is not None and (not readers or not feed.finished):
            return True  # it works for itself, or somebody still has something for it
        return any(pipeline.delivers or (not pipeline.over and self._wanted(pipeline.name)) for pipeline in readers)

    def _readers_are_over(self) -> bool:
        return all(self._hubs[name].ended for name in self._readers)

    def _sources_are_over(self, asked: bool) -> bool:
        """Nothing more comes from the children. A reader may still have lines that a full boundary keeps it from sending.

        When the end was asked for, those that are fed with events do not count: they have to end before patience does.
        """
        names = [name for name in self.project.runners if not asked or name not in self._feeds]
        if all(self._hubs[name].ended for name in names):
            return True
        return asked and not any(self._readers[name].running for name in names if name in self._readers)

    def _stop_those_without_input(self, now: float) -> float | None:
        """Stop the children that were fed, when the end of their input did not make them end. Give when to look again."""
        again: list[float] = []
        for name, feed in self._feeds.items():
            reader = self._readers.get(name)
            if reader is None or not feed.finished or self._hubs[name].ended:
                continue
            until = self._fed_until.setdefault(name, now + self.project.runners[name].stop.grace)
            if now < until:
                again.append(until)
            else:
                reader.stop()
        return min(again, default=None)

    def _wait_for_branches(self) -> None:
        """Runs on a thread of its own, so that the main thread can sleep until there is news and none is polled for."""
        for branch in self._branches():
            branch.consumer.thread.join()
        for pipeline in self._pipelines.values():
            pipeline.context.close()
        self._ended = True
        self._news.set()

    def _cut_short(self, patience: float) -> None:
        """End at once: what is not delivered yet is dropped and counted."""
        why = f"the sinks did not take all events within {format_duration(patience)}"
        self._cut = "asked to end at once" if self._aborted else why
        logger.error("{}; what is left is dropped and counted", self._cut)
        self._kill_children()
        for pipeline in self._pipelines.values():
            pipeline.connection.dispose()
        for branch in self._branches():
            branch.cancel(_AT_ONCE)

    def _kill_children(self) -> None:
        self._aborted = True
        for reader in self._readers.values():
            reader.dispose()
            reader.kill()

    def _close_branches(self) -> None:
        for branch in self._branches():
            branch.consumer.on_completed()
            branch.consumer.thread.join(_AT_ONCE)

    def _sources_ended(self) -> list[str]:
        """Let go of what is needed until the last runner has ended; give what was wrong with it, in words."""
        return []

    def _finish(self) -> Report:
        for reader in self._readers.values():
            reader.wait(_AT_ONCE)
        errors = [*([self._cut] if self._cut else []), *self._sources_ended()]
        for name, runner in self.ledger.runners.items():
            if runner.missed is not None:
                errors.append(f"{name} {runner.missed}")
                logger.error("{}", errors[-1])
        for name in self.project.runners:
            error = self._hubs[name].error
            if error is not None:
                logger.error("{}", error)
                stderr = getattr(error, "stderr", ())
                for line in stderr if self.project.runners[name].stderr != "log" else ():
                    logger.error("{} stderr: {}", name, line)
                errors.append(str(error))
        errors += [str(pipeline.error) for pipeline in self._pipelines.values() if pipeline.error is not None]
        errors += [f"{branch.end.name}: {branch.end.error}" for branch in self._branches() if branch.end.error]
        redact = self.project.redact
        for runner in self.ledger.runners.values():
            runner.error = runner.error and redact(runner.error)
        report = self.report(1 if errors else 0, errors=list(map(redact, errors)), final=True)
        for line in report.unbalanced:
            logger.error("the ledger does not balance: {}", line)
        return report


class _Watched:
    """The observer before a runner's hub: it tells the collector when the runner has ended."""

    def __init__(self, hub: Hub, news: Waker) -> None:
        self._hub = hub
        self._news = news
        self.on_batch = hub.on_batch  # the one that is called often goes straight through

    def on_error(self, error: Exception) -> None:
        if not isinstance(error, RxCollectorError):
            logger.opt(exception=error).error("{} failed", self._hub.name)
        self._hub.on_error(error)
        self._news.set()

    def on_completed(self) -> None:
        self._hub.on_completed()
        self._news.set()
