"""json: keys that stand twice, and noise before the objects."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rx_collector import operators as op
from rx_collector.errors import ParseError
from rx_collector.event import Lines, Origin
from rx_collector.parsers.json_lines import Json, has_each_key_once
from tests.events import ORIGIN, run, run_batches
from tests.parsers.reading import counts, errors, lines_of, parsed

#: What a tool that escapes nothing prints of a file that is named ``inject","event":"EXEC","pid":1,"x":"``.
FORGED = '{"event":"FILE_OPEN","pid":77,"path":"inject","event":"EXEC","pid":1,"x":""}'


@pytest.mark.parametrize(
    "behind", [[], [op.filter("pid > 0")]], ids=["alone", "with a filter, whose fields are read ahead"]
)
def test_a_forged_line(behind: list[Any]) -> None:
    def data(**options: Any) -> list[Any]:
        return run(op.parse("json", **options), *behind, lines=[FORGED]).data

    assert data() == data(duplicate_keys="last") == [{"event": "EXEC", "pid": 1, "path": "inject", "x": ""}]
    assert data(duplicate_keys="first") == [{"event": "FILE_OPEN", "pid": 77, "path": "inject", "x": ""}]
    refused = run(op.parse("json", duplicate_keys="reject"), *behind, lines=[FORGED, '{"pid": 7}'])
    assert refused.data == [{"pid": 7}]
    assert errors(refused) == ["the key 'event' stands twice"]
    assert refused.rejected[0]["raw"] == FORGED


@pytest.mark.parametrize(
    ("text", "first", "twice"),
    [
        ('{"a":{"b":1,"b":2}}', {"a": {"b": 1}}, "b"),
        ('{"a":[{"b":[{"c":1,"d":0,"c":[2]}]}]}', {"a": [{"b": [{"c": 1, "d": 0}]}]}, "c"),
        ('{"a":{"x":1},"a":{"x":1,"x":2}}', {"a": {"x": 1}}, "a"),
        ('{"b\\u003a":"\\u003a","a":1,"a":":"}', {"b:": ":", "a": 1}, "a"),
        ('{"a":":::","a":""}', {"a": ":::"}, "a"),
        ('{"\\u0061":1,"a":2}', {"a": 1}, "a"),
        ('{"":1,"":2}', {"": 1}, ""),
        ('{"a":1e999,"a":2}', {"a": float("inf")}, "a"),
        ('{ "a" : 1 , "a" : 2 }', {"a": 1}, "a"),
    ],
)
def test_keys_that_stand_twice(text: str, first: Any, twice: str) -> None:
    assert parsed("json", [text], duplicate_keys="first").data == [first]
    # The inner object is read first, so it is named first.
    named = errors(parsed("json", [text], duplicate_keys="reject"))
    assert named in ([f"the key {twice!r} stands twice"], ["the key 'x' stands twice"])
    assert parsed("json", [text], duplicate_keys="last").data == [json.loads(text)]


@pytest.mark.parametrize(
    "text",
    [
        '{"a":{"b":1},"b":{"b":[{"b":2}]}}',
        '{"at":"12:30:00","a:b":[":",{"::":1}]}',
        '{"a":"\\u003a"}',
        '{"a":18446744073709551616,"b":1.5,"c":null}',
        "{}",
    ],
)
def test_keys_that_stand_once(text: str) -> None:
    for choice in ("first", "reject"):
        assert parsed("json", [text], duplicate_keys=choice).data == parsed("json", [text]).data == [json.loads(text)]


def test_deep_nesting_is_refused_not_fatal() -> None:
    for depth in (900, 5_000, 100_000):
        text = '{"a":1,"a":' + "[" * depth + "]" * depth + "}"
        result = parsed("json", [text, '{"b":1}'], duplicate_keys="reject")
        assert result.data == [{"b": 1}]
        assert "Error:" not in errors(result)[0]


TEXT = st.text(st.sampled_from('a:b"\\ué\n'), max_size=4)
TREES = st.recursive(
    TEXT | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(TEXT, inner), max_size=3).map(tuple),
    max_leaves=12,
)


def written(tree: Any, ascii: bool) -> str:
    """Write a tree as JSON; a tuple of pairs is an object, which may have a key twice."""
    if isinstance(tree, tuple):
        return "{" + ",".join(f"{json.dumps(k, ensure_ascii=ascii)}:{written(v, ascii)}" for k, v in tree) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(written(item, ascii) for item in tree) + "]"
    return json.dumps(tree, ensure_ascii=ascii)


def has_twice(tree: Any) -> bool:
    if isinstance(tree, tuple):
        return len({key for key, _ in tree}) < len(tree) or any(has_twice(value) for _, value in tree)
    return isinstance(tree, list) and any(map(has_twice, tree))


def first_of(tree: Any) -> Any:
    if isinstance(tree, tuple):
        return {key: first_of(value) for key, value in reversed(tree)}
    return [first_of(item) for item in tree] if isinstance(tree, list) else tree


@given(st.lists(st.tuples(TEXT, TREES), max_size=4).map(tuple), st.booleans())
def test_every_duplicate_is_found(tree: Any, ascii: bool) -> None:
    text = written(tree, ascii)
    assert not (has_twice(tree) and has_each_key_once(text, json.loads(text)))
    assert Json(duplicate_keys="first").parser()(text, ORIGIN) == first_of(tree)
    try:
        accepted = Json(duplicate_keys="reject").parser()(text, ORIGIN)
    except ParseError as error:
        assert "stands twice" in str(error)
        assert has_twice(tree)
    else:
        assert not has_twice(tree)
        assert accepted == first_of(tree)


def test_reading_twice_is_rare_on_what_tools_print() -> None:
    lines = [line for line in lines_of("process.ndjson")[1:] if isinstance(line, str)]
    assert sum(has_each_key_once(line, json.loads(line)) for line in lines) == len(lines) == 2976


@pytest.mark.parametrize(
    ("capture", "noisy", "plain"),
    [
        ("process.ndjson", (2976, 1, 0), (2976, 0, 1)),
        ("bpftrace-printf.ndjson", (7554, 3, 62), (7554, 0, 65)),
        ("bpftrace-json-exec.ndjson", (395, 2, 0), (395, 0, 2)),
        ("sslsniff.ndjson", (399, 0, 0), (399, 0, 0)),
    ],
)
def test_captures(capture: str, noisy: tuple[int, int, int], plain: tuple[int, int, int]) -> None:
    assert counts(parsed("json", lines_of(capture))) == plain
    result = parsed("json", lines_of(capture), skip_noise=True)
    assert counts(result) == noisy
    assert result.data == parsed("json", lines_of(capture)).data


def test_noise_is_what_stands_before() -> None:
    lines = [
        "Attaching 5 probes...",
        "",
        "Config: x=1",
        '> {"a": 1}',
        "",
        "no more noise",
        '[12:30] {"a": 2}',
        '{"a": 3} tail',
    ]
    result = parsed("json", lines, skip_noise=True)
    assert result.data == [{"a": 1}, {"a": 2}]
    assert counts(result) == (2, 4, 2)
    assert [record["raw"] for record in result.rejected] == ["no more noise", '{"a": 3} tail']
    broken = parsed("json", ["Config: {x}", '{"a": 1}'], skip_noise=True)
    assert counts(broken) == (1, 0, 1)


def test_each_incarnation_may_begin_with_noise() -> None:
    lines = [b"Attaching 5 probes...", b'{"a": 1}', b"noise"]
    again = Origin("run", "exec", 2, 43, ORIGIN.observed_ns)
    other = Origin("run", "other", 1, 44, ORIGIN.observed_ns)
    batches: list[Any] = [Lines(lines, 1, origin) for origin in (ORIGIN, other, again)]
    assert counts(run_batches(batches, op.parse("json", skip_noise=True))) == (3, 3, 3)


def test_both_options_together() -> None:
    result = parsed("json", ["# " + FORGED], skip_noise=True, duplicate_keys="first")
    assert result.data[0]["pid"] == 77


HALF = '"\\udc00"'


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"pid":1e999,"x":NaN}', "not JSON: invalid character (byte 17)"),
        ('{"pid":1e999,"x":-Infinity}', "not JSON: invalid character (byte 18)"),
        (f'{{"pid":1e999,"x":{HALF}}}', "not JSON: invalid utf-16 surrogate pair (byte 24)"),
        ('{"pid":1e999,"x":1}x', "not JSON: trailing characters (byte 20)"),
        ("1e999", "not a JSON object: expected `object`, got `float`"),
        ('{"x":tru}', "not JSON: invalid character (byte 9)"),
        ('{"x":"\\y"}', "not JSON: invalid escape character in string (byte 8)"),
    ],
)
def test_what_is_no_json_is_refused_in_the_same_words_whatever_is_read_of_it(text: str, error: str) -> None:
    """Also beside a number that is beyond a double, for which another reader is asked, which takes more than JSON."""
    for behind in ([], [op.filter("pid > 1")], [op.filter("y != 1")], [op.drop("x")], [op.dedupe("x"), op.set(a="x")]):
        for duplicate_keys in ("last", "first"):
            for lines in ([text], Lines.of_ended([f"{text}\n".encode()], 1, ORIGIN)):
                chain = [op.parse("json", duplicate_keys=duplicate_keys), *behind]
                refused = run_batches([lines], *chain) if isinstance(lines, Lines) else run(*chain, lines=lines)
                assert refused.data == []
                assert errors(refused) == [error]


def test_a_number_of_any_length_is_a_number() -> None:
    """Python reads 4300 digits at the most; one with more is infinite, as others that are beyond a double."""
    long = "9" * 4301
    text = f'{{"pid":{long},"x":-{long},"y":{"7" * 4300}}}'
    whole = {"pid": float("inf"), "x": float("-inf"), "y": int("7" * 4300)}
    for behind in ([], [op.filter("pid > 1")], [op.filter("z == None")], [op.set(pid="pid")]):
        for duplicate_keys in ("last", "first", "reject"):
            assert run(op.parse("json", duplicate_keys=duplicate_keys), *behind, lines=[text]).data == [whole]
    assert run(op.parse("json"), op.drop("y"), lines=[text]).data == [{"pid": float("inf"), "x": float("-inf")}]
