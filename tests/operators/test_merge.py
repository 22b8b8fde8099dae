"""merge: events of other streams come in between two operators, each once, and the sheet says from where."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import reactivex

import rx_collector as rx
from rx_collector import operators as op
from rx_collector.errors import ConfigError, OutputError, ProcessError
from rx_collector.testing import Script, run_script
from tests.conftest import wait_until
from tests.runners.helpers import run_project

FILE = """
runners:
  numbers: {command: [seq, "1000"]}
  letters: {command: [sh, -c, "printf 'a\\nb\\n'"]}
pipelines:
  odd:
    from: numbers
    operators:
      - filter: int(message) % 2
      - route: {small: int(message) < 10}
    sinks: [{"null": {}, backpressure: block}]
  all:
    from: numbers
    operators:
      - filter: int(message) > 998
      - merge: [letters, odd, odd.small]
      - set: {seen: true}
    sinks: [{file: out, backpressure: {strategy: block, capacity: 3}}]
"""


SIMPLE = FILE.replace("[letters, odd, odd.small]", "letters").replace("\n      - route: {small: int(message) < 10}", "")


def test_in_a_file_each_stream_comes_in_whole_and_in_its_order(tmp_path: Path) -> None:
    report = run_project(tmp_path, FILE)
    assert report.balanced, report.unbalanced
    assert report.exit_code == 0
    lines = [json.loads(line)["message"] for line in (tmp_path / "out").read_text().splitlines()]
    assert len(lines) == 2 + 2 + 500
    assert [line for line in lines if line in "ab"] == ["a", "b"]
    assert [int(line) for line in lines if line.isdigit() and 10 < int(line) < 998] == list(range(11, 998, 2))
    assert [line for line in lines if line in ("1", "3", "5", "7", "9")] == ["1", "3", "5", "7", "9"]
    node = report.pipelines["all"].nodes[1]
    assert (node.node, node.taken, node.made, node.out) == ("operators[1] merge", 2, 502, 504)
    assert node.joined == {"letters": 2, "odd": 495, "odd.small": 5}
    assert json.loads(report.json())["pipelines"]["all"]["nodes"][1]["joined"] == node.joined


def test_a_stream_that_fails_ends_alone(tmp_path: Path) -> None:
    report = run_project(tmp_path, SIMPLE.replace("printf 'a\\nb\\n'", "echo a; exit 3"))
    assert report.exit_code == 1
    lines = [json.loads(line)["message"] for line in (tmp_path / "out").read_text().splitlines()]
    assert sorted(lines) == ["1000", "999", "a"]


def test_it_ends_when_the_last_of_them_does() -> None:
    other: Any = reactivex.Subject()
    run = run_script(Script.of([1, 2]), op.merge(other))
    wait_until(lambda: run.source.connections[0].ended, "the end of the first stream")
    other.on_next(3)
    assert not run.probe.ended.is_set()
    other.on_completed()
    run.wait().check()
    assert run.probe.data == [1, 2, 3]
    assert run.report().pipelines["check"].nodes[0].made == 1


def test_an_error_of_an_observable_ends_the_stream_and_what_comes_then_is_counted() -> None:
    other: Any = reactivex.Subject()
    go = threading.Event()
    run = run_script(
        Script.of([1, 2], size=1), op.tap(lambda event: go.wait(10) if event.data == 2 else None), op.merge(other)
    )
    wait_until(lambda: run.probe.data == [1], "the first event")
    other.on_error(ValueError("broken"))
    go.set()
    run.wait()
    assert isinstance(run.probe.error, ValueError)
    wait_until(lambda: run.source.connections[0].ended, "the end of the first stream")
    node = run.context.pipeline.operators[1]
    assert (node.dropped, node.missing()) == ({"stream failed": 1}, 0)


def test_streams_of_several_threads_take_turns() -> None:
    """The probe sees every overlap."""
    others = [rx.runner("seq", "3000") for _ in range(4)]
    run = run_script(Script.of(list(range(3000)), size=10), op.merge(*others)).wait()
    run.check()
    assert len(run.probe.data) == 5 * 3000


def test_a_stream_of_runners_is_stopped_with_it() -> None:
    stream = rx.runner("seq", "3").pipe(op.merge(rx.runner("sleep", "3600")))
    report = rx.run(stream, duration=0.3)
    assert report.pipelines["stream"].nodes[0].taken == 3


def test_what_is_disposed_leaves_the_others() -> None:
    other: Any = reactivex.Subject()
    run = run_script(Script.of([1], endless=True), op.merge(other))
    assert run.probe.first.wait(10)
    run.dispose()
    assert other.observers == []


def test_a_name_means_something_in_a_file_only() -> None:
    with pytest.raises(OutputError, match="there is no pipeline 'other' here"):
        rx.runner("seq", "1").pipe(op.merge("other")).run()  # type: ignore[arg-type]


MISTAKES = [
    ("merge: letter", "no runner or pipeline 'letter', did you mean 'letters'?", 16),
    ("merge: [letters, letters]", "'letters' is named twice", 26),
    ("merge: [all]", "it feeds itself: all -> all", 17),
    ("merge: {with: letters}", "a list (each the name of a pipeline) is wanted here", 16),
]


@pytest.mark.parametrize(("written", "message", "column"), MISTAKES)
def test_mistakes(written: str, message: str, column: int, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(
        FILE.replace("merge: [letters, odd, odd.small]", written).replace(
            "\n      - route: {small: int(message) < 10}", ""
        )
    )
    with pytest.raises(ConfigError) as caught:
        rx.load(file)
    (mistake,) = caught.value.mistakes
    assert mistake.message.startswith(message)
    assert mistake.column == column


def test_the_error_of_a_process_reaches_who_merged_it_in_python() -> None:
    stream = rx.runner("seq", "1").pipe(op.merge(rx.runner("sh", "-c", "exit 3")))
    with pytest.raises(ProcessError, match="code 3"):
        stream.run()


@pytest.mark.parametrize("make", [lambda: op.merge(5), lambda: op.join(5, "pid")], ids=["merge", "join"])
def test_in_python_an_observable_is_asked_for(make: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value).partition(": ")[2] == (
        "an Observable such as rx.runner('vmstat', '1') is wanted here, or the name of a pipeline, not a number"
    )
