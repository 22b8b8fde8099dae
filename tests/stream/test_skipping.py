"""Lines that are left out a read at a time are those that looking into each line would leave out."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rx_collector import operators as op
from rx_collector.event import Event, Lines
from rx_collector.ledger import Node
from rx_collector.runners import framing
from rx_collector.runners.framing import framer
from rx_collector.runners.spec import FramingSpec
from rx_collector.stream.eventstream import new_context
from rx_collector.stream.segment import SegmentObserver, Step, compile_segment
from rx_collector.stream.skipping import Skipper
from rx_collector.testing import Probe
from tests.events import ORIGIN, run_batches
from tests.runners.helpers import run_project

#: Lines of pieces of the text, of which some have it and some have a backslash.
odds = st.lists(st.sampled_from([b'"EX"', b'"E', b"X", b'X"', b"E", b"-", b"\\", b'"']), max_size=6).map(b"".join)


def batches(lines: list[bytes], places: list[int], *, block: bool = True) -> list[Lines]:
    """Give the lines as a reader would, the bytes cut at some places."""
    data = b"".join(line + b"\n" for line in lines)
    frames, first, made = framer(FramingSpec("newline"), 1 << 20, truncate=False), 1, []
    at = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framing, "_LONG", -1)
        patch.setattr(framing, "_ENDINGS", True)
        for chunk in (data[low:high] for low, high in itertools.pairwise(at)):
            ended = frames.ended(chunk)
            if ended is not None:
                made.append(Lines.of_ended(ended, first, ORIGIN, (chunk, frames.begin) if block else None))
                first += len(ended)
            else:
                assert frames.feed(chunk) == []
    assert first == len(lines) + 1
    return made


@settings(deadline=None, max_examples=300)
@given(
    lines=st.lists(odds, max_size=30),
    places=st.lists(st.integers(0, 300), max_size=8),
    rarest=st.sampled_from([-1, None, 0, 1, 2, 3]),
    block=st.booleans(),
)
@pytest.mark.slow
def test_those_that_may_pass_are_chosen(lines: list[bytes], places: list[int], rarest: int | None, block: bool) -> None:
    expected = [(n, line + b"\n") for n, line in enumerate(lines, 1) if b'"EX"' in line or b"\\" in line]
    skipper = Skipper(b'"EX"')
    skipper._rarest = rarest
    assert [one for batch in batches(lines, places, block=block) for one in skipper.chosen(batch)] == expected


def test_a_byte_that_is_rare_is_looked_for_until_it_is_not() -> None:
    skipper = Skipper(b'"EXIT"')
    (rare,) = batches([b'"EXIT"', *[b'{"event":"IDLE","text":"TEST"}'] * 100, b'"EXIT"'], [])
    assert [n for n, _ in skipper.chosen(rare)] == [1, 102]
    assert skipper._rarest == 2  # the X
    (often,) = batches([*[b'"XX"'] * 40, b'"EXIT"'], [])
    assert [n for n, _ in skipper.chosen(often)] == [41]
    assert skipper._rarest is None


LINES = [b'{"event":"EX","n":%d}' % n for n in range(4)] + [
    b'{"event":"OPEN","n":5}',
    b"no JSON",
    b'{"event":"\\u0045X","n":6}',
    b'{"event":"EX"',
    b'{"a":"EX","event":"OPEN"}',
] * 3


@pytest.mark.parametrize("row", [[], [op.set(host='"web"')], [op.filter("n > 1"), op.drop("a", "b", "event")]])
def test_a_loop_over_those_gives_what_a_loop_over_all_gives(row: list[Any]) -> None:
    def told(given: list[Lines]) -> Any:
        stages = [op.parse("json", check="touched"), op.filter('event == "EX"'), *row]
        steps = [Step(stage, f"operators[{index}] {stage.name}") for index, stage in enumerate(stages)]
        context, nodes, probe = new_context(), [Node(step.label) for step in steps], Probe()
        letters: list[Any] = []
        object.__setattr__(context, "reject", lambda record: letters.append(record.data))
        observer = SegmentObserver(steps, nodes, probe, context, to_bytes=True)
        for batch in given:
            observer.on_batch(batch)
        events = [(event.id, event.raw, event.data) for event in probe.events]
        return events, letters, [(node.taken, node.out, node.filtered, node.rejected) for node in nodes]

    all_of_them = told([Lines(LINES, 1, ORIGIN)])
    assert all_of_them[2][0] == (19, 16, 0, 3)
    assert told(batches(LINES, [])) == told(batches(LINES, [10, 70, 71, 200])) == all_of_them


@pytest.mark.fast_path
def test_where_lines_are_chosen() -> None:
    def source(*stages: Any, **options: Any) -> str:
        steps = [Step(stage, stage.name) for stage in (op.parse("json", **options), *stages)]
        return compile_segment(steps, "ended").source

    wanted = op.filter('event == "EX"')
    assert "for line, raw in chosen:" in source(wanted, check="touched")
    assert "chosen" not in source(wanted)
    assert "chosen" not in source(op.filter("n == 1"), wanted, check="touched")
    # What stands before has to see all lines.
    before = [Step(stage, stage.name) for stage in (op.skip(1), op.parse("json", check="touched"), wanted)]
    assert "chosen" not in compile_segment(before, "ended").source
    # One that ends the stream at the first that is no JSON counts what it has not come to.
    assert "chosen" not in source(wanted, check="touched", on_error="fail")


@pytest.mark.parametrize(
    "before", [op.skip(5), op.sample(every=2), op.dedupe("len(message)"), op.filter("1 // len(message)")]
)
def test_what_stands_before_the_parser_sees_all_lines(before: Any) -> None:
    lines = [b'{"event":"%b","n":%d}' % (b"EX" if n % 3 else b"OPEN", 10**n) for n in range(12)] + [b""] * 3

    def told(given: list[Lines]) -> Any:
        row = [before, op.parse("json", check="touched"), op.filter('event == "EX"')]
        result = run_batches(given, *row)
        return [event.line for event in result.events], result.rejected, result.report.pipelines["test"].nodes

    assert told(batches(lines, [])) == told([Lines(lines, 1, ORIGIN)])


def test_events_among_lines_that_are_chosen_are_parsed() -> None:
    """The loop of lines keeps what it looks for, the one of events its parser."""
    told = Event({"message": '{"event":"EX","n":7}'}, None, ORIGIN, 7)
    lines = batches([b'{"event":"EX","n":%d}' % n for n in range(4)], [])
    for order in ([[told], *lines], [*lines, [told]]):
        made = run_batches(order, op.parse("json", check="touched"), op.filter('event == "EX"')).data
        assert sorted(one["n"] for one in made) == [0, 1, 2, 3, 7]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    filler = "x" * 100
    lines = [f'{{"event":"{"EX" if n % 50 == 0 else "OPEN"}","n":{n},"text":"{filler}"}}' for n in range(5000)]
    (tmp_path / "lines").write_text("\n".join(lines) + "\n")
    report = run_project(
        tmp_path,
        f"""
runners: {{lines: {{command: [cat, "{tmp_path}/lines"]}}}}
pipelines:
  all:
    from: lines
    operators: [parse: {{format: json, check: touched}}, filter: event == "EX"]
    sinks: [{{file: out, backpressure: block}}]
""",
    )
    all_ = report.pipelines["all"]
    assert (all_.taken, all_.filtered, all_.sinks["file"].delivered) == (5000, 4900, 100)
    assert report.balanced
    assert (tmp_path / "out").read_text().splitlines() == lines[::50]
