"""parse: every format, every on_error, and the time of an event."""

from __future__ import annotations

import time
from typing import Any

import pytest

import rx_collector as rx
from rx_collector import operators as op
from tests.events import ORIGIN, run

CASES: list[tuple[str, dict[str, Any], str, Any]] = [
    ("json", {}, '{"a": 1, "b": [1, {"c": null}]}', {"a": 1, "b": [1, {"c": None}]}),
    ("json", {}, '{"a": 18446744073709551615}', {"a": 18446744073709551615}),
    ("json", {}, '{"a": 1, "a": 2}', {"a": 2}),
    ("json", {}, '{"a": 1e999}', {"a": float("inf")}),
    ("text", {}, "as it is", {"message": "as it is"}),
    ("text", {"into": "line"}, "x", {"line": "x"}),
    ("logfmt", {}, 'level=info msg="it \\"is\\" up" debug', {"level": "info", "msg": 'it "is" up', "debug": True}),
    ("logfmt", {"types": {"pid": "int"}}, "pid=7 empty=", {"pid": 7, "empty": ""}),
    ("csv", {"columns": ["a", "b"]}, 'x,"y, ""z"""', {"a": "x", "b": 'y, "z"'}),
    ("csv", {"columns": ["a", "b"], "separator": "\t"}, '"x\ty"\t"z"', {"a": "x\ty", "b": "z"}),
    ("tsv", {"columns": ["a", "b"], "separator": ";"}, '"x";y"', {"a": '"x"', "b": 'y"'}),
    ("csv", {"columns": ["a", "b"], "separator": ";", "types": {"a": "float"}}, "1.5;", {"a": 1.5, "b": ""}),
    ("tsv", {"columns": ["a", "b"]}, '"x\ty', {"a": '"x', "b": "y"}),
    ("regex", {"pattern": r"(?P<a>\d+) (?P<b>x)?"}, "7 ", {"a": "7", "b": None}),
    ("regex", {"pattern": r"(?P<up>\S+)", "types": {"up": "boolean"}}, "yes", {"up": True}),
]
BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("json", {}, "Attaching 5 probes...", "not JSON: invalid character (byte 0)"),
    ("json", {}, "", "not JSON: the line is empty"),
    ("json", {}, "[1]", "not a JSON object: expected `object`, got `array`"),
    ("json", {}, '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "not JSON that can be read: nested too deeply"),
    ("logfmt", {}, "only words here", "not logfmt: there is no key=value in it"),
    ("logfmt", {}, 'a="open', "not logfmt at column 1: 'a=\"open'"),
    ("csv", {"columns": ["a", "b"]}, "1,2,3", "2 columns are wanted, the line has 3"),
    ("csv", {"columns": ["a"], "types": {"a": "int"}}, "x", "field 'a' is not of type int: 'x'"),
    ("csv", {"columns": ["a"]}, '"open', "not csv: unexpected end of data"),
    ("regex", {"pattern": r"(?P<a>\d)"}, "x", "the pattern does not match"),
]


@pytest.mark.parametrize(("name", "options", "line", "data"), CASES)
def test_good(name: str, options: dict[str, Any], line: str, data: Any) -> None:
    (one,) = run(op.parse(name, **options), lines=[line]).events
    assert one.data == data
    assert one.raw == line.encode()
    assert run(op.parse(name, **options), events=[{"message": line}]).data == [data]


@pytest.mark.parametrize(("name", "options", "line", "error"), BAD)
def test_bad(name: str, options: dict[str, Any], line: str, error: str) -> None:
    result = run(op.parse(name, **options), lines=["", line][-1:])
    assert result.events == []
    (record,) = result.rejected
    assert record["error"] == error
    assert (record["reason"], record["operator"], record["line"]) == ("parse", "operators[0] parse", 1)
    assert record["raw"] == line


@pytest.mark.parametrize("filtered", [False, True])
def test_on_error(filtered: bool) -> None:
    """With and without a filter behind it, for which fields are decoded ahead."""
    lines: list[str | bytes] = ['{"a": 1}', "bad", '{"a": 2}']
    more = [op.filter("a != 1")] if filtered else []
    first = [] if filtered else [{"a": 1}]

    letters = run(op.parse("json", on_error="dead_letter"), *more, lines=lines)
    assert letters.data == [*first, {"a": 2}]
    assert [record["line"] for record in letters.rejected] == [2]

    dropped = run(op.parse("json", on_error="drop"), *more, lines=lines)
    assert (dropped.data, dropped.rejected) == ([*first, {"a": 2}], [])
    assert dropped.report.pipelines["test"].rejected == {"parse": 1}

    kept = run(op.parse("json", on_error="keep_raw"), *more, lines=lines)
    assert kept.data == [*first, {"message": "bad"}, {"a": 2}]
    assert kept.report.pipelines["test"].nodes[0].notes == {"kept_raw": 1}

    failed = run(op.parse("json", on_error="fail"), *more, lines=lines)
    assert failed.data == first
    assert isinstance(failed.error, rx.ParseError)
    assert "not JSON: invalid character (byte 0) (line 2 of exec)" in str(failed.error)


def test_csv_header_of_a_spreadsheet() -> None:
    """A byte order mark stands before the first name, names stand there twice, and fields are long."""
    long = "x" * 200_000
    lines = ["\ufeffpid,comm,pid", f'1,"{long}",2', "\ufeff3,b,4"]
    result = run(op.parse("csv", header=True), lines=lines)
    assert [event.data for event in result.events] == [
        {"pid": "1", "comm": long, "pid_2": "2"},
        {"pid": "\ufeff3", "comm": "b", "pid_2": "4"},
    ]
    result = run(op.parse("csv", columns=["a"]), lines=["1,2"])
    assert [record["error"] for record in result.rejected] == ["1 column is wanted, the line has 2"]


def test_csv_header_names_the_columns_of_each_incarnation() -> None:
    result = run(op.parse("csv", header=True), lines=["a,b", "1,2", "3,4"])
    assert result.data == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert result.report.pipelines["test"].filtered == 1


def test_a_field_can_be_parsed() -> None:
    lines: list[str | bytes] = ['{"type": "printf", "data": "7 bash"}', '{"type": "x"}', '{"data": 5}']
    pattern = r"(?P<pid>\d+) (?P<comm>.+)"
    result = run(op.parse("json"), op.parse("regex", field="data", pattern=pattern, types={"pid": "int"}), lines=lines)
    assert result.data == [{"pid": 7, "comm": "bash"}]
    assert [record["error"] for record in result.rejected] == ["no text in field 'data'", "field 'data' is not a text"]


def times(value: str, **options: Any) -> tuple[int, int]:
    """The time of an event with this value, and how many times were unusable."""
    result = run(op.parse("json", time={"field": "t", **options}), lines=[f'{{"t": {value}}}'])
    return result.events[0].time_ns, result.report.pipelines["test"].nodes[0].notes.get("time_unusable", 0)


@pytest.mark.parametrize(
    ("value", "unit", "nanoseconds"),
    [
        ("1700000000", "s", 1_700_000_000 * 10**9),
        ("1700000000.5", "s", 1_700_000_000_500_000_000),
        ("1700000000123", "ms", 1_700_000_000_123_000_000),
        ("1700000000123456", "us", 1_700_000_000_123_456_000),
        ("1700000000123456789", "ns", 1_700_000_000_123_456_789),
        ('"1700000000123456789"', "ns", 1_700_000_000_123_456_789),
        ('"2023-11-14T22:13:20.5+00:00"', "iso", 1_700_000_000_500_000_000),
    ],
)
def test_time_from_a_field(value: str, unit: str, nanoseconds: int) -> None:
    assert times(value, unit=unit) == (nanoseconds, 0)


@pytest.mark.parametrize("value", ["null", '"x"', "-1", "1e300", "true", "[]", "99999999999999999999"])
def test_an_unusable_time_is_counted_and_leaves_the_time_it_was_read(value: str) -> None:
    assert times(value, unit="s") == (ORIGIN.observed_ns, 1)


@pytest.mark.parametrize(("clock", "number"), [("boot", time.CLOCK_BOOTTIME), ("monotonic", time.CLOCK_MONOTONIC)])
def test_time_since_boot_becomes_wall_time(clock: str, number: int) -> None:
    before = time.time_ns()
    nanoseconds, unusable = times(str(time.clock_gettime_ns(number)), unit="ns", clock=clock)
    assert before - 10**6 <= nanoseconds <= time.time_ns() + 10**6
    assert unusable == 0


def test_a_number_beyond_a_double_in_a_field_that_was_not_looked_at() -> None:
    """The rest of such a line is decoded when somebody reads it, behind the parser; it is infinite there, too."""
    (event,) = run(op.parse("json"), op.filter("pid == 1"), lines=['{"pid":1,"n":[1e999]}']).events
    assert event.data == {"pid": 1, "n": [float("inf")]}
