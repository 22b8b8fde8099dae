"""The real tools under supervision, each with the stop signal that it needs, and what it prints after it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rx_collector as rx
from rx_collector import operators as op
from rx_collector import sinks
from tests.conftest import need, need_bpftrace, wait_until
from tests.runners.helpers import Collected, gone, in_background

pytestmark = [pytest.mark.slow, pytest.mark.tools]


def observe(runner: Any, act: Callable[[], Any], seen: Callable[[str], bool]) -> tuple[Collected, dict[str, Any]]:
    """Run a tool until what `act` does shows up, then stop it; give what came, and how it ended."""
    collected = Collected(runner.pipe())

    def look() -> bool:
        assert not collected.done.is_set(), collected.error
        act()
        return any(map(seen, collected.texts))

    wait_until(look, "the tool has seen it", 30)
    runner.stop()
    collected.wait()
    assert collected.error is None, collected.error
    (exit_,) = collected.happened("exited")
    return collected, exit_


def test_bpftrace_prints_its_last_words() -> None:
    need_bpftrace()
    program = "tracepoint:syscalls:sys_enter_execve { @[comm] = count(); "
    program += 'printf("%s\\n", str(args->filename)); } END { printf("bye\\n"); }'
    runner = rx.runner("bpftrace", "-q", "-e", program, name="trace", stop="SIGINT", lifecycle=True)
    collected, exit_ = observe(
        runner, lambda: subprocess.run(["/bin/true"], check=True), lambda text: text.endswith("/true")
    )
    assert exit_["code"] == 0
    assert "bye" in collected.texts
    assert re.search(r"^@\[.*\]: \d+$", "\n".join(collected.texts[collected.texts.index("bye") :]), re.MULTILINE)


def test_bpftrace_says_how_much_it_lost() -> None:
    """The observer holds the reader, the pipe fills, bpftrace waits in write(2), and the kernel throws events away."""
    need_bpftrace()
    program = 'tracepoint:syscalls:sys_enter_getpid /comm == "a-loop"/ { printf("%0200d\\n", tid); }'
    release = threading.Event()
    runner = rx.runner("bpftrace", "-f", "json", "-e", program, name="trace", stop="SIGINT", lifecycle=True)
    collected = Collected(runner, more=lambda event: '"printf"' in event.get("message", "") and release.wait(60))

    def call(count: int, processors: set[int]) -> None:
        number = {"x86_64": 39, "aarch64": 172}[os.uname().machine]
        loop = f"os.sched_setaffinity(0, {processors})\nfor _ in range({count}): libc.syscall({number})"
        name = "import ctypes, os; libc = ctypes.CDLL(None); libc.prctl(15, b'a-loop', 0, 0, 0)"
        subprocess.run([sys.executable, "-c", f"{name}\n{loop}"], check=True, timeout=60)

    def printed() -> int:
        return sum('"printf"' in text for text in collected.texts)

    try:
        wait_until(lambda: bool(collected.texts), "it is attached", 30)
        processors = os.sched_getaffinity(0)
        call(200_000, processors)
        release.set()
        # The kernel tells of the loss with the next event for which there is room, on each processor.
        extra = 0
        end = time.monotonic() + 30
        while (lost := sum(data["count"] for data in collected.happened("lost"))) + printed() < 200_000 + extra:
            assert time.monotonic() < end, (lost, printed())
            for processor in processors:  # not the one that is free just now, again and again
                call(10, {processor})
                extra += 10
    finally:
        release.set()
        runner.stop()
        collected.wait()
    lost = sum(data["count"] for data in collected.happened("lost"))
    assert lost > 0
    assert lost + printed() == 200_000 + extra


def test_tcpdump_and_its_counters() -> None:
    need("tcpdump", root=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        command = ["tcpdump", "-l", "-nn", "-i", "lo", "udp", "port", str(port)]
        runner = rx.runner(*command, stop="SIGINT", lifecycle=True, stderr="events", ready="listening on lo")

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"hello", ("127.0.0.1", port))

        collected, exit_ = observe(runner, send, lambda text: f"127.0.0.1.{port}: UDP, length 5" in text)
    assert exit_["code"] == 0
    assert len(collected.happened("ready")) == 1
    complaints = [event["message"] for event in collected.events if event.type == "stderr"]
    assert any(re.fullmatch(r"\d+ packets captured", text) for text in complaints), complaints
    assert collected.happened("lost") == []


def test_strace_which_ignores_sigint_and_its_program(tmp_path: Path) -> None:
    """strace is deaf to SIGINT while it runs a program; the ladder reaches both, and nobody holds the pipe open."""
    need("strace")
    script = f"echo $$ > {tmp_path}/pid; while :; do test -e {tmp_path}/x; sleep 0.05; done"
    command = ["strace", "-f", "-o", "/dev/stdout", "-e", "trace=%file", "sh", "-c", script]
    stop = {"signal": "SIGINT", "grace": "300ms", "terminate_grace": "5s"}
    runner = rx.runner(*command, stop=stop, lifecycle=True)
    _, exit_ = observe(runner, lambda: time.sleep(0.01), lambda text: f'"{tmp_path}/x"' in text)
    assert exit_["signal"] in (2, 15), exit_
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: gone(pid), "the traced program is gone")


def test_strace_killed_lets_its_program_go(tmp_path: Path) -> None:
    """What was traced lives on after a SIGKILL of strace alone and holds the pipe; the linger ends it."""
    need("strace")
    script = f"echo $$ > {tmp_path}/pid; while :; do test -e {tmp_path}/x; sleep 0.05; done"
    command = ["strace", "-f", "-o", "/dev/stdout", "-e", "trace=%file", "sh", "-c", script]
    collected = Collected(rx.runner(*command, lifecycle=True, linger="100ms"))
    wait_until(lambda: bool(collected.texts) and (tmp_path / "pid").exists(), "it runs")
    pid = collected.events[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    collected.wait()
    assert [exit_["signal"] for exit_ in collected.happened("exited")] == [9]
    wait_until(lambda: gone(int((tmp_path / "pid").read_text())), "the traced program is gone")


def test_inotifywait_ended_by_the_signal(tmp_path: Path) -> None:
    need("inotifywait")
    runner = rx.runner("inotifywait", "-q", "-m", "--format", "%e %f", str(tmp_path), stop="SIGINT", lifecycle=True)

    def touch() -> None:
        (tmp_path / "new").touch()
        (tmp_path / "new").unlink()

    _, exit_ = observe(runner, touch, "CREATE new".__eq__)
    assert exit_["signal"] == 2


def test_vmstat() -> None:
    need("vmstat")
    runner = rx.runner("vmstat", "-n", "1", stop="SIGINT", skip_lines=2, lifecycle=True)
    collected, exit_ = observe(runner, lambda: None, lambda text: True)
    assert exit_["signal"] == 2
    assert all(re.fullmatch(r"[\d\s]+", text) for text in collected.texts)


def test_ps_again_and_again() -> None:
    need("ps")
    runner = rx.runner("ps", "-eo", "pid,comm", every="50ms", skip_lines=1, lifecycle=True)
    collected = Collected(runner)
    wait_until(lambda: len(collected.happened("exited")) >= 3, "three runs are over")
    runner.stop()
    collected.wait()
    assert collected.error is None
    assert {exit_["code"] for exit_ in collected.happened("exited")[:3]} == {0}
    mine = [text for text in collected.texts if text.split()[0] == str(os.getpid())]
    assert len(mine) >= 3


def test_journalctl_follows_a_real_journal(tmp_path: Path) -> None:
    """With the pipeline that comes with it, on a journal of our own: a machine under test may not have one."""
    remote = "/lib/systemd/systemd-journal-remote"
    need("journalctl", remote)

    def write(first: int, *texts: str) -> None:
        entries = "".join(
            f"__REALTIME_TIMESTAMP={1_700_000_000_000_000 + number}\n__MONOTONIC_TIMESTAMP={number + 1}\n"
            f"_BOOT_ID={'0123456789abcdef' * 2}\nMESSAGE={text}\nPRIORITY=6\nSYSLOG_IDENTIFIER=test\n\n"
            for number, text in enumerate(texts, first)
        )
        subprocess.run([remote, "-o", str(journal), "-"], input=entries, text=True, check=True, capture_output=True)

    journal = tmp_path / "test.journal"
    write(0, "first", "second")
    project = rx.load(Path(__file__).parent.parent.parent / "pipelines" / "journal.yaml", {})
    (spec,) = project.runners.values()
    assert spec.stop.signal == 2
    command = [*spec.command, "--file", str(journal)]
    events: list[rx.Event] = []
    runner = rx.runner(*command, stop="SIGINT", name="journal")
    time_of = {"field": "__REALTIME_TIMESTAMP", "unit": "us"}
    stream = runner.pipe(op.parse("json", time=time_of), op.to(sinks.callback(events.append)))
    running, given = in_background(lambda: rx.run(stream))
    wait_until(lambda: len(events) == 2, "both entries are there")
    write(2, "third")  # appended, and followed
    wait_until(lambda: any(event["MESSAGE"] == "third" for event in events), "the new one is there")
    runner.stop()
    running.join(10)
    assert given[0].balanced
    assert [event.time.timestamp() for event in events] == [1.7e9, 1.7e9 + 1e-6, 1.7e9 + 2e-6]
    assert given[0].runners["journal"].exits[0]["signal"] == 2
