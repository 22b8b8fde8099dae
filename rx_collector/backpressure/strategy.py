"""What a strategy is: a frozen description with its options, and the store of what waits that it makes."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar

from rx_collector.config.options import COUNT, DURATION, SIZE, Scope, Spec, described, option
from rx_collector.config.registry import Registry
from rx_collector.event import Event

__all__ = ["STRATEGIES", "Change", "Store", "Strategy", "WorstCase", "strategy"]


class Change:
    """What one call did to a store, for the ledger: the counts of a node, as differences.

    `rejections` are events that a user's expression or function failed for, with what it raised.
    """

    __slots__ = ("dropped", "made", "merged", "notes", "out", "rejections", "taken")

    def __init__(self) -> None:
        self.taken = self.out = self.merged = self.made = 0
        # No Counter: one is made for each batch, and to make a Counter takes ten times as long.
        self.dropped: defaultdict[str, int] = defaultdict(int)
        self.notes: defaultdict[str, int] = defaultdict(int)
        self.rejections: list[tuple[Event, Exception]] = []


class WorstCase(NamedTuple):
    """The most that a boundary can have in flight: events and bytes in memory (None: as many as the events have), and
    bytes on disk. One of its events is as large as `each` of those that came (None: as its `merge` makes it).
    """

    events: int
    bytes: int | None
    disk: int | None = None
    each: int | None = 1


class Store(ABC):
    """What waits in one boundary, and what the consumer has in hand.

    `prepare` is called by the producer without the lock, everything else under the boundary's lock. Nothing here waits
    for another thread. Entries are what counts against the capacity; an entry is one event, or for ``conflate`` the one
    that several were merged into.
    """

    #: Entries that were given out and are not finished with.
    in_hand = 0
    #: Set by a store that ends the stream (strategy ``error``); what waits is still given out.
    failure: Exception | None = None
    #: How long a blocked producer waits before it asks again although nothing was finished, in seconds.
    retry_after: float | None = None
    #: Whether nothing becomes otherwise when the consumer comes for more a little later.
    patient = False
    #: Whether what waits outlives the process, so that `acknowledge` and `keep` have a meaning.
    keeps: ClassVar[bool] = False

    @property
    @abstractmethod
    def waiting(self) -> int:
        """How many entries wait in memory."""

    @property
    def held(self) -> int:
        """How many events the store answers for that were not given out."""
        return self.waiting

    @property
    def kept(self) -> int:
        """How many of `held` stay where they are when the process ends."""
        return 0

    def opened(self, change: Change) -> None:
        """Tell what was there before anything was offered."""

    def prepare(self, batch: list[Event], change: Change) -> Sequence[Any]:
        """Make of a batch what `admit` takes: work that needs no lock. Events that fail go to ``change.rejections``."""
        return batch

    @abstractmethod
    def admit(self, batch: Sequence[Any], change: Change) -> Sequence[Any]:
        """Take what the strategy takes of a batch, and give the rest, for which the producer has to wait."""

    @abstractmethod
    def take(self, change: Change) -> list[Event]:
        """Give the consumer what it gets next, at most half of the capacity; empty when nothing waits."""

    def finish(self) -> bool:
        """The consumer is back: what it had in hand is finished. Tells whether there was anything."""
        had, self.in_hand = self.in_hand, 0
        return had > 0

    def acknowledge(self, count: int, change: Change) -> None:
        """The oldest `count` events that were given out need not be given again."""

    def keep(self, count: int) -> int:
        """The last `count` events that were given out did not arrive. Gives how many of them are kept for another run."""
        return 0

    @abstractmethod
    def clear(self, reason: str, change: Change) -> None:
        """Drop what waits, counted with this reason, or put it where it is kept."""

    def close(self, change: Change) -> None:
        """Release what the store holds outside of memory, after the last call."""


@described
class Strategy(Spec, ABC):
    """What a boundary does with events for which it has no room."""

    #: The name in YAML, ledgers and errors.
    name: ClassVar[str] = ""
    #: One sentence for `list`.
    summary: ClassVar[str] = ""
    #: What is promised about each event.
    guarantee: ClassVar[str] = ""
    #: A whole example for `describe`, in YAML: a sink's item.
    example: ClassVar[str] = ""

    capacity: int = option(COUNT, "The most events in flight, those in the sink's hands included.", 10_000)
    max_bytes: int | None = option(
        SIZE, "The most bytes in flight, as lines or JSON; one event that alone is larger still passes.", None
    )
    max_age: float | None = option(
        DURATION, "Events that waited longer are dropped when their turn comes, counted as max_age.", None
    )

    def check(self, scope: Scope) -> None:
        if self.capacity <= 0:
            scope.child("capacity").wrong("the capacity is at least 1")
        if self.max_bytes == 0:
            scope.child("max_bytes").wrong("max_bytes is at least 1")
        if self.max_age == 0:
            scope.child("max_age").wrong("max_age must be longer than nothing")

    def worst_case(self) -> WorstCase:
        """Give the most that can be in flight."""
        return WorstCase(self.capacity, self.max_bytes)

    @abstractmethod
    def open(self, clock: Callable[[], float] = time.monotonic) -> Store:
        """Make the store of one boundary; `clock` gives seconds. Raises OutputError where it needs what it cannot get."""


#: From the one that loses nothing to those that need a decision, as the documents have them; strangers follow.
_ORDER = ("block", "drop_oldest", "drop_newest", "latest", "conflate", "error", "spill")


class _Strategies(Registry[Strategy]):
    def __iter__(self) -> Iterator[str]:
        return iter(sorted(super().__iter__(), key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER)))


STRATEGIES: _Strategies = _Strategies("strategy")
S = TypeVar("S", bound=Strategy)


def strategy(name: str, *, summary: str, guarantee: str, example: str) -> Callable[[type[S]], type[S]]:
    """Register a strategy under its name."""

    def register(component: type[S]) -> type[S]:
        component.name, component.summary, component.guarantee, component.example = name, summary, guarantee, example
        STRATEGIES.add(name, component)
        return component

    return register
