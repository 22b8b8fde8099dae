"""Edits on the bytes give what decoding, editing and encoding gives, or are not done: for any JSON, with any escapes,
blanks, nesting, numbers, and keys that stand twice.
"""

from __future__ import annotations

import json
import math
import os
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import rx_collector as rx
from rx_collector import operators as op
from rx_collector.event import Event, Lines, Origin, from_json
from rx_collector.ledger import Node
from rx_collector.sinks.format import payload
from rx_collector.stream import edits as edits_module
from rx_collector.stream import layout as layout_module
from rx_collector.stream.edits import Plan, plan, token, without
from rx_collector.stream.eventstream import new_context
from rx_collector.stream.layout import layout_of
from rx_collector.stream.segment import Segment, SegmentObserver, Step, compile_segment
from rx_collector.testing import Probe
from tests.conftest import rounds
from tests.events import compilations
from tests.runners.helpers import run_project

ORIGIN = Origin("run", "exec", 1, 42, 1_700_000_000_000_000_000)
NAMES = ["pid", "ppid", "comm", "host", "path", "é", ""]

blank = st.sampled_from(["", "", "", " ", "\t", "  \r"])
characters = st.text(string.printable + "é\u2028😀", max_size=5)
number = st.one_of(
    st.integers(-(10**6), 10**6).map(str),
    st.sampled_from(["-0", "0.0", "1e5", "1E+2", "1.50", "1e999", "-1e-999", "9" * 30, "18446744073709551616"]),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)


@st.composite
def texts(draw: st.DrawFn, value: st.SearchStrategy[str]) -> str:
    """A text in quotes, each of its characters as it is or escaped, as one may in JSON."""
    written = ""
    for one in draw(value):
        must = one in '"\\' or ord(one) < 32
        if must or draw(st.integers(0, 9)) == 0:
            units = one.encode("utf-16-be").hex()
            written += "".join(f"\\u{units[index : index + 4]}" for index in range(0, len(units), 4))
        else:
            written += one
    return f'"{written}"'


keys = texts(st.one_of(st.sampled_from(NAMES), st.sampled_from(['a"ppid', "x", "", "ppid\\"])))


def collections(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arrays = st.lists(items, max_size=3).map(lambda made: f"[{','.join(made)}]")
    return st.one_of(arrays, objects(items))


def objects(items: st.SearchStrategy[str], most: int = 4) -> st.SearchStrategy[str]:
    pair = st.tuples(blank, keys, blank, blank, items, blank).map(
        lambda it: f"{it[0]}{it[1]}{it[2]}:{it[3]}{it[4]}{it[5]}"
    )
    return st.lists(pair, max_size=most).map(lambda made: "{" + ",".join(made) + "}")


values = st.recursive(
    st.one_of(number, texts(characters), st.sampled_from(["true", "false", "null", '"ppid"', '"x\\"ppid"'])),
    collections,
    max_leaves=6,
)
lines = st.one_of(
    objects(values, 6),
    st.tuples(objects(values), blank).map("".join),
    st.sampled_from(
        ["{}", "{ }", "[]", "7", "", "{", '{"a":1}x', '{"ppid":1,"ppid":2}', '{"a":{"ppid":1},"pp\\u0069d":1}']
    ),
).map(str.encode)

name = st.sampled_from(NAMES)
stages = st.lists(
    st.one_of(
        st.sampled_from(
            [
                op.filter("pid != None"),
                op.filter("len(comm) < 4"),
                op.filter("meta.line == 1"),
                op.filter("path == comm"),
                op.filter('host != "web"'),
                op.set(x="path", host="comm"),
                op.dedupe("comm"),
                op.set(host='"web"'),
                op.set(host="[1]"),
                op.set(path="1 / pid"),
                op.set(path="comm", host="pid"),
                op.set({"é": "ppid"}),
                op.set(comm="len(comm)"),
                op.set(x=lambda event: event.line),
            ]
        ),
        st.builds(lambda one, other: op.rename({one: other}), name, name),
        st.builds(lambda *names: op.drop(*names), name),
        st.builds(lambda *names: op.drop(*names), name, name),
        st.builds(lambda *names: op.keep(*names), name, name),
        st.just(op.keep("pid", "ppid", "comm")),
    ),
    max_size=4,
)


def compiled(row: list[Any], *, to_bytes: bool) -> Segment:
    steps = [Step(stage, f"operators[{index}] {stage.name}") for index, stage in enumerate([op.parse("json"), *row])]
    return compile_segment(steps, "lines", to_bytes=to_bytes)


def outcome(
    row: list[Any], line: bytes, *others: bytes, to_bytes: bool, ended: bool = False, **options: Any
) -> tuple[list[Event], list[Any], list[tuple[int, ...]]]:
    """Give the events, the payloads of dead letters, and the counts of the nodes."""
    steps = [
        Step(stage, f"operators[{index}] {stage.name}")
        for index, stage in enumerate([op.parse("json", **options), *row])
    ]
    context = new_context()
    letters: list[Any] = []
    object.__setattr__(context, "reject", lambda record: letters.append(record.data))
    nodes = [Node(step.label) for step in steps]
    probe = Probe()
    lines = [line, *others]
    batch = Lines.of_ended([line + b"\n" for line in lines], 1, ORIGIN) if ended else Lines(lines, 1, ORIGIN)
    SegmentObserver(steps, nodes, probe, context, to_bytes=to_bytes).on_batch(batch)
    return probe.events, letters, [(node.taken, node.out, node.filtered, node.rejected, node.merged) for node in nodes]


def pairs(text: bytes) -> list[tuple[str, Any]]:
    """Give the pairs of an object as a dict would have them, numbers as they are written."""
    found = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    return list(found.items())


def edited(row: list[Any], data: dict[str, Any]) -> dict[str, Any]:
    """What the edits say, in the plainest words."""
    for stage in row:
        if isinstance(stage, op.OPERATORS["rename"]):
            for old, new in stage.fields.items():  # type: ignore[attr-defined]
                if old in data:
                    data[new] = data.pop(old)
        elif isinstance(stage, op.OPERATORS["drop"]):
            for gone in stage.fields:  # type: ignore[attr-defined]
                data.pop(gone, None)
        elif isinstance(stage, op.OPERATORS["keep"]):
            data = {kept: data[kept] for kept in stage.fields if kept in data}  # type: ignore[attr-defined]
    return data


@pytest.mark.slow
@settings(deadline=None, max_examples=rounds(150, 500))
@given(row=stages, line=lines)
@example(row=[op.drop("ppid")], line=b'{"a\\"ppid":16,"pp\\u0069d":16}')
@example(row=[op.drop("ppid")], line=b'{"a\\"ppid":16,"b":1,"pp\\u0069d":16}')
@example(row=[op.drop("ppid")], line=b'{"a":{"ppid":16},"ppid" :16}')
@example(row=[op.drop("ppid")], line=b'{"ppid":1,"pid":"ppid"}')
@example(row=[op.drop("ppid")], line=b'{"ppid":1}')
@example(row=[op.set(host='"web"')], line=b"{}")
@example(row=[op.set(host='"web"')], line=b'{"pid":{}}')
@example(row=[op.set(host='"web"')], line=b'{"\\u0068ost":1}')
@example(row=[op.keep("pid", "comm")], line=b'{"pid":1e999,"comm":"a","pid":2}')
@example(row=[op.filter("pid != None"), op.keep("pid", "comm")], line=b'{"pid":1.50,"comm":null}')
def test_a_spliced_line_says_what_decoding_would(row: list[Any], line: bytes) -> None:
    says_the_same(row, [line])


def as_written(line: bytes) -> Any:
    """Give what a line says; a number that is infinite for whoever reads it is null where it is written anew."""
    return json.loads(line, parse_float=lambda text: None if math.isinf(float(text)) else float(text))


def says_the_same(row: list[Any], lines: list[bytes], *, ended: bool = False) -> int:
    """Compare what is spliced with what is decoded. Gives how many lines were spliced."""
    fast, fast_letters, fast_nodes = outcome(row, *lines, to_bytes=True, ended=ended)
    slow, slow_letters, slow_nodes = outcome(row, *lines, to_bytes=False)
    spliced = 0
    assert fast_nodes == slow_nodes
    assert fast_letters == slow_letters
    assert len(fast) == len(slow)
    for event, other in zip(fast, slow, strict=True):
        assert (event.line, event.part, event.raw) == (other.line, other.part, other.raw)
        if event._data is not from_json or other._data is from_json:
            assert repr(event.data) == repr(other.data)  # a number that is none equals nothing
            assert list(event.data) == list(other.data)
            continue
        # It was spliced: every value that no stage looked at is there in the form in which it was written.
        assert event.encoded is not None
        spliced += 1
        assert as_written(event.encoded) == as_written(payload(other))
        ours, theirs = dict(pairs(event.encoded)), edited(row, dict(pairs(lines[event.line - 1])))
        assert list(ours) == list(other.data)
        changed = {name for stage in row for edit in stage.edits() or () if edit.kind == "set" for name in edit.names}
        for key in ours.keys() & theirs.keys() - changed:
            # One that is kept and was read before is written as it was read, as decoding would have it.
            again = repr(event.data[key]) == repr(other.data[key]) and any(
                key in (stage.needs() or ()) for stage in row
            )
            assert ours[key] == theirs[key] or again
        for key in other.data.keys() & (changed | (other.data.keys() - theirs.keys())):
            assert repr(event.data[key]) == repr(other.data[key])
    return spliced


# Lines whose layout is learned

scalars = st.one_of(
    number,
    st.text("abé:,{}[] ", max_size=5).map(lambda text: f'"{text}"'),
    st.lists(st.sampled_from(['\\"', "\\\\", "\\n", "\\u0022", ",", ":", "}", "1"]), max_size=4).map(
        lambda of: f'"{"".join(of)}"'
    ),
    st.sampled_from(["true", "null"]),
)
names = st.sampled_from(NAMES)


def written(names: list[str], values: list[str], blank: str = "") -> bytes:
    pairs = [f"{json.dumps(n, ensure_ascii=False)}:{blank}{v}" for n, v in zip(names, values, strict=True)]
    return f"{{{f',{blank}'.join(pairs)}}}".encode()


@st.composite
def alike(draw: st.DrawFn) -> list[bytes]:
    """Lines of which most are laid out alike, and others nearly so."""
    keys = draw(st.lists(names, min_size=1, max_size=6, unique=True))
    made = []
    for _ in range(draw(st.integers(1, 6))):
        some = list(keys)
        kind = draw(st.integers(0, 9))
        if kind == 0:
            some = draw(st.permutations(some))
        elif kind == 1:
            some.append(draw(names))  # it may stand twice now
        elif kind == 2:
            some.pop()
        given = [draw(scalars) for _ in some]
        if kind == 3 and some:
            given[-1] = draw(values)
        made.append(written(some, given, " " if kind == 4 else ""))
        if kind == 5:
            made[-1] = draw(lines)
    return made


learned_rows = st.lists(
    st.one_of(
        st.sampled_from(
            [
                op.filter("pid != None"),
                op.filter("path == host"),
                op.set(host='"web"'),
                op.set(path="1 / pid"),
                op.set(pid="pid", host='"a"', path="len(comm)"),
                op.set({"é": "ppid"}),
                op.drop("pid", "ppid", "none"),
                op.rename(pid="path", comm="host"),
                op.keep("host", "é", "ppid", "comm", "path", "none"),
            ]
        ),
        st.builds(lambda one, other: op.rename({one: other}), name, name),
        st.builds(lambda *names: op.drop(*names), name, name),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=800)
@given(row=learned_rows, lines=alike(), ended=st.booleans())
@example(row=[op.drop("pid", "ppid")], lines=[b'{"pid":1,"ppid":2}'] * 2, ended=False)
@example(row=[op.drop("pid", "ppid")], lines=[b'{"pid":1,"comm":"a"}', b'{"pid":1,"comm":"a\\","x":"y""}'], ended=False)
@example(row=[op.filter("pid > 1")], lines=[b'{"pid":1e999}'], ended=False)
@example(row=[op.set({"é": "ppid"}), op.rename(pid="ppid")], lines=['{"pid":0,"é":0}'.encode()] * 2, ended=False)
@example(row=[op.drop("pid", "ppid")], lines=[b'{"pid":1}', b'{"pid":1} ', b'{"pid":1}\r'], ended=True)
@example(row=[op.drop("pid", "ppid")], lines=[b'{"pid":1}', b'{"pid":1,"pid":2}', b'{"pid":[1]}'], ended=True)
@example(row=[op.rename(pid="comm", ppid="host")], lines=[b'{"comm":1,"pid":2,"ppid":3}'] * 2, ended=True)
def test_a_line_of_a_learned_layout_says_what_decoding_would(row: list[Any], lines: list[bytes], ended: bool) -> None:
    says_the_same(row, lines, ended=ended)


@pytest.mark.fast_path
def test_lines_that_are_laid_out_alike_are_not_decoded() -> None:
    row = [op.set(host='"web"'), op.rename(comm="path"), op.drop("ppid"), op.set(n="len(args)")]
    line = b'{"ts":1.50,"pid":%d,"ppid":16,"comm":%b,"args":"a,b","z":null}'
    assert plan(row, [], to_bytes=True).learned
    others = [line % (n, b'"x"') for n in range(3)]
    events, _, _ = outcome(row, line % (9, b'"sh"'), *others, line % (5, b"null"), *others, to_bytes=True)
    known = [event._data is from_json for event in events]
    # The first teaches; a value that is no text in one line is learned, too; then all are known.
    assert known == [False, True, True, True, False, True, True, True]
    assert events[1].encoded == b'{"ts":1.50,"pid":0,"args":"a,b","z":null,"host":"web","path":"x","n":3}'
    assert says_the_same(row, [line % (n, b'"x"') for n in range(5)]) == 4
    assert says_the_same(row, [line % (n, b'"x"') for n in range(5)], ended=True) == 4
    for odd in (b'{"ts":1,"a":{}}', b'{"a": 1,"b":2}', b'{"a":1,"a":2}', b'{"a":1} ', b"{}", b'{"\\u0061":1}'):
        assert layout_of(odd) is None
    assert layout_of(written([str(n) for n in range(61)], ["1"] * 61)) is None


@pytest.mark.fast_path
def test_layouts_that_are_never_the_same_are_learned_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    learned = []
    real = layout_module.layout_of
    monkeypatch.setattr(layout_module, "layout_of", lambda line: (learned.append(line), real(line))[1])
    row = [op.drop("ppid", "pid")]
    says_the_same(row, [written([f"k{n}", "pid"], ["1", "2"]) for n in range(1000)])
    assert len(learned) == 10


@pytest.mark.slow
@settings(deadline=None, max_examples=500)
@given(row=stages, line=lines, to_bytes=st.booleans())
@example(row=[], line=b'{"a":"x', to_bytes=True)  # behind it a newline would be a character of the text
@example(row=[op.filter("pid > 1")], line=b"", to_bytes=True)
@example(row=[op.set(host='"web"')], line=b"{}", to_bytes=True)
@example(row=[op.set(host='"web"')], line=b'{"a":1} ', to_bytes=True)
@example(row=[op.set(path="1 / pid")], line=b'{"pid":0}', to_bytes=True)
def test_a_line_with_its_newline_gives_what_it_gives_without(row: list[Any], line: bytes, to_bytes: bool) -> None:
    def told(ended: bool) -> Any:
        events, letters, nodes = outcome(row, line, to_bytes=to_bytes, ended=ended)
        said = [(event.id, event.raw, event.encoded, event._data is from_json, event.data) for event in events]
        return repr((said, letters, nodes))

    assert told(ended=True) == told(ended=False)


@pytest.mark.parametrize("row", [[], [op.tap(repr)], [op.parse("key_value")], [op.filter("len(message) > 2")]])
def test_a_text_with_its_newline_gives_what_it_gives_without(row: list[Any]) -> None:
    def told(batch: Lines) -> Any:
        probe = Probe()
        steps = [Step(stage, stage.name) for stage in row]
        SegmentObserver(steps, [Node(stage.name) for stage in row], probe, new_context()).on_batch(batch)
        return [(event.id, event.raw, event.encoded, event.data) for event in probe.events]

    lines = [b"a=1 b=2", b"", b"x"]
    told_of = told(Lines(lines, 1, ORIGIN))
    assert told(Lines.of_ended([line + b"\n" for line in lines], 1, ORIGIN)) == told_of != []


@pytest.mark.fast_path
def test_what_is_spliced_is_spliced() -> None:
    """Not one of these is decoded."""
    line = b'{"pid":1.50,"ppid":16,"comm":"sh","args":[{"a":1E5}]}'
    spliced = {
        b'{"pid":1.50,"ppid":16,"comm":"sh","args":[{"a":1E5}],"host":"web"}': [op.set(host='"web"')],
        b'{"pid":1.50,"comm":"sh","args":[{"a":1E5}]}': [op.drop("ppid")],
        b'{"pid":1.50,"ppid":16,"comm":"sh","path":[{"a":1E5}]}': [op.rename(args="path")],
        b'{"ppid":16,"comm":"sh","args":[{"a":1E5}],"host":"web","path":1.50,"n":2}': [
            op.set(host='"web"'),
            op.rename(pid="path"),
            op.set(n="len(comm)"),
        ],
        b'{"comm":"sh","pid":1.50,"host":"web","path":16}': [
            op.keep("comm", "pid", "ppid", "none"),
            op.set(host='"web"'),
            op.rename(ppid="path"),
        ],
        b'{"pid":1.5,"comm":"sh"}': [op.filter("pid > 1"), op.keep("pid", "comm")],
        b'{"pid":1.50}': [op.keep("pid", "comm"), op.drop("comm")],
        b"{}": [op.keep("pid"), op.drop("pid")],
        b'{"pid":1.50,"ppid":16,"args":[{"a":1E5}],"":"sh"}': [op.rename({"comm": ""})],
        b'{"pid":1.50,"ppid":16,"comm":"sh","args":[{"a":1E5}],"":2}': [op.set({"": "len(comm)"})],
        b'{"pid":1.50,"":16}': [op.keep("pid", "ppid"), op.rename({"ppid": ""})],
        b'{"pid":1.50,"ppid":16,"comm":"sh","args":[{"a":1E5}],"host":null,"n":7.5}': [op.set(host=None, n=7.5)],
    }
    for expected, row in spliced.items():
        (event,), _, _ = outcome(row, line, to_bytes=True)
        assert event.encoded == expected
        assert event._data is from_json
        assert event.raw is None


@pytest.mark.fast_path
def test_a_line_that_nothing_reads_is_not_decoded_and_still_checked() -> None:
    good, bad = b'{"pid":1,"n":[1E999]}', b'{"pid":1,"n":[1E999}'
    (event,), letters, _ = outcome([], good, to_bytes=True)
    assert event._data is from_json
    assert event.raw == event.encoded == good
    assert letters == []
    events, (letter,), _ = outcome([], bad, to_bytes=True)
    assert events == []
    assert letter["raw"] == bad.decode()
    assert "decode_fields" in compiled([], to_bytes=True).source


@pytest.mark.fast_path
def test_what_the_plan_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(*row: Any, to_bytes: bool = True) -> Plan:
        return plan(row, ["ts"], to_bytes=to_bytes)

    read = frozenset
    web = op.set(host='"web"')
    assert of(op.filter("pid > 1"), web) == Plan(read({"ts", "pid"}), read(), read({"host"}), True, True)
    assert of(op.filter("pid > 1"), web, to_bytes=False) == Plan(read({"ts", "pid"}))
    assert of(web, op.filter("pid > 1"), op.drop("ppid")) == Plan(
        read({"ts", "pid"}), read({"ppid"}), read({"host"}), True, True
    )
    assert of(op.keep("pid"), web) == Plan(read({"ts"}), read({"pid"}), read(), True, True)
    assert of(op.filter("pid > 1")) == Plan(read({"ts", "pid"}), unread=True)
    assert of(op.filter("pid > 1"), to_bytes=False) == Plan(read({"ts", "pid"}))
    # What was set is in a variable, and read from there.
    assert of(web, op.filter("host")) == of(web)
    assert of(op.set(a="pid"), op.set(b="a")) == Plan(read({"ts", "pid"}), read(), read({"a", "b"}), True, True)
    # Not these: what follows reads what was changed otherwise; a name is changed twice; a function reads all.
    refused = [
        (op.rename(pid="ppid"), op.filter("ppid")),
        (op.drop("pid"), op.filter("pid")),
        (web, op.drop("host")),
        (op.rename(pid="ppid", ppid="pid"),),
        (web, op.tap(print)),
        (op.set(host=lambda event: 1),),
        (op.set(host="meta.id"),),
        (op.set({'quo"te': 1}),),
        (op.drop("\\"),),
        (op.keep("pid"), op.filter("comm")),
        (op.keep("pid"), op.set(pid="1")),
        (web, op.keep("pid")),
    ]
    for row in refused:
        assert not of(*row).edits, row
    # These change so much, or what was there, that they are done on lines whose layout is known.
    learned = [
        (op.drop("ppid", "pid"),),
        (op.set(pid="pid + 1"),),
        (op.set(host='"web"'), op.rename(comm="path"), op.drop("ppid")),
        (op.set(a="pid", b="pid", c="pid", d="pid"),),
    ]
    for row in learned:
        reads = read({"ts"}).union(*[stage.edits_read() for stage in row])
        assert of(*row) == Plan(reads, edits=True, unread=True, learned=True)
        assert not of(*row, to_bytes=False).edits
    assert not of(op.set(a="pid", b="pid", c="pid", d="pid", e="pid")).edits
    monkeypatch.setattr(edits_module, "is_on", lambda switch: switch != "layouts")
    for row in learned:
        assert not of(*row).edits, row


@pytest.mark.parametrize(
    ("value", "expected"),
    [("é", '"é"'.encode()), (None, b"null"), (True, b"true"), (-(2**63), b"-9223372036854775808"), (2**64, None)]
    + [
        (1.5, b"1.5"),
        (float("inf"), None),
        (float("nan"), None),
        ("\ud800", None),
        ((), None),
        ({}, None),
        (b"", None),
    ],
)
def test_a_value_as_json(value: Any, expected: bytes | None) -> None:
    assert token(value) == expected


def test_a_pair_at_either_end_is_cut_out_with_one_comma() -> None:
    assert without(b'{"a":1,"b":2}', b'"a"', b"1") == b'{"b":2}'
    assert without(b'{"a":1,"b":2}', b'"b"', b"2") == b'{"a":1}'
    assert without(b'{"a":1,"b":20}', b'"b"', b"2") is None


@pytest.mark.fast_path
def test_a_stage_that_fails_in_the_row_has_the_event_as_it_got_it() -> None:
    line = b'{"pid":0,"ppid":16}'
    row = [op.set(host='"web"'), op.drop("ppid"), op.set(n="1 / pid")]
    assert plan(row, [], to_bytes=True).edits
    events, (letter,), _ = outcome(row, line, to_bytes=True)
    assert events == []
    assert letter["operator"] == "operators[3] set"
    assert letter["data"] == {"pid": 0, "host": "web"}


@pytest.mark.fast_path
def test_a_loop_that_could_splice_hardly_any_line_is_given_up() -> None:
    """Here the field is there already, in most lines; so all of them would be looked at twice."""
    steps = [Step(op.parse("json"), "operators[0] parse"), Step(op.set(host='"web"'), "operators[1] set")]
    probe = Probe()
    observer = SegmentObserver(steps, [Node("parse"), Node("set")], probe, new_context(), to_bytes=True)
    there, not_there = b'{"host":"db"}', b'{"pid":1}'
    for _ in range(15):
        observer.on_batch(Lines([there] * 100 + [not_there] * 50, 1, ORIGIN))
    spliced = [event._data is from_json for event in probe.events]
    assert spliced[:150] == [False] * 100 + [True] * 50
    assert spliced[-150:] == [False] * 150
    assert all(event.data["host"] == "web" for event in probe.events)


@pytest.mark.fast_path
def test_how_lines_are_read_is_chosen_by_how_many_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that lets most pass makes two decodings of one; what comes out does not show it."""
    compiled = compilations(monkeypatch)
    stages = [op.parse("json"), op.filter("pid > 0"), op.dedupe("n"), op.set(m="n + 1"), op.map("this")]
    steps = [Step(stage, f"operators[{index}] {stage.name}") for index, stage in enumerate(stages)]
    nodes = [Node(step.label) for step in steps]
    probe = Probe()
    observer = SegmentObserver(steps, nodes, probe, new_context(), to_bytes=True)
    number = 0
    shares = (1, 9, 6, 1, 10, 10, 10)
    for passing in shares:
        for _ in range(30):
            batch = [b'{"pid":%d,"n":%d}' % (n % 10 < passing, number + n) for n in range(100)]
            batch[1] = batch[0]  # what dedupe keeps goes on from way to way
            observer.on_batch(Lines(batch, 1, ORIGIN))
            number += 100
    assert [options["selective"] for options in compiled] == [True, False, True, False]  # 60 % change nothing
    expected = [n for n in range(number) if n % 10 < shares[n // 3000] and n % 100 != 1]
    assert [event.data["n"] for event in probe.events] == expected
    assert all(event.data["m"] == event.data["n"] + 1 for event in probe.events)
    assert [node.missing() for node in nodes] == [0] * 5


@pytest.mark.fast_path
def test_from_a_child_to_a_file(tmp_path: Path) -> None:
    """With the time of the event, a line that cannot be spliced, and one that is broken."""
    lines = [
        '{"ts":1700000000,"a":1.0}',
        '{"ts":1700000001,"host":"db","a":1.0}',
        "{",
        '{"ts":1700000002,"a":"\\u0041"}',
    ]
    (tmp_path / "lines").write_text("\n".join(lines) + "\n")
    report = run_project(
        tmp_path,
        f"""
runners: {{lines: {{command: [cat, "{tmp_path}/lines"]}}}}
pipelines:
  all:
    from: lines
    operators: [parse: {{format: json, time: ts}}, set: {{host: "'web'"}}]
    sinks:
      - {{file: out, backpressure: block}}
      - {{file: {{path: envelopes, envelope: true}}, backpressure: block}}
""",
    )
    assert report.pipelines["all"].rejected == {"parse": 1}
    assert (tmp_path / "out").read_text().splitlines() == [
        '{"ts":1700000000,"a":1.0,"host":"web"}',
        '{"ts":1700000001,"host":"web","a":1.0}',
        '{"ts":1700000002,"a":"\\u0041","host":"web"}',
    ]
    envelopes = [json.loads(line) for line in (tmp_path / "envelopes").read_text().splitlines()]
    assert [envelope["time"] for envelope in envelopes] == [f"2023-11-14T22:13:2{n}.000000000Z" for n in range(3)]
    assert [envelope["data"]["host"] for envelope in envelopes] == ["web"] * 3


@pytest.mark.fast_path
def test_lines_with_a_newline_within_stay_one_line(tmp_path: Path) -> None:
    (tmp_path / "frames").write_bytes(b'{"a":\n1}\0{"a": 2}\0')
    run_project(
        tmp_path,
        f"""
runners: {{frames: {{command: [cat, "{tmp_path}/frames"], framing: nul}}}}
pipelines:
  all:
    from: frames
    operators: [parse: json, set: {{host: "'web'"}}]
    sinks: [{{file: out, backpressure: block}}]
""",
    )
    assert (tmp_path / "out").read_text() == '{"a":1,"host":"web"}\n{"a": 2,"host":"web"}\n'


@pytest.mark.fast_path
def test_explain_says_that_lines_are_spliced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rx_collector.cli import main

    file = tmp_path / "x.yaml"
    file.write_text(
        "runners: {a: {command: [seq, 1]}}\npipelines:\n  all:\n    from: a\n"
        "    operators: [parse: json, keep: [pid]]\n    sinks: [{'null': {}, backpressure: block}]\n"
    )
    assert rx.load(file).pipelines
    with pytest.raises(SystemExit) as caught:
        main(["explain", "--source", str(file)])
    assert not caught.value.code
    assert "text = b'{\"pid\":' + peek.f0 + b'}' if peek.f0 is not UNSET else joined(" in capsys.readouterr().out


# The switches


def test_the_switches_turn_it_off_and_the_output_is_the_same(tmp_path: Path) -> None:
    """The same file with each fast path off, in a process each."""
    (tmp_path / "lines").write_text(
        "".join(f'{{"pid":{n},"comm":"c{n % 3}","host":1}}\n{{"pid":{n},"ppid":7}}\n' for n in range(100))
    )
    (tmp_path / "x.yaml").write_text(
        f"runners: {{lines: {{command: [cat, '{tmp_path}/lines']}}}}\n"
        "pipelines:\n  all:\n    from: lines\n"
        "    operators: [parse: json, filter: pid > 10, set: {host: \"'web'\"}, drop: ppid]\n"
        "    sinks: [{console: {format: ndjson}, backpressure: block}]\n"
    )
    outputs, plans = set(), set()
    for off in ("", "edits", "projection", "edits,projection"):
        environment = {**os.environ, "RX_COLLECTOR_WITHOUT": off}
        command = [sys.executable, "-m", "rx_collector"]
        run = subprocess.run(
            [*command, "run", "-q", str(tmp_path / "x.yaml")], env=environment, capture_output=True, check=True
        )
        explain = subprocess.run(
            [*command, "explain", "--source", str(tmp_path / "x.yaml")],
            env=environment,
            capture_output=True,
            check=True,
        )
        outputs.add(run.stdout)
        plans.add(explain.stdout)
    assert len(outputs) == 1
    assert outputs.pop().count(b"\n") == 178
    assert len(plans) == 3


# Filters before the parser


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ('event == "EXEC"', b'"EXEC"'),
        ('"EXEC" == event and pid > 1', b'"EXEC"'),
        ('(event == "EXEC" and a) and b', b'"EXEC"'),
        ('pid > 1 and event == "EXEC"', None),  # what is looked at first may fail, which rejects the event
        ('event == "EXEC" or pid > 1', None),
        ('event != "EXEC"', None),
        ('event == "é"', None),
        ('event == "a/b"', b'"a/b"'),
        ('event == "\\n"', None),
        ("event == 'quo\"te'", None),
        ("event == 7", None),
        ("event == other", None),
        ('event.kind == "EXEC"', None),
        ('meta.runner == "exec"', None),
        ('"a" == "b"', None),
        ('a == "x" == b', None),
    ],
)
def test_what_a_filter_implies(where: str, expected: bytes | None) -> None:
    assert op.filter(where).implies() == expected
    assert op.OPERATORS["where"](where).implies() == expected  # type: ignore[call-arg]


LOOKED_FOR = [op.filter('comm == "sh" and 1 / pid > 0'), op.filter('comm == "/bin"'), op.filter('"text" == pid')]


@pytest.mark.slow
@settings(deadline=None, max_examples=rounds(150, 500))
@given(line=lines, row=st.sampled_from([[one] for one in LOOKED_FOR] + [[one, op.set(host="1")] for one in LOOKED_FOR]))
@example(line=b'{"comm":"s\\u0068","pid":1}', row=[LOOKED_FOR[0]])
@example(line=b'{"comm":"\\/bin"}', row=[LOOKED_FOR[1]])
@example(line=b'{"a":"sh","comm":"sh","pid":0}', row=[LOOKED_FOR[0]])
@example(line=b'{"comm":"sh"', row=[LOOKED_FOR[0]])
def test_what_is_skipped_before_the_parser_is_what_the_filter_would_not_let_pass(line: bytes, row: list[Any]) -> None:
    """Nothing passes or is rejected by it that would not be otherwise; only what is no JSON may count as filtered."""
    events, letters, nodes = outcome(row, line, to_bytes=True)
    skipping, skipped_letters, skipped_nodes = outcome(row, line, to_bytes=True, check="touched")
    assert [repr(event.data) for event in skipping] == [repr(event.data) for event in events]
    if (skipped_letters, skipped_nodes) != (letters, nodes):
        assert [letter["reason"] for letter in letters] == ["parse"]
        assert skipped_letters == []
        assert skipped_nodes[1] == (1, 0, 1, 0, 0)


def test_a_line_without_the_text_is_not_looked_into(tmp_path: Path) -> None:
    lines = ['{"event":"EXEC","n":1}', '{"event":"OPEN"}', "no JSON", '{"event":"\\u0045XEC","n":2}', '{"event":"EXEC"']
    (tmp_path / "lines").write_text("\n".join(lines) + "\n")
    text = f"""
runners: {{lines: {{command: [cat, "{tmp_path}/lines"]}}}}
pipelines:
  all:
    from: lines
    operators: [parse: {{format: json, check: %s}}, filter: event == "EXEC"]
    sinks: [{{file: out, backpressure: block}}]
"""
    report = run_project(tmp_path, text % "touched")
    all_ = report.pipelines["all"]
    assert (all_.taken, all_.filtered, all_.rejected, all_.sinks["file"].delivered) == (5, 2, {"parse": 1}, 2)
    assert report.balanced
    out = (tmp_path / "out").read_text()
    (tmp_path / "out").unlink()
    report = run_project(tmp_path, text % "all")
    assert (report.pipelines["all"].filtered, report.pipelines["all"].rejected) == (1, {"parse": 2})
    assert (tmp_path / "out").read_text() == out
