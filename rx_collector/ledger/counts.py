"""What is counted while a run goes on.

Counts change once a batch, never once an event, and under the ledger's one lock, so that a snapshot taken from any
thread at any moment shows nodes that balance. Nothing may block while it holds that lock.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

__all__ = ["GroupNode", "Ledger", "Node", "PipelineLedger", "RunnerLedger"]

_MOST_EXITS = 100  # the last ones; a runner may be started again and again for months


class Node:
    """The counts of one place in a pipeline.

    The law: in + made = out + filtered + rejected + dropped + failed + merged + held. `held` is asked from who holds
    the events, not derived from the other counts, or the law would prove nothing. `kept` of them stay held at the end of
    a run, on disk, for another one.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.place = ""  # where its operator stands in a file
        self.warned = False  # whether the log has had a line about an event that was rejected here
        self.taken = 0  # "in" in reports; a keyword here
        self.out = 0
        self.filtered = 0
        self.rejected = 0
        self.merged = 0
        self.made = 0
        self.dropped: Counter[str] = Counter()
        self.failed = 0
        self.notes: Counter[str] = Counter()
        self.held: Callable[[], int] = int
        self.kept = 0
        self.branches: Counter[str] = Counter()  # what of `out` went another way than to the next node
        self.joined: Counter[str] = Counter()  # what of `made` came from other streams, by their names
        self.passed: int | None = None  # what a sink in a chain handed on, delivered or not; None: what is out
        self.first = False  # begins a row of operators: what stands before it in the list does not feed it
        self.foreign = False  # not ours: `filtered` and `made` are inferred from what went in and came out

    def missing(self) -> int:
        """Give how many events have no account; 0 when the node balances."""
        gone = self.out + self.filtered + self.rejected + self.dropped.total() + self.failed + self.merged + self.held()
        return self.taken + self.made - gone


class GroupNode(Node):
    """The node of an operator of which there is one for each group: it counts for all of them."""

    def __init__(self, name: str) -> None:
        self._group = 0
        self._holders: dict[int, Callable[[], int]] = {}
        super().__init__(name)

    def enter(self, group: int) -> None:
        """Say for which group the operator is that says next what it holds."""
        self._group = group

    def leave(self, group: int) -> None:
        """Forget a group that holds nothing any more."""
        self._holders.pop(group, None)

    @property
    def held(self) -> Callable[[], int]:
        """Ask all groups what they hold."""
        return self._held

    @held.setter
    def held(self, holder: Callable[[], int]) -> None:
        if holder is not int:
            self._holders[self._group] = holder

    def _held(self) -> int:
        # The list is made at once: a group may come or go on another thread.
        return sum(holder() for holder in list(self._holders.values()))


class RunnerLedger:
    """The counts of one runner, over all its incarnations."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.starts = 0
        self.exits: deque[dict[str, Any]] = deque(maxlen=_MOST_EXITS)
        self.bytes = 0
        self.lines = 0
        self.out = 0  # events sent on, to each that reads this runner
        self.skipped = 0  # lines left out by `skip_lines`
        self.stderr_lines = 0
        self.stderr_events = 0  # those of stderr_lines that were asked for as events
        self.lifecycle = 0  # lifecycle events among the lines
        self.lifecycle_apart = 0  # those sent to who reads them alone
        self.invalid_utf8 = 0
        self.rejected: Counter[str] = Counter({"line_too_long": 0})
        self.dropped: Counter[str] = Counter()
        self.lost_upstream = 0
        self.error: str | None = None
        self.missed: str | None = None  # how a child missed the deadline when it was stopped for good

    def missing(self) -> int:
        """Give how many lines have no account."""
        gone = self.out + self.rejected.total() + self.dropped.total() + self.skipped
        return self.lines + self.stderr_events + self.lifecycle - gone


class PipelineLedger:
    """The nodes of one pipeline in the order of the flow: operators first, then one node a sink.

    When a pipeline is changed while it runs, its next generation has a ledger of its own, which knows those before it. A
    sink that is kept open has its nodes in both.
    """

    def __init__(self, name: str, earlier: Sequence[PipelineLedger] = ()) -> None:
        self.name = name
        self.earlier = tuple(earlier)
        self.taken = 0
        #: Of each source what it had sent when this generation began to read it, and when it left it, if it has.
        self.begun: dict[str, int] = {}
        self.left: dict[str, int] = {}
        self.operators: list[Node] = []
        self.sinks: dict[str, Node] = {}
        self.boundaries: dict[str, Node] = {}  # the boundary before each sink, by the sink's name
        self.dead_letter: Node | None = None
        self.dead_letter_boundary: Node | None = None
        #: Names of what feeds it: runners and other pipelines.
        self.sources: list[str] = []

    def node(self, name: str) -> Node:
        """Add the node of an operator."""
        node = Node(name)
        self.operators.append(node)
        return node

    @property
    def generations(self) -> tuple[PipelineLedger, ...]:
        """Those before it, and itself."""
        return (*self.earlier, self)

    def insert(self, after: Node, nodes: Sequence[Node]) -> None:
        """Add the nodes of operators within an operator behind its own."""
        index = self.operators.index(after) + 1
        self.operators[index:index] = nodes

    def sink(self, name: str, taken: Collection[str] = ()) -> tuple[Node, Node]:
        """Add the nodes of a boundary and of the sink behind it; a name that is taken gets a number."""
        key, number = name, 2
        while key in self.sinks or key in taken:
            key, number = f"{name}_{number}", number + 1
        label = f"sinks[{len(self.sinks)}] {key}"
        self.boundaries[key], self.sinks[key] = Node(f"{label} backpressure"), Node(label)
        return self.boundaries[key], self.sinks[key]


class Ledger:
    """All counts of one run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.Lock()
        self.runners: dict[str, RunnerLedger] = {}
        self.pipelines: dict[str, PipelineLedger] = {}
        self.reloads = 0  # changes of what runs that were carried out

    def runner(self, name: str) -> RunnerLedger:
        """Give the counts of a runner, new if there are none yet."""
        with self.lock:
            return self.runners.setdefault(name, RunnerLedger(name))

    def pipeline(self, name: str) -> PipelineLedger:
        """Give the counts of a pipeline, new if there are none yet."""
        with self.lock:
            return self.pipelines.setdefault(name, PipelineLedger(name))
