"""What is done at the same time: a sink writes or compresses on its own thread while the runner's reads on."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import rx_collector as rx
from rx_collector.pipeline.collector import Collector
from tests.conftest import wait_until

LINES = 20
SOURCE = """
runners:
  lines:
    command: [sh, -c, "cat large go"]
    max_line: 100MB
pipelines:
  all:
    from: lines
    sinks:
      - file: {path: out, SINK}
        backpressure: {strategy: block, capacity: 10_000}
"""


class Run:
    """A collector that runs on a thread of its own."""

    def __init__(self, directory: Path, sink: str) -> None:
        (directory / "x.yaml").write_text(SOURCE.replace("SINK", sink))
        os.mkfifo(directory / "go")
        self.directory = directory
        self.collector = Collector(rx.load(directory / "x.yaml", {}))
        self.reports: list[rx.Report] = []
        self.thread = threading.Thread(target=lambda: self.reports.append(self.collector.run()))

    def start(self) -> None:
        self.thread.start()

    def within(self, module: str, function: str) -> bool:
        """Tell whether some thread is in a function, on whatever it waits there."""
        for frame in sys._current_frames().values():
            at = frame
            while at is not None:
                if at.f_code.co_name == function and at.f_globals.get("__name__") == module:
                    return True
                at = at.f_back  # type: ignore[assignment]
        return False

    def read(self) -> int:
        runner = self.collector.report().runners.get("lines")
        return runner.lines if runner else 0

    def more(self) -> None:
        """Let the child write its other lines, each when the one before has been read."""
        with (self.directory / "go").open("w") as go:
            for number in range(1, LINES + 1):
                print(number, file=go, flush=True)
                wait_until(lambda number=number: self.read() == number + 1, f"line {number} is read", 30)  # type: ignore[misc]

    def end(self) -> rx.Report:
        self.thread.join(60)
        (report,) = self.reports
        assert (report.exit_code, report.balanced) == (0, True)
        return report


@pytest.fixture
def started() -> Iterator[list[Run]]:
    runs: list[Run] = []
    yield runs
    for run in runs:
        run.collector.abort()
        run.thread.join(60)


@pytest.mark.slow
def test_lines_are_read_while_others_are_compressed(tmp_path: Path, started: list[Run]) -> None:
    (tmp_path / "large").write_text(f"{os.urandom(32 << 20).hex()}\n")  # a second of work for deflate
    run = Run(tmp_path, "compression: gzip")
    started.append(run)
    run.start()
    wait_until(lambda: run.within("rx_collector.sinks._gzip", "member"), "the line is being compressed", 30)
    run.more()
    assert run.within("rx_collector.sinks._gzip", "member")
    assert (tmp_path / "out").stat().st_size == 0  # it was still the first of them
    run.end()


def test_lines_are_read_while_others_are_written(tmp_path: Path, started: list[Run]) -> None:
    (tmp_path / "large").write_text(f"{'x' * 200_000}\n")  # more than the pipe takes
    os.mkfifo(tmp_path / "out")
    reader = os.open(tmp_path / "out", os.O_RDONLY | os.O_NONBLOCK)
    run = Run(tmp_path, "format: text")
    started.append(run)
    try:
        run.start()
        wait_until(lambda: run.within("rx_collector.sinks.descriptor", "write"), "the line is being written", 30)
        run.more()
        assert run.within("rx_collector.sinks.descriptor", "write")
        os.set_blocking(reader, True)
        taken = bytearray()
        while not taken.endswith(b"\n%d\n" % LINES):
            taken += os.read(reader, 1 << 16)
    finally:
        os.close(reader)
    assert taken.decode().split("\n") == ["x" * 200_000, *map(str, range(1, LINES + 1)), ""]
    run.end()
