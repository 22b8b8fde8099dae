"""Pipelines with workers, as a file has them: real children, signals, the end, and a change while it runs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rx_collector as rx
from rx_collector.errors import ConfigError
from rx_collector.pipeline.collector import Collector
from tests.cli.test_errors import command
from tests.conftest import wait_until
from tests.pipeline.reloading import COUNTS, running

pytestmark = pytest.mark.slow

FILE = """\
runners:
  numbers: {{command: {command}, stop: {{grace: 5s}}}}
pipelines:
  all:
    from: numbers
    workers: {workers}
    operators:
      - filter: {condition}
    sinks:
      - file: all.ndjson
        backpressure: block
"""
ENDLESS = "matches(message, '(x+x+)+y')"  # for a line of many x and no y


def text(command: str, workers: int = 3, condition: str = "int(message) > 0") -> str:
    return FILE.format(command=command, workers=workers, condition=condition)


def test_a_run_comes_to_the_same(tmp_path: Path) -> None:
    reports = []
    for workers in (1, 3):
        (tmp_path / "x.yaml").write_text(text("[seq, '300000']", workers, "int(message) % 3 == 0"))
        reports.append(rx.load(tmp_path / "x.yaml").run())
        lines = (tmp_path / "all.ndjson").read_text().splitlines()
        assert [int(json.loads(line)["message"]) for line in lines] == list(range(3, 300_001, 3))
        (tmp_path / "all.ndjson").unlink()
    assert reports[0].pipelines == reports[1].pipelines
    assert reports[1].exit_code == 0


@contextlib.contextmanager
def started(tmp_path: Path, condition: str, lines: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Start the command, and give it and its workers once these are there. In the end it is gone in any case."""
    (tmp_path / "x.yaml").write_text(text(lines, 2, condition))
    command = [sys.executable, "-m", "rx_collector", "run", "x.yaml"]
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    found: list[int] = []
    with subprocess.Popen(command, cwd=tmp_path, text=True, start_new_session=True, **pipes) as process:

        def begun() -> bool:
            found[:] = workers_of(process.pid)
            return len(found) == 2

        try:
            wait_until(begun, "the workers are there", 30)
            yield process, found
        finally:
            process.kill()


def workers_of(parent: int) -> list[int]:
    return children_of(parent, b"stream.worker")


def children_of(parent: int, what: bytes) -> list[int]:
    """Give the children of a process with this in their command line."""
    found = []
    for task in Path(f"/proc/{parent}/task").glob("*"):
        with contextlib.suppress(OSError):  # it has just ended
            for pid in (task / "children").read_text().split():
                if what in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(int(pid))
    return found


def is_gone(pid: int) -> bool:
    try:
        return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True


def busy(pid: int) -> bool:
    """Whether it has worked for a while."""
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(times[11]) > 100  # of user time, in hundredths of a second: more than starting takes


def ignores_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.partition("SigIgn:")[2].split()[0], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.fast_path
def test_workers_end_with_a_collector_that_is_killed(tmp_path: Path) -> None:
    """Also one that is lost in a regular expression and looks at nothing else."""
    (tmp_path / "lines").write_text(("x" * 60 + "\n") * 20_000)
    with started(tmp_path, ENDLESS, "[sh, -c, 'seq 100; cat lines; exec sleep 600']") as (process, workers):
        wait_until(lambda: all(map(busy, workers)), "they work", 60)
        process.kill()
        process.wait()
        wait_until(lambda: all(map(is_gone, workers)), "they are gone")


@pytest.mark.fast_path
def test_the_second_signal_ends_workers_that_hang(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text(("x" * 60 + "\n") * 20_000)
    with started(tmp_path, ENDLESS, "[sh, -c, 'seq 100; cat lines; exec sleep 600']") as (process, workers):
        wait_until(lambda: all(map(busy, workers)), "they work", 60)
        wait_until(lambda: len(children_of(process.pid, b"sleep\x00600")) == 1, "all is printed", 30)
        (sleeper,) = children_of(process.pid, b"sleep\x00600")
        process.send_signal(signal.SIGINT)
        wait_until(lambda: is_gone(sleeper), "it stops", 30)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        assert all(map(is_gone, workers))
        assert process.returncode == 1
        assert "balanced: every event is accounted for" in stderr


@pytest.mark.fast_path
def test_an_interrupt_from_the_keyboard_is_for_the_collector(tmp_path: Path) -> None:
    """It reaches all of the foreground; the workers still finish what they have."""
    with started(tmp_path, "int(message) > 0", COUNTS) as (process, workers):
        wait_until(lambda: (tmp_path / "all.ndjson").exists(), "it runs", 30)
        wait_until(lambda: (tmp_path / "all.ndjson").stat().st_size > 100_000, "it has written", 30)
        assert {os.getsid(worker) for worker in workers} == set(workers)  # also one that is only just starting
        wait_until(lambda: all(map(ignores_sigterm, workers)), "they are ready", 30)  # one may only just start
        for worker in workers:
            os.kill(worker, signal.SIGTERM)  # as a service manager does with all that belongs to a service
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr
        assert "was ended by signal" not in stderr
        assert all(map(is_gone, workers))
        numbers = [int(json.loads(line)["message"]) for line in (tmp_path / "all.ndjson").read_text().splitlines()]
        assert numbers == list(range(1, len(numbers) + 1))
        assert "balanced: every event is accounted for" in stderr


@pytest.mark.fast_path
def test_they_change_while_it_runs(tmp_path: Path) -> None:
    """Nothing is lost or comes twice when their number changes, nor when they come or go."""
    with running(tmp_path, text(COUNTS, 1)) as run:
        run.wait_for("all.ndjson")
        for workers in (2, 3, 1, 2):
            run.reload(text(COUNTS, workers))
            run.wait_for("all.ndjson", 5000)
            there = workers if workers > 1 else 0
            wait_until(lambda there=there: len(workers_of(os.getpid())) == there, f"{there} are there")  # type: ignore[misc]
        report = run.stop()
    assert workers_of(os.getpid()) == []
    assert report.exit_code == 0
    assert report.reloads == 4
    numbers = [int(line) for line in run.lines("all.ndjson") if line != "last"]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_run_that_is_cut_short(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        text("[yes, '1']").replace("file: all.ndjson", "file: {path: fifo, append: false}")
    )
    os.mkfifo(tmp_path / "fifo")
    reading = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    report = rx.load(tmp_path / "x.yaml").run(duration=1, drain=0.2)
    os.close(reading)
    assert report.balanced
    assert report.exit_code == 1
    assert workers_of(os.getpid()) == []
    node = report.pipelines["all"].nodes[0]
    assert node.taken == node.out + node.dropped + node.rejected


def test_in_tests_and_replays_no_process_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There time is not this machine's, and all is done in turn."""
    monkeypatch.setattr("rx_collector.stream.workers._Process", None)
    tests = "tests:\n  - name: some\n    given: {numbers: [0, 1]}\n    expect: {all: [{message: '1'}]}\n"
    (tmp_path / "x.yaml").write_text(text("[seq, '3']") + tests)
    assert [verdict.passed for verdict in rx.load(tmp_path / "x.yaml").test()] == [True]
    (tmp_path / "plain.yaml").write_text(text("[seq, '3']", 1))
    rx.load(tmp_path / "plain.yaml").record(tmp_path / "r")
    report = rx.load(tmp_path / "x.yaml").replay(tmp_path / "r")
    assert report.pipelines["all"].sinks["file"].delivered == 3


@pytest.mark.fast_path
@pytest.mark.parametrize(
    ("before", "after", "where", "message"),
    [
        ("workers: 3", "workers: 0", "workers", "there can be 1 to 64 workers, not 0"),
        ("workers: 3", "workers: 65", "workers", "there can be 1 to 64 workers, not 65"),
        ("workers: 3", "workers: many", "workers", "'many' is not a count; write a whole number such as 10_000"),
        (
            "filter: int(message) > 0",
            "skip: 3",
            "workers",
            "3 workers have nothing to do: they share the first operators, as far as these keep nothing or keep it by a key "
            "of the line; skip does not",
        ),
        (
            "operators:\n      - filter: int(message) > 0",
            "operators: []",
            "workers",
            "3 workers have nothing to do: there is no operator that they could share",
        ),
    ],
)
def test_mistakes(before: str, after: str, where: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text("[seq, '3']").replace(before, after))
    with pytest.raises(ConfigError) as caught:
        rx.load(tmp_path / "x.yaml")
    (mistake,) = caught.value.mistakes
    assert mistake.message == message
    assert mistake.where == f"pipelines.all.{where}"
    assert mistake.line == 6


def test_workers_of_a_pipeline_that_reads_a_pipeline_get_nothing_to_do(tmp_path: Path) -> None:
    more = text("[seq, '3']").partition("pipelines:\n")[2].replace("all", "more").replace("numbers", "all")
    (tmp_path / "x.yaml").write_text(text("[seq, '3']", 1) + more)
    (warning,) = rx.load(tmp_path / "x.yaml").warnings
    assert warning.where == "pipelines.more.workers"
    assert "they share lines of runners, and this reads a pipeline" in warning.message
    assert Collector(rx.load(tmp_path / "x.yaml")).run().pipelines["more"].sinks["file"].delivered == 3


@pytest.mark.fast_path
def test_explain_says_what_is_shared_and_what_it_costs(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        text("[seq, '3']").replace("    sinks:", "      - skip: 2\n      - set: {a: 1}\n    sinks:")
    )
    shown = command("explain", "x.yaml", cwd=tmp_path).stdout
    assert "3 workers, processes of 15 MB each, share operators[0] filter: a batch of more than 64 lines" in shown
    assert "a line to send it there" in shown
    assert "operators[1] skip and what follows is done in this process: it keeps something from event" in shown
    assert shown.count("fused stage") == 2
    measured = command("explain", "--analyze", "x.yaml", cwd=tmp_path)
    assert measured.returncode == 0, measured.stderr
    assert "no workers: what is measured is done in this process, not in 3" in measured.stdout
    assert measured.stdout.count("fused stage") == 1


@pytest.mark.fast_path
def test_explain_says_how_keys_are_shared(tmp_path: Path) -> None:
    operators = "      - dedupe: [message, '1']\n      - redact: {}\n      - throttle: {count: 1, key: meta.pid}\n"
    (tmp_path / "x.yaml").write_text(text("[seq, '3']").replace("    sinks:", f"{operators}    sinks:"))
    shown = command("explain", "x.yaml", cwd=tmp_path).stdout
    head = (
        "3 workers, processes of 15 MB each, share operators[0] filter to operators[2] redact: of each batch the lines "
    )
    assert f"{head}with the same message go to the same one\n" in shown
    assert "a line to read that and send it there" in shown
    assert "given what that one kept, and does again what came since" in shown
    assert "operators[3] throttle and what follows is done in this process: its key has nothing of that one" in shown
    (tmp_path / "x.yaml").write_text(
        text("[seq, '3']").replace("filter: int(message) > 0", "parse: json\n      - set: {k: a}\n      - dedupe: k")
    )
    shown = command("explain", "x.yaml", cwd=tmp_path).stdout
    read = "with the same k go to the same one, which operators[0] parse and operators[1] set give"
    assert f"share operators[0] parse to operators[2] dedupe: of each batch the lines {read}" in shown
    (tmp_path / "x.yaml").write_text(
        text("[seq, '3']").replace("filter: int(message) > 0", "parse: logfmt\n      - dedupe: k")
    )
    shown = command("explain", "x.yaml", cwd=tmp_path).stdout
    assert "share operators[0] parse: a batch of more than 64 lines" in shown
    why = "its key is read from what operators[0] parse makes, which costs as much as what could be shared"
    assert f"operators[1] dedupe and what follows is done in this process: {why}" in shown
