"""parse with formats that find several records in one text: ids, raw bytes, on_error, and the balance."""

from __future__ import annotations

from typing import Any

import pytest
import reactivex.operators as ops

import rx_collector as rx
from rx_collector import operators as op
from rx_collector.event import Event, Origin
from tests.events import ORIGIN, run, run_batches

MANY = '{"type": "map", "data": {"@n": {"a": 1, "b": 2, "c": 3}}}'
TEXT = "@n[a]: 1"


def test_only_a_text_with_several_records_makes_parts() -> None:
    result = run(op.parse("bpftrace"), lines=["", TEXT, MANY])
    assert [record["value"] for record in result.data] == [1, 1, 2, 3]
    assert [event.id.rpartition("/")[2] for event in result.events] == ["2", "3.0", "3.1", "3.2"]
    assert [event.raw for event in result.events] == [TEXT.encode(), None, None, None]
    node = result.report.pipelines["test"].nodes[0]
    assert (node.taken, node.filtered, node.made, node.out) == (3, 1, 2, 4)
    # The record, not its text, is what is written.
    assert result.events[0].json() == b'{"type":"map","name":"@n","key":"a","value":1}'


def test_stages_before_and_behind() -> None:
    stages = [op.parse("bpftrace"), op.filter("value > 1"), op.set(double="value * 2"), op.drop("type", "name")]
    wanted = [{"key": "b", "value": 2, "double": 4}, {"key": "c", "value": 3, "double": 6}]
    assert run(*stages, lines=[MANY]).data == wanted
    assert run(*stages, events=[{"message": MANY}]).data == wanted
    apart = [step for stage in stages for step in (stage, ops.map(lambda item: item))]
    assert run(*apart, lines=[MANY]).data == wanted
    nested = run(op.set(message="message"), op.parse("bpftrace"), op.flat_map("[this, this]"), lines=[MANY])
    assert [event.part for event in nested.events] == ["0.0", "0.1", "1.0", "1.1", "2.0", "2.1"]


def test_a_part_of_a_part() -> None:
    result = run(op.flat_map("[{'message': message}, {'message': message}]"), op.parse("bpftrace"), lines=[MANY])
    assert [event.part for event in result.events] == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]


def test_many_in_a_row_are_several_segments() -> None:
    again = [step for _ in range(25) for step in (op.parse("bpftrace"), op.set(message="'@n: 1'"))]
    assert run(*again, lines=["@n: 1"]).data == [
        {"type": "map", "name": "@n", "key": None, "value": 1, "message": "@n: 1"}
    ]


def test_a_stage_behind_that_fails_rejects_that_record_alone() -> None:
    result = run(op.parse("bpftrace"), op.filter("1 / (value - 2) < 9"), lines=[MANY, "@n: 2"])
    assert [record["value"] for record in result.data] == [1, 3]
    first, second = result.rejected
    assert (first["data"]["value"], first["id"].rpartition("/")[2], first["line"]) == (2, "1.1", 1)
    assert (second["raw"], second["line"]) == ("@n: 2", 2)


@pytest.mark.parametrize("on_error", ["dead_letter", "drop", "keep_raw", "fail"])
def test_on_error(on_error: str) -> None:
    result = run(op.parse("strace", on_error=on_error), lines=["a() = 1", "bad", "b() = 2"])
    calls = [record.get("call", record.get("message")) for record in result.data]
    if on_error == "fail":
        assert calls == ["a"]
        assert isinstance(result.error, rx.ParseError)
        return
    assert calls == (["a", "bad", "b"] if on_error == "keep_raw" else ["a", "b"])
    assert [record["raw"] for record in result.rejected] == (["bad"] if on_error == "dead_letter" else [])
    assert result.report.pipelines["test"].nodes[0].notes == ({"kept_raw": 1} if on_error == "keep_raw" else {})


def test_lifecycle_events_pass_as_they_are() -> None:
    of_child = Origin("run", "exec", 1, 42, ORIGIN.observed_ns, "lifecycle")
    given: list[Any] = [Event({"event": "start"}, None, of_child, 1), Event({"message": MANY}, None, ORIGIN, 1)]
    result = run_batches([given], op.parse("bpftrace"))
    assert result.data[0] == {"event": "start"}
    assert len(result.data) == 4


def test_the_time_is_that_of_each_record() -> None:
    lines: list[str | bytes] = ["7 1700000000.5 a(1 <unfinished ...>", "7 1700000001.5 +++ exited with 0 +++"]
    result = run(op.parse("strace", time={"field": "time", "unit": "s"}), lines=lines)
    assert [event.time_ns for event in result.events] == [1_700_000_000_500_000_000, 1_700_000_001_500_000_000]


def test_bytes_that_are_no_utf8_stay_reachable() -> None:
    events = rx.runner("printf", r"@n[\351]: 1\n").pipe(op.parse("bpftrace")).to_list().run()
    assert [(event["key"], event.raw) for event in events] == [("\ufffd", b"@n[\xe9]: 1")]
