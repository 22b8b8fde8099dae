"""`explain`: the plan with its reasons, and with `--analyze` the counts and times of a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rx_collector import operators as op
from rx_collector.cli import cli
from rx_collector.ledger import Node
from rx_collector.operators.window import Grouping
from rx_collector.stream.eventstream import new_context
from rx_collector.stream.flow import Absorber
from tests.cli.test_errors import command

LINES = "".join(f'{{"pid":{n},"event":"{"EXEC" if n % 10 < 3 else "OPEN"}","uid":0,"ppid":1}}\n' for n in range(1000))


def plan(tmp_path: Path, *operators: str, options: str = "", sinks: str = "[{file: out, backpressure: block}]") -> str:
    (tmp_path / "lines").write_text(LINES)
    rows = "".join(f"      - {operator}\n" for operator in operators)
    (tmp_path / "x.yaml").write_text(
        f"runners: {{lines: {{command: [cat, lines]}}}}\npipelines:\n  all:\n    from: lines\n    operators:\n{rows}"
        f"    sinks: {sinks}\n"
    )
    return explain(tmp_path, *options.split()).stdout


def explain(tmp_path: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["explain", *options, str(tmp_path / "x.yaml")], standalone_mode=False)


@pytest.mark.fast_path
@pytest.mark.parametrize(
    ("operators", "said"),
    [
        (['filter: event == "EXEC"'], "of each line event is decoded; a sink of JSON gives it as it came"),
        (["set: {host: '\"web\"'}"], "no field of it decoded; the edits are made on its bytes"),
        (['filter: event == "EXEC"', "map: this"], "of each line event is decoded; the rest at operators[2] map"),
        (["map: '{\"a\": pid}'"], "decoded as a whole: operators[1] map reads all of it (map makes another one of it)"),
        (["filter: this"], "operators[1] filter reads all of it ('this' uses it as a whole)"),
        (["filter: meta.id != pid"], "(meta.id is known of an event only)"),
        (
            ["rename: {pid: a}", "set: {b: a}"],
            "not edited on the bytes: operators[2] set reads a, which operators[1] rename changes",
        ),
        (["set: {a: pid}", "set: {b: a}"], "of each line pid is decoded; the edits are made on its bytes"),
        (
            ["set: {a: pid}", "drop: [comm]", "aggregate: {by: a, n: count()}"],
            "of each line pid is decoded, and no more of it",
        ),
        (
            ["set: {a: x, b: x, c: x, d: x, e: x}", "drop: [q]", "aggregate: {by: q, n: count()}"],
            "the edits want it whole: operators[3] aggregate reads q, which operators[2] drop changes",
        ),
        (
            ["drop: [a]", "aggregate: {by: a, n: count()}"],
            "the edits want it whole: operators[2] aggregate reads a, which operators[1] drop changes",
        ),
        (
            ["set: {a: pid}", "drop: [a]"],
            "not edited on the bytes: operators[2] drop changes a, as operators[1] set does",
        ),
        (
            ["set: {a: pid}", "keep: [a]"],
            "not edited on the bytes: operators[2] keep stands behind an edit, operators[1] set",
        ),
        (
            ["set: {pid: pid + 1}"],
            "pid is decoded; the edits are made on its bytes, where its keys are those of lines before",
        ),
        (
            ["filter: uid == 0", "set: {uid: 1}"],
            "uid is decoded; the edits are made on its bytes, where its keys are those",
        ),
        (
            ["drop: [a, b, c, d, e, f]"],
            "no field of it decoded; the edits are made on its bytes, where its keys are those",
        ),
        (["set: {a: x, b: x, c: x, d: x, e: x}"], "set changes so much of a line that decoding it is quicker"),
        (
            ["set: {a: x, b: x, c: x}", "set: {d: x, e: x}"],
            "operators[1] set change so much of a line that decoding it",
        ),
        (["drop: ['\"']"], "drop changes names that cannot be found in a line for sure"),
        (["set: {a: 1}", "buffer: {count: 2}"], "not edited on the bytes: what follows the loop reads the fields"),
        (["buffer: {count: 2}"], "buffer (x.yaml:7): not fused: it keeps events between batches"),
        (["debounce: {time: 1s, key: pid}"], "the last event of each key is sent on, so each has to be made"),
        (["aggregate: {by: pid, n: count()}"], "takes events in within the loop before it; reads pid"),
    ],
)
def test_it_says_why(operators: list[str], said: str, tmp_path: Path) -> None:
    shown = plan(tmp_path, "parse: json", *operators).replace(f"{tmp_path}/", "")
    assert said in shown


@pytest.mark.parametrize(
    ("parse", "said"),
    [
        ("parse: logfmt", "format logfmt is read as a whole"),
        ("parse: {format: json, on_error: keep_raw}", "'on_error: keep_raw' keeps the line as it is"),
        ("parse: {format: json, duplicate_keys: reject}", "duplicate_keys looks at all of it"),
        ("parse: {format: json, field: text}", "the text is in field text"),
    ],
)
def test_it_says_why_a_line_is_decoded_as_a_whole(parse: str, said: str, tmp_path: Path) -> None:
    assert f"each line is decoded as a whole: {said}" in plan(tmp_path, parse, "filter: pid == 7")


TOUCHED = "parse: {format: json, check: touched}"


@pytest.mark.fast_path
@pytest.mark.parametrize(
    ("operators", "said", "not_said"),
    [
        (['filter: message != ""', "parse: json", "filter: pid == 7"], "of each line pid is decoded; a sink", "whole"),
        (
            ["parse: {format: json, check: touched, duplicate_keys: reject}", 'filter: event == "EXEC"'],
            "decoded as a whole: duplicate_keys looks at all of it\n"
            "        check: touched leaves out no line: duplicate_keys looks at all of it",
            "what follows reads all",
        ),
        ([TOUCHED, 'filter: event == "EXEC"'], "lines without '\"EXEC\"' are left out before that", "leaves out no"),
        (
            [TOUCHED, "filter: pid > 1"],
            "check: touched leaves out no line: what follows is no filter by a text",
            "are left",
        ),
        ([TOUCHED], "check: touched leaves out no line: what follows is no filter by a text", "are left"),
        (["parse: json", "limit: 10"], "not fused: it ends the stream", "between batches"),
        (["parse: json", "log: {show: pid}"], "of each line pid is decoded; a sink", "whole"),
        (["parse: json", "log: {show: this}"], "'this' uses it as a whole", "another one"),
        (["parse: json", "redact: [token]"], "redact takes all of it", "another one"),
        (
            ["parse: json", "window: {every: 1s, by: pid, aggregate: {n: count()}}", "set: {z: pid}"],
            "of each line pid is decoded, and no more of it",
            "still its JSON",
        ),
    ],
)
def test_it_says_what_is_so_and_nothing_else(operators: list[str], said: str, not_said: str, tmp_path: Path) -> None:
    shown = plan(tmp_path, *operators).replace(f"{tmp_path}/", "")
    assert said in shown
    assert not_said not in shown


@pytest.mark.fast_path
def test_a_window_behind_workers_takes_its_events_one_by_one(tmp_path: Path) -> None:
    plan(tmp_path, "parse: json", "filter: pid > 1", "aggregate: {by: pid, n: count()}")
    text = (tmp_path / "x.yaml").read_text()
    (tmp_path / "x.yaml").write_text(text.replace("    operators:", "    workers: 2\n    operators:"))
    shown = explain(tmp_path).stdout
    assert "takes no events in within the loop before it: other processes run that" in shown
    assert "of each line pid is decoded; the rest where somebody behind reads it" in shown


@pytest.mark.fast_path
def test_the_time_of_the_event_is_a_field_that_is_read(tmp_path: Path) -> None:
    shown = plan(tmp_path, "parse: {format: json, time: pid}")
    assert "of each line pid is decoded (pid for the time of the event)" in shown


def test_the_source_is_shown_when_asked_for(tmp_path: Path) -> None:
    assert "rest = iter(batch.lines)" not in plan(tmp_path, "parse: json")
    assert "rest = iter(batch.lines)" in explain(tmp_path, "--source").stdout


@pytest.mark.parametrize(
    "options",
    [
        {"every": "1m"},
        {"every": "1m", "slide": "30s"},
        {"every": "1m", "slide": "1m"},
        {"every": "1m", "time": "event", "lateness": "1s"},
        {"session": "1m"},
        {"count": 10},
        {"count": 10, "step": 5},
        {},
        None,
    ],
)
def test_what_is_said_of_a_window_is_what_it_does(options: dict[str, Any] | None) -> None:
    aggregate = {"n": "count()"}
    made = op.aggregate(aggregate=aggregate) if options is None else op.debounce("1s")
    if options:
        made = op.window(aggregate=aggregate, **options)
    assert isinstance(made, Grouping)
    observer = made.attach(_Nobody(), new_context(), Node("window"))
    assert isinstance(observer, Absorber)
    assert (observer.absorbing_stage() is None) == bool(made.apart()) == (options == {})


class _Nobody:
    def on_batch(self, batch: object) -> None: ...

    def on_error(self, error: Exception) -> None: ...

    def on_completed(self) -> None: ...


@pytest.mark.slow
def test_analyze_runs_it_and_adds_counts_and_times(tmp_path: Path) -> None:
    slow = "filter: sum([pid, pid, pid]) >= 0 and event.upper().lower().upper() == 'EXEC'"
    plan(tmp_path, "parse: json", slow, "set: {host: '\"web\"'}")
    result = command("explain", "--analyze", "x.yaml", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    shown = result.stdout
    assert "= read 1,000 lines" in shown
    assert re.search(r"= CPU of the loop [\d.]+ ms, [\d,]+ ns for each of 1,000 events", shown)
    assert re.search(r"= in 1,000, out 1,000; [\d.]+ ms, \d+% of the loop, [\d,]+ ns an event", shown)
    assert re.search(r"= in 1,000, out 300, filtered 700; [\d.]+ ms, \d+% of the loop", shown)
    shares = [int(share) for share in re.findall(r"(\d+)% of the loop", shown)]
    assert len(shares) == 3
    assert 98 <= sum(shares) <= 102
    assert re.search(r"= at most \d+ of 10,000 in flight; producers waited for [\d.]+ ms", shown)
    assert re.search(r"= delivered 300, [\d,]+ events/s; in write [\d.]+ ms, of which CPU [\d.]+ ms", shown)
    assert shown.endswith("the ledger is balanced\n")
    assert len((tmp_path / "out").read_text().splitlines()) == 300


@pytest.mark.slow
@pytest.mark.fast_path
def test_analyze_knows_windows_groups_and_what_failed(tmp_path: Path) -> None:
    plan(
        tmp_path,
        "parse: json",
        "filter: 10 // (pid - 7) < 100",
        "group_by: {key: uid, operators: [set: {a: 1}]}",
        "aggregate: {by: pid, n: count()}",
        sinks="[{console: {format: ndjson}, backpressure: {strategy: block, capacity: 10}}]",
    )
    result = command("explain", "--analyze", "--duration", "30s", "x.yaml", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    shown = result.stdout
    assert shown.count('"n":1}') == 999, "what the console sink writes stands on the output, too"
    assert "= in 1,000, out 999, rejected 1" in shown
    assert re.search(r"aggregate \(\S+\): takes events in .*\n +=? in 999, out 999, merged 999, made 999", shown)
    assert re.search(r"producers waited for [\d.]+ m?s\n", shown)


@pytest.mark.slow
def test_analyze_fails_as_run_does(tmp_path: Path) -> None:
    plan(tmp_path, "parse: json", sinks="[{file: lines/x, backpressure: block}]")
    assert command("explain", "--analyze", "x.yaml", cwd=tmp_path).returncode == 1


def test_duration_goes_with_analyze(tmp_path: Path) -> None:
    plan(tmp_path, "parse: json")
    assert "go with --analyze" in str(explain(tmp_path, "--duration", "1s").exception)
