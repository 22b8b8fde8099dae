"""Runners against real children."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import reactivex.operators as ops

import rx_collector as rx
from rx_collector import operators as op
from rx_collector import sinks
from rx_collector.runners.supervisor import supervisor
from tests.conftest import child, wait_until
from tests.runners.helpers import Collected, gone, messages

# Seed rows, kept by name: builder, process management, JSON parse, echo runner, errors


def test_builder() -> None:
    runner = rx.Runner.builder("echo").args("hello", "world").env(LANG="C").cwd("/").stop("SIGINT", "1s").build()
    assert runner.spec.command == ("echo", "hello", "world")
    assert runner.spec.stop.signal is signal.SIGINT
    assert [event["message"] for event in Collected(runner.run()).wait().events] == ["hello world"]
    with pytest.raises(rx.ConfigError, match="the program to run is missing"):
        rx.Runner.builder().build()
    with pytest.raises(rx.ConfigError, match="unknown signal"):
        rx.Runner.builder("echo").stop("SIGNIT").build()


def test_process_management() -> None:
    runner = rx.Runner.builder("sleep").args("3600").build()
    collected = Collected(runner.run())
    wait_until(lambda: bool(supervisor.children()), "the child is started")
    pid = supervisor.children()[0].pid
    runner.stop()
    collected.wait()
    assert collected.error is None
    assert gone(pid)


def test_json_parse() -> None:
    stream = rx.runner("echo", '{"pid": 7, "comm": "bash"}').pipe(op.parse("json"))
    assert Collected(stream).wait().events[0].data == {"pid": 7, "comm": "bash"}


def test_echo_runner() -> None:
    (event,) = Collected(rx.runner("echo", "hello")).wait().events
    assert event.data == {"message": "hello"}
    assert (event.runner, event.incarnation, event.line, event.type) == ("echo", 1, 1, "line")
    assert event.raw == b"hello"


def test_missing_command() -> None:
    error = Collected(rx.runner("no-such-command-here")).wait().error
    assert isinstance(error, rx.ProcessError)
    assert str(error) == "no-such-command-here: command not found: 'no-such-command-here'"


def test_failing_command() -> None:
    collected = Collected(rx.runner(*child("crash", 3, 7), name="crash")).wait()
    assert [event["message"] for event in collected.events] == ["line 1", "line 2", "line 3"]
    assert isinstance(collected.error, rx.ProcessError)
    assert (str(collected.error), collected.error.code) == ("crash: exited with code 7", 7)
    assert collected.error.stderr == ("about to crash",)


# Starting


@pytest.mark.parametrize(
    ("prepare", "command", "options", "message"),
    [
        (None, ["/"], {}, "cannot start '/': it is a directory"),
        ("text", ["./file"], {}, "cannot start './file': permission denied (is it executable?)"),
        ("shebang", ["./file"], {}, "cannot start './file': the interpreter its first line names was not found"),
        ("garbage", ["./file"], {}, "cannot start './file': it is not a program this system can run"),
        (None, ["true"], {"cwd": "/nowhere/at/all"}, "the working directory '/nowhere/at/all' does not exist"),
        (None, ["true"], {"cwd": "/dev/null"}, "the working directory '/dev/null' is not a directory"),
    ],
)
def test_a_command_that_cannot_be_started(
    tmp_path: Path, prepare: str | None, command: list[str], options: dict[str, Any], message: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes({"shebang": b"#!/no/such/interpreter\n", "garbage": b"\x00\x01"}.get(prepare or "", b"text"))
    file.chmod(0o644 if prepare == "text" else 0o755)
    error = Collected(rx.runner(*command, name="x", **{"cwd": str(tmp_path), **options})).wait().error
    assert isinstance(error, rx.ProcessError)
    assert str(error) == f"x: {message}"


def test_it_is_cold(tmp_path: Path) -> None:
    runner = rx.runner("sh", "-c", "echo $$ >> pids; echo x", cwd=str(tmp_path))
    assert not (tmp_path / "pids").exists()
    Collected(runner).wait()
    Collected(runner).wait()
    first, second = (tmp_path / "pids").read_text().split()
    assert first != second


def test_share_uses_one_child(tmp_path: Path) -> None:
    shared = rx.runner("sh", "-c", "echo $$ >> pids; sleep 0.2; seq 3", cwd=str(tmp_path)).pipe(ops.share())
    one, two = Collected(shared), Collected(shared)
    assert len(one.wait().events) == len(two.wait().events) == 3
    assert len((tmp_path / "pids").read_text().split()) == 1


def test_environment_and_shell() -> None:
    os.environ["RX_TEST_GONE"] = "x"
    command = 'echo "$A-$RX_TEST_GONE-$HOME"'
    (text,) = messages(command, shell=True, env={"A": "1", "RX_TEST_GONE": None, "HOME": "/h"})
    assert text == "1--/h"


def test_ids_are_deterministic() -> None:
    events = Collected(rx.runner("seq", "3")).wait().events
    run = events[0].origin.run
    assert [event.id for event in events] == [f"{run}/seq/1/{line}" for line in (1, 2, 3)]


# Reading


def test_order_and_completeness() -> None:
    context: list[rx.Event] = []
    report = rx.run(rx.runner("seq", "200000").pipe(op.to(sinks.callback(context.append))))
    assert [int(event["message"]) for event in context] == list(range(1, 200_001))
    runner = report.runners["seq"]
    assert (runner.lines, runner.bytes, runner.out) == (200_000, 1_288_895, 200_000)
    assert report.balanced


@pytest.mark.parametrize(
    ("output", "lines"),
    [
        ("a\\nb", ["a", "b"]),
        ("a\\r\\nb\\r\\n", ["a", "b"]),
        ("\\n\\na\\n", ["", "", "a"]),
        ("nul\\x00byte\\n", ["nul\0byte"]),
        ("caf\\xc3\\xa9\\n", ["café"]),
        ("bad\\xff\\xc3\\n", ["bad\ufffd\ufffd"]),
        ("", []),
    ],
)
def test_lines_byte_by_byte(output: str, lines: list[str]) -> None:
    assert messages(*child("bytewise", output)) == lines


def test_invalid_utf8_is_repaired_counted_and_kept_raw() -> None:
    events: list[rx.Event] = []
    stream = rx.runner("printf", r"ok\nbad\377\nok\n").pipe(op.to(sinks.callback(events.append)))
    report = rx.run(stream)
    assert [event["message"] for event in events] == ["ok", "bad\ufffd", "ok"]
    assert events[1].raw == b"bad\xff"
    assert report.runners["printf"].invalid_utf8 == 1


@pytest.mark.parametrize("overlong", ["reject", "truncate"])
def test_a_line_longer_than_allowed(overlong: str) -> None:
    command = "echo before; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo after"
    events: list[rx.Event] = []
    stream = rx.runner(command, shell=True, max_line="64KiB", overlong=overlong, name="long").pipe(
        op.to(sinks.callback(events.append))
    )
    report = rx.run(stream)
    texts = [event["message"] for event in events]
    assert report.runners["long"].lines == 3
    assert report.balanced
    if overlong == "reject":
        assert texts == ["before", "after"]
        assert [event.line for event in events] == [1, 3]
        assert report.runners["long"].rejected == {"line_too_long": 1}
    else:
        assert texts == ["before", "x" * 65536, "after"]


def test_a_terminal_for_programs_that_buffer() -> None:
    collected = Collected(rx.runner(*child("buffers"), output="pty"))
    assert collected.first.wait(10)
    assert collected.events[0]["message"] == "hello"
    collected.subscription.dispose()


def test_a_child_that_closes_stdout_and_lives_on() -> None:
    runner = rx.runner(*child("closes"))
    collected = Collected(runner)
    assert collected.first.wait(10)
    assert not collected.done.is_set()
    runner.stop()
    collected.wait()


@pytest.mark.slow
def test_stderr_is_drained_while_stdout_is_held_back() -> None:
    go = threading.Event()
    runner = rx.runner(*child("chatty", 20, 100_000), stderr="drop", name="chatty")
    collected = Collected(runner, lambda event: go.wait(20))
    assert collected.first.wait(10)
    go.set()
    collected.wait()
    assert [event["message"] for event in collected.events] == [str(number) for number in range(20)]


def test_stderr_as_events() -> None:
    collected = Collected(rx.runner("sh", "-c", "echo out; echo err >&2", stderr="events")).wait()
    assert {(event.type, event["message"]) for event in collected.events} == {("line", "out"), ("stderr", "err")}


# Stopping


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["deaf"], ["forks", "wait"], ["forks", "exit"]])
def test_the_ladder_reaches_the_whole_group(arguments: list[str]) -> None:
    runner = rx.runner(*child(*arguments), stop={"signal": "SIGINT", "grace": "50ms"}, name="x")
    collected = Collected(runner)
    assert collected.first.wait(10)
    (running,) = supervisor.children()
    text = collected.events[0]["message"]
    runner.stop()
    runner.stop()
    collected.wait()
    assert collected.error is None
    assert gone(running.pid)
    if text.isdigit():
        wait_until(lambda: gone(int(text)), "the grandchild is gone")


@pytest.mark.slow
def test_a_grandchild_outside_the_group_does_not_hold_the_stop_up() -> None:
    runner = rx.runner(*child("forks", "wait", "setsid"), stop={"signal": "SIGKILL"}, name="x")
    collected = Collected(runner)
    assert collected.first.wait(10)
    begun = time.monotonic()
    runner.stop()
    collected.wait()
    assert time.monotonic() - begun < 5
    os.kill(int(collected.events[0]["message"]), signal.SIGKILL)


def test_last_words_are_delivered() -> None:
    runner = rx.runner(*child("last_words", 1000), stop="SIGINT")
    collected = Collected(runner)
    assert collected.first.wait(10)
    runner.stop()
    collected.wait()
    assert [event["message"] for event in collected.events] == ["ready", *(f"last {n}" for n in range(1000))]


def test_stop_from_the_observer_itself() -> None:
    runner = rx.runner("sh", "-c", "seq 5; sleep 3600")
    collected = Collected(runner, lambda event: runner.stop()).wait()
    assert len(collected.events) == 5


def test_dispose_in_the_middle_of_a_batch() -> None:
    holder: list[Collected] = []
    ready = threading.Event()

    def more(event: rx.Event) -> None:
        ready.wait(10)
        if event.line == 3:
            holder[0].subscription.dispose()

    collected = Collected(rx.runner("seq", "1000000000"), more)
    holder.append(collected)
    ready.set()
    wait_until(lambda: len(collected.events) >= 3, "three events")
    wait_until(lambda: not supervisor.children(), "the child is gone")
    assert len(collected.events) == 3
    assert not collected.done.is_set()


def test_take_three_of_a_billion() -> None:
    begun = time.monotonic()  # a billion lines take minutes
    assert len(rx.runner("seq", "1000000000").pipe(ops.take(3), ops.to_list()).run()) == 3
    wait_until(lambda: not supervisor.children(), "the child is gone")
    assert time.monotonic() - begun < 10


def test_an_observer_that_raises_ends_its_subscription_and_kills_no_thread() -> None:
    seen = threading.Event()

    def fails(event: rx.Event) -> None:
        seen.set()
        raise StopIteration

    rx.runner("seq", "1000000000").subscribe(fails)
    assert seen.wait(10)
    wait_until(lambda: not supervisor.children(), "the child is gone")


def test_two_hundred_starts_leave_nothing() -> None:
    runner = rx.runner("true")
    for _ in range(200):
        Collected(runner).wait()


# Starting again


def starts(tmp_path: Path) -> int:
    return len((tmp_path / "starts").read_text().splitlines())


@pytest.mark.parametrize(
    ("when", "code", "count"), [("never", 1, 1), ("on-failure", 0, 1), ("on-failure", 1, 4), ("always", 0, 4)]
)
def test_restart(tmp_path: Path, when: str, code: int, count: int) -> None:
    stream = rx.runner(
        "sh",
        "-c",
        f"echo x >> starts; echo line; exit {code}",
        cwd=str(tmp_path),
        restart={"when": when, "backoff": "1ms..5ms", "limit": "3 in 1m"},
    )
    collected = Collected(stream).wait()
    assert starts(tmp_path) == count
    assert [(event.incarnation, event.line) for event in collected.events] == [(n + 1, 1) for n in range(count)]
    if count == 4:
        assert isinstance(collected.error, rx.ProcessError)
        assert "gave up after 4 starts (3 restarts in 1m are the limit)" in str(collected.error)
    else:
        assert (collected.error is None) == (code == 0)


def test_stop_during_the_wait_for_a_restart() -> None:
    runner = rx.runner("false", restart={"when": "always", "backoff": "1h..1h"}, lifecycle=True)
    collected = Collected(runner)
    wait_until(lambda: any(event["event"] == "restarting" for event in collected.events), "it waits")
    runner.stop()
    collected.wait()
    assert collected.error is None


def test_every(tmp_path: Path) -> None:
    runner = rx.runner("sh", "-c", "echo x >> starts; echo line; exit 1", cwd=str(tmp_path), every="5ms")
    collected = Collected(runner)
    wait_until(lambda: len(collected.events) >= 3, "three runs")
    runner.stop()
    collected.wait()
    assert collected.error is None
    assert [event.incarnation for event in collected.events] == list(range(1, len(collected.events) + 1))


def test_a_run_that_takes_too_long_is_stopped() -> None:
    collected = Collected(rx.runner("sleep", "3600", timeout="20ms")).wait()
    assert str(collected.error) == "sleep: took longer than 20ms and was stopped"


def test_killed_by_a_signal() -> None:
    collected = Collected(rx.runner(*child("crash", 0, "segv"), name="x")).wait()
    assert isinstance(collected.error, rx.ProcessError)
    assert (str(collected.error), collected.error.signal) == ("x: was killed by SIGKILL", 9)
