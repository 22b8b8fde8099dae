"""What is done at the same time: a sink writes or compresses on its own thread while the runner's reads on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.pipeline.reloading import Running, running

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


def within(module: str, function: str) -> bool:
    """Tell whether some thread is in a function, on whatever it waits there."""
    for frame in sys._current_frames().values():
        at = frame
        while at is not None:
            if at.f_code.co_name == function and at.f_globals.get("__name__") == module:
                return True
            at = at.f_back  # type: ignore[assignment]
    return False


def read_more(run: Running) -> None:
    """Let the child write its other lines, each when the one before has been read."""
    with (run.directory / "go").open("w") as go:
        for number in range(1, LINES + 1):
            print(number, file=go, flush=True)
            wait_until(
                lambda number=number: run.collector.report().runners["lines"].lines == number + 1,  # type: ignore[misc]
                f"line {number} is read",
                30,
            )


@pytest.mark.slow
def test_lines_are_read_while_others_are_compressed(tmp_path: Path) -> None:
    (tmp_path / "large").write_text(f"{os.urandom(32 << 20).hex()}\n")  # a second of work for deflate
    os.mkfifo(tmp_path / "go")
    with running(tmp_path, SOURCE.replace("SINK", "compression: gzip")) as run:
        wait_until(lambda: within("rx_collector.sinks._gzip", "member"), "the line is being compressed", 30)
        read_more(run)
        assert within("rx_collector.sinks._gzip", "member")
        assert (tmp_path / "out").stat().st_size == 0  # it was still the first of them
        assert run.end().exit_code == 0


def test_lines_are_read_while_others_are_written(tmp_path: Path) -> None:
    (tmp_path / "large").write_text(f"{'x' * 200_000}\n")  # more than the pipe takes
    os.mkfifo(tmp_path / "go")
    os.mkfifo(tmp_path / "out")
    reader = os.open(tmp_path / "out", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with running(tmp_path, SOURCE.replace("SINK", "format: text")) as run:
            wait_until(lambda: within("rx_collector.sinks.descriptor", "write"), "the line is being written", 30)
            read_more(run)
            assert within("rx_collector.sinks.descriptor", "write")
            os.set_blocking(reader, True)
            taken = bytearray()
            while not taken.endswith(b"\n%d\n" % LINES):
                taken += os.read(reader, 1 << 16)
            assert run.end().exit_code == 0
    finally:
        os.close(reader)
    assert taken.decode().split("\n") == ["x" * 200_000, *map(str, range(1, LINES + 1)), ""]
