"""The balance sheet while a run goes on: the law at every node, at any moment; and at an end that is cut short."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

import rx_collector as rx
from rx_collector.ledger import Report
from rx_collector.pipeline.collector import Collector
from tests.conftest import wait_until

#: Fan-out, merges, a pipeline that reads others, buffers, boundaries of every strategy, a sink that fails, dead letters.
BUSY = """
runners:
  a: {command: [seq, "60000"]}
  b: {command: [sh, -c, "for i in 1 2 3 4 5; do seq 3000; echo none; done"]}
pipelines:
  merged:
    from: [a, b]
    operators:
      - map: "{'n': int(message)}"
      - filter: n % 7 != 0
      - flat_map: "[this, this]"
      - buffer: {count: 13, time: 1ms}
    sinks:
      - file: merged
        backpressure: {strategy: block, capacity: 20}
      - file: {path: gathered, flush: 2ms}
        name: gathered
        backpressure: {strategy: drop_oldest, capacity: 20}
      - exec: {command: [sh, -c, "cat >/dev/null"]}
        backpressure: {strategy: spill, path: spilled, capacity: 10, max_bytes: 64MB}
    dead_letter: {file: dead}
  single:
    from: a
    sinks:
      - file: newest
        backpressure: {strategy: latest, key: int(message) % 50, capacity: 20}
      - file: sums
        name: sums
        backpressure: {strategy: conflate, by: int(message) % 50, aggregate: {n: count()}, capacity: 20}
      - file: /dev/full
        name: full
        backpressure: {strategy: drop_newest, capacity: 20}
        retry: {limit: 2, backoff: 1ms}
        on_failure: dead_letter
    dead_letter: {file: dead2}
  both:
    from: [merged, single]
    operators:
      - buffer: {count: 5}
    sinks:
      - null:
        backpressure: {strategy: error, capacity: 1_000_000}
"""


def nodes_of(report: Report) -> dict[str, tuple[int, ...]]:
    return {
        f"{name} {node.node}": (node.taken, node.made, node.out, node.rejected, node.dropped, node.merged)
        for name, pipeline in report.pipelines.items()
        for node in pipeline.nodes
    }


@pytest.mark.slow
def test_a_picture_at_any_moment_balances(tmp_path: Path) -> None:
    """Another thread takes pictures as fast as it can: each balances, and no count ever goes back."""
    (tmp_path / "x.yaml").write_text(BUSY)
    collector = Collector(rx.load(tmp_path / "x.yaml", {}))
    box: list[Report] = []
    thread = threading.Thread(target=lambda: box.append(collector.run()))
    thread.start()
    wrong: set[str] = set()
    before: dict[str, tuple[int, ...]] = {}
    busy = pictures = 0
    while thread.is_alive():
        report = collector.report()
        wrong.update(report.unbalanced)
        now = nodes_of(report)
        for name, counts in now.items():
            if any(count < earlier for count, earlier in zip(counts, before.get(name, counts), strict=True)):
                wrong.add(f"{name} went back from {before[name]} to {counts}")
        busy += now != before and any(node.held for one in report.pipelines.values() for node in one.nodes)
        pictures += 1
        before = now
    thread.join()
    assert wrong == set()
    assert busy > 20, f"{busy} of {pictures} pictures were taken while events were on their way"
    (report,) = box
    assert report.balanced, report.unbalanced
    assert report.pipelines["merged"].taken == 60_000 + 15_005
    assert report.pipelines["merged"].rejected == {"map": 5}
    assert report.pipelines["both"].taken == report.pipelines["merged"].nodes[3].out + 60_000


CUT_SHORT = """
runners:
  lines: {{command: [sh, -c, "yes $(printf %0{length}d) | head -n 20000; exec sleep 3600"], stop: {{signal: SIGTERM}}}}
pipelines:
  works:
    from: lines
    operators:
      - buffer: {{count: 100_000}}
    sinks:
      - file: out
        backpressure: block
  hangs:
    from: lines
    operators:
      - buffer: {{count: 7}}
    sinks:
      - {sink}
        name: sink
        backpressure: {{strategy: block, capacity: {capacity}}}
"""


def cut_short(directory: Path, when: Any, **options: Any) -> Report:
    """Stop it when this holds of its balance sheet, and give the last one."""
    (directory / "x.yaml").write_text(CUT_SHORT.format(**options))
    collector = Collector(rx.load(directory / "x.yaml", {}))
    box: list[Report] = []
    thread = threading.Thread(target=lambda: box.append(collector.run(drain="100ms")))
    thread.start()

    def far_enough() -> bool:
        now = collector.report()
        connected = [len(one.nodes) for one in now.pipelines.values()] == [3, 3]
        return connected and bool(when(now))

    wait_until(far_enough, "it has come so far")
    collector.stop()
    thread.join(20)
    (report,) = box
    assert report.balanced, report.unbalanced
    assert report.exit_code == 1
    assert any("did not take all events within 100ms" in error for error in report.errors), report.errors
    assert all(node.held == 0 for one in report.pipelines.values() for node in one.nodes)
    return report


def test_what_could_not_be_drained_is_counted_where_it_waited(tmp_path: Path) -> None:
    """At the boundary and in the sink's hands; a sibling has got everything."""
    sink = "exec: {command: [sleep, '3600'], grace: 1ms}"
    everywhere = lambda now: all(one.taken == 20_000 for one in now.pipelines.values())  # noqa: E731
    report = cut_short(tmp_path, everywhere, sink=sink, length=1000, capacity=4_000)
    assert report.pipelines["works"].sinks["file"].delivered == 1  # one list of all
    assert (tmp_path / "out").read_bytes().count(b"\n") == 20_000
    hangs = report.pipelines["hangs"]
    buffer, boundary, sink = hangs.nodes
    assert (buffer.taken, buffer.merged, buffer.out) == (20_000, 20_000, 2858)
    assert boundary.out + hangs.dropped["sink: cut short"] == boundary.taken == buffer.out
    assert hangs.dropped["sink: cut short"] > 0
    assert sink.taken == boundary.out
    assert hangs.sinks["sink"].failed == sink.taken - sink.out > 0


def test_what_an_operator_held_when_its_source_could_not_end_is_counted_there(tmp_path: Path) -> None:
    """The reader waits for the boundary of one pipeline, so the buffer of the other never hears of an end."""

    os.mkfifo(tmp_path / "fifo")
    reading = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    # No line fits into the pipe; with more than ten lists of seven there is one for which the reader has to wait.
    more = lambda now: now.pipelines["hangs"].nodes[0].taken >= 77  # noqa: E731
    report = cut_short(tmp_path, more, sink="file: fifo", length=100_000, capacity=10)
    os.close(reading)
    works = report.pipelines["works"]
    assert works.dropped == {"buffer: disposed": works.taken}
    hangs = report.pipelines["hangs"]
    assert hangs.dropped["sink: cut short"] > 5  # those that waited, and what the producer had still to hand over
    assert hangs.nodes[0].taken == hangs.taken
