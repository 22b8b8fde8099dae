"""What a boundary costs an event, as ratios to a bare deque, and what a slow sink does to memory.

python benchmarks/boundary.py               # the cost of passing an event, and the speed of spill
python benchmarks/boundary.py --slow 60     # so many seconds a strategy: 500,000 events/s into a sink at 1 % of it
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rx_collector.backpressure import STRATEGIES, Boundary
from rx_collector.event import Event, Origin, from_json

BATCH, BATCHES, ROUNDS = 500, 2_000, 7
MOST_GROWTH = 40  # MB; what is not bounded grows by this in a second
ORIGIN = Origin("run", "exec", 1, 42, 1_700_000_000_000_000_000)
LINE = b'{"event":"EXEC","comm":"bash","pid":1234,"ppid":1,"filename":"/usr/bin/something","args":"%b"}' % (b"x" * 150)
OPTIONS: dict[str, dict[str, Any]] = {
    "latest": {"key": lambda event: event.line % 100},
    "conflate": {"by": [lambda event: event.line % 100], "merge": lambda older, newer: newer},
}


def batch(first: int) -> list[Event]:
    return [Event(from_json, LINE, ORIGIN, first + n, LINE) for n in range(BATCH)]


def bare(batches: list[list[Event]]) -> float:
    waiting: deque[Event] = deque()
    began = time.perf_counter()
    for one in batches:
        waiting.extend(one)
        taken = [waiting.popleft() for _ in range(len(waiting))]
        assert taken
    return time.perf_counter() - began


def passing(strategy: str, batches: list[list[Event]], **options: Any) -> float:
    boundary = Boundary(STRATEGIES[strategy](capacity=10_000, **OPTIONS.get(strategy, {}), **options))
    began = time.perf_counter()
    for one in batches:
        boundary.offer(one)
        taken = boundary.drain()
        assert taken
        boundary.acknowledge(len(taken))
    seconds = time.perf_counter() - began
    boundary.close()
    while boundary.drain() is not None:
        pass
    boundary.release()
    return seconds


def cost() -> None:
    batches = [batch(n * BATCH) for n in range(BATCHES)]
    count = BATCH * BATCHES
    print(f"{count:,} events in batches of {BATCH}, in and out on one thread, medians of {ROUNDS} rounds\n")
    print(f"{'':28}{'ns/event':>10}{'ratio':>8}")
    runs: dict[str, Callable[[], float]] = {"bare deque": lambda: bare(batches)}
    for name in STRATEGIES:
        if name != "spill":
            runs[name] = lambda name=name: passing(name, batches)  # type: ignore[misc]
    runs["block, max_age"] = lambda: passing("block", batches, max_age=60)
    runs["block, max_bytes"] = lambda: passing("block", batches, max_bytes="1GB")
    with tempfile.TemporaryDirectory() as directory:
        runs["spill, sink keeps up"] = lambda: passing("spill", batches, path=f"{directory}/s")
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS):
            for name, run in runs.items():
                times[name].append(run())
    for name, taken in times.items():
        ratio = statistics.median(one / other for one, other in zip(taken, times["bare deque"], strict=True))
        print(f"{name:28}{statistics.median(taken) / count * 1e9:10.1f}{ratio:8.2f}")


def spilling() -> None:
    batches = [batch(n * BATCH) for n in range(800)]
    size = len(LINE) * BATCH * len(batches) / 1e6
    writing, reading = [], []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as directory:
            boundary = Boundary(STRATEGIES["spill"](path=f"{directory}/s", capacity=10_000, max_bytes="1GB"))
            began = time.perf_counter()
            for one in batches:
                boundary.offer(one)
            writing.append(size / (time.perf_counter() - began))
            boundary.close()
            began = time.perf_counter()
            while (taken := boundary.drain()) is not None:
                boundary.acknowledge(len(taken))
            reading.append(size / (time.perf_counter() - began))
            boundary.release()
    print(f"\nspill, {size:.0f} MB of lines of {len(LINE)} bytes (medians of 3):")
    print(f"    to disk {statistics.median(writing):.0f} MB/s, back {statistics.median(reading):.0f} MB/s")


def resident() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def slow(seconds: float) -> None:
    """500,000 events/s where the strategy lets them, the sink at 5,000 events/s."""
    print(f"{seconds:g} s each, sink 5,000 events/s\n")
    print(
        f"{'':14}{'offered/s':>12}{'given/s':>10}{'dropped':>12}{'merged':>12}{'held':>12}{'RSS MB, quarter by quarter':>34}"
    )
    for name in STRATEGIES:
        with tempfile.TemporaryDirectory() as directory:
            options = {**OPTIONS.get(name, {}), **({"path": f"{directory}/s"} if name == "spill" else {})}
            boundary = Boundary(STRATEGIES[name](capacity=10_000, **options))
            began = time.monotonic()
            end = began + seconds
            pause = threading.Event()

            def produce(boundary: Boundary = boundary, began: float = began, end: float = end) -> None:
                number = 0
                while (now := time.monotonic()) < end:
                    boundary.offer(batch(number))
                    number += BATCH
                    pause.wait(max(0.0, number / 500_000 - (now - began)))  # noqa: B023

            producer = threading.Thread(target=produce)
            producer.start()
            given, memory, quarters, last, ordered = 0, [resident()], 1, -1, True
            while (now := time.monotonic()) < end:
                taken = boundary.drain(0.1)
                if taken and name not in ("latest", "conflate"):
                    ordered = (
                        ordered
                        and last < taken[0].line
                        and all(one.line < other.line for one, other in itertools.pairwise(taken))
                    )
                    last = taken[-1].line
                given += len(taken or ())
                boundary.acknowledge(len(taken or ()))
                pause.wait(max(0.0, min(end - now, given / 5_000 - (now - began))))
                if now - began > seconds * quarters / 4:
                    quarters += 1
                    memory.append(resident())
            memory.append(resident())  # before what waits is dropped
            boundary.cancel("over")
            producer.join()
            node = boundary.node
            assert node.missing() == 0
            assert ordered
            assert max(memory) - memory[0] < MOST_GROWTH, f"{name}: the memory grew from {memory[0]:.0f} MB: {memory}"
            shown = " ".join(f"{one:.0f}" for one in memory)
            print(
                f"{name:14}{node.taken / seconds:12,.0f}{given / seconds:10,.0f}{node.dropped.total():12,}"
                f"{node.merged:12,}{node.held():12,}{shown:>34}"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--slow"]:
        slow(float(sys.argv[2]))
    else:
        cost()
        spilling()
