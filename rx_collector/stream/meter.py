"""The meter: where the time of a run goes, for ``explain --analyze``. Without one, nothing is measured.

Of a loop the CPU time of its thread is taken once a batch. How it is shared out among the stages is found with a second
loop, compiled with a look at the clock before each stage; it takes its turn every few batches, so what the others cost is
not distorted. What the looks at the clock cost themselves is subtracted, and a batch in which the thread had to wait for a
processor does not count where there are others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns, thread_time_ns
from typing import Any, Final, TypeAlias

__all__ = ["Key", "LoopMeter", "Meter", "Times"]

#: The pipeline (or ``runner``), and the node in it.
Key: TypeAlias = tuple[str, str]
_EVERY: Final = 8  # batches, of which one goes through the loop with the clock
_DISTURBED: Final = 1.3  # a batch took so many times longer than its thread had a processor
_SLACK: Final = 20_000  # ns


@dataclass
class Times:
    """What one place took: nanoseconds of CPU and of wall time, without what it called of other places."""

    cpu: int = 0
    wall: int = 0
    calls: int = 0
    within: int = 0  # CPU time of what it called of other places
    threads: int = 0  # all CPU time that its thread had taken at the end of the last call


@dataclass
class LoopMeter:
    """The times of one loop: the CPU time and events of batches without a clock, and the shares of those with one."""

    labels: tuple[str, ...]
    cpu: int = 0
    events: int = 0
    clocked_cpu: int = 0
    clocked_events: int = 0
    spent: list[int] = field(default_factory=list)  # ns by stage, of the batch that runs; written by the loop
    shares: list[float] = field(default_factory=list)
    disturbed: list[float] = field(default_factory=list)
    batches: int = 0
    fair: bool = False  # there was a batch that was not disturbed

    def __post_init__(self) -> None:
        self.spent = [0] * len(self.labels)
        self.shares = [0.0] * len(self.labels)
        self.disturbed = [0.0] * len(self.labels)

    def wants_clock(self) -> bool:
        """Tell whether the next batch goes through the loop with the clock."""
        self.batches += 1
        return self.batches % _EVERY == 1

    def took(self, cpu: int, events: int) -> None:
        """A batch went through the loop without a clock."""
        self.cpu += cpu
        self.events += events

    def clocked(self, cpu: int, events: int, entered: Sequence[int], look: float) -> None:
        """A batch went through the loop with the clock; so many events came to each stage, and a look cost `look` ns."""
        self.clocked_cpu += cpu
        self.clocked_events += events
        disturbed = sum(self.spent) > cpu * _DISTURBED + _SLACK
        self.fair = self.fair or not disturbed
        to = self.disturbed if disturbed else self.shares
        for stage, (spent, count) in enumerate(zip(self.spent, entered, strict=True)):
            to[stage] += max(0.0, spent - count * look)
            self.spent[stage] = 0

    def seconds(self) -> float:
        """Give the CPU time of all batches, as if none of them had gone through the loop with the clock."""
        if not self.events:
            return self.clocked_cpu / 1e9
        return self.cpu / 1e9 * (self.events + self.clocked_events) / self.events

    def share(self) -> list[float]:
        """Give the share of each stage in the time of the loop; they add up to 1, or are 0 when nothing ran."""
        shares = self.shares if self.fair else self.disturbed
        whole = sum(shares)
        return [share / whole if whole else 0.0 for share in shares]


class Meter:
    """The times of all places in one run. What it measures may run on any thread; each place on one at a time."""

    def __init__(self) -> None:
        self.times: dict[Key, Times] = {}
        self.loops: dict[Key, dict[Hashable, LoopMeter]] = {}  # by the first node of the loop, and what it takes
        self.look = _cost_of_a_look()
        self._local = threading.local()
        self._lock = threading.Lock()

    def of(self, key: Key) -> Times:
        """Give the times of a place, new ones when there are none yet."""
        with self._lock:
            return self.times.setdefault(key, Times())

    def loop(self, key: Key, takes: Hashable, labels: tuple[str, ...]) -> LoopMeter:
        """Give the meter of a loop, a new one when there is none yet for these stages."""
        with self._lock:
            loops = self.loops.setdefault(key, {})
            if takes not in loops:
                loops[takes] = LoopMeter(labels)
            return loops[takes]

    def timed(self, key: Key, call: Callable[..., Any]) -> Callable[..., Any]:
        """Give the call with its times taken; what is timed within it counts there, not here."""
        times, local = self.of(key), self._local

        def run(*arguments: Any) -> Any:
            outer = getattr(local, "within", 0), getattr(local, "wall_within", 0)
            local.within = local.wall_within = 0
            wall, cpu = perf_counter_ns(), thread_time_ns()
            try:
                return call(*arguments)
            finally:
                times.threads = thread_time_ns()
                cpu, wall = times.threads - cpu, perf_counter_ns() - wall
                times.cpu += cpu - local.within
                times.within += local.within
                times.wall += wall - local.wall_within
                times.calls += 1
                local.within, local.wall_within = outer[0] + cpu, outer[1] + wall

        return run

    def passed(self, cpu: int, wall: int) -> None:
        """So much time went by on this thread in a place that is measured in another way."""
        local = self._local
        local.within = getattr(local, "within", 0) + cpu
        local.wall_within = getattr(local, "wall_within", 0) + wall

    def watch(self, thing: object, key: Key, *methods: str) -> None:
        """Take the times of some methods of an object. It stays what it is, for those who ask what it can do."""
        for method in methods:
            setattr(thing, method, self.timed(key, getattr(thing, method)))


def _cost_of_a_look() -> float:
    """Measure what a look at the clock costs, as the loops take it, in nanoseconds."""
    tick, spent, at, then = perf_counter_ns, [0, 0], 0, perf_counter_ns()
    best = float("inf")
    for _ in range(100):
        began = perf_counter_ns()
        for _ in range(500):
            now = tick()
            spent[at] += now - then
            then = now
            at = 1
        best = min(best, (perf_counter_ns() - began) / 500)
    return best
