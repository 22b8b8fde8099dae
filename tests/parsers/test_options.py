"""The formats' options in YAML: what is wrong is found where it stands; nulls and types are the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import rx_collector as rx
from rx_collector.pipeline.spec import FileSpec
from tests.parsers.reading import errors, parsed

HEAD = """\
runners:
  a: {command: [seq, 1]}
pipelines:
  p:
    from: a
    sinks:
      - console:
        backpressure: block
    operators:
"""
#: One item of operators, and what is said of it: line and column within it, and the message.
WRONG: list[tuple[str, list[str]]] = [
    (
        "- parse: {format: json, duplicate_keys: frist}",
        ["1:41: {}.duplicate_keys: unknown choice 'frist', did you mean 'first'?"],
    ),
    ("- parse: {format: json, skip_noise: 1}", ["1:37: {}.skip_noise: true or false is wanted here, not a number"]),
    (
        "- parse: {format: json, skip_nosie: true, types: {}}",
        [
            "1:25: {}.skip_nosie: unknown key 'skip_nosie' of format json, did you mean 'skip_noise'?",
            "1:43: {}.types: unknown key 'types' of format json; known: "
            "check, duplicate_keys, field, format, on_error, skip_noise, time",
        ],
    ),
    ("- parse: {format: colums}", ["1:19: {}.format: unknown format 'colums', did you mean 'columns'?"]),
    (
        "- parse:\n    format: key_value\n    pair_separator: ' '\n    value_separator: ''\n    quotes: 'a='",
        [
            "3:21: {}.pair_separator: pairs are between blanks when no 'pair_separator' is given",
            "4:22: {}.value_separator: a key and its value cannot have only blanks between them",
        ],
    ),
    ("- parse: {format: key_value, quotes: '=\"'}", ["1:38: {}.quotes: '=' cannot be a quote"]),
    (
        "- parse: {format: key_value, pair_separator: ;, value_separator: ;}",
        ["1:66: {}.value_separator: it is the 'pair_separator', too"],
    ),
    ("- parse: columns", ["1:10: {}: name the columns, or say 'header: true' if the first line does"]),
    (
        "- parse: {format: columns, header: -1}",
        ["1:36: {}.header: a count cannot be negative"],
    ),
    ("- parse: {format: columns, header: 11}", ["1:36: {}.header: a header has at most 10 lines"]),
    (
        "- parse:\n    format: columns\n    columns: [a, b, a]\n    widths: [1, 0]\n    rest: true\n    types: {c: int}",
        [
            "3:14: {}.columns: a column is named twice",
            "4:13: {}.widths: a column has a width of at least one character",
            "4:13: {}.widths: there are 3 columns, but 2 widths",
            "5:11: {}.rest: the last of columns with 'widths' takes what is left anyway",
            "6:12: {}.types: there is no column 'c'",
        ],
    ),
    (
        "- parse: {format: columns, columns: [a], types: {a: itn}}",
        ["1:53: {}.types.a: unknown choice 'itn', did you mean 'int'?"],
    ),
    ("- parse: {format: columns, columns: []}", ["1:37: {}.columns: the list is empty"]),
    (
        "- parse: {format: syslog, standard: rfc5242}",
        ["1:37: {}.standard: unknown choice 'rfc5242', did you mean 'rfc5424'?"],
    ),
    ("- parse: {format: strace, unfinished: 0}", ["1:39: {}.unfinished: at least one call has to be kept"]),
    ("- parse: {format: strace, max_bytes: 0}", ["1:38: {}.max_bytes: at least one byte has to be kept"]),
    ("- parse: {format: bpftrace, max_bytes: 0}", ["1:40: {}.max_bytes: at least one byte has to be kept"]),
    ("- parse: {format: jc, parser: vmstatt}", ["1:31: {}.parser: jc has no parser 'vmstatt', did you mean 'vmstat'?"]),
    (
        "- parse: {format: csv, columns: [a], nulls: -}",
        ["1:45: {}.nulls: a list (each a text) is wanted here, not a text"],
    ),
    (
        "- parse: {format: csv, columns: [a], separator: '\"', types: {b: int}}",
        ["1:49: {}.separator: '\"' cannot stand between fields", "1:61: {}.types: there is no column 'b'"],
    ),
]
RIGHT = [
    "- parse: {format: json, duplicate_keys: reject, skip_noise: true}",
    "- parse: key_value",
    "- parse: {format: key_value, pair_separator: ',', value_separator: ':', quotes: '', nulls: ['-', '']}",
    "- parse: {format: columns, header: true}",
    "- parse: {format: columns, header: 2, rest: true, types: {r: int}, time: r}",
    "- parse: {format: columns, columns: [a, b], widths: [4, 1], nulls: [0]}",
    "- parse: syslog",
    "- parse: {format: syslog, standard: rfc5424, on_error: keep_raw}",
    "- parse: {format: strace, unfinished: 1_000, max_bytes: 64KiB}",
    "- parse: bpftrace",
    "- parse: {format: jc, parser: ps}",
]


def file_of(item: str) -> str:
    return HEAD + "".join(f"      {line}\n" for line in item.splitlines())


@pytest.mark.parametrize(("item", "messages"), WRONG)
def test_a_mistake_has_its_place(item: str, messages: list[str], tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(file_of(item))
    with pytest.raises(rx.ConfigError) as caught:
        rx.load(tmp_path / "x.yaml")
    wanted = []
    for message in messages:
        line, column, rest = message.split(":", 2)
        at = f"{tmp_path / 'x.yaml'}:{int(line) + HEAD.count(chr(10))}:{int(column) + 6}"
        wanted.append(f"{at}:{rest.format('pipelines.p.operators[0].parse')}")
    assert str(caught.value).splitlines() == wanted


@pytest.mark.parametrize("item", RIGHT)
def test_right_ones_load_and_are_right_by_the_schema(item: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(file_of(item))
    rx.load(tmp_path / "x.yaml")
    jsonschema.validate(yaml.safe_load(file_of(item)), FileSpec.schema())


@pytest.mark.parametrize(
    "item",
    [
        "- parse: {format: json, duplicate_keys: frist}",
        "- parse: {format: columns, header: []}",
        "- parse: jc",
        "- parse: {format: jc}",
        "- parse: {format: syslog, types: {}}",
    ],
)
def test_wrong_ones_are_wrong_by_the_schema(item: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(file_of(item)), FileSpec.schema())


@pytest.mark.parametrize(
    ("format", "options", "line"),
    [
        ("csv", {"columns": ["a", "b", "c"]}, "-,7,x"),
        ("tsv", {"columns": ["a", "b", "c"]}, "-\t7\tx"),
        ("regex", {"pattern": r"(?P<a>\S+) (?P<b>\S+) (?P<c>\S+)"}, "- 7 x"),
        ("logfmt", {}, "a=- b=7 c=x"),
        ("key_value", {}, "a=- b='7' c=x"),
        ("columns", {"columns": ["a", "b", "c"]}, "-  7  x"),
    ],
)
def test_nulls_and_types(format: str, options: dict[str, Any], line: str) -> None:
    given = parsed(format, [line], nulls=["-", ""], types={"a": "int", "b": "int"}, **options)
    assert given.data == [{"a": None, "b": 7, "c": "x"}]
    assert errors(parsed(format, [line], types={"a": "int"}, **options)) == ["field 'a' is not of type int: '-'"]


def test_a_key_alone_has_no_value_to_turn_into_a_number() -> None:
    assert parsed("logfmt", ["debug a=1"], types={"debug": "boolean"}).data == [{"debug": True, "a": "1"}]
    assert errors(parsed("logfmt", ["pid a=1"], types={"pid": "int"})) == ["field 'pid' has no value"]
