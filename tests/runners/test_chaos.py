"""Fifty flaky children, and somebody who kills, stops and continues them at random: `tox -e chaos` does it for a minute."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

import rx_collector as rx
from rx_collector.pipeline.collector import Collector
from rx_collector.runners.supervisor import supervisor
from tests.conftest import child
from tests.runners.helpers import in_background, marked

SECONDS = float(os.environ.get("RX_COLLECTOR_CHAOS_SECONDS", "5"))
SEED = int(os.environ.get("RX_COLLECTOR_CHAOS_SEED", random.randrange(1 << 30)))
POLICIES = ("always", "on-failure", "never")


def policy(name: str) -> str:
    number = int(name[1:])
    return "never" if number % 10 == 9 else POLICIES[number % 2]


def project(mark: str) -> str:
    """One pipeline that has them all, with their lifecycle, and one for those that have stderr among their events."""
    runners = {
        f"r{number}": {
            "command": child("flaky", number + SEED),
            "env": {"RX_TEST_MARK": mark},
            "restart": {"when": policy(f"r{number}"), "backoff": "5ms..50ms"},
            "stop": {"signal": "SIGTERM", "grace": "500ms", "kill_grace": "1s"},
            "linger": "50ms",
            "max_line": "10KiB",
            "stderr": ("drop", "events")[number % 3 == 0],
            "output": ("pipe", "pty")[number % 7 == 0],
            "idle_timeout": "2s",
            "lifecycle": True,
        }
        for number in range(50)
    }
    sinks = [{"file": {"path": "out", "envelope": True}, "backpressure": {"strategy": "block", "capacity": 1000}}]
    pipelines = {
        "all": {"from": list(runners), "sinks": sinks, "dead_letter": {"file": "dead"}},
        "some": {
            "from": list(runners)[::5],
            "operators": [{"filter": '_.type == "line"'}],
            "sinks": [{"null": None, "backpressure": {"strategy": "drop_oldest", "capacity": 100}}],
        },
    }
    return json.dumps({"runners": runners, "pipelines": pipelines})


def chaos(chance: random.Random, seconds: float) -> None:
    """Send signals to children at random until the time is over; those that were stopped go on some time later, or not."""
    over = threading.Event()
    end = time.monotonic() + seconds
    stopped: list[tuple[float, int]] = []
    while not over.wait(chance.uniform(0, 0.02)) and time.monotonic() < end:
        now = time.monotonic()
        for at, pid in list(stopped):
            if at <= now:
                stopped.remove((at, pid))
                _signal(pid, signal.SIGCONT)
        children = supervisor.children()
        if not children:
            continue
        pid = chance.choice(children).pid
        what = chance.choice([signal.SIGKILL, signal.SIGSTOP, signal.SIGSTOP, signal.SIGTERM, signal.SIGCONT])
        if what == signal.SIGSTOP and chance.random() < 0.9:
            stopped.append((now + chance.uniform(0, 0.5), pid))
        _signal(pid, what)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


@pytest.mark.slow
def test_fifty_flaky_children(tmp_path: Path) -> None:
    mark = f"chaos-{SEED}-{os.getpid()}"
    (tmp_path / "x.yaml").write_text(project(mark))
    collector = Collector(rx.load(tmp_path / "x.yaml", {}))
    thread, given = in_background(collector.run)
    try:
        chaos(random.Random(SEED), SECONDS)
    finally:
        collector.stop()
        thread.join(60)
    assert given, f"seed {SEED}: it did not end"
    verify(given[0], tmp_path, f"seed {SEED}")
    assert marked(f"RX_TEST_MARK={mark}") == [], f"seed {SEED}: processes are left"


def verify(report: rx.Report, directory: Path, seed: str) -> None:
    assert report.balanced, (seed, report.unbalanced)
    events = [json.loads(line) for line in (directory / "out").read_text().splitlines()]
    everything = report.pipelines["all"]
    assert everything.sinks["file"].delivered == len(events) == everything.taken
    dead = [json.loads(line) for line in (directory / "dead").read_text().splitlines()]
    assert {record["reason"] for record in dead} <= {"line_too_long"}
    assert len(dead) == sum(sum(runner.rejected.values()) for runner in report.runners.values())
    by_runner = {name: [event for event in events if event["runner"] == name] for name in report.runners}
    rejected = {(record["runner"], record["incarnation"], record["line"]) for record in dead}
    for name, runner in report.runners.items():
        what = f"{seed}, {name}"
        told = [event["data"] for event in by_runner[name] if event["type"] == "lifecycle"]
        happened = [data["event"] for data in told]
        assert runner.starts == happened.count("started") == happened.count("exited"), what
        assert runner.starts == happened.count("restarting") + 1 - _waiting(happened), what
        failed = [data["code"] != 0 for data in told if data["event"] == "exited"]
        if policy(name) == "never":
            assert runner.starts == 1, what
        if policy(name) == "on-failure":
            assert all(failed[:-1]), what
        # Each incarnation's lines are there from the first to the last, in order, those that were refused in the other file.
        order = [(event["incarnation"], event["line"]) for event in by_runner[name] if event["type"] == "line"]
        assert order == sorted(order), what
        lines = 0
        for incarnation, group in itertools.groupby(sorted({*order, *_of(rejected, name)}), key=lambda place: place[0]):
            numbers = [line for _, line in group]
            assert numbers == list(range(1, len(numbers) + 1)), (what, incarnation)
            lines += len(numbers)
        assert lines == runner.lines, what


def _waiting(happened: list[str]) -> bool:
    """Whether the end came while it waited for a start."""
    return happened[-1] == "restarting"


def _of(places: set[tuple[str, int, int]], name: str) -> set[tuple[int, int]]:
    return {(incarnation, line) for runner, incarnation, line in places if runner == name}
