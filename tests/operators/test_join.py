"""join: what another stream said last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import reactivex

import rx_collector as rx
from rx_collector import operators as op
from rx_collector.event import Event, Origin
from tests.events import ORIGIN, run, run_batches
from tests.runners.helpers import run_project

OTHER = [{"pid": 7, "comm": "sh"}, {"pid": 8, "comm": "ls"}, {"pid": 7, "comm": "vi"}, "no object", {"pid": None}]


def joined(events: list[Any], **options: Any) -> Any:
    return run(op.join(reactivex.of(*OTHER), "pid", **options), events=events)


def test_the_last_one_of_the_same_key() -> None:
    result = joined([{"pid": 7, "x": 1}, {"pid": 9}], fields="comm", prefix="program_")
    assert result.data == [{"pid": 7, "x": 1, "program_comm": "vi"}, {"pid": 9}]
    assert joined([{"pid": 8}]).data == [{"pid": 8, "comm": "ls"}]


def test_an_event_for_which_nothing_was_said() -> None:
    result = joined([{"pid": 9}, {"pid": 7}], missing="drop")
    assert (len(result.data), result.report.pipelines["test"].filtered) == (1, 1)
    result = joined([{"pid": 9}, {"pid": 7}], missing="reject")
    assert [one["error"] for one in result.rejected] == ["LookupError: the other stream has said nothing of it"]
    result = run(op.join(reactivex.of(*OTHER), "7"), events=["no object"])
    assert "the payload is not an object" in result.rejected[0]["error"]


def test_what_it_said_is_bounded_in_number_and_in_time() -> None:
    result = joined([{"pid": 7}, {"pid": 8}], size=1, fields="comm")
    assert result.report.pipelines["test"].nodes[0].notes == {"evicted": 3}

    def at(seconds: int, data: Any) -> Event:
        return Event(data, None, Origin("run", "exec", 1, 1, ORIGIN.observed_ns + seconds * 10**9), 1)

    other = reactivex.of(at(0, {"pid": 7, "comm": "sh"}))
    events = [at(5, {"pid": 7}), at(6, {"pid": 7})]
    assert [one.get("comm") for one in run_batches([events], op.join(other, "pid", age=5)).data] == ["sh", None]


def test_what_has_no_key_is_noted() -> None:
    other = reactivex.of({"n": "x"}, {"n": 1})
    result = run(op.join(other, "n", key="n + 1"), events=[{"n": 2}])
    assert result.report.pipelines["test"].nodes[0].notes == {"unusable": 1}
    assert result.data == [{"n": 1}]


FILE = """
runners:
  programs: {command: [printf, '7 sh\\n8 ls\\n']}
  requests: {command: [sh, -c, 'until [ -s programs ]; do sleep 0.01; done; printf "7 a\\n9 b\\n8 c\\n"']}
pipelines:
  started:
    from: programs
    operators: [parse: {format: regex, pattern: '(?P<pid>\\S+) (?P<comm>.*)'}]
%s
  made:
    from: requests
    operators:
      - parse: {format: regex, pattern: '(?P<pid>\\S+) (?P<what>.*)'}
      - join: {with: %s, on: pid, fields: comm}
    sinks: [{file: made, backpressure: block}]
"""
SINKS = "    sinks: [{file: {path: programs, buffer: 0}, backpressure: block}]"


def test_two_pipelines_of_a_file(tmp_path: Path) -> None:
    text = FILE % (SINKS.replace("{path: programs, buffer: 0}", "programs"), "started")
    report = run_project(tmp_path, text)
    lines = [json.loads(line) for line in (tmp_path / "made").read_text().splitlines()]
    assert [(one["pid"], one["what"], one.get("comm")) for one in lines] == [
        ("7", "a", "sh"),
        ("9", "b", None),
        ("8", "c", "ls"),
    ]
    assert report.exit_code == 0


def test_a_runner_and_a_pipeline_that_nothing_else_reads(tmp_path: Path) -> None:
    text = """
runners:
  a: {command: [echo, x]}
  b: {command: [sh, -c, 'sleep 0.2; echo x']}
  c: {command: [echo, x]}
pipelines:
  quiet: {from: c, operators: [set: {seen: true}]}
  p:
    from: b
    operators: [join: {with: a, on: message, prefix: a_}, join: {with: quiet, on: message, fields: seen}]
    sinks: [{file: out, backpressure: block}]
tests:
  - name: both
    given: {a: [x], c: [x], b: [{after: 1s, line: x}]}
    expect: {p: [{a_message: x, seen: true}]}
"""
    report = run_project(tmp_path, text)
    assert json.loads((tmp_path / "out").read_text()) == {"message": "x", "a_message": "x", "seen": True}
    assert report.exit_code == 0
    (verdict,) = rx.load(tmp_path / "x.yaml", {}).test()
    assert verdict.passed, verdict


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            "startet",
            "14:22: pipelines.made.operators[1].join.with: no runner or pipeline 'startet', did you mean",
        ),
        ("made", "it feeds itself: made -> made"),
        ("[a]", "the name of a pipeline is wanted here"),
    ],
)
def test_mistakes(tmp_path: Path, other: str, message: str) -> None:
    (tmp_path / "x.yaml").write_text(FILE % (SINKS.replace(", buffer: 0", ""), other))
    with pytest.raises(rx.ConfigError) as caught:
        rx.load(tmp_path / "x.yaml", {})
    assert message in str(caught.value)
