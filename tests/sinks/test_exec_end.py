"""The end of the program behind an exec sink: it gets its time, and not a moment more when all is cut short."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rx_collector import OutputError, sinks
from rx_collector.guardian import Guardian
from tests.conftest import child, wait_until
from tests.events import event


def gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def test_a_cancel_ends_the_wait_for_a_program_that_does_not_end(tmp_path: Path) -> None:
    writer = sinks.exec(["sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 3600"], grace="1h").open()
    assert writer.write([event({"a": 1})]) == 1
    pid = tmp_path / "pid"
    wait_until(lambda: pid.exists() and pid.read_text().strip() != "", "it runs")
    failed: list[Exception] = []

    def close() -> None:
        try:
            writer.close()
        except OutputError as error:
            failed.append(error)

    closing = threading.Thread(target=close)
    closing.start()
    writer.cancel()
    closing.join(10)
    assert not closing.is_alive()
    assert str(failed[0]) == "sh: did not end with its input and was stopped"
    assert gone(int(pid.read_text()))


def test_how_it_ended_is_told() -> None:
    for script, how in (("exit 3", "exited with code 3"), ("kill -9 $$", "was killed by SIGKILL")):
        writer = sinks.exec(["sh", "-c", script]).open()
        with pytest.raises(OutputError, match=how):
            writer.close()


def test_what_it_started_is_gone_with_it(tmp_path: Path) -> None:
    writer = sinks.exec(["sh", "-c", f"sleep 3600 & echo $! > {tmp_path}/pid; cat >/dev/null"]).open()
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "", "it runs")
    assert writer.close() == 0
    wait_until(lambda: gone(int((tmp_path / "pid").read_text())), "its child is gone")


@pytest.mark.slow
def test_it_does_not_outlive_the_collector(tmp_path: Path) -> None:
    """One that ends with its input does so by itself; one that does not is killed within a second."""
    script = f"""
import os, signal
from rx_collector import sinks
sinks.exec(["sh", "-c", "echo $$ > {tmp_path}/deaf; exec sleep 3600"]).open()
sinks.exec(["sh", "-c", "echo $$ > {tmp_path}/good; cat; echo well > {tmp_path}/ended"]).open()
while not all(os.path.exists(f"{tmp_path}/" + name) and os.path.getsize(f"{tmp_path}/" + name) for name in ("deaf", "good")):
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""
    result = subprocess.run([sys.executable, "-c", script], stdin=subprocess.DEVNULL, timeout=60, check=False)
    assert result.returncode == -signal.SIGKILL
    begun = time.monotonic()
    for name in ("deaf", "good"):
        wait_until(lambda name=name: gone(int((tmp_path / name).read_text())), f"{name} is gone")
    assert time.monotonic() - begun < 5
    assert (tmp_path / "ended").read_text() == "well\n"


def test_a_guardian_that_was_killed_is_replaced() -> None:
    leader = subprocess.Popen(child("deaf"), stdout=subprocess.PIPE, start_new_session=True)
    assert leader.stdout is not None
    assert leader.stdout.readline() == b"ready\n"
    guardian = Guardian()
    guardian.started(leader.pid)
    first = guardian.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: gone(first), "it is dead")
    guardian.started(leader.pid)
    assert guardian.pid not in (None, first)
    guardian.close()
    assert leader.wait(10) == -signal.SIGKILL
    leader.stdout.close()


def test_a_guardian_forgets_what_is_over() -> None:
    took = []
    for _ in range(5):  # the machine may be busy in some of them
        guardian = Guardian()
        for group in range(1 << 22, (1 << 22) + 200):  # numbers that no process has
            guardian.started(group, ends_by_itself=group % 2 == 0)
            guardian.over(group)
        begun = time.monotonic()
        guardian.close()
        took.append(time.monotonic() - begun)
    assert min(took) < 0.6  # it does not wait for anybody, as it would for 0.7 s
