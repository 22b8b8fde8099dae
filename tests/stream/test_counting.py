"""Where few events pass, the first filter counts those that do, and no line is counted: what comes out is the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rx_collector import operators as op
from rx_collector.event import Event, Lines, from_json
from rx_collector.ledger import Node
from rx_collector.operators.flat_map import emit_parts
from rx_collector.stream import code as code_module
from rx_collector.stream import segment as segment_module
from rx_collector.stream.code import SegmentCode
from rx_collector.stream.eventstream import new_context
from rx_collector.stream.flow import Batch
from rx_collector.stream.meter import Meter
from rx_collector.stream.operator import Stage
from rx_collector.stream.segment import SegmentObserver, Step, compile_segment
from rx_collector.testing import Probe
from tests.events import ORIGIN, compilations, event, run_batches


@dataclass(frozen=True)
class Merges(Stage):
    """As somebody else may write it: a filter that also merges, before or behind."""

    name = "merges"
    behind: bool = False

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        code.data()
        if self.behind:
            code.pass_if(f"{code.field('n')} != 4")
        code.write(f"if {code.field('n')} == 5:")
        code.indent()
        code.lose("merged")
        code.dedent()
        if not self.behind:
            code.pass_if(f"{code.field('n')} != 4")


@dataclass(frozen=True)
class Parts(Stage):
    """As somebody else may write it: a filter that makes two events of one, before or behind."""

    name = "parts"
    nests = True
    behind: bool = False

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        code.data()
        if self.behind:
            code.pass_if(f"{code.field('n')} != 4")
        emit_parts(code, "[data, data]")
        if not self.behind:
            code.data()
            code.pass_if(f"{code.field('n')} != 4")


def fails(event: Event) -> Any:
    if event.data["n"] == 3:
        raise ValueError("three")
    return event.data


#: What stands behind a parser: filters that fail or let all, some or none pass, what makes several events of one, edits.
STAGES: dict[str, Any] = {
    "few": lambda: op.filter("n == 2"),
    "many": lambda: op.filter("n < 8"),
    "none": lambda: op.filter("n > 100"),
    "fails": lambda: op.filter("1 / n < 1"),
    "a function fails": lambda: op.filter(fails),
    "by line": lambda: op.filter("meta.line % 3 != 0"),
    "text": lambda: op.filter('event == "EX"'),
    "explode": lambda: op.explode("many"),
    "flat_map": lambda: op.flat_map("[this, this]"),
    "dedupe": lambda: op.dedupe("n"),
    "skip": lambda: op.skip(2),
    "log": lambda: op.log("n", level="debug"),
    "set": lambda: op.set(m="n + 1"),
    "set a line": lambda: op.set(at="meta.line"),
    "rename": lambda: op.rename(n="number"),
    "map": lambda: op.map(fails),
    "ends": lambda: op.parse("json", field="many", on_error="fail"),
    "merges": lambda: Merges(),
    "merges behind": lambda: Merges(behind=True),
    "parts": lambda: Parts(),
    "parts behind": lambda: Parts(behind=True),
}
PARSERS: dict[str, Any] = {
    "none": list,
    "plain": lambda: [op.parse("json")],
    "touched": lambda: [op.parse("json", check="touched")],
    "by text": lambda: [op.parse("json", check="touched"), op.filter('event == "EX"')],
    "drop": lambda: [op.parse("json", on_error="drop")],
    "fail": lambda: [op.parse("json", on_error="fail")],
    "behind a filter": lambda: [op.filter('message != ""'), op.parse("json")],
    "behind one that fails": lambda: [op.filter("1 / meta.line < 1"), op.parse("json", on_error="fail")],
}
LINES = st.sampled_from(
    [
        *[b'{"n":%d,"event":"%s","many":[1,{"n":2}]}' % (n, [b"EX", b"OPEN"][n % 2]) for n in range(10)],
        b'{"n":2,"many":[]}',
        b'{"n":"text"}',
        b'{"n":1e400,"n":2}',
        b'{"n":2,"x":"\\ud800"}',
        b"no JSON",
        b'{"n":2',
        b"",
    ]
)
WAYS = ("lines", "ended", "numbered", "events", "encoded")


def is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except msgspec.DecodeError:
        return False
    return True


def batch(lines: list[bytes], first: int, way: str) -> Batch:
    if way == "events":
        return [Event({"message": line.decode()}, line, ORIGIN, first + n) for n, line in enumerate(lines)]
    if way == "encoded":  # by a program, so it is JSON
        return [Event(from_json, None, ORIGIN, first + n, line) for n, line in enumerate(lines) if is_json(line)]
    if way == "ended":
        return Lines.of_ended([line + b"\n" for line in lines], first, ORIGIN)
    made = Lines(lines, first, ORIGIN)
    if way == "numbered":
        made.numbers = range(first, first + 2 * len(lines), 2)
    return made


def told(stages: Sequence[Any], batches: list[Batch], *, counting: bool, to_bytes: bool, metered: bool = False) -> Any:
    """Give all that can be seen of a run: events, dead letters, the end and the counts of each stage."""
    steps = [Step(stage, f"operators[{index}] {stage.name}") for index, stage in enumerate(stages)]
    context, nodes, probe = new_context(), [Node(step.label) for step in steps], Probe()
    letters: list[Any] = []
    object.__setattr__(context, "reject", lambda record: letters.append((record.data, record.time_ns)))
    if metered:
        object.__setattr__(context, "meter", Meter())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code_module, "is_on", lambda switch: counting or switch != "counting")
        patch.setattr(segment_module, "_JUDGED_BY", 7)
        observer = SegmentObserver(steps, nodes, probe, context, to_bytes=to_bytes)
        for one in batches:
            observer.on_batch(one)
    assert [node.missing() for node in nodes] == [0] * len(nodes)
    assert nodes[-1].out == len(probe.events)
    events = [(event.id, event.raw, event.encoded, event.data) for event in probe.events]
    counts = [(node.taken, node.out, node.made, node.merged, node.filtered, node.rejected) for node in nodes]
    return events, letters, str(probe.error), counts, [node.dropped for node in nodes]


@settings(deadline=None, max_examples=800)
@given(
    given_lines=st.lists(
        st.tuples(st.sampled_from(WAYS), st.lists(LINES, min_size=1, max_size=12)), min_size=1, max_size=5
    ),
    parser=st.sampled_from(sorted(PARSERS)),
    names=st.lists(st.sampled_from(sorted(STAGES)), max_size=4),
    to_bytes=st.booleans(),
    metered=st.booleans(),
)
@pytest.mark.slow
def test_what_is_counted_is_the_same(
    given_lines: list[tuple[str, list[bytes]]], parser: str, names: list[str], to_bytes: bool, metered: bool
) -> None:
    def run(counting: bool) -> Any:
        stages = [*PARSERS[parser](), *(STAGES[name]() for name in names)]
        batches = [batch(lines, 1 + 100 * number, way) for number, (way, lines) in enumerate(given_lines)]
        return told(stages or [op.skip(1)], batches, counting=counting, to_bytes=to_bytes, metered=metered)

    assert run(True) == run(False)


@pytest.mark.fast_path
def test_neither_what_is_lost_nor_its_line_is_counted() -> None:
    stages = [op.parse("json"), op.filter("n == 2"), op.filter("uid == 0")]
    steps = [Step(stage, stage.name) for stage in stages]
    few = compile_segment(steps, "lines")
    assert few.counters == ((1, "passed"), (2, "filtered"))
    assert few.source.count(" += ") == 2
    assert "_end - _left()" in few.source
    many = compile_segment(steps, "lines", selective=False)
    assert many.counters == ((1, "filtered"), (2, "filtered"))
    assert many.source.count("line += 1") == 1
    unknown = compile_segment(steps[1:], "events")  # of which nobody looks how many pass
    assert unknown.counters == ((0, "filtered"), (1, "filtered"))


@pytest.mark.fast_path
@pytest.mark.parametrize(
    "before",
    [[op.dedupe("n")], [op.filter("n > 1")], [op.flat_map("[this]")], [op.parse("csv", header=True)], [Merges()]],
    ids=lambda before: before[0].name,
)
def test_the_others_are_counted_where_some_may_not_come_to_the_filter(before: list[Any]) -> None:
    """What was lost before it without a word must not be taken for filtered."""
    steps = [Step(stage, stage.name) for stage in (*before, op.filter("n == 2"))]
    assert (len(steps) - 1, "filtered") in compile_segment(steps, "lines").counters


def test_a_file_with_continue_in_its_name_changes_nothing() -> None:
    steps = [
        Step(op.parse("json"), "parse", "while: continue.yaml:1"),
        Step(op.filter("n == 2"), "filter", "for.yaml:2"),
    ]
    assert compile_segment(steps, "lines").source == compile_segment(
        [Step(step.operator, step.label) for step in steps], "lines"
    ).source.replace("# parse", "# parse (while: continue.yaml:1)").replace("# filter", "# filter (for.yaml:2)")


@pytest.mark.parametrize("way", ["lines", "ended", "events", "encoded"])
def test_a_stage_has_the_number_of_the_line_by_its_name(way: Any) -> None:
    """As the text of the module says; and it may call what is its own as it likes."""

    @dataclass(frozen=True)
    class Numbered(Stage):
        name = "numbered"

        def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
            number = "line" if code.envelope == "lines" else "event.line"
            code.write(f"rest = left = end = {number}")
            code.assign('{"line": end}', is_dict=True, owned=True)

    stages = [op.skip(1), Numbered()]
    events, _, _, counts, _ = told(stages, [batch([b"{}", b"{}", b"{}"], 1, way)], counting=True, to_bytes=False)
    assert [data for *_, data in events] == [{"line": 2}, {"line": 3}]
    assert [event_id.rpartition("/")[2] for event_id, *_ in events] == ["2", "3"]
    assert counts[0] == (3, 2, 0, 0, 1, 0)


def test_parts_that_nobody_came_to_when_the_stream_failed_are_accounted_for() -> None:
    stages = [op.explode("many"), op.filter('many != "a"'), op.parse("json", field="many", on_error="fail")]
    events = [Event({"many": ["a", "{}", "no JSON", "b", "{}"]}, None, ORIGIN, 1), event({"many": ["c"]}, 2)]
    result = run_batches([events], *stages)
    assert str(result.error).startswith("test, operators[2] parse: ")
    explode, second, parse = (result.report.pipelines["test"].nodes)[:3]
    assert (explode.taken, explode.made, explode.dropped, explode.out) == (2, 4, 3, 3)
    assert (second.taken, second.filtered, second.out) == (3, 1, 2)
    assert (parse.taken, parse.rejected, parse.out) == (2, 1, 1)


@pytest.mark.fast_path
def test_where_no_event_can_be_lost_lines_are_counted() -> None:
    steps = [Step(stage, stage.name) for stage in (op.parse("json"), op.set(m="n + 1"))]
    assert "line += 1" in compile_segment(steps, "lines").source


def test_one_that_comes_now_so_and_now_so_is_not_compiled_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = compilations(monkeypatch)
    steps = [Step(stage, stage.name) for stage in (op.parse("json"), op.filter("n == 1"))]
    observer = SegmentObserver(steps, [Node("parse"), Node("filter")], Probe(), new_context())
    for number in range(400):
        observer.on_batch(Lines([b'{"n":%d}' % (number // 4 % 2)] * 1000, 1 + 1000 * number, ORIGIN))
    assert len(compiled) <= 9


def test_an_event_that_fails_behind_the_last_filter_has_not_passed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no memory for it, say: it is rejected there, and not filtered in part."""
    steps = [Step(stage, stage.name) for stage in (op.parse("json"), op.filter("n != 1"))]
    nodes, probe, context = [Node("parse"), Node("filter")], Probe(), new_context()
    letters: list[Any] = []
    object.__setattr__(context, "reject", lambda record: letters.append(record.data["line"]))
    observer = SegmentObserver(steps, nodes, probe, context)
    observer.on_batch(Lines([b'{"n":1}'], 1, ORIGIN))

    def no_memory(*arguments: Any) -> Any:
        if arguments[3] == 4:
            raise MemoryError
        return Event(*arguments)

    observer._segments["lines", False]._globals["Event"] = no_memory
    observer.on_batch(Lines([b'{"n":%d}' % n for n in (1, 2, 3)], 2, ORIGIN))
    assert [event.line for event in probe.events] == [3]
    assert letters == [4]
    assert (nodes[1].taken, nodes[1].filtered, nodes[1].rejected, nodes[1].out) == (4, 2, 1, 1)
