"""Upstream loss: what tools say that they lost, in the balance sheet and as events."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import rx_collector as rx
from rx_collector.runners.loss import LossFinder
from rx_collector.runners.spec import LossSpec, RunnerSpec
from tests.runners.helpers import Collected, report_of, run_project

TCPDUMP = [
    "100 packets captured",
    "160 packets received by filter",
    "25 packets dropped by kernel",
    "5 packets dropped by interface",
]
CASES: list[tuple[list[str], str, list[str], int]] = [
    (["bpftrace", "-f", "json", "x.bt"], "stdout", ['{"type": "lost_events", "data": {"events": 12}}'], 12),
    (["bpftrace", "-f", "json", "x.bt"], "stdout", ['{"type":"lost_events","data":{"events":7}}', "{}"], 7),
    (["bpftrace", "x.bt"], "stdout", ["Lost 40 events", "Lost 2 events"], 42),
    (["bpftrace", "x.bt"], "stderr", ["Lost 40 events"], 40),
    (["/usr/bin/sudo", "-n", "/usr/bin/tcpdump", "-l"], "stderr", TCPDUMP, 30),
    (["tcpdump"], "stderr", ["1 packet captured", "0 packets dropped by kernel"], 0),
    (["tcpdump"], "stdout", ["9 packets dropped by kernel"], 0),
    (["perf", "trace"], "stderr", ["LOST 17 events!"], 17),
    (["perf", "record"], "stderr", ["Processed 1000 events and lost 3 chunks!"], 3),
    (["stdbuf", "-oL", "bpftrace", "x.bt"], "stdout", ["Lost 1 events"], 1),
    (["cat"], "stdout", ["Lost 40 events"], 0),
    (["bpftrace", "x.bt"], "stdout", ['printed: "Lost 40 events"', "we Lost 40 events"], 0),
]


@pytest.mark.parametrize(("command", "where", "lines", "count"), CASES, ids=lambda value: str(value)[:40])
def test_what_is_known_of_tools(command: list[str], where: str, lines: list[str], count: int) -> None:
    finder = LossFinder(RunnerSpec(command))
    if where == "stdout":
        assert finder.in_lines([line.encode() for line in lines]) == count
    else:
        assert finder.in_texts(lines) == count


def test_patterns_of_ones_own_take_the_place_of_the_known_ones() -> None:
    lost = [{"line": r"missed (?P<count>\d+)", "on": "stdout"}, {"line": r"(?P<count>\d+) gone", "on": "stderr"}]
    finder = LossFinder(RunnerSpec(["bpftrace"], lost=lost))
    assert finder.in_lines([b"missed 4", b"5 gone", b"Lost 9 events", b"\xff missed 2"]) == 6
    assert finder.in_texts(["missed 4", "5 gone", "Lost 9 events"]) == 5
    none = LossFinder(RunnerSpec(["bpftrace"], lost=[]))
    assert (none.in_lines([b"Lost 9 events"]), none.watches_stdout) == (0, False)


@pytest.mark.parametrize("text", ["", "x", "9" * 30])
def test_what_is_no_number_is_no_loss_and_no_crash(text: str) -> None:
    finder = LossFinder(RunnerSpec(["x"], lost=LossSpec(re.compile("lost (?P<count>.*)"))))
    assert finder.in_texts([f"lost {text}"]) == (int(text) if text.isdecimal() else 0)


@pytest.mark.parametrize(
    "lost", ["no group", "(", {"line": "(?P<count>x)", "on": "nowhere"}, {"on": "stdout"}], ids=str
)
def test_a_wrong_pattern_is_found_before_anything_starts(lost: Any) -> None:
    with pytest.raises(rx.ConfigError):
        rx.runner("true", lost=lost)


def tool(directory: Path, name: str, script: str) -> str:
    """A stand-in that prints what the tool of this name prints."""
    file = directory / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


def test_in_the_report_and_as_an_event(tmp_path: Path) -> None:
    script = 'echo \'{"type": "lost_events", "data": {"events": 5}}\'; echo "Lost 2 events" >&2; echo end'
    runner = rx.runner(tool(tmp_path, "bpftrace", script), lifecycle=True)
    report, events = report_of(runner)
    assert report.runners["bpftrace"].lost_upstream == 7
    assert sorted(event["count"] for event in events if event["event"] == "lost") == [2, 5]
    assert [event["message"] for event in events if event.type == "line"][-1] == "end"


def test_over_all_incarnations(tmp_path: Path) -> None:
    text = """
runners:
  x:
    command: [echo, lost 3]
    lost: 'lost (?P<count>\\d+)'
    restart: {when: always, backoff: 1ms, limit: 4 in 1m}
pipelines:
  p: {from: x, sinks: [{null: , backpressure: block}]}
"""
    assert run_project(tmp_path, text).runners["x"].lost_upstream == 15


def test_last_words_count() -> None:
    """tcpdump counts at its end, on stderr, after SIGINT."""
    script = "trap 'echo \"25 packets dropped by kernel\" >&2; exit 0' INT; echo up; while :; do sleep 0.02; done"
    runner = rx.runner("sh", "-c", script, "tcpdump", name="x", stop="SIGINT", lifecycle=True)
    collected = Collected(runner)
    assert collected.first.wait(10)
    while not collected.texts:
        collected.done.wait(0.01)
    runner.stop()
    collected.wait()
    assert [data["count"] for data in collected.happened("lost")] == [25]


def test_declared_in_yaml(tmp_path: Path) -> None:
    text = """
runners:
  x:
    command: [sh, -c, "echo dropped=3; echo dropped=4 >&2"]
    stderr: drop
    lost: [{line: 'dropped=(?P<count>\\d+)', on: either}]
pipelines:
  p: {from: x, sinks: [{null: , backpressure: block}]}
"""
    report = run_project(tmp_path, text)
    assert report.runners["x"].lost_upstream == 7
    assert (report.balanced, report.exit_code) == (True, 0)  # what the tool lost is not ours to account for
