"""Starting again: policy and schedule as pure machines on made-up clocks, then with real children."""

from __future__ import annotations

import itertools
import math
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loguru import logger

import rx_collector as rx
from rx_collector.runners.restart import GaveUp, RestartPolicy
from rx_collector.runners.schedule import Reminder, Schedule
from rx_collector.runners.spec import EverySpec, RestartSpec
from rx_collector.runners.supervisor import supervisor
from tests.conftest import child, wait_until
from tests.runners.helpers import Collected, gone, run_project, the_child

property_test = settings(max_examples=200, deadline=None)


def waits(policy: RestartPolicy, count: int, *, lasted: float = 0.0) -> list[float]:
    given = [policy.after(failed=True, lasted=lasted, now=0.0) for _ in range(count)]
    assert None not in given
    return [wait for wait in given if wait is not None]


# The policy


@property_test
@given(low=st.floats(0.001, 10), factor=st.floats(1, 1000), name=st.text(max_size=5))
def test_the_wait_doubles_within_its_bounds(low: float, factor: float, name: str) -> None:
    high = low * factor
    for number, wait in enumerate(waits(RestartPolicy(RestartSpec("always", (low, high)), name), 15)):
        ideal = min(high, low * 2**number)
        assert 0.8 * ideal <= wait <= ideal


def test_the_jitter_differs_between_runners_and_not_between_runs() -> None:
    spec = RestartSpec("always", "1s..30s")
    one, same, other = (waits(RestartPolicy(spec, name), 8) for name in ("a", "a", "b"))
    assert one == same != other
    assert len({wait / 30 for wait in one[5:]}) == 3  # each wait has its own


@pytest.mark.parametrize(
    ("when", "failed", "again"),
    [
        ("never", True, False),
        ("never", False, False),
        ("on-failure", True, True),
        ("on-failure", False, False),
        ("always", True, True),
        ("always", False, True),
    ],
)
def test_after_which_ends(when: str, failed: bool, again: bool) -> None:
    assert (RestartPolicy(RestartSpec(when), "x").after(failed=failed, lasted=0, now=0) is not None) is again


def test_a_healthy_time_begins_with_the_shortest_wait_again() -> None:
    policy = RestartPolicy(RestartSpec("always", "1s..100s", healthy="10s"), "x")
    assert waits(policy, 5)[-1] > 12
    assert waits(policy, 1, lasted=9.9)[0] > 25
    assert waits(policy, 1, lasted=10.0)[0] <= 1
    longest = RestartPolicy(RestartSpec("always", "1s..20s"), "x")  # healthy is the longest wait unless said
    assert waits(longest, 4)[-1] > 6
    assert waits(longest, 1, lasted=19.9)[0] > 12
    assert waits(longest, 1, lasted=20.0)[0] <= 1


@property_test
@given(
    most=st.integers(0, 6),
    window=st.integers(1, 50),
    pauses=st.lists(st.integers(0, 30), min_size=1, max_size=60),
)
def test_the_limit_slides(most: int, window: int, pauses: list[int]) -> None:
    """At any moment at most so many restarts lie within the window before it."""
    policy = RestartPolicy(RestartSpec("always", limit=f"{most} in {window}s"), "x")
    made: list[int] = []
    now = 0
    for pause in pauses:
        now += pause
        recent = [at for at in made if at > now - window]
        if len(recent) < most:
            assert policy.after(failed=True, lasted=0, now=float(now)) is not None
            made.append(now)
        else:
            with pytest.raises(GaveUp, match=f"{most} restarts in "):
                policy.after(failed=True, lasted=0, now=float(now))
            return


def test_five_failed_starts_in_a_row_and_not_before() -> None:
    policy = RestartPolicy(RestartSpec("always", "1ms"), "x")
    for _ in range(4):
        assert policy.after_failed_start(now=0) is not None
    policy.after(failed=True, lasted=0, now=0)  # it could be started after all
    for _ in range(4):
        policy.after_failed_start(now=0)
    with pytest.raises(GaveUp, match="could not be started 5 times in a row"):
        policy.after_failed_start(now=0)
    assert RestartPolicy(RestartSpec("never"), "x").after_failed_start(now=0) is None


def test_a_limit_is_read_from_texts_and_from_pairs() -> None:
    for limit in ("3 in 1m", ("3", "1m"), (3, 60.0), [3, "60s"]):
        assert RestartSpec("always", limit=limit).limit == (3, 60.0)


@pytest.mark.parametrize(
    "options",
    [
        {"backoff": "2s..1s"},
        {"backoff": "0s..1s"},
        {"backoff": (2.0, 1.0)},
        {"backoff": ("a", "b")},
        {"backoff": (0, 0)},
        {"limit": "x"},
        {"limit": "3 in 0s"},
        {"limit": (-1, 60.0)},
        {"when": "sometimes"},
    ],
    ids=str,
)
def test_mistakes_are_found_before_anything_starts(options: dict[str, Any]) -> None:
    with pytest.raises(rx.ConfigError):
        rx.runner("true", restart={"when": "always", **options})


# The schedule


@property_test
@given(
    interval=st.integers(1, 20),
    overlap=st.sampled_from(["skip", "queue", "replace"]),
    lasting=st.lists(st.floats(0, 70, allow_nan=False), max_size=30),
)
def test_runs_stay_on_their_grid(interval: int, overlap: str, lasting: list[float]) -> None:
    schedule = Schedule(EverySpec(f"{interval}s", overlap), "x", now=100.0)
    at, number = 100.0, 0
    for lasted in lasting:
        ended = at + lasted
        new = schedule.after(ended)
        assert new >= ended
        assert new > at
        if overlap == "skip" or ended <= 100 + (number + 1) * interval:
            place = (new - 100) / interval
            assert math.isclose(place, round(place), abs_tol=1e-6)
            assert new - ended <= interval + 1e-6
        else:
            assert new == ended  # at once
        at, number = new, max(number + 1, math.floor((new - 100) / interval + 1e-9))


def test_what_was_left_out_is_counted() -> None:
    schedule = Schedule(EverySpec("10s"), "x", now=0.0)
    assert (schedule.after(3), schedule.skipped) == (10, 0)
    assert (schedule.after(45), schedule.skipped) == (50, 3)
    assert (schedule.after(50), schedule.skipped) == (60, 3)


@property_test
@given(st.text(max_size=4))
def test_jitter_makes_each_start_late_and_no_later_one_later(name: str) -> None:
    schedule = Schedule(EverySpec("10s", jitter="2s"), name, now=0.0)
    starts = [schedule.after(number * 10 + 2.5) for number in range(20)]
    late = [start - (number + 1) * 10 for number, start in enumerate(starts)]
    assert all(0 <= by <= 2 for by in late)
    assert len(set(late)) > 10


# Real children


def test_it_gives_up_with_the_last_exit_and_the_last_lines_of_stderr(tmp_path: Path) -> None:
    script = "n=$(cat n 2>/dev/null || echo 0); n=$((n+1)); echo $n > n; echo trouble $n >&2; exit $((40 + n))"
    again = {"when": "on-failure", "backoff": "1ms", "limit": "2 in 1h"}
    collected = Collected(
        rx.runner("sh", "-c", script, cwd=str(tmp_path), name="x", restart=again, lifecycle=True)
    ).wait()
    error = collected.error
    assert isinstance(error, rx.ProcessError)
    assert str(error) == "x: exited with code 43; gave up after 3 starts (2 restarts in 1h are the limit)"
    assert (error.code, error.signal, error.stderr) == (43, None, ("trouble 3",))
    assert [data["reason"] for data in collected.happened("gave_up")] == ["2 restarts in 1h are the limit"]


def test_of_stderr_the_last_lines_are_kept_shortened() -> None:
    script = "seq 100 >&2; head -c 2000 /dev/zero | tr '\\0' y >&2; exit 1"
    error = Collected(rx.runner("sh", "-c", script, stderr="drop")).wait().error
    assert isinstance(error, rx.ProcessError)
    assert error.stderr == (*map(str, range(82, 101)), "y" * 500)


def test_one_that_ends_at_once_for_ever_is_given_up(tmp_path: Path) -> None:
    error = Collected(rx.runner("true", restart={"when": "always", "backoff": "1ms", "limit": "20 in 1m"})).wait().error
    assert str(error) == "true: ended again and again; gave up after 21 starts (20 restarts in 1m are the limit)"


def test_a_command_that_cannot_be_started_is_tried_once(tmp_path: Path) -> None:
    text = """
runners:
  x: {command: [no-such-command], restart: {when: always, backoff: 1h}}
pipelines:
  p: {from: x, sinks: [{null: , backpressure: block}]}
"""
    report = run_project(tmp_path, text)
    assert (report.runners["x"].starts, report.exit_code) == (0, 1)
    assert report.runners["x"].error == "x: command not found: 'no-such-command'"


def test_a_command_that_vanishes_is_not_tried_for_ever(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nrm program\necho once\n")
    program.chmod(0o755)
    runner = rx.runner("./program", name="x", cwd=str(tmp_path), restart={"when": "always", "backoff": "1ms..2ms"})
    collected = Collected(runner).wait()
    assert collected.texts == ["once"]
    gave_up = "x: command not found: './program'; gave up after 1 starts (it could not be started 5 times in a row)"
    assert str(collected.error) == gave_up


def test_one_that_comes_back_goes_on(tmp_path: Path) -> None:
    """A program that is replaced by a newer one is away for a moment."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nmv program away\necho line\n")
    program.chmod(0o755)
    runner = rx.runner("./program", cwd=str(tmp_path), restart={"when": "always", "backoff": "30ms"}, lifecycle=True)
    collected = Collected(runner)
    wait_until(lambda: bool(collected.happened("restarting")), "it was missed")
    os.replace(tmp_path / "away", program)
    wait_until(lambda: len(collected.texts) == 2, "it runs again")
    runner.stop()
    assert collected.wait().error is None


@pytest.mark.parametrize(
    ("codes", "code", "fails"), [([0, 3], 3, False), (3, 0, True), ([0, 3], 1, True), ([1], 1, False)]
)
def test_exit_codes_that_mean_success(codes: Any, code: int, fails: bool) -> None:
    error = Collected(rx.runner("sh", "-c", f"exit {code}", success_codes=codes)).wait().error
    assert (error is not None) is fails


def test_ids_tell_incarnations_apart() -> None:
    runner = rx.runner("echo", "x", restart={"when": "always", "backoff": "1ms", "limit": "3 in 1m"})
    events = Collected(runner).wait().events
    assert [event.id.split("/")[2:] for event in events] == [["1", "1"], ["2", "1"], ["3", "1"], ["4", "1"]]


# Again and again


def test_a_run_in_the_way_of_the_next_is_replaced(tmp_path: Path) -> None:
    collected = Collected(
        rx.runner("sh", "-c", "echo $$; exec sleep 3600", name="x", every={"interval": "60ms", "overlap": "replace"})
    )
    wait_until(lambda: len(collected.texts) >= 3, "three runs")
    assert all(gone(int(pid)) for pid in collected.texts[:2])
    collected.subscription.dispose()
    wait_until(lambda: not supervisor.children(), "it is gone")
    assert collected.error is None


def test_a_run_that_takes_longer_leaves_the_next_ones_out() -> None:
    runner = rx.runner("sh", "-c", "sleep 0.12; echo x", every={"interval": "50ms", "overlap": "skip"}, lifecycle=True)
    collected = Collected(runner)
    wait_until(lambda: len(collected.texts) >= 2, "two runs")
    runner.stop()
    collected.wait()
    assert collected.happened("skipped")[0]["count"] >= 2


def test_runs_left_out_are_said_once_and_then_now_and_then() -> None:
    said: list[str] = []
    logger.enable("rx_collector")
    sink = logger.add(lambda line: said.append(line.record["message"]), level="WARNING")
    try:
        runner = rx.runner("sh", "-c", "sleep 0.12; echo x", name="slow", every={"interval": "50ms"}, lifecycle=True)
        collected = Collected(runner)
        wait_until(lambda: len(collected.happened("skipped")) >= 3, "three are left out")
        runner.stop()
        collected.wait()
    finally:
        logger.remove(sink)
        logger.disable("rx_collector")
    first = collected.happened("skipped")[0]["count"]
    assert said == [f"slow: a run took longer than the interval of 50ms; {first} left out"]


@property_test
@given(st.lists(st.tuples(st.floats(0.001, 4000), st.integers(1, 5)), min_size=1, max_size=60))
def test_a_reminder_comes_at_once_then_rarely_and_loses_no_count(steps: list[tuple[float, int]]) -> None:
    reminder = Reminder()
    now, open_count, said_at = 0.0, 0, []
    for step, count in steps:
        now += step
        open_count += count
        said = reminder.happened(now, count)
        assert said in (0, open_count)
        if said or step >= Reminder.MOST:
            assert said, "after an hour without it, it is news"
            open_count = 0
            said_at.append(now)
        assert now - said_at[-1] <= Reminder.MOST + 4000
    assert said_at[0] == steps[0][0]
    assert all(later - before >= Reminder.FIRST - 1e-6 for before, later in itertools.pairwise(said_at))


def test_with_queue_the_next_run_begins_at_once() -> None:
    runner = rx.runner("sh", "-c", "sleep 0.1; echo x", every={"interval": "20ms", "overlap": "queue"}, lifecycle=True)
    collected = Collected(runner)
    wait_until(lambda: len(collected.happened("started")) >= 3, "three runs")
    runner.stop()
    collected.wait()
    assert collected.happened("skipped") == []


def test_a_failed_run_is_no_end_and_a_missing_command_is() -> None:
    runner = rx.runner("false", every="5ms", lifecycle=True)
    collected = Collected(runner)
    wait_until(lambda: len(collected.happened("exited")) >= 3, "three failed runs")
    runner.stop()
    assert collected.wait().error is None
    assert str(Collected(rx.runner("no-such-command", every="5ms")).wait().error).endswith(
        "command not found: 'no-such-command'"
    )


def test_a_run_that_is_too_slow_is_stopped_and_the_next_one_runs() -> None:
    runner = rx.runner("sleep", "3600", every="10ms", timeout="20ms", lifecycle=True)
    collected = Collected(runner)
    wait_until(lambda: len(collected.happened("exited")) >= 2, "two runs")
    runner.stop()
    collected.wait()
    assert collected.happened("exited")[0]["reason"] == "took longer than 20ms and was stopped"


def test_a_time_out_that_was_not_needed_holds_nothing_up() -> None:
    """Neither the supervisor's thread nor the guardian waits for a timer that nobody wants any more."""
    for _ in range(10):
        Collected(rx.runner("true", timeout="1h")).wait()
        wait_until(lambda: not any(thread.name == "rx-supervisor" for thread in threading.enumerate()), "it ends", 5)


def test_a_child_that_was_killed_by_somebody_is_started_again() -> None:
    runner = rx.runner(*child("silent", 1), name="x", restart={"when": "on-failure", "backoff": "1ms"}, lifecycle=True)
    collected = Collected(runner)
    pids = set()
    for count in range(1, 4):
        wait_until(lambda count=count: len(collected.texts) == count, "it runs")  # type: ignore[misc]
        pids.add(the_child().pid)
        os.kill(the_child().pid, 9)
    wait_until(lambda: len(collected.texts) == 4, "it runs again")
    runner.stop()
    collected.wait()
    assert len(pids) == 3
    assert [data["signal"] for data in collected.happened("exited")] == [9, 9, 9, 15]
