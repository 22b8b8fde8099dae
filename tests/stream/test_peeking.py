"""Events that are still their JSON: of these only the fields that are read are decoded, and it comes to the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rx_collector import operators as op
from rx_collector.event import Event, Packed, encode_json, from_json, from_message, pack
from rx_collector.ledger import Node
from rx_collector.stream.eventstream import new_context
from rx_collector.stream.segment import SegmentObserver, Step, compile_segment, taken_of
from rx_collector.testing import Probe
from tests.cli.test_errors import command
from tests.conftest import rounds
from tests.events import ORIGIN
from tests.stream.test_edits import objects, stages, values


def outcome(row: list[Any], events: list[Event], *, to_bytes: bool = True) -> Any:
    """Give the payloads and JSON of what comes, the dead letters, and the counts of the nodes."""
    steps = [Step(stage, f"operators[{index}] {stage.name}") for index, stage in enumerate(row)]
    context = new_context()
    letters: list[Any] = []
    object.__setattr__(context, "reject", lambda record: letters.append(record.data))
    nodes = [Node(step.label) for step in steps]
    probe = Probe()
    observer = SegmentObserver(steps, nodes, probe, context, to_bytes=to_bytes)
    for at in range(0, len(events), 3):
        observer.on_batch(events[at : at + 3])
    came = [(repr(event.data), event.line, event.raw, event.time_ns, event.part) for event in probe.events]
    return came, letters, [(node.taken, node.out, node.filtered, node.rejected, node.merged) for node in nodes]


def encoded(text: bytes, line: int = 1) -> Event:
    return Event(from_json, text, ORIGIN, line, text, line * 1000 if line % 3 else None, "0" * (line % 2))


def decoded(text: bytes, line: int = 1) -> Event:
    event = encoded(text, line)
    assert event.data is event._data
    return event


@pytest.mark.slow
@settings(deadline=None, max_examples=rounds(100, 400))
@given(row=stages, texts=st.lists(objects(values, 6).map(str.encode), min_size=1, max_size=7), to_bytes=st.booleans())
def test_it_comes_to_the_same_as_with_decoded_events(row: list[Any], texts: list[bytes], to_bytes: bool) -> None:
    if not row:
        return
    numbered = list(enumerate(texts, 1))
    whole = outcome(row, [decoded(text, line) for line, text in numbered], to_bytes=to_bytes)
    assert outcome(row, [encoded(text, line) for line, text in numbered], to_bytes=to_bytes) == whole
    mixed = [decoded(text, line) if line % 2 else encoded(text, line) for line, text in numbered]
    assert outcome(row, mixed, to_bytes=to_bytes) == whole
    mixed = [encoded(text, line) if line % 2 else decoded(text, line) for line, text in numbered]
    assert outcome(row, mixed, to_bytes=to_bytes) == whole


@pytest.mark.fast_path
def test_what_nobody_reads_is_not_decoded() -> None:
    events = [encoded(b'{"pid":%d,"comm":"a"}' % number, number) for number in range(100)]
    row = [op.filter("pid % 3 == 1"), op.dedupe("pid // 10")]
    came, _, counts = outcome(row, events)
    assert len(came) == 10
    assert counts == [(100, 33, 67, 0, 0), (33, 10, 0, 0, 23)]
    assert sum(event._data is from_json for event in events) == 90  # but those that `outcome` looked into


@pytest.mark.fast_path
def test_a_window_takes_events_in_as_their_json() -> None:
    from rx_collector.stream.eventstream import EventStream
    from tests.events import Given, Result

    events = [encoded(b'{"pid":%d,"comm":"a"}' % (number % 4), number) for number in range(100)]
    result = Result()
    stream = op.aggregate({"n": "count()"}, by="pid")(op.filter("pid > 0")(EventStream(Given([events]))))
    stream.connect(result, new_context())
    assert sorted((event["pid"], event["n"]) for event in result.events) == [(1, 25), (2, 25), (3, 25)]
    assert all(event._data is from_json for event in events)


def of_all_sorts() -> list[Event]:
    data = {"pid": 5, "a": [1.5]}
    return [
        encoded(b'{"pid":5}'),
        Event({"pid": 5}, None, ORIGIN, 2),
        Event([1, 2], None, ORIGIN, 3),
        Event("text", None, ORIGIN, 4),
        Event(None, None, ORIGIN, 5),
        Event(from_message, b"text", ORIGIN, 6),
        Event(Packed(pack(data)), None, ORIGIN, 7, encode_json(data)),
        encoded(b'{"pid":1e999}', 8),
        encoded(b'{"pid":5,"a":1e999}', 9),
        encoded(b'{"pid":3,"pid":5}', 10),
        encoded(b'{"p\\u0069d":5}', 11),
    ]


def test_payloads_of_all_sorts_among_them() -> None:
    """Where one of a batch is not its JSON, the loop reads them as they are."""
    row = [op.filter("pid != 3"), op.sample(every=2, key="pid")]
    known = of_all_sorts()
    assert [event.data for event in known][8:] == [{"pid": 5, "a": float("inf")}, {"pid": 5}, {"pid": 5}]
    assert taken_of(known) == taken_of(of_all_sorts()) == "events"
    came, letters, counts = outcome(row, of_all_sorts())
    assert (came, letters, counts) == outcome(row, known)
    assert [line for _, line, *_ in came] == [1, 3, 5, 7, 8, 10]
    assert counts == [(11, 11, 0, 0, 0), (11, 6, 5, 0, 0)]
    still = of_all_sorts()[7:]
    assert taken_of(still) == "encoded"
    assert outcome(row, still) == outcome(row, known[7:])


@pytest.mark.fast_path
def test_they_are_edited_as_lines_are() -> None:
    """Where all of it can be done on the bytes, and the number keeps its form."""
    events = [encoded(b'{"pid":%d,"ratio":1.50,"comm":"a"}' % number, number) for number in range(1, 3000)]
    row = [op.filter("pid != 7"), op.set(host='"web"'), op.drop("comm")]
    steps = [Step(stage, stage.name) for stage in row]
    probe = Probe()
    observer = SegmentObserver(steps, [Node(step.label) for step in steps], probe, new_context(), to_bytes=True)
    for at in range(0, len(events), 500):
        observer.on_batch(events[at : at + 500])
    assert [event.encoded for event in probe.events] == [
        b'{"pid":%d,"ratio":1.50,"host":"web"}' % number for number in range(1, 3000) if number != 7
    ]
    assert all(event._data is from_json for event in [*events, *probe.events])
    assert [event.id for event in probe.events] == [event.id for event in events if event.line != 7]


@pytest.mark.fast_path
def test_where_most_events_are_decoded_after_all_they_are_decoded_at_once() -> None:
    steps = [Step(stage, stage.name) for stage in (op.filter("pid >= 0"), op.map("{'n': this}"))]
    ahead = compile_segment(steps, "encoded")
    assert ahead.read_ahead == {"pid"}
    assert ahead.decodes_late
    assert not compile_segment(steps, "encoded", selective=False).read_ahead
    observer = SegmentObserver(steps, [Node(step.label) for step in steps], Probe(), new_context())
    observer.on_batch([encoded(b'{"pid":1}') for _ in range(1000)])
    assert "decode_fields" in observer._segments["encoded", False].source
    observer.on_batch([encoded(b'{"pid":1}') for _ in range(1000)])
    observer.on_batch([encoded(b'{"pid":1}')])
    assert "decode_fields" not in observer._segments["encoded", False].source


@pytest.mark.fast_path
def test_explain_says_it(tmp_path: Any) -> None:
    (tmp_path / "x.yaml").write_text(
        "runners: {exec: {command: [seq, '3']}}\n"
        "pipelines:\n"
        "  clean: {from: exec, operators: [parse: json], sinks: []}\n"
        "  some:\n"
        "    from: clean\n"
        "    operators: [filter: pid == 7 and uid > 0, skip: 2]\n"
        "    sinks: [{console: {}, backpressure: block}]\n"
    )
    shown = command("explain", "--source", "x.yaml", cwd=tmp_path).stdout
    assert "of an event that is still its JSON pid, uid is decoded, the rest where something reads it" in shown
    assert "peek = decode_fields(event.encoded)" in shown
    (tmp_path / "x.yaml").write_text((tmp_path / "x.yaml").read_text().replace("skip: 2", "set: {a: '1'}"))
    shown = command("explain", "x.yaml", cwd=tmp_path).stdout
    assert "of an event that is still its JSON pid, uid is decoded; the edits are made on its bytes" in shown
    (tmp_path / "x.yaml").write_text((tmp_path / "x.yaml").read_text().replace("sinks: [{con", "# sinks: [{con"))
    more = "  more: {from: some, operators: [set: {b: this}], sinks: [{console: {}, backpressure: block}]}\n"
    (tmp_path / "x.yaml").write_text((tmp_path / "x.yaml").read_text() + more)
    shown = command("explain", "x.yaml", cwd=tmp_path).stdout
    assert "not edited on the bytes: operators[0] set reads the whole payload ('this' uses it as a whole)" in shown
