"""Stopping: the ladder, last words, those who are left, and who missed a deadline."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import rx_collector as rx
from rx_collector.runners.supervisor import supervisor
from tests.conftest import CHILDREN, child, wait_until
from tests.runners.helpers import Collected, fields, finish, gone, in_background, run_project, said, the_child

pytestmark = pytest.mark.slow

#: Notes each signal that arrives, with the milliseconds since the first, and ends at the one it is told.
NOTES = """
import os, signal, sys, time
def note(number, frame):
    os.write(1, b"%s %d\\n" % (signal.Signals(number).name.encode(), time.monotonic_ns()))
    if signal.Signals(number).name == sys.argv[1]:
        os._exit(0)
for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):
    signal.signal(getattr(signal, name), note)
print("ready", flush=True)
while True:
    time.sleep(3600)
"""


def stopped(*command: str, name: str = "x", **options: Any) -> tuple[Collected, Any, float]:
    """Start, wait for a line, stop; give what came, the child, and how long the stop took."""
    runner = rx.runner(*command, name=name, lifecycle=True, **options)
    collected = Collected(runner)
    wait_until(lambda: bool(collected.texts), "it prints")
    running = the_child()
    begun = time.monotonic()
    runner.stop()
    collected.wait()
    assert collected.error is None
    return collected, running, time.monotonic() - begun


# The ladder


@pytest.mark.parametrize(
    ("first", "ends_at", "seen"),
    [
        ("SIGINT", "SIGINT", ["SIGINT"]),
        ("SIGINT", "SIGTERM", ["SIGINT", "SIGTERM"]),
        ("SIGTERM", "SIGTERM", ["SIGTERM"]),
        ("SIGHUP", "SIGTERM", ["SIGHUP", "SIGTERM"]),
        ("USR1", "none", ["SIGUSR1", "SIGTERM"]),
    ],
)
def test_each_rung_in_its_order_and_time(first: str, ends_at: str, seen: list[str]) -> None:
    stop = {"signal": first, "grace": "600ms", "terminate_grace": "500ms"}
    runner = rx.runner(sys.executable, "-S", "-E", "-c", NOTES, ends_at, name="x", lifecycle=True, stop=stop)
    collected = Collected(runner)
    wait_until(lambda: bool(collected.texts), "it prints")
    running = the_child()
    begun = time.monotonic_ns()
    runner.stop()
    collected.wait()
    assert collected.error is None
    arrived = [text.split() for text in collected.texts[1:]]
    assert [name for name, _ in arrived] == seen
    if len(seen) == 2:  # from when it was asked to stop: the child may note the first signal late
        assert int(arrived[1][1]) - begun >= 600_000_000
    if ends_at == "none":
        assert running.signal == signal.SIGKILL
        assert running.missed == "did not end within 600ms after SIGUSR1 and 500ms after SIGTERM and was killed"
        assert collected.happened("exited")[0]["missed"] == running.missed
    else:
        assert (running.code, running.missed) == (0, None)


def test_sigkill_as_the_first_signal_is_no_missed_deadline() -> None:
    _, running, _ = stopped(*child("deaf"), stop="SIGKILL")
    assert (running.signal, running.missed) == (signal.SIGKILL, None)


def test_a_child_that_stopped_itself_is_continued_and_sees_the_signal() -> None:
    runner = rx.runner(*child("stops_itself"), name="x", stop={"signal": "SIGTERM", "grace": "10s"})
    collected = Collected(runner)
    assert collected.first.wait(10)
    running = the_child()
    wait_until(lambda: fields(running.pid)[:1] == ["T"], "it has stopped itself")
    begun = time.monotonic()
    runner.stop()
    collected.wait()
    assert (running.signal, running.missed) == (signal.SIGTERM, None)
    assert time.monotonic() - begun < 5  # without SIGCONT the ladder climbs for ten


def test_last_words_are_delivered_to_the_last_one() -> None:
    script = "trap 'seq 20000; exit 0' INT; echo up; while :; do sleep 0.02; done"
    collected, running, _ = stopped("sh", "-c", script, stop="SIGINT")
    assert collected.texts == ["up", *map(str, range(1, 20_001))]
    assert running.code == 0


def test_last_words_end_at_the_deadline() -> None:
    """A child that goes on printing for ever after the signal: what came before SIGKILL is delivered."""
    script = "trap 'echo never mind' INT TERM; echo up; while :; do echo more; sleep 0.01; done"
    stop = {"signal": "SIGINT", "grace": "100ms", "terminate_grace": "100ms"}
    collected, running, _ = stopped("sh", "-c", script, stop=stop)
    assert collected.texts.count("never mind") == 2
    assert (collected.texts[-1], running.signal) == ("more", signal.SIGKILL)


# Who is left


@pytest.mark.parametrize("how", ["wait", "exit"])
def test_a_grandchild_that_ignores_sigterm_is_killed(how: str) -> None:
    stop = {"signal": "SIGINT", "grace": "80ms", "terminate_grace": "80ms"}
    collected, running, _ = stopped(*child("keeps", how), stop=stop, linger="1h")
    wait_until(lambda: gone(int(collected.texts[0])), "the grandchild is gone")
    assert running.missed is not None
    assert running.missed.startswith("left processes that did not end within 80ms after SIGINT")


@pytest.mark.parametrize("how", ["wait", "exit"])
def test_a_grandchild_that_holds_no_pipe_is_not_left_behind(how: str) -> None:
    stop = {"signal": "SIGTERM", "grace": "5s", "terminate_grace": "80ms"}
    runner = rx.runner(*child("keeps", how, "closed"), stop=stop, name="x")
    collected = Collected(runner)
    assert collected.first.wait(10)
    runner.stop()
    collected.wait()
    assert gone(int(collected.texts[0]))  # not a moment later: the stream ends when nobody is left


def test_a_grandchild_outside_the_group_holds_nothing_up_and_is_named() -> None:
    stop = {"signal": "SIGTERM", "grace": "5s", "kill_grace": "100ms"}
    collected, running, took = stopped(*child("forks", "wait", "setsid"), stop=stop)
    os.kill(int(collected.texts[0]), signal.SIGKILL)
    assert took < 3
    assert running.missed == "left its output open in the hands of a process outside its group"


@pytest.mark.parametrize("kind", ["keeps", "forks"])
def test_the_output_may_stay_open_for_a_while_after_the_end(kind: str) -> None:
    """`linger`: without a stop, others of the group may go on printing for so long, and are then stopped."""
    runner = rx.runner(
        *child(kind, "exit"),
        name="x",
        linger="150ms",
        lifecycle=True,
        stop={"signal": "SIGTERM", "grace": "80ms", "terminate_grace": "80ms"},
    )
    begun = time.monotonic()
    collected = Collected(runner).wait()
    assert time.monotonic() - begun >= 0.15
    assert gone(int(collected.texts[0]))
    assert collected.error is None
    assert ("missed" in collected.happened("exited")[0]) is (kind == "keeps")


def test_what_is_printed_while_it_lingers_is_delivered() -> None:
    collected = Collected(rx.runner("sh", "-c", "(sleep 0.15; echo late) & echo early", linger="20s")).wait()
    assert collected.texts == ["early", "late"]


def test_one_outside_the_group_is_read_for_the_linger_and_no_longer() -> None:
    collected = Collected(rx.runner(*child("forks", "exit", "setsid"), name="x", linger="100ms")).wait()
    os.kill(int(collected.texts[0]), signal.SIGKILL)
    assert collected.error is None


# From anywhere, at any time


def test_from_several_threads_at_once() -> None:
    runner = rx.runner(
        sys.executable, "-S", "-E", "-c", NOTES, "SIGINT", name="x", stop={"signal": "SIGINT", "grace": "10s"}
    )
    collected = Collected(runner)
    assert collected.first.wait(10)
    gate = threading.Barrier(8)

    def stop() -> None:
        gate.wait(10)
        runner.stop()

    for thread, _ in [in_background(stop) for _ in range(8)]:
        thread.join(10)
    collected.wait()
    assert [text.split()[0] for text in collected.texts[1:]] == ["SIGINT"]  # one signal, not eight


def test_before_the_start_and_after_the_end() -> None:
    runner = rx.runner("echo", "x")
    runner.stop()
    collected = Collected(runner).wait()
    runner.stop()
    collected.subscription.dispose()
    runner.stop()
    assert collected.texts == ["x"]


@pytest.mark.parametrize("how", ["stop", "dispose"])
def test_at_any_moment_around_the_start(how: str) -> None:
    for delay in range(40):
        runner = rx.runner("sh", "-c", "echo x; exec sleep 3600", name="x", lifecycle=True)
        collected = Collected(runner)
        deadline = time.monotonic() + delay / 10_000
        while time.monotonic() < deadline:
            pass
        if how == "stop":
            runner.stop()
            assert collected.wait().error is None
            kinds = [data["event"] for data in collected.lifecycle()]
            assert kinds in ([], ["started", "exited"], ["started", "ready", "exited"])
        else:
            collected.subscription.dispose()
            wait_until(lambda: not supervisor.children(), "it is gone")


@pytest.mark.parametrize("how", ["stop", "dispose"])
def test_during_the_wait_for_a_restart(how: str) -> None:
    runner = rx.runner("false", restart={"when": "always", "backoff": "1h"}, lifecycle=True)
    collected = Collected(runner)
    wait_until(lambda: bool(collected.happened("restarting")), "it waits")
    if how == "stop":
        runner.stop()
        assert collected.wait().error is None
    else:
        collected.subscription.dispose()
    wait_until(lambda: not any(thread.name.startswith("rx-") for thread in threading.enumerate()), "it has ended")


def test_while_the_observer_holds_the_reader() -> None:
    """The child ends although nobody reads: the signal needs no reader. What it had printed comes afterwards."""
    held = threading.Event()
    runner = rx.runner("sh", "-c", "seq 5; exec sleep 3600", name="x")
    collected = Collected(runner, lambda event: held.wait(20))
    assert collected.first.wait(10)
    running = the_child()
    runner.stop()
    wait_until(lambda: not running.running, "the child has ended")
    assert not collected.done.is_set()
    held.set()
    assert collected.wait().texts == ["1", "2", "3", "4", "5"]


BLOCKED = """
runners:
  x: {command: [yes], stop: {signal: SIGTERM, grace: 10s}}
pipelines:
  p:
    from: x
    sinks:
      - exec: {command: [sleep, "3600"], grace: 10ms}
        backpressure: {strategy: block, capacity: 10}
"""


def test_while_backpressure_holds_the_reader(tmp_path: Path) -> None:
    begun = time.monotonic()
    report = run_project(tmp_path, BLOCKED, duration="300ms", drain="200ms")
    assert time.monotonic() - begun < 8
    assert report.balanced, report.unbalanced
    (exit_,) = report.runners["x"].exits
    assert (exit_["signal"], "missed" in exit_) == (signal.SIGTERM, False)
    assert report.exit_code == 1  # for the sink that took nothing
    assert report.runners["x"].missed is None


def test_from_a_handler_of_a_signal_that_comes_in_the_middle_of_a_stop() -> None:
    """A handler runs on the main thread, which may be within `stop` at that moment."""
    code = (
        "import json\n"
        "runner = rx.runner('sleep', '3600')\n"
        "signal.signal(signal.SIGUSR1, lambda *_: runner.stop())\n"
        "signal.signal(signal.SIGALRM, lambda *_: os._exit(9))\n"
        "signal.alarm(20)\n"
        "over = threading.Event()\n"
        "def pester():\n"
        "    while not over.is_set(): os.kill(os.getpid(), signal.SIGUSR1); time.sleep(0.0002)\n"
        "collected = Collected(runner)\n"
        "wait_until(lambda: bool(supervisor.children()), 'it runs')\n"
        "thread = threading.Thread(target=pester); thread.start()\n"
        "until = time.monotonic() + 1.5\n"
        "while time.monotonic() < until: runner.stop()\n"
        "over.set(); thread.join(); collected.wait()\n"
        "print(json.dumps('done'))\n"
    )
    assert said(code) == "done"


# Who missed a deadline


MISSED = """
runners:
  deaf:
    command: {command}
    stop: {{signal: SIGINT, grace: 60ms, terminate_grace: 50ms}}
  good: {{command: [sh, -c, "echo up; exec sleep 3600"]}}
pipelines:
  p:
    from: [deaf, good]
    sinks: [{{file: out, backpressure: block}}]
"""


def test_the_exit_code_the_report_and_standard_error_name_who_missed_it(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(MISSED.format(command=json.dumps(child("deaf"))))
    process = subprocess.Popen(
        [sys.executable, "-m", "rx_collector", "run", "x.yaml", "--report", "r.json"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    out = tmp_path / "out"
    try:
        wait_until(lambda: out.exists() and out.read_text().count("\n") == 2, "both run", 20)
        process.send_signal(signal.SIGINT)
    finally:
        _, stderr = finish(process)
    assert process.returncode == 1, stderr
    report = json.loads((tmp_path / "r.json").read_text())
    missed = "did not end within 60ms after SIGINT and 50ms after SIGTERM and was killed"
    assert report["runners"]["deaf"]["missed"] == missed
    assert report["runners"]["good"].get("missed") is None
    assert (report["exit_code"], report["errors"], report["balanced"]) == (1, [f"deaf {missed}"], True)
    assert f"deaf {missed}" in stderr
    assert "good" not in "".join(line for line in stderr.splitlines() if "ERROR" in line)


def test_one_that_ended_in_time_is_not_blamed_when_it_was_us_who_slept() -> None:
    """The collector is stopped (SIGSTOP, a suspended machine) while the grace runs out; the child ended long before."""
    code = (
        "import json\n"
        "runner = rx.runner('sh', '-c', 'echo up; exec sleep 3600', stop={'signal': 'SIGTERM', 'grace': '500ms'})\n"
        "collected = Collected(runner); collected.first.wait(10)\n"
        "(running,) = supervisor.children()\n"
        "real = os.killpg\n"
        "def killpg(*arguments):\n"  # at the moment when the signal was sent, before anything else is done
        "    real(*arguments)\n"
        "    if arguments[1] == signal.SIGTERM: print('sent', flush=True); os.kill(os.getpid(), signal.SIGSTOP)\n"
        "os.killpg = killpg\n"
        "runner.stop(); collected.wait()\n"
        "print(json.dumps([running.missed, running.signal]), flush=True)\n"
    )
    from tests.runners.helpers import collector

    process = collector(code)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "sent\n"
        wait_until(lambda: fields(process.pid)[:1] == ["T"], "it is stopped")
        threading.Event().wait(1.0)  # longer than the grace: this is the sleep that is tested
        process.send_signal(signal.SIGCONT)
    finally:
        out, err = finish(process)
    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[-1]) == [None, signal.SIGTERM]


def test_a_child_that_we_may_not_signal_ends_the_stream_all_the_same(tmp_path: Path) -> None:
    """As `sudo` makes them for ordinary users: every signal is refused. It is named, and holds nothing up for ever."""
    code = (
        "import json\n"
        "def refused(*a): raise PermissionError(1, 'Operation not permitted')\n"
        "stop = {'signal': 'SIGINT', 'grace': '100ms', 'terminate_grace': '100ms', 'kill_grace': '100ms'}\n"
        "runner = rx.runner('sh', '-c', 'echo up; exec sleep 8', name='x', stop=stop)\n"
        "collected = Collected(runner); collected.first.wait(10)\n"
        "(running,) = supervisor.children()\n"
        "real, os.killpg = os.killpg, refused\n"
        "runner.stop()\n"
        "ended = collected.done.wait(4)\n"
        "os.killpg = real; real(running.pid, signal.SIGKILL); collected.wait()\n"
        "print(json.dumps([ended, running.missed]))\n"
    )
    ended, missed = said(code)
    assert missed
    assert ended


def test_the_programs_of_these_tests_say_what_they_are() -> None:
    for file in CHILDREN.glob("*.py"):
        text = file.read_text()
        assert not text or text.startswith('"""'), file


def test_of_a_child_that_is_gone_nothing_is_asked_where_there_can_be_no_more_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The interpreter ends, and a reader that has not come to its end yet tells of it."""
    collected = Collected(rx.runner("sleep", "3600", name="x"))
    one = the_child()
    collected.subscription.dispose()
    assert one.exited.wait(10)
    wait_until(lambda: bool(supervisor._idle), "the supervisor has nothing to do")

    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refused)
    one.output_ended()
    one.stop()
    one.kill()
    one.exited.clear()
    with pytest.raises(RuntimeError, match="new thread"):
        one.stop()
