"""columns: ps, vmstat and ss as recorded, headers, widths, what is missing."""

from __future__ import annotations

from typing import Any

import pytest

from rx_collector import operators as op
from rx_collector.event import Lines, Origin
from tests.events import ORIGIN, run_batches
from tests.parsers.reading import counts, errors, lines_of, parsed

PS = ["pid", "ppid", "cpu", "rss", "elapsed", "comm"]
SS = ["state", "received", "sent", "local", "peer", "process"]


def test_ps() -> None:
    types = {"pid": "int", "ppid": "int", "cpu": "float", "rss": "int", "elapsed": "int"}
    result = parsed("columns", lines_of("ps.txt"), columns=PS, rest=True, types=types)
    assert counts(result) == (372, 0, 0)
    assert result.data[0] == {"pid": 2, "ppid": 0, "cpu": 0.0, "rss": 0, "elapsed": 2779, "comm": "kthreadd"}
    assert {type(row["cpu"]) for row in result.data} == {float}


def test_vmstat_has_two_lines_of_header_and_repeats_them() -> None:
    lines = lines_of("vmstat.txt")
    result = parsed("columns", [*lines, "", *lines], header=2, types={"r": "int", "us": "int"})
    assert counts(result) == (10, 5, 0)
    assert result.data[0] == {
        "r": 2,
        "b": "0",
        "swpd": "0",
        "free": "24242372",
        "buff": "1024",
        "cache": "315004",
        "si": "0",
        "so": "0",
        "bi": "1385",
        "bo": "1791",
        "in": "665",
        "cs": "1506",
        "us": 28,
        "sy": "7",
        "id": "65",
        "wa": "0",
        "st": "0",
    }
    assert result.data[5:] == result.data[:5]


def test_ss_has_names_with_blanks_so_they_are_given() -> None:
    result = parsed("columns", lines_of("ss.txt"), columns=SS, header=1, rest=True)
    assert counts(result) == (3, 1, 0)
    assert result.data[0]["local"] == "127.0.0.1:8123"
    assert result.data[0]["process"].startswith('users:(("python3",pid=')
    without = [str(line).partition("users")[0] for line in lines_of("ss.txt")]
    assert [row["process"] for row in parsed("columns", without, columns=SS, header=1, rest=True).data] == [None] * 3


CASES: list[tuple[dict[str, Any], list[str], list[Any]]] = [
    ({"header": True}, [" A  B", "1 2", "", "A B", " A  B"], [{"A": "1", "B": "2"}, {"A": "A", "B": "B"}]),
    ({"header": True}, ["A A B A A_2", "1 2 3 4 5"], [{"A": "1", "A_2": "2", "B": "3", "A_3": "4", "A_2_2": "5"}]),
    ({"columns": ["a", "b"], "rest": True}, ["1  x  y ", "2"], [{"a": "1", "b": "x  y"}, {"a": "2", "b": None}]),
    ({"columns": ["a"], "rest": True}, ["  x  y ", " "], [{"a": "x  y"}]),
    (
        {"columns": ["a", "b", "c"], "widths": [3, 4, 1], "nulls": ["", "-"], "types": {"c": "int"}},
        ["ab cd  12", "a b    7", "x  -    "],
        [{"a": "ab", "b": "cd", "c": 12}, {"a": "a b", "b": None, "c": 7}, {"a": "x", "b": None, "c": None}],
    ),
    ({"header": 1, "widths": [5, 9]}, ["NAME FREE SPACE", "a b  1 k"], [{"NAME": "a b", "FREE SPACE": "1 k"}]),
    ({"columns": ["日", "b"], "widths": [2, 1]}, ["日本x"], [{"日": "日本", "b": "x"}]),
]


@pytest.mark.parametrize(("options", "lines", "data"), CASES)
def test_good(options: dict[str, Any], lines: list[str], data: list[Any]) -> None:
    assert parsed("columns", lines, **options).data == data


@pytest.mark.parametrize(
    ("options", "line", "error"),
    [
        ({"columns": ["a", "b"]}, "1", "2 columns are wanted, the line has 1"),
        ({"columns": ["a", "b"]}, "1 2 3", "2 columns are wanted, the line has 3"),
        ({"columns": ["a", "b", "c"], "rest": True}, "1", "3 columns are wanted, the line has 1"),
        ({"columns": ["a"], "types": {"a": "int"}}, "-", "field 'a' is not of type int: '-'"),
    ],
)
def test_bad(options: dict[str, Any], line: str, error: str) -> None:
    assert errors(parsed("columns", [line], **options)) == [error]


def test_each_incarnation_has_its_header() -> None:
    again = Origin("run", "exec", 2, 43, ORIGIN.observed_ns)
    other = Origin("run", "other", 1, 44, ORIGIN.observed_ns)
    batches: list[Any] = [
        Lines([b"A B"], 1, ORIGIN),
        Lines([b"C D", b"5 6"], 1, other),
        Lines([b"1 2"], 2, ORIGIN),
        Lines([b"E F", b"3 4"], 1, again),
    ]
    result = run_batches(batches, op.parse("columns", header=True))
    assert result.data == [{"C": "5", "D": "6"}, {"A": "1", "B": "2"}, {"E": "3", "F": "4"}]
