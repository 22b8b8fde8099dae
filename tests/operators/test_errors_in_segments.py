"""An error in a compiled segment: it names the operator and its place in the file, once, and the bytes stay as they came."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

import rx_collector as rx
from rx_collector import operators as op
from rx_collector import sinks
from rx_collector.event import Event, Lines
from tests.cli.test_errors import GOOD, command
from tests.events import ORIGIN, event, run, run_batches

FAILING = GOOD.replace('[seq, "5"]', '[printf, "1\\nx\\n2\\ny\\n3\\n"]').replace(
    "- filter: int(message) > 2",
    "- set: {seen: true}\n      - filter: int(message) > 1\n      - map: 6 // (3 - int(message))",
)


def of_operators(log: list[str]) -> list[str]:
    return [line for line in log if "operators[" in line]


def test_a_failing_operator_is_told_of_once_with_its_place(tmp_path: Path, log: list[str]) -> None:
    (tmp_path / "x.yaml").write_text(FAILING + "    dead_letter: {file: dead}\n")
    report = rx.load(tmp_path / "x.yaml").run()
    assert report.pipelines["all"].rejected == {"filter": 2, "map": 1}
    place = tmp_path / "x.yaml"
    rest = "more like this are counted, not logged"
    assert of_operators(log) == [
        f"WARNING all, operators[1] filter ({place}:9): ValueError: invalid literal for int() with base 10: 'x' "
        f"(line 2 of numbers; {rest})",
        f"WARNING all, operators[2] map ({place}:10): ZeroDivisionError: "
        f"integer division or modulo by zero (line 5 of numbers; {rest})",
    ]
    records = [json.loads(line) for line in (tmp_path / "dead").read_text().splitlines()]
    assert [(one["line"], one["operator"], one["place"]) for one in records] == [
        (2, "operators[1] filter", f"{place}:9"),
        (4, "operators[1] filter", f"{place}:9"),
        (5, "operators[2] map", f"{place}:10"),
    ]


def test_a_dead_letter_says_when_its_event_happened() -> None:
    """Whether the operator that failed was in the loop of the one that found the time, or behind it."""
    lines = [b'{"t":1,"n":0}', b'{"t":2,"n":1}', b'{"t":null,"n":0}', b"{no"]
    parse = op.parse("json", time={"field": "t", "unit": "s"})
    for between in ([], [op.limit(100)]):
        told = run(parse, *between, op.set(m="1 / n"), lines=lines)
        assert sorted((one["line"], one.get("time")) for one in told.rejected) == [
            (1, "1970-01-01T00:00:01.000000000Z"),
            (3, None),
            (4, None),
        ]


def test_once_over_all_batches_but_anew_for_each_run(log: list[str]) -> None:
    for _ in range(2):
        run_batches([[event("x", number)] for number in range(1, 6)], op.map("this + 1"), op.map("this"))
    said = of_operators(log)
    assert len(said) == 2
    assert all("operators[0] map: TypeError" in line and "(line 1 of exec;" in line for line in said)


def test_a_time_that_cannot_be_used_is_told_of_once(tmp_path: Path, log: list[str]) -> None:
    text = FAILING.replace("- set: {seen: true}", "- parse: {format: regex, pattern: '(?P<message>.*)', time: message}")
    (tmp_path / "x.yaml").write_text(text)
    report = rx.load(tmp_path / "x.yaml").run()
    said = [line for line in of_operators(log) if "operators[0] parse" in line]
    assert len(said) == 1
    assert f"all, operators[0] parse ({tmp_path}/x.yaml:8): " in said[0]
    assert report.pipelines["all"].nodes[0].notes["time_unusable"] == 2


def test_on_error_fail_names_the_place(tmp_path: Path, log: list[str]) -> None:
    text = GOOD.replace("- filter: int(message) > 2", "- parse: {format: json, on_error: fail}")
    (tmp_path / "x.yaml").write_text(text.replace('[seq, "5"]', "[echo, no json]"))
    report = rx.load(tmp_path / "x.yaml").run()
    what = f"operators[0] parse ({tmp_path}/x.yaml:8): not JSON: invalid character (byte 4)"
    assert report.errors == [f"all, {what} (line 1 of numbers)"]
    assert of_operators(log)[0].startswith(f"WARNING all, {what}")


@pytest.mark.slow
def test_on_the_command_line_without_a_trace_of_generated_source(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(FAILING)
    result = command("run", "x.yaml", cwd=tmp_path)
    assert result.returncode == 0
    (first, second) = [line for line in result.stderr.splitlines() if "operators[" in line]
    assert "all, operators[1] filter (x.yaml:9): ValueError" in first
    assert "all, operators[2] map (x.yaml:10): ZeroDivisionError" in second
    assert "<segment" not in result.stderr
    assert "Traceback" not in result.stderr


# The bytes of a line that had to be repaired


def test_an_unchanged_line_has_its_bytes_as_they_came() -> None:
    got: list[Event] = []
    stream = rx.runner("printf", r'{"a":"ok"}\n{"a":"\377"}\n{"a":"changed \377"}\n').pipe(
        op.parse("json"), op.filter("a"), op.to(sinks.callback(got.append))
    )
    rx.run(stream)
    assert [one.raw for one in got] == [b'{"a":"ok"}', b'{"a":"\xff"}', b'{"a":"changed \xff"}']
    assert [one["a"] for one in got] == ["ok", "\ufffd", "changed \ufffd"]
    assert [one.json() for one in got][1] == '{"a":"\ufffd"}'.encode()  # what is written is valid


REPAIRED = "bad \ufffd".encode()


def lines() -> Lines:
    return Lines([b"good", REPAIRED, b"good"], 7, ORIGIN, repaired={8: b"bad \xff"})


def test_raw_through_each_sort_of_segment() -> None:
    seen: list[bytes | None] = []
    result = run_batches([lines()], op.filter("message != 'x'"), op.tap(lambda one: seen.append(one.data and one.raw)))
    assert [one.raw for one in result.events] == [b"good", b"bad \xff", b"good"]
    assert [one["message"] for one in result.events] == ["good", "bad \ufffd", "good"]
    changed = run_batches([lines()], op.set(n="1"))
    assert [one.raw for one in changed.events] == [None, None, None]
    parsed = run_batches([lines()], op.parse("text", into="text"))
    assert [one.raw for one in parsed.events] == [b"good", b"bad \xff", b"good"]
    assert [one["text"] for one in parsed.events] == ["good", "bad \ufffd", "good"]


def test_the_dead_letter_has_the_bytes_as_they_came() -> None:
    result = run_batches([lines()], op.map("int(message)"))
    first, second, third = result.rejected
    assert (first["raw"], third["raw"]) == ("good", "good")
    assert "raw" not in second
    assert base64.b64decode(second["raw_base64"]) == b"bad \xff"
    assert second["line"] == 8


def test_the_payload_of_a_changed_line_is_in_its_dead_letter() -> None:
    result = run_batches([lines()], op.set(n="1"), op.map("int(message)"))
    assert [one["data"] for one in result.rejected][1] == {"message": "bad \ufffd", "n": 1}


def test_a_segment_of_events_fails_as_one_of_lines_does() -> None:
    from_lines = run(op.map("int(message)"), lines=["x"]).rejected
    from_events = run(op.map("int(message)"), events=[{"message": "x"}]).rejected
    assert [one["error"] for one in from_lines] == [one["error"] for one in from_events]
    assert (from_lines[0]["raw"], from_events[0]["data"]) == ("x", {"message": "x"})
