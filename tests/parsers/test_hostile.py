"""What nobody should print: no format may raise anything but ParseError for it, or take its time."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rx_collector import operators as op
from rx_collector.errors import ParseError
from rx_collector.event import encode_json
from rx_collector.parsers import FORMATS, TextParser
from tests.events import ORIGIN

FORMS: list[tuple[str, dict[str, Any]]] = [
    ("json", {}),
    ("json", {"duplicate_keys": "first", "skip_noise": True}),
    ("json", {"duplicate_keys": "reject"}),
    ("text", {}),
    ("logfmt", {"types": {"a": "int"}, "nulls": ["-"]}),
    ("csv", {"header": True, "nulls": [""]}),
    ("tsv", {"columns": ["a", "b"]}),
    ("regex", {"pattern": r"^(?P<a>\S+) (?P<b>.*)"}),
    ("key_value", {"types": {"a": "boolean"}}),
    ("key_value", {"pair_separator": ", ", "value_separator": ": "}),
    ("columns", {"header": 2, "nulls": ["-"]}),
    ("columns", {"columns": ["a", "b"], "rest": True}),
    ("columns", {"columns": ["a", "b", "c"], "widths": [1, 2, 3]}),
    ("syslog", {}),
    ("strace", {"unfinished": 2, "max_bytes": "100B"}),
    ("bpftrace", {"max_bytes": "200B"}),
    ("jc", {"parser": "syslog_s"}),
]
IDS = [f"{name} {' '.join(options)}".strip() for name, options in FORMS]
PIECES = [
    *(
        '"',
        "'",
        "\\",
        "\\\\",
        "[",
        "]",
        "{",
        "}",
        "(",
        ")",
        "<",
        ">",
        "->",
        "=",
        ":",
        ",",
        ", ",
        ";",
        " ",
        "\t",
        "-",
        "a",
        "0",
    ),
    *('{"a":', "{}", "\\u003a", "1e999", "NaN", "/*", "*/", "3<", "\x00", "\ufffd", "é", "\u2028", "٣"),
    *("<34>1 ", "Oct 11 22:14:15 ", "2003-10-11T22:14:15Z ", "- - - - - ", "[a b=", "pid[1]: "),
    *(
        "read(",
        " <unfinished ...>",
        "<... read resumed>",
        ") = 0",
        "+++ exited with 1 +++",
        "7 ",
        "[pid 7] ",
        "10:00:00 ",
    ),
    *("@a[", "]: ", "@a: ", f"[1K, 2K)  7 |{'@' * 52}|", "    frame", '{"type": "map", "data": ', "Lost 5 events"),
]
LINE = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join)


def parser_of(name: str, options: dict[str, Any]) -> TextParser:
    return op.parse(name, **options).format.parser()


def test_every_format_is_among_them() -> None:
    assert {name for name, _ in FORMS} == set(FORMATS)


@pytest.mark.parametrize(("name", "options"), FORMS, ids=IDS)
def test_nothing_but_parse_error(name: str, options: dict[str, Any]) -> None:
    several = FORMATS[name].several

    @settings(deadline=None)  # the first one of jc imports its parser; what takes long is found below
    @given(st.lists(LINE, max_size=8))
    def check(lines: list[str]) -> None:
        parse = parser_of(name, options)
        for line in lines:
            try:
                made = parse(line, ORIGIN)
            except ParseError as error:
                assert str(error)
                continue
            records = made if several else [made] if made is not None else []
            assert isinstance(records, list)
            for record in records:
                assert isinstance(record, dict)
                encode_json(record)

    check()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), FORMS[:-1], ids=IDS[:-1])
def test_time_is_in_proportion_to_the_length(name: str, options: dict[str, Any]) -> None:
    """Forty kilobytes of one piece take less than a second; where backtracking is quadratic, many.

    All but the last form, for the expressions of jc are not ours.
    """
    heads = ["", "a=", 'read("', "read(", "@a[", '{"a":', "<34>1 - - - - - [a ", "Oct 11 22:14:15 "]
    bodies = [*PIECES, 'b="c" ', '\\"', "a=1 ", "a='b' ", "a ", " ]", '[a b="c"]', "a, ", "1<", "@a[a]: "]
    for body in bodies:
        for head in heads:
            for tail in ("", '"', "\\"):
                parse = parser_of(name, options)
                text = head + body * (40_000 // len(body)) + tail
                begun = time.process_time()
                for line in (text[:50], text):
                    try:
                        parse(line, ORIGIN)
                    except ParseError:
                        continue
                assert time.process_time() - begun < 1, (head, body, tail)
