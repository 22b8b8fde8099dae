"""A generation of a pipeline: one description of it while it runs, with its operators, its open sinks and its readers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

from loguru import logger

from rx_collector.errors import RxCollectorError
from rx_collector.event import Event
from rx_collector.ledger import Node
from rx_collector.pipeline.compare import same_branch
from rx_collector.pipeline.parts import DeadLetter, Hub, Inlet, Limit, Merge, OpenBranch, Sender, Tap
from rx_collector.pipeline.project import branch_of
from rx_collector.pipeline.spec import Branch, PipelineSpec
from rx_collector.sinks.stdin import Stdin
from rx_collector.stream.eventstream import EventStream
from rx_collector.stream.flow import Batch, BatchObserver, Connection, Context

__all__ = ["Generation"]

_AT_ONCE = 2.0  # seconds that a sink may take to close when nothing was sent to it


class Generation:
    """The observer at the end of a pipeline's operators, which feeds its branches and those who read the pipeline.

    `open` and `connect` make it; nothing comes to it before its inlets are among the observers of the hubs that it reads.
    `context.pipeline` is its ledger. `news` is called when it has ended or a branch has failed.
    """

    def __init__(
        self,
        name: str,
        spec: PipelineSpec,
        context: Context,
        hubs: Mapping[str, Hub],
        news: Callable[[], None],
        operators: Callable[[EventStream, PipelineSpec], EventStream],
    ) -> None:
        self.name = name
        self.spec = spec
        self.branches: list[OpenBranch] = []
        self.dead_letter: DeadLetter | None = None
        self.inlets: list[Inlet] = []
        self.taps: list[Tap] = []  # what its operators read beside its stream
        self.live = False  # its inlets are among the observers
        self._shut: list[Inlet | Tap] = []
        self.error: Exception | None = None
        self.over = False
        self.ended = threading.Event()
        self._connection: Connection | None = None
        self._operators = operators
        self._hubs = hubs
        self._news = news
        self._sender = Sender(hubs[name])
        self._ways = {branch_of(name, way): Sender(hubs[branch_of(name, way)]) for way in spec.branches}
        self._lock = threading.Lock()
        self.context = replace(context, reject=self.reject, outlets=self._ways, read=self._read, connections=[])
        self._of_sinks = replace(self.context, scheduler=None)  # they go by this machine's clock, whatever operators do
        self.context.pipeline.sources = list(spec.sources)

    # Making it

    def open(self, old: Generation | None, bind: Callable[[Branch], Branch]) -> None:
        """Open the sinks, but for those of `old` whose description is the same, which are kept.

        `bind` makes a branch ready to be opened. Raises OutputError; then everything is closed that was opened.
        """
        try:
            self._open_branches(old, bind)
            self._open_dead_letter(old, bind)
        except RxCollectorError:
            self.close()
            raise
        for branch in self.branches:
            if old is None or branch not in old.branches:
                branch.reject_to(self.dead_letter)

    def _open_branches(self, old: Generation | None, bind: Callable[[Branch], Branch]) -> None:
        ledger = self.context.pipeline
        spare = list(old.branches) if old is not None and not old.over else []
        kept: dict[int, OpenBranch] = {}
        for index, branch in enumerate(self.spec.sinks):
            found = next((one for one in spare if same_branch(one.branch, branch)), None)
            if found is not None and found.join():
                kept[index] = found
                spare.remove(found)
        names = {branch.name for branch in kept.values()}
        for index, branch in enumerate(self.spec.sinks):
            if (there := kept.get(index)) is not None:
                ledger.boundaries[there.name], ledger.sinks[there.name] = there.nodes
                self.branches.append(there)
                continue
            nodes = ledger.sink(branch.name, names)
            name = nodes[1].name.partition(" ")[2]
            try:
                self.branches.append(OpenBranch(bind(branch), nodes, name, self._of_sinks, self._news))
            except RxCollectorError:
                for later, one in kept.items():
                    if later > index:
                        one.leave()
                raise

    def _open_dead_letter(self, old: Generation | None, bind: Callable[[Branch], Branch]) -> None:
        ledger, spec = self.context.pipeline, self.spec.dead_letter
        if spec is None:
            return
        before = old.dead_letter if old is not None else None
        if before is not None and same_branch(before.branch.branch, spec) and before.join():
            ledger.dead_letter_boundary, ledger.dead_letter = before.branch.nodes
            self.dead_letter = before
            return
        nodes = ledger.dead_letter_boundary, ledger.dead_letter = Node("dead_letter backpressure"), Node("dead_letter")
        opened = OpenBranch(
            spec if isinstance(spec.sink, Stdin) else bind(spec), nodes, "dead_letter", self.context, self._news
        )
        self.dead_letter = DeadLetter(opened, nodes[0], self.context.ledger.lock)

    def connect(self, limit: Limit | None) -> None:
        """Put the operators together. What goes wrong is in `error`."""
        hubs = [self._hubs[source] for source in self.spec.sources]
        stream = self._operators(EventStream(Merge(self.name, hubs, self._enter)), self.spec)
        before = self if limit is None else limit.before(self, self.context)
        self._connection = stream.connect(before, self.context)

    def _enter(self, inlet: Inlet) -> None:
        self.inlets.append(inlet)
        if self.live:  # an Rx operator that subscribes late, or once more
            for link in inlet.links:
                link.hub.observers = [*link.hub.observers, link]

    def _read(self, source: str, observer: BatchObserver) -> None:
        tap = Tap(source, observer)
        self.taps.append(tap)
        if self.live:
            self._hubs[source].observers = [*self._hubs[source].observers, tap]

    def observers(self, source: str) -> list[BatchObserver]:
        """Give all of it that reads what has this name."""
        links: list[BatchObserver] = [link for inlet in self.inlets for link in inlet.links if link.hub.name == source]
        return [*links, *(tap for tap in self.taps if tap.source == source)]

    # While it runs

    def on_batch(self, batch: Batch) -> None:
        for branch in self.branches:
            branch.on_batch(batch)
        self._sender.on_batch(batch)

    def on_error(self, error: Exception) -> None:
        self.error = error
        logger.error("{}", error)
        self._end()

    def on_completed(self) -> None:
        self._end()

    def _end(self) -> None:
        with self._lock:
            over, self.over = self.over, True
        if over:
            return
        for branch in self.branches:
            branch.leave()
        if self.dead_letter is not None:
            self.dead_letter.leave()
        self._sender.on_completed()
        self.ended.set()
        self._news()

    def reject(self, record: Event) -> None:
        """Take the record of a rejected event."""
        if self.dead_letter is not None and not self.dead_letter.take(record):
            self.dead_letter.refuse()

    @property
    def delivers(self) -> bool:
        """Whether what it takes can still reach a sink of its own."""
        return not self.over and any(branch.end.error is None for branch in self.branches)

    # Its beginning and its end

    def shut(self) -> None:
        """Let what comes wait, until `let_in`, which the same thread calls."""
        self._shut = [*self.inlets, *self.taps]
        for door in self._shut:
            door.close()

    def let_in(self) -> None:
        """Begin, if it has not begun yet."""
        self.live = True
        while self._shut:
            self._shut.pop().open()

    def retire(self) -> None:
        """Send what the operators hold and end. Call it when no hub sends to it any more; blocks as a batch does."""
        for tap in self.taps:
            tap.on_completed()
        for inlet in self.inlets:
            inlet.finish()

    def dispose(self) -> None:
        """Drop what the operators hold, counted, and all that still comes."""
        if self._connection is not None:
            self._connection.dispose()

    def wait_for_operators(self, timeout: float) -> None:
        """Wait for the threads and processes of the operators, for each at most `timeout` seconds, once they have ended."""
        if self._connection is not None:
            self._connection.wait(timeout)

    def close(self) -> None:
        """End without sending anything, before any event came: what `open` and `connect` did is undone."""
        self.dispose()
        self._end()
        for way in self._ways.values():
            way.on_completed()

    def wait(self) -> None:
        """Wait for the sinks that nobody sends to any more, after `close`; not for one that hangs."""
        for branch in self.branches:
            if not branch.used:
                branch.consumer.thread.join(_AT_ONCE)
        if self.dead_letter is not None and not self.dead_letter.used:
            self.dead_letter.branch.consumer.thread.join(_AT_ONCE)
