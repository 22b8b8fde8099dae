"""The rehearsal: a project played through in virtual time, on one thread, from given lines to collected events.

No child is started or looked up, no sink is opened, and no boundary has a thread: events pass it as if its sink kept up. So
the same test gives the same events, ids, times and counts, always.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from rx_collector.clock import started_at
from rx_collector.event import Event
from rx_collector.ledger import Ledger, Node, PipelineLedger, Report
from rx_collector.operators.backpressure import Backpressure
from rx_collector.operators.to import To
from rx_collector.pipeline.given import Given
from rx_collector.pipeline.parts import Hub, Merge, with_operators
from rx_collector.pipeline.player import Player
from rx_collector.pipeline.spec import PipelineSpec
from rx_collector.stream.chain import Chain
from rx_collector.stream.flow import Batch, BatchObserver, Connection, Context
from rx_collector.stream.virtual_time import VirtualTime

if TYPE_CHECKING:
    from rx_collector.pipeline.project import Project

__all__ = ["BEGAN", "Outcome", "rehearse"]

#: When stream time begins, in UTC; the clocks of the machine that a test is on (boot, monotonic) begin with it.
BEGAN: Final = datetime(2026, 1, 1)
_MOST_TIMERS_AT_THE_END: Final = 100_000
_FIRST_PID: Final = 1001


@dataclass
class Outcome:
    """What came of a rehearsal: events and dead letters as they came, by pipeline; errors; the balance sheet."""

    report: Report
    events: dict[str, list[Event]]
    #: When each of the events came, in seconds of stream time.
    times: dict[str, list[float]]
    dead_letters: list[tuple[str, Event]]
    #: What runners ended with; what pipelines and operators failed with.
    runner_errors: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    #: By runner, the first item that could not be played.
    unplayed: dict[str, Given] = field(default_factory=dict)


class _Stage:
    """The end of one pipeline: it keeps the events, and counts them as if the sinks had taken them."""

    def __init__(self, name: str, spec: PipelineSpec, ledger: PipelineLedger, clock: VirtualTime) -> None:
        self.spec = spec
        self.hub = Hub(name)
        self.events: list[Event] = []
        self.times: list[datetime] = []
        self._clock = clock
        self.ended = False
        self.error: Exception | None = None
        self.connection: Connection
        self.context: Context
        self._nodes = [node for branch in spec.sinks for node in ledger.sink(branch.name)]
        self._letter: list[Node] = []
        if spec.dead_letter is not None:
            ledger.dead_letter_boundary, ledger.dead_letter = Node("dead_letter backpressure"), Node("dead_letter")
            self._letter = [ledger.dead_letter_boundary, ledger.dead_letter]

    def on_batch(self, batch: Batch) -> None:
        assert isinstance(batch, list)
        self.events += batch
        self.times += [self._clock.now] * len(batch)
        self._count(self._nodes, len(batch))
        self.hub.on_batch(batch)

    def on_error(self, error: Exception) -> None:
        self.error = error
        self.on_completed()

    def on_completed(self) -> None:
        self.ended = True
        self.hub.on_completed()

    def reject(self) -> None:
        """Count a record that goes to the dead letter."""
        self._count(self._letter, 1)

    def _count(self, nodes: list[Node], count: int) -> None:
        with self.context.ledger.lock:
            for node in nodes:
                node.taken += count
                node.out += count


def rehearse(project: Project, given: Mapping[str, Sequence[Given]]) -> Outcome:
    """Play what the runners of a project are given, and give what came of it."""
    return _Rehearsal(project).run(given)


class _Rehearsal:
    def __init__(self, project: Project) -> None:
        self._project = project
        self._clock = VirtualTime(BEGAN)
        self._ledger = Ledger(project.name)
        self._dead_letters: list[tuple[str, Event]] = []
        self._hubs: dict[str, Hub] = {}
        self._stages: dict[str, _Stage] = {}

    def run(self, given: Mapping[str, Sequence[Given]]) -> Outcome:
        self._assemble()
        players = self._players(given)
        with started_at(self._clock.nanoseconds(), self._clock.nanoseconds):
            self._play([player.play() for player in players])
            self._finish_timers()
        for stage in self._stages.values():
            stage.connection.dispose()
        runner_errors = [str(hub.error) for hub in self._hubs.values() if hub.error is not None]
        errors = [str(stage.error) or type(stage.error).__name__ for stage in self._stages.values() if stage.error]
        errors += [f"a timer failed: {type(error).__name__}: {error}" for error in self._clock.errors]
        errors += [f"{name} did not end with its sources" for name, stage in self._stages.items() if not stage.ended]
        seconds = (self._clock.now - BEGAN).total_seconds()
        all_errors = runner_errors + errors
        report = Report.of(self._ledger, seconds=seconds, exit_code=1 if all_errors else 0, errors=all_errors)
        events = {name: stage.events for name, stage in self._stages.items()}
        times = {name: [(time - BEGAN).total_seconds() for time in stage.times] for name, stage in self._stages.items()}
        unplayed = {player.name: player.unplayed for player in players if player.unplayed is not None}
        return Outcome(report, events, times, self._dead_letters, runner_errors, errors, unplayed)

    def _assemble(self) -> None:
        from rx_collector.pipeline.project import branch_of, lifecycle_of

        for name in self._project.runners:
            self._hubs[name] = Hub(name)
            self._hubs[lifecycle_of(name)] = Hub(lifecycle_of(name))
            self._ledger.runner(name)
        contexts = Context(
            self._ledger, PipelineLedger(""), "test", scheduler=self._clock, outlets=self._hubs, read=self._read
        )
        for name, spec in self._project.pipelines.items():

            def reject(record: Event, name: str = name) -> None:
                self._reject(name, record)

            context = contexts.for_pipeline(name, reject)
            context.pipeline.sources = list(spec.sources)
            stage = self._stages[name] = _Stage(name, spec, context.pipeline, self._clock)
            stage.context = context
            self._hubs[name] = stage.hub
            self._hubs |= {branch_of(name, branch): Hub(branch_of(name, branch)) for branch in spec.branches}
        for name, stage in self._stages.items():
            source = Chain(Merge(name, [self._hubs[source] for source in stage.spec.sources]))
            stream = _on_one_thread(with_operators(source, stage.spec.operators))
            stage.connection = stream.connect(stage, stage.context)

    def _read(self, source: str, observer: BatchObserver) -> None:
        self._hubs[source].observers.append(observer)

    def _reject(self, pipeline: str, record: Event) -> None:
        self._dead_letters.append((pipeline, record))
        self._stages[pipeline].reject()

    def _players(self, given: Mapping[str, Sequence[Given]]) -> list[Player]:
        from rx_collector.pipeline.project import lifecycle_of

        pids = itertools.count(_FIRST_PID)
        players = []
        for name in [*given, *(name for name in self._project.runners if name not in given)]:
            told = self._hubs[lifecycle_of(name)]
            readers = [
                pipeline
                for pipeline, spec in self._project.pipelines.items()
                if {name, lifecycle_of(name)} & spec.reads
            ]

            def reject(record: Event, readers: list[str] = readers) -> None:
                for pipeline in readers:
                    self._reject(pipeline, record)

            context = Context(self._ledger, PipelineLedger(""), "test", scheduler=self._clock, reject=reject)
            spec = self._project.runners[name]
            lifecycle = told if told.observers else None
            players.append(
                Player(
                    name,
                    spec,
                    given.get(name, ()),
                    self._hubs[name],
                    context,
                    self._clock,
                    lambda: next(pids),
                    lifecycle,
                )
            )
        return players

    def _play(self, playing: list[Iterator[datetime]]) -> None:
        """Let each go on when it wants to. What operators wait for at a moment comes before what is printed at it."""
        due = [(BEGAN, number, one) for number, one in enumerate(playing)]
        while due:
            moment, number, one = due[0]
            self._clock.advance_to(moment)
            following = next(one, None)
            if following is None:
                heapq.heappop(due)
            else:
                heapq.heapreplace(due, (following, number, one))

    def _finish_timers(self) -> None:
        """Run what operators that are not ours still wait for (a delay, say) when their sources have ended."""
        for _ in range(_MOST_TIMERS_AT_THE_END):
            if all(stage.ended for stage in self._stages.values()) or not self._clock.run_next():
                break


def _on_one_thread(stream: Chain) -> Chain:
    """Leave out what a Python operator of the user's brings along that has a thread or a sink of its own."""
    steps = [step for step in stream.steps if not isinstance(step.operator, Backpressure | To)]
    return Chain(stream.source, steps)
