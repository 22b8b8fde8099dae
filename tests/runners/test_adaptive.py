"""Reading that adapts: a large pipe for whom it helps, no wait for more, and nothing at all while nothing happens."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import rx_collector as rx
from rx_collector import operators as op
from rx_collector import sinks
from rx_collector.pipes import LARGEST
from rx_collector.runners import incarnation
from tests.conftest import child
from tests.runners.helpers import Collected, messages


@pytest.mark.fast_path
def test_a_pipe_is_large_from_the_start_while_there_are_few() -> None:
    """It becomes that when its reader begins, which may be after the child did."""
    size = min(LARGEST, largest_allowed())
    assert messages(*child("pipe_size", 0, size)) == [str(size)]


@pytest.mark.fast_path
@pytest.mark.parametrize(("written", "size"), [(1000, 1 << 16), (4_000_000, LARGEST)], ids=["idle", "busy"])
def test_of_many_pipes_only_those_that_are_used_become_large(
    monkeypatch: pytest.MonkeyPatch, written: int, size: int
) -> None:
    monkeypatch.setattr(incarnation, "share", lambda pipes: 1 << 16)
    lines = messages(*child("pipe_size", written))
    assert lines[:-1] == ["x" * 99] * (written // 100)
    assert int(lines[-1]) == min(size, largest_allowed())


def test_a_user_who_may_have_no_larger_pipes_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def refused(descriptor: int, wanted: int) -> int:
        asked.append(wanted)
        return 1 << 16

    monkeypatch.setattr(incarnation, "widen", refused)
    monkeypatch.setattr(incarnation, "share", lambda pipes: 1 << 16)
    lines = messages(*child("pipe_size", 1_000_000))
    assert lines[:-1] == ["x" * 99] * 10_000
    assert asked == [1 << 16, LARGEST]  # once at the start, once when it was full


def largest_allowed() -> int:
    return int(Path("/proc/sys/fs/pipe-max-size").read_text())


@pytest.mark.parametrize("output", ["pipe", "pty"])
def test_a_line_is_in_the_file_before_the_next_one_comes(tmp_path: Path, output: str) -> None:
    """Nothing waits for a batch to fill: the child writes the next line only when it has seen the one before."""
    path = tmp_path / "o"
    report = rx.run(
        rx.runner(*child("in_turn", 50, path), name="x", output=output).pipe(
            op.backpressure("block", capacity=1000), op.to(sinks.file(str(path), format="text"))
        )
    )
    assert report.balanced
    assert report.exit_code == 0
    assert path.read_text().split() == [str(number) for number in range(50)]
    # Half a millisecond on a quiet machine, and on a busy one still for some of them.
    took = sorted(map(float, Path(f"{path}.took").read_text().split()))
    assert took[len(took) // 4] < 0.004


def sleeps() -> dict[str, int]:
    """How often each of our threads went to sleep."""
    found = {}
    for thread in threading.enumerate():
        if thread.name.startswith("rx-"):
            status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
            found[thread.name] = sum(int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"output": "pty"}, {"idle_timeout": "1h"}], ids=["pipe", "pty", "deadline"])
def test_nobody_wakes_up_while_a_child_is_silent(tmp_path: Path, options: dict[str, Any]) -> None:
    stream = rx.runner(*child("silent", 1), name="x", **options).pipe(
        op.backpressure("block", capacity=1000), op.to(sinks.file(str(tmp_path / "o"), format="text"))
    )
    collected = Collected(stream)
    assert collected.first.wait(10)
    pause = threading.Event()
    try:
        before = None
        for _ in range(40):  # until what belongs to the start is over
            before, last = sleeps(), before
            if before == last:
                break
            pause.wait(0.05)
        assert before is not None
        assert len(before) >= 3, before
        pause.wait(0.5)
        assert sleeps() == before
    finally:
        collected.subscription.dispose()
