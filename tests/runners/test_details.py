"""What runners do in corners: flushes, jitter, queues, groups, orphans that become ours, and what the guardian is told."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

import rx_collector as rx
from rx_collector import operators as op
from rx_collector import sinks
from rx_collector.guardian import Guardian
from rx_collector.runners.reader import Reader
from rx_collector.runners.spec import RunnerSpec
from rx_collector.stream.eventstream import new_context
from rx_collector.testing import Probe
from tests.conftest import wait_until
from tests.runners.helpers import Collected, collector, finish, gone, in_background, messages, said


def test_a_healthy_time_begins_with_the_shortest_wait_again() -> None:
    restart = {"when": "on-failure", "backoff": "20ms..10s", "healthy": "100ms", "limit": "3 in 1m"}
    collected = Collected(rx.runner("sh", "-c", "sleep 0.15; exit 1", name="x", restart=restart, lifecycle=True)).wait()
    waits = [data["seconds"] for data in collected.happened("restarting")]
    assert len(waits) == 3
    assert max(waits) <= 0.02


def test_a_record_is_sent_when_its_time_is_up_although_the_child_lives_on() -> None:
    options: dict[str, Any] = {"framing": {"by": "multiline", "start": "^a", "flush": "30ms"}}
    collected = Collected(rx.runner("sh", "-c", "echo a; echo b; exec sleep 3600", name="x", **options))
    assert collected.first.wait(10)
    assert collected.texts == ["a\nb"]
    collected.subscription.dispose()


def test_the_starts_of_a_periodic_command_are_late_by_chance() -> None:
    runner = rx.runner("true", name="x", every={"interval": "100ms", "jitter": "100ms"}, lifecycle=True)
    collected = Collected(runner)
    wait_until(lambda: len(collected.happened("started")) >= 8, "eight runs", 20)
    runner.stop()
    collected.wait()
    times = [event.time_ns for event in collected.events if event.data.get("event") == "started"]
    gaps = [(later - earlier) / 1e9 for earlier, later in itertools.pairwise(times)]
    assert any(abs(gap - 0.1) > 0.02 for gap in gaps), gaps


def test_half_a_character_at_the_end_is_repaired() -> None:
    assert messages("printf", "a\\000b", encoding="utf-16-le") == ["a\ufffd"]


def test_events_of_stderr_that_nobody_takes_are_bounded_and_counted() -> None:
    release, first = threading.Event(), threading.Event()

    def hold(event: rx.Event) -> None:
        first.set()
        release.wait(30)

    stream = rx.runner("sh", "-c", "echo; sleep 0.2; seq 40000 >&2", name="x", stderr="events")
    thread, given = in_background(lambda: rx.run(stream.pipe(op.to(sinks.callback(hold)))))
    assert first.wait(10)
    time.sleep(0)
    from rx_collector.runners.supervisor import supervisor

    wait_until(lambda: not any(one.running for one in supervisor.children()), "the child has printed all", 20)
    wait_until(lambda: all(one._stderr < 0 or one.ended for one in supervisor.children()), "all is read")
    release.set()
    thread.join(30)
    (report,) = given
    runner = report.runners["x"]
    assert report.balanced
    assert runner.stderr_lines == 40_000
    assert runner.dropped["stderr queue full"] >= 20_000


def test_a_replaced_run_is_no_failure() -> None:
    said_: list[str] = []
    handler = logger.add(lambda message: said_.append(message.record["message"]), level="WARNING")
    logger.enable("rx_collector")
    try:
        runner = rx.runner("sleep", "3600", name="x", every={"interval": "80ms", "overlap": "replace"}, lifecycle=True)
        collected = Collected(runner)
        wait_until(lambda: len(collected.happened("exited")) >= 2, "two were replaced", 20)
        runner.stop()
        collected.wait()
    finally:
        logger.remove(handler)
        logger.disable("rx_collector")
    assert said_ == []
    assert collected.error is None


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="root is needed to become another group")
def test_a_group_alone_brings_no_other_groups() -> None:
    code = (
        "import json\n"
        "os.setgroups([4, 5])\n"
        "print(json.dumps(Collected(rx.runner('id', '-G', group='daemon', cwd='/')).wait().texts))\n"
    )
    assert said(code) == ["1"]


def test_orphans_of_the_group_that_become_our_children_are_reaped() -> None:
    """As they do when the collector is the first process of a container; here it asks the kernel for them."""
    code = (
        "import ctypes, json, pathlib\n"
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"  # PR_SET_CHILD_SUBREAPER
        "Collected(rx.runner('sh', '-c', '(sleep 3600 >/dev/null 2>&1 & ) ; exit 0', name='x')).wait()\n"
        "wait_until(lambda: not supervisor.children(), 'all are gone')\n"
        "def state(pid):\n"
        "    try: return pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[:2]\n"
        "    except OSError: return ['', '']\n"
        "def zombies(): return [p for p in os.listdir('/proc') if p.isdigit() and state(p) == ['Z', str(os.getpid())]]\n"
        "wait_until(lambda: not zombies(), 'the zombies are reaped')\n"  # the guardian is, too, a moment later
        "print(json.dumps(zombies()))\n"
    )
    assert said(code) == []


def test_a_stopped_grandchild_that_holds_no_pipe_is_woken_to_end() -> None:
    script = "sh -c 'kill -STOP $$' >/dev/null 2>&1 </dev/null & sleep 0.1; exit 0"
    stop = {"terminate_grace": "30s"}
    began = time.monotonic()
    collected = Collected(rx.runner("sh", "-c", script, name="x", stop=stop)).wait(20)
    assert collected.error is None
    assert time.monotonic() - began < 15


def test_a_normal_end_of_the_program_stops_its_children_in_order(tmp_path: Path) -> None:
    """By the ladder, and not by the guardian, whose only means is SIGKILL."""
    code = (
        "script = f\"trap 'echo well > {sys.argv[1]}; exit 0' TERM; echo up; while :; do sleep 0.05; done\"\n"
        "collected = Collected(rx.runner('sh', '-c', script, name='x'))\n"
        "collected.first.wait(10)\n"
    )
    _, err = finish(collector(code, str(tmp_path / "ended")))
    assert (tmp_path / "ended").read_text() == "well\n", err


def test_what_the_guardian_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    tell = Guardian._tell

    def noted(self: Guardian, line: str) -> None:
        told.append(line.split()[0])
        tell(self, line)

    monkeypatch.setattr(Guardian, "_tell", noted)
    assert messages("echo", "x") == ["x"]
    assert told == ["?", "+", "-"]
    told.clear()
    Collected(rx.runner("no-such-command-here")).wait()
    assert told == ["?", "!"]


def ignores(pid: int, number: int) -> bool:
    """Whether a process ignores a signal, as the guardian does as soon as its script has begun."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(int(mask.split()[1], 16) & 1 << (number - 1))


def test_the_guardian_knows_no_group_that_is_over_and_survives_signals() -> None:
    """It is a process of its own: what it kills at the end is what it was told, so a number used again is safe."""
    guardian = Guardian()
    bystander = Collected(rx.runner("sh", "-c", "echo $$; exec sleep 3600", name="bystander"))
    try:
        assert bystander.first.wait(10)
        group = int(bystander.texts[0])
        guardian.starting("pipe:[1]")
        guardian.not_started()
        guardian.started(group)
        guardian.over(group)
        pid = guardian.pid
        assert pid is not None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
            wait_until(lambda number=number, pid=pid: ignores(pid, number), "it has begun")  # type: ignore[misc]
            os.kill(pid, number)
        guardian.started(1 << 22)
        assert not gone(pid)
        guardian.over(1 << 22)
        guardian.close()
        assert not gone(group)
    finally:
        bystander.subscription.dispose()


def test_waiting_for_a_runner_that_has_not_begun_waits_for_its_beginning() -> None:
    """It is among the connections of its context before its thread is started, so that nobody can miss it."""
    context = new_context()
    reader = Reader("a", RunnerSpec(["true"]), Probe(), context)
    assert reader.wait(0.01) is False
    waiting = threading.Thread(target=reader.wait)
    waiting.start()
    reader.start()
    waiting.join(10)
    assert not waiting.is_alive()
    assert reader.wait(10)
    context.close()
