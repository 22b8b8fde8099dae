"""Children, and systems, at their worst: none of them may hold up a stop, another child, or the collector."""

from __future__ import annotations

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
from rx_collector.errors import ConfigError
from rx_collector.guardian import Guardian
from rx_collector.pipeline.collector import Collector
from rx_collector.waker import Waker
from tests.conftest import child, rounds, wait_until
from tests.runners.helpers import (
    ROOT,
    Collected,
    collector,
    finish,
    gone,
    in_background,
    messages,
    report_of,
    run_project,
    said,
)

ONE = """
runners:
  r: {%s}
pipelines:
  p: {from: r, sinks: [{null: , backpressure: block}]}
"""


@pytest.fixture
def outsiders(tmp_path: Path) -> Any:
    """A file in which processes that leave the group write their numbers; they are killed at the end."""
    file = tmp_path / "outsiders"
    file.touch()
    yield file
    for pid in file.read_text().split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue


# Those outside the group that go on writing for ever


def test_one_outside_the_group_that_writes_for_ever_does_not_hold_a_stop_up(outsiders: Path) -> None:
    script = f"setsid sh -c 'echo $$ >> {outsiders}; exec yes' & exec sleep 3600"
    runner = rx.runner("sh", "-c", script, name="x", stop={"grace": "200ms", "kill_grace": "300ms"})
    collected = Collected(runner)
    assert collected.first.wait(10)
    runner.stop()
    collected.wait(10)
    assert collected.error is None


def test_one_outside_the_group_that_writes_for_ever_is_read_for_the_linger_and_no_longer(outsiders: Path) -> None:
    script = f"setsid sh -c 'echo $$ >> {outsiders}; exec yes' & exit 0"
    collected = Collected(rx.runner("sh", "-c", script, name="x", linger="200ms", stop={"kill_grace": "200ms"}))
    collected.wait(10)


@pytest.mark.parametrize("stderr", ["log", "events", "drop"])
def test_one_outside_the_group_that_complains_for_ever_holds_nobody_up(outsiders: Path, stderr: str) -> None:
    script = f"for i in 1 2; do setsid sh -c 'echo $$ >> {outsiders}; exec yes >&2' & done; sleep 0.1; exit 0"
    other = rx.runner("sleep", "3600", name="other")
    waits = Collected(other)
    options: dict[str, Any] = {"stderr": stderr, "linger": "200ms", "stop": {"kill_grace": "200ms"}}
    collected = Collected(rx.runner("sh", "-c", script, name="x", **options))
    collected.wait(10)
    other.stop()
    waits.wait(5)


# Those that never pause


def test_one_that_never_pauses_has_to_be_ready_in_time() -> None:
    collected = Collected(rx.runner("yes", name="x", ready="never matches", start_timeout="200ms")).wait(10)
    assert str(collected.error) == "x: was not ready within 200ms and was stopped"


def test_one_that_never_pauses_is_replaced_when_the_next_run_is_due() -> None:
    runner = rx.runner("yes", name="x", every={"interval": "200ms", "overlap": "replace"}, lifecycle=True)
    started = threading.Event()
    starts: list[int] = []

    def count(event: rx.Event) -> None:
        if event.type == "lifecycle" and event["event"] == "started":
            starts.append(event.incarnation)
            if len(starts) == 3:
                started.set()

    ended = threading.Event()
    runner.subscribe(count, lambda error: ended.set(), ended.set)
    assert started.wait(10)
    runner.stop()
    assert ended.wait(10)


def test_events_of_stderr_come_while_stdout_never_pauses() -> None:
    script = "(while :; do echo err >&2; sleep 0.01; done) & exec yes"
    runner = rx.runner("sh", "-c", script, name="x", stderr="events", stop={"grace": "100ms"}, linger="100ms")
    came, ended = threading.Event(), threading.Event()
    seen: list[str] = []

    def look(event: rx.Event) -> None:
        if event.type == "stderr":
            seen.append(event["message"])
            if len(seen) == 20:
                came.set()

    runner.subscribe(look, lambda error: ended.set(), ended.set)
    assert came.wait(10)
    runner.stop()
    assert ended.wait(10)


@pytest.mark.slow
def test_complaints_that_are_logged_do_not_hold_up_the_stop_of_another() -> None:
    code = (
        "import json\n"
        "from loguru import logger\n"
        "logger.remove(); logger.add(lambda m: None); logger.enable('rx_collector')\n"
        "noisy = [Collected(rx.runner('sh', '-c', 'exec yes >&2', name=f'n{i}')) for i in range(3)]\n"
        "quiet = rx.runner('sh', '-c', 'echo; exec sleep 3600', name='quiet')\n"
        "collected = Collected(quiet); collected.first.wait(30); time.sleep(0.5)\n"
        "began = time.monotonic(); quiet.stop(); collected.wait(30)\n"
        "print(json.dumps(time.monotonic() - began)); sys.stdout.flush()\n"
        "for one in noisy: one.subscription.dispose()\n"
    )
    assert said(code, deadline=60) < 1.5  # it was 5.6 s


# Time-outs


@pytest.mark.parametrize("duration", ["30d", "9000d"])
def test_durations_of_months(tmp_path: Path, duration: str) -> None:
    """poll(2) takes no more than 24.8 days at once."""
    options = f"stop: {{grace: {duration}}}, linger: {duration}, timeout: {duration}, idle_timeout: {duration}"
    collected_text = ONE % f"command: [sh, -c, 'echo a; sleep 0.1'], start_timeout: {duration}, {options}"
    report = run_project(tmp_path, collected_text, duration=duration)
    assert (report.exit_code, report.runners["r"].lines) == (0, 1)
    runner = rx.runner("echo", "x", name="x", every=duration)
    collected = Collected(runner)
    assert collected.first.wait(10)
    runner.stop()
    collected.wait()
    assert collected.error is None


def test_a_duration_of_centuries_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="cannot be longer than a hundred years"):
        rx.runner("true", timeout="40000d")


def test_who_has_ended_is_not_blamed_for_silence_or_for_taking_long() -> None:
    """Others hold its output open; how long they may is the linger's affair."""
    options: dict[str, Any] = {"idle_timeout": "100ms", "timeout": "150ms", "linger": "500ms"}
    collected = Collected(
        rx.runner("sh", "-c", "sleep 3600 & echo hi; exit 0", name="x", lifecycle=True, **options)
    ).wait()
    assert collected.error is None
    assert collected.happened("stalled") == []


def test_one_that_speaks_on_stderr_is_alive_and_ready_where_that_is_its_output() -> None:
    script = "for i in 1 2 3 4 5 6; do echo $i >&2; sleep 0.1; done"
    options: dict[str, Any] = {"idle_timeout": "350ms", "start_timeout": "350ms", "lifecycle": True}
    collected = Collected(rx.runner("sh", "-c", script, name="x", stderr="events", **options)).wait()
    assert collected.error is None
    assert len(collected.happened("ready")) == 1
    silent = Collected(rx.runner("sh", "-c", script, name="x", stderr="drop", **options)).wait()
    assert "was not ready within" in str(silent.error)


def test_the_time_that_a_flush_was_held_up_is_not_the_childs_silence() -> None:
    held = threading.Event()
    options: dict[str, Any] = {"framing": {"by": "multiline", "start": "^a", "flush": "50ms"}, "idle_timeout": "400ms"}
    script = "echo a; sleep 0.9; echo a; sleep 0.2"
    collected = Collected(rx.runner("sh", "-c", script, name="x", **options), more=lambda event: held.wait(0.8))
    assert collected.wait().error is None


def test_the_time_that_the_observer_took_makes_no_child_healthy() -> None:
    waits: list[float] = []

    def slow(event: rx.Event) -> None:
        if event.type == "line":
            threading.Event().wait(0.6)
        elif event["event"] == "restarting":
            waits.append(event["seconds"])

    restart = {"when": "on-failure", "backoff": "20ms..10s", "healthy": "500ms", "limit": "3 in 1m"}
    Collected(rx.runner("sh", "-c", "echo x; exit 1", name="x", restart=restart, lifecycle=True), more=slow).wait()
    assert len(waits) == 3
    assert waits[0] * 1.5 < waits[1] < waits[2]


# The end


def test_a_deaf_grandchild_that_holds_no_pipe_is_named(tmp_path: Path) -> None:
    command = str(child("keeps", "wait", "closed")).replace("'", '"')
    stop = "stop: {signal: SIGINT, grace: 100ms, terminate_grace: 200ms}"
    (tmp_path / "x.yaml").write_text(ONE % f"command: {command}, {stop}")
    collector_ = Collector(rx.load(tmp_path / "x.yaml", {}))
    thread, given = in_background(collector_.run)
    wait_until(lambda: collector_.report().runners["r"].lines == 1, "both are there")
    collector_.stop()
    thread.join(15)
    (report,) = given
    assert report.exit_code == 1
    assert report.errors == ["r left processes that did not end within 200ms after SIGTERM and were killed"]


def test_a_second_signal_ends_them_at_once(tmp_path: Path) -> None:
    command = str(child("keeps", "wait", "closed")).replace("'", '"')
    (tmp_path / "x.yaml").write_text(ONE % f"command: {command}, stop: {{signal: SIGINT, terminate_grace: 1h}}")
    collector_ = Collector(rx.load(tmp_path / "x.yaml", {}))
    thread, given = in_background(collector_.run)
    wait_until(lambda: collector_.report().runners["r"].lines == 1, "both are there")
    collector_.stop()
    wait_until(lambda: not any(reader.running for reader in collector_._readers.values()), "the child has ended")
    assert thread.is_alive()
    collector_.abort()
    thread.join(10)
    assert given


def test_stop_reaches_all_whoever_subscribed_and_when() -> None:
    for _ in range(10):
        runner = rx.runner("sleep", "3600", name="x")
        barrier = threading.Barrier(4)
        collected: list[Collected] = []

        def subscribe(runner: Any = runner, barrier: Any = barrier, collected: Any = collected) -> None:
            barrier.wait()
            collected.append(Collected(runner))

        threads = [threading.Thread(target=subscribe) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        runner.stop()
        for one in collected:
            one.wait(10)


def test_a_signal_ends_a_wait_whenever_it_comes() -> None:
    """Also one that is flagged between the last look at flags and the sleep: it writes to this descriptor."""
    waker = Waker()
    os.write(waker.for_signals(), b"\x0f")
    began = time.monotonic()
    waker.wait(20)
    assert time.monotonic() - began < 10
    os.write(waker.for_signals(), b"\x0f" * 10)
    waker.wait(0)
    began = time.monotonic()
    waker.wait(0.05)
    assert time.monotonic() - began >= 0.05  # it was forgotten again
    waker.close()
    os.write(waker.for_signals(), b"\x0f")  # a late signal must not be written into what has got this number since


@pytest.mark.slow
def test_one_signal_is_enough_at_any_moment(tmp_path: Path) -> None:
    """Sixty runners are starting, and the one SIGTERM comes somewhere in that."""
    runners = "".join(f"  r{n}: {{command: [sleep, '3600']}}\n" for n in range(60))
    names = ", ".join(f"r{n}" for n in range(60))
    (tmp_path / "x.yaml").write_text(
        f"runners:\n{runners}pipelines:\n  p: {{from: [{names}], sinks: [{{null: , backpressure: block}}]}}\n"
    )
    for round_ in range(0, 10, 10 // rounds(5, 10)):
        process = subprocess.Popen(
            [sys.executable, "-m", "rx_collector", "run", "-q", str(tmp_path / "x.yaml")],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )

        def handled(process: Any = process) -> bool:
            status = Path(f"/proc/{process.pid}/status").read_text()
            caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
            return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))

        wait_until(handled, "the handlers are in place", 20)
        until = time.monotonic() + round_ * 0.015
        while time.monotonic() < until:
            pass
        process.send_signal(signal.SIGTERM)
        _, err = finish(process, 30)
        assert process.returncode == 0, err


# The system


def test_a_named_pipe_as_standard_input_is_refused_and_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    collected = Collected(rx.runner("cat", name="x", stdin={"file": str(tmp_path / "fifo")})).wait(5)
    assert "it is a named pipe" in str(collected.error)
    assert "it is a directory" in str(Collected(rx.runner("cat", name="x", stdin={"file": "/"})).wait(5).error)
    assert messages("wc", "-c", stdin={"file": "/dev/null"}) == ["0"]


def test_a_system_without_pidfds_refuses_every_start_and_hangs_in_none() -> None:
    code = (
        "import json\n"
        "def refused(*_): raise OSError(38, 'no')\n"
        "os.pidfd_open = refused\n"
        "errors = [str(Collected(rx.runner('sleep', '1', name='x')).wait(5).error) for _ in range(3)]\n"
        "wait_until(lambda: not any(t.name.startswith('rx-') for t in threading.enumerate()), 'no thread is left')\n"
        "print(json.dumps(errors))\n"
    )
    errors = said(code)
    assert errors == ["x: cannot start it: function not implemented"] * 3


def test_a_guardian_that_cannot_be_replaced_at_once_knows_all_when_it_can() -> None:
    code = (
        "import resource\n"
        "collected = Collected(rx.runner('sh', '-c', 'echo $$; exec sleep 3600', name='a'))\n"
        "collected.first.wait(10)\n"
        "guardian = supervisor.guardian\n"
        "hog = []\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "try:\n"
        "    while True: hog.append(os.dup(0))\n"
        "except OSError: pass\n"
        "os.kill(guardian.pid, signal.SIGKILL)\n"
        "wait_until(lambda: guardian.pid is None, 'it is gone and cannot be replaced')\n"
        "for one in hog: os.close(one)\n"
        "wait_until(lambda: guardian.pid is not None, 'there is a new one')\n"
        "told = threading.Event(); supervisor.submit(told.set); told.wait(10)  # behind all that tells it something\n"
        "print(collected.texts[0]); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    out, err = finish(collector(code), 40)
    assert out.strip(), err
    wait_until(lambda: gone(int(out)), "the child is gone")


def test_the_guardian_kills_nobody_who_has_the_same_terminal_by_chance() -> None:
    """Names of terminals are used again at once; what a child is known by before its start belongs to it alone."""
    names: list[str] = []
    starting = Guardian.starting

    def noted(self: Guardian, name: str) -> None:
        names.append(name)
        starting(self, name)

    Guardian.starting = noted  # type: ignore[method-assign]
    try:
        assert messages("echo", "x", output="pty") == ["x"]
    finally:
        Guardian.starting = starting  # type: ignore[method-assign]
    assert [name.partition(":")[0] for name in names] == ["pipe"]


def test_no_descriptors_left_ends_the_run_with_a_report_and_without_children(tmp_path: Path) -> None:
    runners = "".join(f"  r{n}: {{command: [sleep, '3600']}}\n" for n in range(40))
    names = ", ".join(f"r{n}" for n in range(40))
    text = f"runners:\n{runners}pipelines:\n  p: {{from: [{names}], sinks: [{{null: , backpressure: block}}]}}\n"
    (tmp_path / "x.yaml").write_text(text)
    code = (
        "import json, resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n"
        f"report = rx.load({str(tmp_path / 'x.yaml')!r}).run(duration='500ms')\n"
        "wait_until(lambda: not supervisor.children(), 'no child is left')\n"
        "print(json.dumps([report.exit_code, report.balanced, len(report.errors), report.errors[0]]))\n"
    )
    exit_code, balanced, count, error = said(code)
    assert (exit_code, balanced) == (1, True)
    assert count > 10
    assert "too many open files" in error


def test_a_start_that_fails_for_want_of_descriptors_leaks_none() -> None:
    code = (
        "import json, resource\n"
        "from tests.conftest import descriptors\n"
        "Collected(rx.runner('true')).wait()\n"
        "keep = Collected(rx.runner('sleep', '3600', name='keep'))\n"
        "wait_until(lambda: len(supervisor.children()) == 1, 'it runs')\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))\n"
        "before = len(descriptors())\n"
        "for free in range(20):\n"
        "    hog = []\n"
        "    try:\n"
        "        while True: hog.append(os.dup(0))\n"
        "    except OSError: pass\n"
        "    for one in hog[:free]: os.close(one)\n"
        "    Collected(rx.runner('echo', 'x', name='x', nice=1)).wait(10)\n"
        "    for one in hog[free:]: os.close(one)\n"
        "    wait_until(lambda: len(supervisor.children()) == 1, 'it is gone')\n"
        "    wait_until(lambda: len(descriptors()) == before, f'{free}: {len(descriptors())} of {before}')\n"
        "print(json.dumps(before)); keep.subscription.dispose()\n"
    )
    assert said(code) > 0


@pytest.mark.slow
def test_a_process_forked_off_while_others_submit_does_not_hang() -> None:
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "keep = Collected(rx.runner('sleep', '3600', name='keep'))\n"
        "over = False\n"
        "def spin():\n"
        "    while not over: supervisor.submit(lambda: None); time.sleep(0)\n"
        "threads = [threading.Thread(target=spin) for _ in range(2)]\n"
        "for thread in threads: thread.start()\n"
        "hung = 0\n"
        "for _ in range(60):\n"
        "    pid = os.fork()\n"
        "    if pid == 0: os._exit(0)\n"
        "    end = time.monotonic() + 5\n"
        "    while not os.waitpid(pid, os.WNOHANG)[0]:\n"
        "        if time.monotonic() > end:\n"
        "            hung += 1; os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0); break\n"
        "over = True\n"
        "for thread in threads: thread.join()\n"
        "keep.subscription.dispose(); print(hung)\n"
    )
    assert said(code, deadline=100) == 0


# What is known of a child


def test_the_memory_of_a_child_is_its_own() -> None:
    code = (
        "import json\n"
        "x = b'x' * 100_000_000\n"
        "small = Collected(rx.runner('true', name='x', lifecycle=True)).wait().happened('exited')[0]['max_rss']\n"
        "large = 'x = chr(120) * 250_000_000'\n"
        "large = Collected(rx.runner(sys.executable, '-c', large, name='x', lifecycle=True)).wait().happened('exited')[0]\n"
        "print(json.dumps([small, large['max_rss']]))\n"
    )
    small, large = said(code)
    assert small is None or small < 50_000_000
    assert large > 250_000_000


def test_events_of_stderr_are_read_like_those_of_stdout() -> None:
    script = r"printf 'ok\nbad\377\n' >&2; head -c 3000 /dev/zero | tr '\0' x >&2; echo >&2; echo after >&2"
    report, events = report_of(rx.runner("sh", "-c", script, name="x", stderr="events", max_line=1000))
    assert [event["message"] for event in events] == ["ok", "bad\ufffd", "after"]
    assert events[1].raw == b"bad\xff"
    assert [event.line for event in events] == [1, 2, 4]
    assert report.runners["x"].invalid_utf8 == 1
    assert report.runners["x"].rejected == {"line_too_long": 1}
    report, events = report_of(
        rx.runner("sh", "-c", script, name="x", stderr="events", max_line=1000, overlong="truncate")
    )
    assert len(events[2]["message"]) == 1000
    _, events = report_of(rx.runner("printf", "\\351\\n", name="x", encoding="latin-1"))
    assert events[0]["message"] == "é"
    _, events = report_of(rx.runner("sh", "-c", r"printf '\351\n' >&2", name="x", stderr="events", encoding="latin-1"))
    assert events[0]["message"] == "é"


def test_utf_16_without_a_mark_is_read_and_what_is_no_encoding_is_refused() -> None:
    assert messages("printf", "a\\000\\n\\000", encoding="utf-16") == ["a"]
    for encoding in ("idna", "base64", "undefined", "no-such"):
        with pytest.raises(ConfigError, match="no encoding that any output can be read in"):
            rx.runner("true", encoding=encoding)
    with pytest.raises(ConfigError, match="records that say their length"):
        rx.runner("true", framing="length", encoding="latin-1")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="root is needed to become another user")
def test_a_user_by_number_does_not_keep_the_group_of_root(tmp_path: Path) -> None:
    error = Collected(rx.runner("id", user=54321, name="x", cwd="/")).wait().error
    assert str(error) == "x: user 54321 has no entry that says its group; say 'group', too"
    assert messages("id", "-g", user=54321, group=54321, cwd="/") == ["54321"]
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    for options in ({}, {"nice": 1}):  # the directory is entered before the account is changed
        assert messages("echo", "x", user="nobody", cwd=str(secret), **options) == ["x"]
    assert messages("env", user="nobody", cwd="/", clear_env=True, env={"A": "1"}) == ["A=1"]


def test_a_processor_limit_is_told_before_it_is_enforced() -> None:
    script = (
        "import signal, sys\n"
        "signal.signal(signal.SIGXCPU, lambda *_: (print('told', flush=True), sys.exit(0)))\n"
        "while True: pass"
    )
    assert messages(sys.executable, "-S", "-E", "-c", script, limits={"cpu": "1s"}) == ["told"]
