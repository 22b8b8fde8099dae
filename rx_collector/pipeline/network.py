"""The network: what of a project runs just now, and how it hangs together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from rx_collector.clock import Look
from rx_collector.errors import RxCollectorError
from rx_collector.event import Event
from rx_collector.ledger import Ledger, PipelineLedger
from rx_collector.log import logger
from rx_collector.pipeline.compare import names, used
from rx_collector.pipeline.generation import Generation
from rx_collector.pipeline.parts import Hub, Limit, OpenBranch
from rx_collector.pipeline.project import Project, branch_of, lifecycle_of
from rx_collector.pipeline.spec import Branch, PipelineSpec
from rx_collector.runners.feed import Feed
from rx_collector.runners.source import RunnerConnection
from rx_collector.runners.spec import RunnerSpec
from rx_collector.sinks.stdin import Stdin
from rx_collector.stream.chain import Chain
from rx_collector.stream.flow import Batch, BatchObserver, Context, Timers
from rx_collector.waker import Waker

if TYPE_CHECKING:
    from reactivex.abc import SchedulerBase

    from rx_collector.stream.meter import Meter

__all__ = ["Network"]


class Network:
    """The hubs, pipelines and readers of one run.

    A reload changes it on a thread of its own: it replaces a mapping or list and never changes one, so that each that
    another thread looks at is whole. `lock` is held where what was just looked at has to stay so.
    """

    def __init__(self, project: Project, news: Waker) -> None:
        self.project = project
        self.ledger = Ledger(project.name)
        self.lock = threading.Lock()
        self.limit: Limit | None = None
        self.hubs: dict[str, Hub] = {}  # of runners, of their lifecycle events, of pipelines and their branches
        self.sorts: dict[str, str] = {}  # what each name is or was in this run
        self.pipelines: dict[str, Generation] = {}  # those of the project
        self.generations: list[Generation] = []  # all that there were
        self.branches: list[OpenBranch] = []  # all that there were, with dead letters
        self.feeds: dict[str, Feed] = {}  # of the runners that a sink writes to
        self.readers: dict[str, RunnerConnection] = {}  # of the runners that were started
        self.unwanted: set[str] = set()  # runners that were stopped because nobody took what they print
        self.restarting: frozenset[str] = frozenset()  # runners that a reload stops, and starts again
        self._news = news
        self._timers: dict[str, Timers] = {}

    # Putting it together

    def begin(
        self,
        run: str,
        scheduler: SchedulerBase | None,
        look: Callable[[], Look] | None,
        operators: Callable[[Chain, PipelineSpec], Chain],
        connect: Callable[[str, RunnerSpec, BatchObserver, Context, BatchObserver | None], RunnerConnection],
        meter: Meter | None = None,
    ) -> None:
        """Say of which run it is, and by which clocks it goes where these are not this machine's.

        `operators` puts those of a pipeline behind a stream, `connect` starts a runner. `meter` takes the
        time of everything.
        """
        self._base = Context(self.ledger, PipelineLedger(""), run, scheduler=scheduler, look=look, meter=meter)
        self._operators = operators
        self._start_runner = connect

    def build(self, limit: Limit | None) -> None:
        """Put everything together but the runners. Raises OutputError when a sink cannot be opened."""
        self.limit = limit
        self.add_hubs(self.project)
        for name in self.project.runners:
            self.ledger.runner(name)
        made = [self.make(name, self.project, None) for name in self.project.pipelines]
        for generation in made:
            self.adopt(generation)
        for generation in made:
            self.open(generation, None, self.bind)
        for generation in made:
            generation.connect(limit)
        for generation in made:
            for source in generation.spec.reads:
                self.hubs[source].observers += generation.observers(source)
            generation.live = True

    def add_hubs(self, project: Project) -> None:
        """See that there is a hub for all that can be read."""
        self.sorts = {**self.sorts, **names(project)}
        self.hubs = {**self.hubs, **{name: Hub(name) for name in names(project) if name not in self.hubs}}

    def make(self, name: str, project: Project, before: PipelineLedger | None) -> Generation:
        """Make a generation of a pipeline, with nothing open yet. It counts as a sender of its hubs."""
        spec = project.pipelines[name]
        ledger = PipelineLedger(name, before.generations if before is not None else ())
        timers = self._timers.setdefault(name, Timers(name))
        # Where the time is not this machine's, or is measured, all is done on the threads that bring it.
        here = self._base.scheduler is not None or self._base.look is not None or self._base.meter is not None
        context = replace(self._base, pipeline=ledger, timers=timers, workers=1 if here else spec.workers)
        return Generation(name, spec, context, self.hubs, self._news.set, self._operators)

    def open(self, generation: Generation, old: Generation | None, bind: Callable[[Branch], Branch]) -> None:
        """Open the sinks of a generation, but for those that it takes over from an old one. Raises OutputError.

        `bind` is given each branch before it is opened, and gives it back, mostly as `bind` of this does.
        """
        try:
            generation.open(old, bind)
        finally:
            letter = generation.dead_letter
            opened = [*generation.branches, *([letter.branch] if letter is not None else [])]
            self.branches = [*self.branches, *(branch for branch in opened if branch not in self.branches)]

    def bind(self, branch: Branch) -> Branch:
        """Give the branch with what its sink needs of the others: the standard input of a runner."""
        sink = branch.sink
        if not isinstance(sink, Stdin):
            return branch
        feed = Feed(sink.runner, self._news.set, sink.timeout)
        self.feeds = {**self.feeds, sink.runner: feed}
        return replace(branch, sink=sink.bound_to(feed))

    def adopt(self, generation: Generation) -> None:
        """Make it the one that there is of its pipeline."""
        with self.ledger.lock:
            self.ledger.pipelines[generation.name] = generation.context.pipeline
        self.pipelines = {**self.pipelines, generation.name: generation}
        self.generations = [*self.generations, generation]

    # Runners

    def start(self, runners: Iterable[str]) -> None:
        """Start the children of runners, now that everything that reads them is connected. Call it with `lock` held."""
        wanted = used(self.project)
        for name in runners:
            hub, told = self.hubs[name], self.hubs[lifecycle_of(name)]
            if name not in wanted:
                # A warning about it, with its place, came when the file was loaded.
                logger.debug("runner {} is read by no pipeline and is not started", name)
                hub.on_completed()
                told.on_completed()
                continue
            spec = self.project.runners[name]
            context = replace(self._base, scheduler=None, look=None, reject=self._reject_of(name), connections=[])
            watched = _Watched(hub, self._news)
            if context.meter is not None:
                context.meter.watch(watched, ("runner", name), "on_batch")
            started = self._start_runner(name, spec, watched, context, told)
            self.readers = {**self.readers, name: started}

    def _reject_of(self, runner: str) -> Callable[[Event], None]:
        """Give what takes the records of what a runner prints and is no line: it goes to all who read it then."""
        sources = {runner, lifecycle_of(runner)}

        def reject(record: Event) -> None:
            for generation in self.pipelines.values():
                if sources & generation.spec.reads:
                    self._reject(generation, record)

        return reject

    def _reject(self, generation: Generation, record: Event) -> None:
        letter = generation.dead_letter
        while letter is not None and not letter.take(record):
            now = self.pipelines.get(generation.name)
            newer = now.dead_letter if now is not None else None
            if newer is None or newer is letter:
                letter.refuse()
                return
            letter = newer

    # What there is

    def logs_stderr(self, runner: str) -> bool:
        """Whether what a runner prints on standard error is in the log already."""
        return runner in self.project.runners and self.project.runners[runner].stderr == "log"

    def wanted(self, source: str) -> bool:
        """Whether anything can still become of what a runner or pipeline sends."""
        branches = self.pipelines[source].spec.branches if source in self.pipelines else ()
        those = {source, lifecycle_of(source), *(branch_of(source, branch) for branch in branches)}
        readers = [pipeline for pipeline in self.pipelines.values() if those & pipeline.spec.reads]
        feed = self.feeds.get(source)
        if feed is not None and (not readers or not feed.finished):
            return True  # it works for itself, or somebody still has something for it
        return any(pipeline.delivers or (not pipeline.over and self.wanted(pipeline.name)) for pipeline in readers)

    def unwanted_readers(self) -> list[str]:
        """Give the runners of which nothing can become of what they send, all by one look at the pipelines."""
        read = {
            source
            for pipeline in self.pipelines.values()
            if pipeline.delivers or (not pipeline.over and self.wanted(pipeline.name))
            for source in pipeline.spec.reads
        }
        return [
            name
            for name in self.readers
            if not (self.wanted(name) if name in self.feeds else name in read or lifecycle_of(name) in read)
        ]

    def readers_are_over(self) -> bool:
        """Whether all that was started has ended."""
        return all(self.hubs[name].ended for name in self.readers)

    def sources_are_over(self, asked: bool) -> bool:
        """Nothing more comes from the children. A reader may still have lines that a full boundary keeps it from sending.

        When the end was asked for, those that are fed with events do not count: they have to end before patience does.
        """
        those = [name for name in self.project.runners if not asked or name not in self.feeds]
        if all(self.hubs[name].ended for name in those):
            return True
        readers = self.readers
        return asked and not any(readers[name].running for name in those if name in readers)

    # The end

    def close_timers(self, name: str) -> None:
        """End the timers of a pipeline that is over for good."""
        timers = self._timers.pop(name, None)
        if timers is not None:
            timers.close()

    def close(self) -> None:
        """End the timers of all pipelines."""
        for name in [*self._timers]:
            self.close_timers(name)

    def kill(self) -> None:
        """End all children at once; nothing more is sent."""
        for reader in self.readers.values():
            reader.dispose()
            reader.kill()


class _Watched:
    """The observer before a runner's hub: it tells the collector when the runner has ended."""

    def __init__(self, hub: Hub, news: Waker) -> None:
        self._hub = hub
        self._news = news
        self.on_batch: Callable[[Batch], None] = hub.on_batch  # the one that is called often goes straight through

    def on_error(self, error: Exception) -> None:
        if not isinstance(error, RxCollectorError):
            logger.opt(exception=error).error("{} failed", self._hub.name)
        self._hub.on_error(error)
        self._news.set()

    def on_completed(self) -> None:
        self._hub.on_completed()
        self._news.set()
