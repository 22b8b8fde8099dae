"""The balance sheet notices each count that does not add up, and what does not add up is a failure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import rx_collector as rx
from rx_collector.ledger import Ledger, Report
from rx_collector.pipeline.collector import Collector
from tests.cli.test_errors import GOOD, command

TEXT = GOOD.replace(
    "- filter: int(message) > 2", "- filter: int(message) > 2\n      - map: 8 // (5 - int(message))"
) + ("      - null:\n        backpressure: block\n    dead_letter: {file: dead}\n")


@pytest.fixture(autouse=True)
def every_ledger_balances() -> None:
    """Not here, where they are broken."""


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """That of a real run: five lines, of which two are filtered, one is rejected and two reach both sinks."""
    (tmp_path / "x.yaml").write_text(TEXT)
    collector = Collector(rx.load(tmp_path / "x.yaml"))
    report = collector.run()
    assert (report.balanced, report.unbalanced, report.exit_code) == (True, [], 0)
    return collector.ledger


def change(path: str, by: int) -> Callable[[Ledger], None]:
    """Give what changes one count of a ledger."""
    *way, name = path.split(".")

    def apply(ledger: Ledger) -> None:
        found: object = ledger.runners["numbers"] if way == ["runner"] else ledger.pipelines["all"]
        for step in way[1:]:
            if step.isdigit():
                found = found[int(step)]  # type: ignore[index]
            elif isinstance(found, dict):
                found = found[step]
            else:
                found = getattr(found, step)
        if isinstance(found, dict):
            found[name] = found.get(name, 0) + by
        else:
            setattr(found, name, getattr(found, name) + by)

    return apply


@pytest.mark.parametrize(
    ("path", "by", "wrong"),
    [
        ("runner.lines", 1, ["runner numbers: +1 lines have no account"]),
        ("runner.skipped", 1, ["runner numbers: -1 lines have no account"]),
        ("runner.stderr_events", 2, ["runner numbers: +2 lines have no account"]),
        ("runner.lifecycle", 1, ["runner numbers: +1 lines have no account"]),
        (
            "runner.out",
            -1,
            [
                "runner numbers: +1 lines have no account",
                "pipeline all: its sources sent 4 events, it took 5",
            ],
        ),
        (
            "pipeline.taken",
            1,
            [
                "pipeline all: 6 events were sent to operators[0] filter, it took 5",
                "pipeline all: its sources sent 5 events, it took 6",
            ],
        ),
        ("pipeline.operators.0.filtered", 1, ["pipeline all, operators[0] filter: -1 events have no account"]),
        ("pipeline.operators.0.merged", 1, ["pipeline all, operators[0] filter: -1 events have no account"]),
        ("pipeline.operators.0.made", 1, ["pipeline all, operators[0] filter: +1 events have no account"]),
        ("pipeline.operators.1.rejected", -1, ["pipeline all, operators[1] map: +1 events have no account"]),
        (
            "pipeline.operators.1.taken",
            1,
            [
                "pipeline all, operators[1] map: +1 events have no account",
                "pipeline all: 3 events were sent to operators[1] map, it took 4",
            ],
        ),
        (
            "pipeline.boundaries.file.taken",
            -1,
            [
                "pipeline all, sinks[0] file backpressure: -1 events have no account",
                "pipeline all: 2 events were sent to sinks[0] file backpressure, it took 1",
            ],
        ),
        (
            "pipeline.boundaries.null.out",
            1,
            [
                "pipeline all, sinks[1] null backpressure: -1 events have no account",
                "pipeline all: 3 events left sinks[1] null backpressure, null took 2",
            ],
        ),
        (
            "pipeline.boundaries.file.dropped.x",
            1,
            ["pipeline all, sinks[0] file backpressure: -1 events have no account"],
        ),
        ("pipeline.sinks.file.failed", 1, ["pipeline all, sinks[0] file: -1 events have no account"]),
        (
            "pipeline.sinks.null.taken",
            1,
            [
                "pipeline all, sinks[1] null: +1 events have no account",
                "pipeline all: 2 events left sinks[1] null backpressure, null took 3",
            ],
        ),
        ("pipeline.dead_letter.out", -1, ["pipeline all, dead_letter: +1 events have no account"]),
        (
            "pipeline.dead_letter_boundary.taken",
            1,
            ["pipeline all, dead_letter backpressure: +1 events have no account"],
        ),
    ],
)
def test_each_count_that_is_wrong_is_told(ledger: Ledger, path: str, by: int, wrong: list[str]) -> None:
    change(path, by)(ledger)
    report = Report.of(ledger, seconds=0, exit_code=0)
    assert report.unbalanced == wrong
    assert (report.balanced, report.exit_code) == (False, 1)


def test_what_is_still_held_is_no_end(ledger: Ledger) -> None:
    sink = ledger.pipelines["all"].sinks["file"]
    sink.held, sink.out = lambda: 1, sink.out - 1
    running = Report.of(ledger, seconds=0, exit_code=0, final=False)
    assert (running.balanced, running.exit_code) == (True, 0)
    assert running.pipelines["all"].sinks["file"].held == 1
    ended = Report.of(ledger, seconds=0, exit_code=0)
    assert ended.unbalanced == ["pipeline all, sinks[0] file: 1 events are still held"]
    sink.kept = 1  # unless it is on disk, for another run
    assert Report.of(ledger, seconds=0, exit_code=0).balanced


SWALLOWS = """
from rx_collector.stream.operator import BatchOperator
class Swallows:
    def __init__(self, downstream):
        self.on_completed, self.on_error = downstream.on_completed, downstream.on_error
    def on_batch(self, batch):
        "Nobody will ever know."
class Careless(BatchOperator):
    name = "careless"
    def attach(self, downstream, context, node):
        return Swallows(downstream)
careless = Careless()
"""


@pytest.mark.slow
def test_a_run_whose_sheet_does_not_balance_fails(tmp_path: Path) -> None:
    (tmp_path / "an_operator_that_swallows.py").write_text(SWALLOWS)
    text = GOOD.replace("- filter: int(message) > 2", "- python: an_operator_that_swallows:careless")
    (tmp_path / "x.yaml").write_text(text)
    result = command("run", "x.yaml", "--report", "r.json", cwd=tmp_path)
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert "pipeline all: 5 events were sent to operators[0] careless, it took 0" in lines[-1]
    assert "not balanced after " in lines[-2]
    assert any(line.endswith(f"the ledger does not balance: {lines[-1].strip()}") for line in lines)
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["balanced"], report["exit_code"], report["errors"]) == (False, 1, [])


def test_what_another_stream_sent_has_to_be_what_came_in(tmp_path: Path) -> None:
    """An event that is lost on the way into a `merge` is missed there: both ends count."""
    (tmp_path / "x.yaml").write_text(
        "runners: {numbers: {command: [seq, '5']}, letters: {command: [echo, a]}}\n"
        "pipelines: {all: {from: numbers, operators: [merge: letters], sinks: [{'null': {}, backpressure: block}]}}\n"
    )
    collector = Collector(rx.load(tmp_path / "x.yaml"))
    assert collector.run().unbalanced == []
    node = collector.ledger.pipelines["all"].operators[0]
    assert node.joined == {"letters": 1}
    node.joined["letters"] = 0
    report = Report.of(collector.ledger, seconds=0, exit_code=0)
    assert report.unbalanced == ["pipeline all: 1 events of letters were sent to operators[0] merge, it took 0"]
    assert report.exit_code == 1
