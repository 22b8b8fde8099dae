"""route: each event goes one way, and every way is accounted for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import reactivex

import rx_collector as rx
from rx_collector import operators as op
from tests.events import run
from tests.runners.helpers import run_project

FILE = """
runners: {numbers: {command: [seq, "%d"]}}
pipelines:
  all:
    from: numbers
    operators:
      - set: {n: int(message)}
      - drop: message
      - route: %s
%s
  small:
    from: all.small
    operators: [set: {way: "'small'"}]
    sinks: [{file: small, backpressure: block}]
  others:
    from: [all.even%s]
    sinks: [{file: others, backpressure: {strategy: block, capacity: 3}}]
"""
SINKS = "    sinks: [{file: rest, backpressure: block}]"


def numbers(file: Path) -> list[int]:
    return [json.loads(line)["n"] for line in file.read_text().splitlines()]


def test_the_first_branch_that_fits_and_the_others_go_on(tmp_path: Path) -> None:
    report = run_project(tmp_path, FILE % (10_000, "{small: n < 4, even: n % 2 == 0}", SINKS, ""))
    assert numbers(tmp_path / "small") == [1, 2, 3]
    assert numbers(tmp_path / "others") == list(range(4, 10_001, 2))
    assert numbers(tmp_path / "rest") == list(range(5, 10_001, 2))
    assert report.exit_code == 0
    node = report.pipelines["all"].nodes[2]
    assert (node.node, node.taken, node.out) == ("operators[2] route", 10_000, 10_000)
    assert node.branches == {"small": 3, "even": 4999}
    assert report.pipelines["small"].taken == 3
    assert json.loads(report.json())["pipelines"]["all"]["nodes"][2]["branches"] == {"small": 3, "even": 4999}


def test_with_else_nothing_goes_on(tmp_path: Path) -> None:
    report = run_project(tmp_path, FILE % (10, "{small: n < 4, even: n % 2 == 0, else: }", "", ", all.else"))
    assert sorted(numbers(tmp_path / "others")) == [4, 5, 6, 7, 8, 9, 10]
    assert report.balanced, report.unbalanced
    assert report.exit_code == 0


def test_a_condition_that_fails_rejects_its_event(tmp_path: Path) -> None:
    text = FILE % (4, "{small: 1 / (n - 2) < 0, even: n % 2 == 0}", SINKS + "\n    dead_letter: {file: dead}", "")
    report = run_project(tmp_path, text)
    (record,) = [json.loads(line) for line in (tmp_path / "dead").read_text().splitlines()]
    assert (record["reason"], record["data"]) == ("route", {"n": 2})
    assert record["place"].endswith("x.yaml:9")
    assert "ZeroDivisionError" in record["error"]
    assert report.pipelines["all"].rejected == {"route": 1}


def test_a_branch_that_holds_back_holds_all_back_and_a_stop_is_obeyed(tmp_path: Path) -> None:
    text = FILE % (1_000_000, "{small: n < 4, even: n % 2 == 0}", SINKS, "")
    text = text.replace("file: others", "exec: {command: [sleep, '3600'], grace: 1ms}")
    report = run_project(tmp_path, text, duration="300ms", drain="100ms")
    assert report.balanced, report.unbalanced
    assert report.exit_code == 1


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ("{smal: n < 4, even: 'True'}", "no runner or pipeline 'all.small', did you mean 'all.smal'?"),
        ("{small: n < 4, even: 'True', odd: 'True'}", "no pipeline reads this branch; one does with from: all.odd"),
        ("{small: n <, even: 'True'}", "syntax error"),
        ("{small: 'True', even: 'True', else: x}", "'else' has no condition"),
        ("{small: 'True', even: 'True', a.b: 'True'}", "cannot name a branch"),
        ("{else: }", "beside 'else' there is no branch"),
        ("{}", "the mapping is empty"),
        ("7", "a mapping of names of branches to conditions is wanted here"),
    ],
)
def test_mistakes(tmp_path: Path, route: str, message: str) -> None:
    (tmp_path / "x.yaml").write_text(FILE % (1, route, SINKS, ""))
    with pytest.raises(rx.ConfigError) as caught:
        rx.load(tmp_path / "x.yaml", {})
    assert message in str(caught.value)


def test_branches_of_the_same_name_and_cycles(tmp_path: Path) -> None:
    text = FILE % (1, "{small: 'True', even: 'True'}\n      - route: {small: 'True'}", SINKS, "")
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(rx.ConfigError, match="there is a branch 'small' already"):
        rx.load(tmp_path / "x.yaml", {})
    text = FILE % (1, "{small: 'True', even: 'True'}", SINKS, "")
    (tmp_path / "x.yaml").write_text(text.replace("from: numbers\n", "from: all.even\n", 1))
    with pytest.raises(rx.ConfigError, match="it feeds itself: all -> all"):
        rx.load(tmp_path / "x.yaml", {})


def test_a_pipeline_that_is_complete_is_wanted_for_its_branches_alone(tmp_path: Path) -> None:
    text = FILE % (1_000_000_000, "{small: n < 4, even: n % 2 == 0, else: }", "", ", all.else")
    text = text.replace("operators: [set: {way: \"'small'\"}]", "operators: [limit: 2]").replace(
        "    sinks: [{file: others", "    operators: [limit: 5]\n    sinks: [{file: others"
    )
    report = run_project(tmp_path, text, duration="60s")
    assert report.seconds < 30
    assert numbers(tmp_path / "small") == [1, 2]
    others = numbers(tmp_path / "others")  # of two branches, so in the order of each of them
    assert (len(others), min(others)) == (5, 4)
    assert report.exit_code == 0


def test_in_a_test_of_the_file(tmp_path: Path) -> None:
    text = FILE % (1, "{small: n < 4, even: n % 2 == 0}", SINKS, "") + (
        "tests:\n  - name: ways\n    given: {numbers: ['1', '4', '7']}\n"
        "    expect: {small: [{n: 1, way: small}], others: [{n: 4}], all: [{n: 7}]}\n"
    )
    (tmp_path / "x.yaml").write_text(text)
    (verdict,) = rx.load(tmp_path / "x.yaml", {}).test()
    assert verdict.passed, verdict


def test_in_python_a_subject_gets_a_branch() -> None:
    subject: Any = reactivex.Subject()
    seen: list[Any] = []
    ended: list[str] = []
    subject.subscribe(lambda event: seen.append(event["n"]), None, lambda: ended.append("completed"))
    result = run(
        op.route({"big": "n > 2", "none": "n > 3"}, into={"big": subject}), events=[{"n": n} for n in range(5)]
    )
    assert [one["n"] for one in result.data] == [0, 1, 2]
    assert (seen, ended) == ([3, 4], ["completed"])
    alone = run(op.route({"big": "n > 2"}), events=[{"n": n} for n in range(5)])
    assert alone.report.pipelines["test"].filtered == 2
