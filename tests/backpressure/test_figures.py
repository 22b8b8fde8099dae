"""The figures that are promised, for a moment each; the benchmark takes its time."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rx_collector.backpressure import STRATEGIES

BENCHMARK = Path(__file__).parent.parent.parent / "benchmarks" / "boundary.py"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark, which counts the time of the processor here: others use it, too."""
    specification = importlib.util.spec_from_file_location("boundary_benchmark", BENCHMARK)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.setattr(time, "perf_counter", time.thread_time)
    return module


def appending(batches: list[list[Any]]) -> float:
    """Processor time of the least that a loop of Python can do with each event: put it into a list."""
    began = time.thread_time()
    for batch in batches:
        append = [].append
        for event in batch:
            append(event)
    return time.thread_time() - began


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["block", "drop_oldest", "drop_newest", "error"])
def test_passing_an_event_costs_at_most_a_hundred_nanoseconds(benchmark: ModuleType, strategy: str) -> None:
    """On a machine that appends an event to a list in 20 ns, and in proportion on another."""
    batches = [benchmark.batch(number * benchmark.BATCH) for number in range(200)]
    passing = min(benchmark.passing(strategy, batches) for _ in range(7))
    assert passing <= 5 * min(appending(batches) for _ in range(7))


@pytest.mark.slow
def test_a_fast_source_and_a_slow_sink_for_a_moment() -> None:
    """Half a million events a second against five thousand: it says so itself when counts, order or memory are wrong."""
    command = [sys.executable, str(BENCHMARK), "--slow", "1"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()[3:]] == list(STRATEGIES)
