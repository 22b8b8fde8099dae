"""However the collector ends, nothing that it started is left a second later."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

import rx_collector as rx
from rx_collector.runners.supervisor import supervisor
from tests.conftest import wait_until
from tests.runners.helpers import Collected, collector, finish, gone, marked

pytestmark = pytest.mark.slow

# A child with a grandchild in its group, both deaf to SIGTERM, whose numbers are printed when both are there.
PRELUDE = """
command = child("deaf")
script = "trap '' TERM INT; " + " ".join(map(repr, command)) + " & echo $$ $!; wait"
collected = Collected(rx.runner("sh", "-c", script, name="x", stop={"grace": "50ms", "terminate_grace": "50ms"}))
wait_until(lambda: len(collected.events) >= 2, "both are there", 20)
print(collected.events[0]["message"], supervisor.guardian.pid)
"""
ENDS = {
    "normally": "",
    "by an exception": "raise ValueError('x')",
    "by os._exit": "os._exit(3)",
    "by SIGTERM": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
    "by SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "by a crash": "import ctypes; ctypes.string_at(0)",
}


@pytest.mark.parametrize("end", ENDS)
def test_nothing_outlives_the_collector(end: str) -> None:
    process = collector(PRELUDE + ENDS[end])
    out, err = finish(process)
    assert out.split(), err
    begun = time.monotonic()
    for pid in map(int, out.split()):
        wait_until(lambda pid=pid: gone(pid), f"{pid} is gone", 10)
    assert time.monotonic() - begun < 5  # a second is promised, and the machine may be busy


def test_the_real_command_killed(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid; sleep 3600 & echo $! >> {tmp_path}/pid; wait"
    (tmp_path / "x.yaml").write_text(
        f"runners:\n  a:\n    command: [sh, -c, '{script}']\n"
        "pipelines:\n  p: {from: a, sinks: [{null: , backpressure: block}]}\n"
    )
    process = collector(f"from rx_collector.cli import main; main(['run', {str(tmp_path / 'x.yaml')!r}])")
    wait_until(lambda: (tmp_path / "pid").exists() and len((tmp_path / "pid").read_text().split()) == 2, "they run", 20)
    process.kill()
    finish(process)
    for pid in map(int, (tmp_path / "pid").read_text().split()):
        wait_until(lambda pid=pid: gone(pid), f"{pid} is gone", 10)


def test_killed_at_any_moment_around_a_start() -> None:
    """Again and again children are started and stopped; the collector is killed somewhere in the middle of that."""
    code = (
        "print('up')\n"
        "while True:\n"
        "    runners = [rx.runner('sleep', '3600', name=f'r{n}') for n in range(3)]\n"
        "    for one in [runner.subscribe() for runner in runners]: one.dispose()\n"
    )
    seed = random.randrange(1 << 30)
    moments = random.Random(seed)
    for round_ in range(12):
        mark = f"{os.getpid()}-{round_}-{seed}"
        process = collector(code, mark=mark)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        until = time.monotonic() + moments.uniform(0, 0.05)
        while time.monotonic() < until:
            pass
        process.kill()
        finish(process)
        wait_until(
            lambda mark=mark: not marked(f"RX_TEST_MARK={mark}"), f"seed {seed}, round {round_}: all are gone", 10
        )


def test_a_guardian_that_was_killed_is_replaced_at_once() -> None:
    process = collector(
        PRELUDE
        + "first = supervisor.guardian.pid\n"
        + "os.kill(first, signal.SIGKILL)\n"
        + "wait_until(lambda: supervisor.guardian.pid not in (None, first), 'there is a new one')\n"
        + "wait_until(lambda: not supervisor._commands, 'it was told')\n"
        + "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    out, err = finish(process)
    assert len(out.split()) == 3, err
    for pid in map(int, out.split()):
        wait_until(lambda pid=pid: gone(pid), f"{pid} is gone", 10)


def test_a_process_forked_off_does_not_keep_the_guardian_from_its_work() -> None:
    process = collector(
        PRELUDE
        + "import warnings; warnings.simplefilter('ignore')\n"
        + "pid = os.fork()\n"
        + "if pid == 0:\n"
        + "    os.close(1); os.close(2); time.sleep(8); os._exit(0)\n"
        + "print(pid)\n"
        + "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    out, err = finish(process)
    *ours, forked = map(int, out.split())
    try:
        for pid in ours:
            wait_until(lambda pid=pid: gone(pid), f"{pid} is gone", 5)
        assert not gone(forked), err
    finally:
        os.kill(forked, signal.SIGKILL)


def test_a_forked_process_has_a_supervisor_of_its_own() -> None:
    process = collector(
        PRELUDE
        + "import warnings; warnings.simplefilter('ignore')\n"
        + "pid = os.fork()\n"
        + "if pid == 0:\n"
        + "    texts = Collected(rx.runner('echo', 'hello')).wait().texts\n"
        + "    os._exit(7 if texts == ['hello'] else 1)\n"
        + "print('forked', os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    out, err = finish(process)
    assert "forked 7" in out, err


def test_no_zombie_is_left() -> None:
    for _ in range(20):
        Collected(rx.runner("sh", "-c", "sh -c : & exit 3", name="x")).wait()
    wait_until(lambda: not supervisor.children(), "all are gone")
    children = [
        entry.name
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and f"PPid:\t{os.getpid()}\n" in _status(entry)
    ]
    assert not [pid for pid in children if "State:\tZ" in _status(Path("/proc") / pid)]


def _status(entry: Path) -> str:
    try:
        return (entry / "status").read_text()
    except OSError:
        return ""
