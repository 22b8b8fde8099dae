"""Readiness, liveness, and the lifecycle of a child as events."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import rx_collector as rx
from tests.conftest import child, wait_until
from tests.runners.helpers import Collected, report_of, run_project, the_child


def kinds(collected: Collected) -> list[str]:
    return [data["event"] for data in collected.lifecycle()]


def lived(*command: str, **options: Any) -> Collected:
    """Run until it is ready, stop it, and give what happened."""
    runner = rx.runner(*command, name="x", lifecycle=True, **options)
    collected = Collected(runner)
    wait_until(lambda: "ready" in kinds(collected), "it is ready")
    runner.stop()
    return collected.wait()


def test_ready_by_its_first_line() -> None:
    collected = lived(*child("silent", 3))
    assert kinds(collected) == ["started", "ready", "exited"]
    assert 0 <= collected.happened("ready")[0]["seconds"] < 20


@pytest.mark.parametrize(
    "ready",
    [
        "^line 2$",
        {"line": "line 2", "on": "stdout"},
        {"line": "^up and", "on": "stderr"},
        {"line": "running$", "on": "either"},
    ],
    ids=str,
)
def test_ready_by_a_line_that_matches(ready: Any) -> None:
    assert kinds(lived(*child("silent", 3, "up and running"), ready=ready)) == ["started", "ready", "exited"]


@pytest.mark.parametrize(
    "options",
    [
        {"ready": {"line": "line", "on": "stderr"}},
        {"ready": {"line": "up", "on": "stdout"}},
        {"ready": "no such line"},
    ],
    ids=str,
)
def test_one_that_is_not_ready_in_time_is_stopped(options: Any) -> None:
    runner = rx.runner(*child("silent", 3, "up"), name="x", lifecycle=True, start_timeout="300ms", **options)
    collected = Collected(runner).wait()
    assert str(collected.error) == "x: was not ready within 300ms and was stopped"
    assert kinds(collected) == ["started", "exited"]
    assert collected.happened("exited")[0]["reason"] == "was not ready within 300ms and was stopped"


def test_one_that_was_ready_is_not_stopped() -> None:
    runner = rx.runner("sh", "-c", "echo up; sleep 0.15; echo later; exec sleep 3600", name="x", start_timeout="100ms")
    collected = Collected(runner)
    wait_until(lambda: len(collected.texts) == 2, "it lives on")
    runner.stop()
    assert collected.wait().error is None


def test_each_incarnation_has_to_be_ready_anew(tmp_path: Path) -> None:
    script = "test -e second && exec sleep 3600; touch second; echo ready; exit 1"
    runner = rx.runner(
        "sh",
        "-c",
        script,
        name="x",
        cwd=str(tmp_path),
        lifecycle=True,
        start_timeout="200ms",
        restart={"when": "on-failure", "backoff": "1ms", "limit": "1 in 1m"},
    )
    collected = Collected(runner).wait()
    assert kinds(collected) == ["started", "ready", "exited", "restarting", "started", "exited", "gave_up"]


def test_one_that_prints_nothing_is_started_again() -> None:
    runner = rx.runner(
        *("sh", "-c", "seq 2; exec sleep 3600"),
        name="x",
        lifecycle=True,
        idle_timeout="100ms",
        restart={"when": "on-failure", "backoff": "1ms", "limit": "1 in 1m"},
    )
    collected = Collected(runner).wait()
    assert collected.texts == ["1", "2"] * 2
    one = ["started", "ready", "stalled", "exited"]
    assert kinds(collected) == [*one, "restarting", *one, "gave_up"]
    assert all(data["seconds"] >= 0.1 for data in collected.happened("stalled"))
    assert "printed nothing for 100ms and was stopped" in str(collected.error)


def test_only_what_it_does_counts_not_how_long_we_take() -> None:
    """While the observer blocks, nothing is read, so that the child cannot be blamed for it."""
    held = threading.Event()
    timed = threading.Timer(0.4, held.set)
    timed.start()
    script = "while :; do echo x; sleep 0.02; done"
    runner = rx.runner("sh", "-c", script, name="x", lifecycle=True, idle_timeout="300ms")
    collected = Collected(runner, lambda event: held.wait(10))
    wait_until(lambda: len(collected.texts) > 10, "it goes on")
    runner.stop()
    collected.wait()
    timed.join()
    assert (collected.error, collected.happened("stalled")) == (None, [])


def test_one_that_prints_now_and_then_is_alive() -> None:
    collected = Collected(
        rx.runner("sh", "-c", "for i in 1 2 3 4 5; do sleep 0.06; echo $i; done", idle_timeout="500ms")
    )
    assert (collected.wait().error, len(collected.texts)) == (None, 5)


# Lifecycle


def test_the_fields_of_each_event() -> None:
    runner = rx.runner(
        "sh",
        "-c",
        "echo up; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 4",
        name="x",
        lifecycle=True,
        restart={"when": "on-failure", "backoff": "10ms", "limit": "1 in 1m"},
    )
    begun = time.monotonic()
    collected = Collected(runner).wait()
    most = time.monotonic() - begun
    events = [event for event in collected.events if event.type == "lifecycle"]
    one = ["started", "ready", "exited"]
    assert kinds(collected) == [*one, "restarting", *one, "gave_up"]
    started, ready, exited, restarting, again, _, _, gave_up = events
    assert [event.incarnation for event in events] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert started.pid == ready.pid == exited.pid != again.pid
    assert (restarting.pid, gave_up.pid) == (None, None)
    assert set(exited.data) == {"event", "code", "signal", "seconds", "user_seconds", "system_seconds", "max_rss"}
    assert (exited["code"], exited["signal"]) == (4, None)
    assert 0 < exited["user_seconds"] + exited["system_seconds"] <= exited["seconds"] + 0.1 <= most + 0.2
    assert exited["max_rss"] is None or exited["max_rss"] > 1_000_000  # its own: see test_hostile
    assert 0.008 <= restarting["seconds"] <= 0.01
    assert 0.008 <= again["gap"] <= most
    assert "gap" not in started.data
    assert len({event.id for event in collected.events}) == len(collected.events)
    places = [event.type for event in collected.events]
    assert places[:4] == ["lifecycle", "lifecycle", "line", "lifecycle"]


def test_nobody_who_did_not_ask_sees_them() -> None:
    collected = Collected(
        rx.runner("echo", "x", restart={"when": "always", "backoff": "1ms", "limit": "1 in 1m"})
    ).wait()
    assert [event.type for event in collected.events] == ["line", "line"]


def test_they_are_in_the_ledger() -> None:
    report, events = report_of(rx.runner("seq", "3", lifecycle=True))
    runner = report.runners["seq"]
    assert (runner.lines, runner.lifecycle, runner.out, len(events)) == (3, 3, 6, 6)


YAML = """
runners:
  x:
    command: [sh, -c, "echo one; echo oops >&2; exit 3"]
    stderr: drop
    restart: {when: on-failure, backoff: 1ms, limit: 1 in 1m}
pipelines:
  lines:
    from: x
    sinks: [{file: lines, backpressure: block}]
  life:
    from: [x.lifecycle]
    operators:
      - filter: event in ("started", "exited", "gave_up")
      - set: {line: meta.line}
    sinks: [{file: life, backpressure: block}]
"""


def test_in_yaml_they_are_a_source_of_their_own(tmp_path: Path) -> None:
    report = run_project(tmp_path, YAML)
    assert report.balanced, report.unbalanced
    life = [json.loads(line) for line in (tmp_path / "life").read_text().splitlines()]
    assert [data["event"] for data in life] == ["started", "exited", "started", "exited", "gave_up"]
    assert [data["code"] for data in life if data["event"] == "exited"] == [3, 3]
    assert [data["line"] for data in life] == sorted(data["line"] for data in life)
    assert (tmp_path / "lines").read_text() == '{"message":"one"}\n' * 2
    assert report.pipelines["life"].taken == 8
    assert (report.runners["x"].lifecycle, report.exit_code) == (0, 1)


def test_a_pipeline_may_read_nothing_but_the_lifecycle(tmp_path: Path) -> None:
    report = run_project(tmp_path, YAML.replace("from: x\n", "from: x.lifecycle\n"))
    assert report.balanced, report.unbalanced
    assert report.runners["x"].starts == 2
    assert report.pipelines["lines"].taken == 8


def test_an_unknown_lifecycle_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(rx.ConfigError, match=r"did you mean 'x\.lifecycle'"):
        run_project(tmp_path, YAML.replace("x.lifecycle", "y.lifecycle"))


def test_ready_is_told_while_the_child_prints_nothing_more() -> None:
    """A line on stderr wakes the reader that sleeps on stdout."""
    runner = rx.runner("sh", "-c", "echo attached >&2; exec sleep 3600", name="x", ready="attached", lifecycle=True)
    collected = Collected(runner)
    wait_until(lambda: "ready" in kinds(collected), "it is ready")
    assert the_child().running
    runner.stop()
    collected.wait()
