"""bpftrace: the same program as text and as JSON, older captures, blocks that do not end."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from rx_collector import operators as op
from rx_collector.event import Lines, Origin
from tests.events import ORIGIN, run_batches
from tests.parsers.reading import counts, lines_of, parsed


def entries(capture: str) -> dict[tuple[str, str | None], Any]:
    found = {}
    for record in parsed("bpftrace", lines_of(capture)).data:
        if record["type"] in ("map", "hist", "stats"):
            key = record["key"]
            if key is not None:
                # -f json leaves out the blanks between parts; the addresses in a stack are those of one run.
                key = "a stack" if "\n" in key else key.replace(", ", ",")
            found[record["name"], key] = record["value"]
    return found


def test_text_and_json_give_the_same() -> None:
    text, of_json = entries("bpftrace-maps.txt"), entries("bpftrace-maps.ndjson")
    assert text.keys() == of_json.keys()
    assert len(text) == 15
    differing = {key for key in text if text[key] != of_json[key]}
    # A tuple is a list in JSON, and the addresses of the two runs differ.
    assert differing == {("@tuple", None), ("@stack", None)}
    assert text["@tuple", None] == "(1, two, 3)"
    assert of_json["@tuple", None] == [1, "two", 3]
    for stack in (text["@stack", None], of_json["@stack", None]):
        assert stack.startswith("\n        _einittext+")
        assert stack.endswith("\n        entry_SYSCALL_64_after_hwframe+118\n")
    assert text["@latency", "a b"] == [{"min": 65536, "max": 131071, "count": 1}]
    assert text["@range", None][0] == {"max": -1, "count": 1}
    assert text["@range", None][-1] == {"min": 10, "count": 1}
    assert text["@sizes_of", "x"] == {"count": 1, "average": 7, "total": 7}
    assert (text["@empty", "a"], text["@empty", "b"]) == ("", "text")
    assert text["@pair", "1,x]: y"] == 3


@pytest.mark.parametrize(
    ("capture", "types", "filtered"),
    [
        ("bpftrace-maps.txt", {"map": 8, "hist": 6, "printf": 3, "stats": 2, "attached_probes": 1}, 65),
        ("bpftrace-printf.ndjson", {"printf": 7584, "map": 31, "attached_probes": 1}, 3),
        (
            "bpftrace-json-exec.ndjson",
            {"join": 271, "printf": 103, "map": 40, "time": 8, "attached_probes": 1, "hist": 1, "stats": 1},
            2,
        ),
        (
            "bpftrace-json-types.ndjson",
            {"map": 9, "printf": 5, "value": 3, "hist": 2, "attached_probes": 1, "time": 1, "cat": 1, "stats": 1},
            2,
        ),
    ],
)
def test_captures(capture: str, types: dict[str, int], filtered: int) -> None:
    result = parsed("bpftrace", lines_of(capture))
    assert Counter(record["type"] for record in result.data) == types
    assert counts(result)[1:] == (filtered, 0)


def test_a_key_with_a_newline_in_a_capture() -> None:
    result = parsed("bpftrace", lines_of("bpftrace-printf.ndjson"))
    assert [record["value"] for record in result.data if record.get("key") == "run\nn"] == [1]


LINES: list[tuple[list[str], list[dict[str, Any]]]] = [
    (["Attaching 1 probe..."], [{"type": "attached_probes", "probes": 1}]),
    (["Lost 12 events"], [{"type": "lost_events", "events": 12}]),
    (['{"type": "lost_events", "data": {"events": 12}}'], [{"type": "lost_events", "events": 12}]),
    (["@: 5"], [{"type": "map", "name": "@", "key": None, "value": 5}]),
    (["@n[-3]: -18446744073709551615"], [{"type": "map", "name": "@n", "key": "-3", "value": -18446744073709551615}]),
    (["@s: a: b"], [{"type": "map", "name": "@s", "key": None, "value": "a: b"}]),
    (["@long: " + "9" * 5000], [{"type": "map", "name": "@long", "key": None, "value": "9" * 5000}]),
    (["@no map", "@"], [{"type": "printf", "data": "@no map"}, {"type": "printf", "data": "@"}]),
    (["[1] 5 |@|", "  x"], [{"type": "printf", "data": "[1] 5 |@|"}, {"type": "printf", "data": "  x"}]),
    (['{"type": "x", "pid": 1}'], [{"type": "printf", "data": '{"type": "x", "pid": 1}'}]),
    (['{"type": "printf", "data": "a\\n\\n"}'], [{"type": "printf", "data": "a\n"}]),
    (['{"type": "map", "data": 5}'], [{"type": "map", "data": 5}]),
    (
        ["@[", "    f+1", ", ", "    g+2", ", sh]: 12"],
        [{"type": "map", "name": "@", "key": "\n    f+1\n, \n    g+2\n, sh", "value": 12}],
    ),
    (
        ["@h[", "  f", "]: ", f"[2K, 4K)     7 |{'@' * 52}|", ""],
        [{"type": "hist", "name": "@h", "key": "\n  f\n", "value": [{"min": 2048, "max": 4095, "count": 7}]}],
    ),
    # Blocks that do not go on as they should lose no line.
    (["@x[open", "hello"], [{"type": "printf", "data": "@x[open"}, {"type": "printf", "data": "hello"}]),
    (
        ["@x[", "  f", "@y: 1"],
        [
            {"type": "printf", "data": "@x["},
            {"type": "printf", "data": "  f"},
            {"type": "map", "name": "@y", "key": None, "value": 1},
        ],
    ),
    (
        ["@h: ", f"[1]     7 |{'@' * 52}|", "hello"],
        [
            {"type": "hist", "name": "@h", "key": None, "value": [{"min": 1, "max": 1, "count": 7}]},
            {"type": "printf", "data": "hello"},
        ],
    ),
    (["@h: ", ""], [{"type": "map", "name": "@h", "key": None, "value": ""}]),
    (
        ["@h: ", "@i: ", "@j: 1"],
        [
            {"type": "map", "name": "@h", "key": None, "value": ""},
            {"type": "map", "name": "@i", "key": None, "value": ""},
            {"type": "map", "name": "@j", "key": None, "value": 1},
        ],
    ),
]


@pytest.mark.parametrize(("lines", "records"), LINES)
def test_lines(lines: list[str], records: list[dict[str, Any]]) -> None:
    assert parsed("bpftrace", lines).data == records


def test_a_line_of_json_that_is_cut_off_is_rejected() -> None:
    result = parsed("bpftrace", ['{"type": "printf", "da', '{"type": "printf", "data": "x"}'])
    assert counts(result) == (1, 0, 1)


def test_a_block_is_bounded() -> None:
    frames = [f"    frame{number:03}" for number in range(100)]
    whole = parsed("bpftrace", ["@s: ", *frames, ""])
    assert counts(whole) == (1, 101, 0)
    cut = parsed("bpftrace", ["@s: ", *frames, ""], max_bytes="143B")
    assert cut.data[0] == {"type": "map", "name": "@s", "key": None, "value": "\n" + "\n".join(frames[:11]) + "\n"}
    assert cut.data[1:] == [{"type": "printf", "data": frame} for frame in frames[11:]]
    key = parsed("bpftrace", ["@s[", *frames, "]: 1"], max_bytes="123B")
    assert key.data[0] == {"type": "printf", "data": "@s["}
    assert [record["data"] for record in key.data[1:]] == [*frames, "]: 1"]


def test_a_block_that_the_end_cuts_off_is_counted() -> None:
    assert counts(parsed("bpftrace", ["@a: 1", "@h: ", f"[1]     7 |{'@' * 52}|"])) == (1, 2, 0)


def test_incarnations_do_not_mix() -> None:
    again = Origin("run", "exec", 2, 43, ORIGIN.observed_ns)
    batches: list[Any] = [Lines([b"@h: "], 1, ORIGIN), Lines([b"", b"hello"], 1, again)]
    assert run_batches(batches, op.parse("bpftrace")).data == [{"type": "printf", "data": "hello"}]
