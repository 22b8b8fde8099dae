"""Every operator, from lines and from events, alone and fused: the results must be the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
import reactivex.operators as ops
from reactivex.testing import TestScheduler

import rx_collector as rx
from rx_collector import operators as op
from rx_collector.event import Event
from rx_collector.stream.eventstream import new_context
from tests.conftest import wait_until
from tests.events import ORIGIN, Result, event, run, run_batches

RECORDS = [
    {"pid": 1, "uid": 0, "filename": "/sbin/init"},
    {"pid": 7, "uid": 1000, "filename": "/bin/ls"},
    {"pid": 8, "uid": 1000},
]


def both_ways(*operators: Any) -> tuple[list[Any], list[dict[str, Any]], Any]:
    """Run from lines, fused and with a foreign operator between each two, and from events; all must agree."""
    fused = run(op.parse("json"), *operators, lines=[json.dumps(record) for record in RECORDS])
    broken_up = [step for operator in operators for step in (operator, ops.map(lambda item: item))]
    apart = run(op.parse("json"), ops.map(lambda item: item), *broken_up, lines=[json.dumps(r) for r in RECORDS])
    from_events = run(*operators, events=[dict(record) for record in RECORDS])
    assert fused.data == apart.data == from_events.data
    assert [one["error"] for one in fused.rejected] == [one["error"] for one in from_events.rejected]
    return fused.data, fused.rejected, fused.report


def test_filter() -> None:
    data, rejected, report = both_ways(op.filter("uid != 0"))
    assert [one["pid"] for one in data] == [7, 8]
    assert rejected == []
    assert report.pipelines["test"].filtered == 1


def test_filter_by_a_function() -> None:
    assert [one["pid"] for one in both_ways(op.filter(lambda e: e["pid"] > 1 and e.line > 2))[0]] == [8]


def test_an_expression_that_fails_rejects_that_event_only() -> None:
    data, rejected, report = both_ways(op.filter('filename.startswith("/bin")'))
    assert [one["pid"] for one in data] == [7]
    assert [(one["line"], one["reason"], one["operator"]) for one in rejected] == [(3, "filter", "operators[1] filter")]
    assert "AttributeError" in rejected[0]["error"]
    assert rejected[0]["raw"] == json.dumps(RECORDS[2])
    assert report.pipelines["test"].rejected == {"filter": 1}


def test_set_sees_the_payload_as_it_was() -> None:
    data, _, _ = both_ways(op.set(pid="uid", uid="pid", fixed=True, none=None, text="'x'"))
    assert data[1] == {"pid": 1000, "uid": 7, "filename": "/bin/ls", "fixed": True, "none": None, "text": "x"}


def test_set_that_fails_leaves_no_trace_in_the_dead_letter() -> None:
    _, rejected, _ = both_ways(op.set(pid="0", dir='filename.rpartition("/")[0]'))
    assert json.loads(rejected[0]["raw"]) == RECORDS[2]


def test_a_rejected_event_that_was_changed_shows_its_payload() -> None:
    _, rejected, _ = both_ways(op.set(new="1"), op.filter('filename.startswith("/")'))
    assert rejected[0]["data"] == {"pid": 8, "uid": 1000, "new": 1}


def test_rename_drop_keep() -> None:
    data, _, _ = both_ways(op.rename(pid="uid", uid="pid"), op.drop("filename", "nothing"))
    assert data == [{"uid": 1, "pid": 0}, {"uid": 7, "pid": 1000}, {"uid": 8, "pid": 1000}]
    data, _, _ = both_ways(op.keep("filename", "pid", "nothing"))
    assert [list(one) for one in data] == [["filename", "pid"], ["filename", "pid"], ["pid"]]


def test_map() -> None:
    assert both_ways(op.map('{"who": uid, "next": pid + 1}'))[0][1] == {"who": 1000, "next": 8}
    assert both_ways(op.map("pid"), op.filter("this > 1"), op.map("this * 2"))[0] == [14, 16]
    assert both_ways(op.map(lambda e: e["pid"]))[0] == [1, 7, 8]
    assert both_ways(op.map(lambda e: e.replace({"was": e["pid"]})), op.set(x="was"))[0][0] == {"was": 1, "x": 1}


def test_flat_map() -> None:
    data, rejected, report = both_ways(op.flat_map(lambda e: range(e["pid"] - 1)), op.filter("this % 2 == 0"))
    assert data == [0, 2, 4, 0, 2, 4, 6]
    assert rejected == []
    node = report.pipelines["test"].nodes[1]
    assert (node.taken, node.made, node.filtered, node.out) == (3, 11, 1, 13)
    assert [one.id.rpartition("/")[2] for one in run(op.flat_map("[1, 2]"), events=[{}]).events] == ["1.0", "1.1"]


def test_flat_map_one_bad_item_does_not_take_its_siblings_along() -> None:
    data, rejected, report = both_ways(op.flat_map("[1, None, 3]"), op.map("this + 1"))
    assert data == [2, 4] * 3
    assert len(rejected) == 3
    assert report.pipelines["test"].nodes[2].rejected == 3


def test_flat_map_of_what_is_no_list_rejects() -> None:
    assert len(both_ways(op.flat_map("'text'"))[1]) == 3


def test_tap_changes_nothing() -> None:
    seen: list[Event] = []
    line = '{"pid":  1}'
    (one,) = run(op.parse("json"), op.tap(seen.append), lines=[line]).events
    assert seen[0].data == {"pid": 1}
    assert one.encoded == line.encode()


def test_what_a_function_keeps_is_not_changed_behind_its_back() -> None:
    kept: list[Any] = []
    run(op.parse("json"), op.tap(lambda e: kept.append(e.data)), op.set(pid="9"), lines=['{"pid": 1}'])
    assert kept == [{"pid": 1}]


def test_events_shared_by_branches_are_not_changed() -> None:
    shared = event({"pid": 1})
    run_batches([[shared]], op.set(pid="2"), op.drop("pid"))
    assert shared.data == {"pid": 1}


@pytest.mark.parametrize("error", [StopIteration("x"), ValueError("x"), KeyError("x")])
def test_no_exception_of_a_function_ends_the_stream(error: Exception) -> None:
    def fails(e: Event) -> None:
        raise error

    result = run(op.map(fails), events=[1, 2])
    assert len(result.rejected) == 2
    assert result.error is None


def test_an_unchanged_line_is_written_as_it_came() -> None:
    line = '{ "b":1.0,  "a" : "\\u0041" }'
    (one,) = run(op.parse("json"), op.filter("b == 1"), lines=[line]).events
    assert (one.json(), one.data, one.raw) == (line.encode(), {"b": 1.0, "a": "A"}, line.encode())
    (one,) = run(op.parse("json"), op.set(c="1"), lines=[line]).events
    assert (one.raw, one.encoded) == (None, None)


def test_any_reactivex_operator_anywhere() -> None:
    result = run(
        op.parse("json"), ops.take(2), op.map("pid"), ops.map(lambda e: e), lines=[json.dumps(r) for r in RECORDS]
    )
    assert [one.data if isinstance(one, Event) else one for one in result.events] == [1, 7]
    numbers = run(ops.map(lambda e: e.data * 2), op.map("this + 1"), events=[1, 2])
    assert numbers.data == [3, 5]


def test_three_hundred_stages() -> None:
    result = run(*[op.map("this + 1")] * 300, events=[0])
    assert result.data == [300]


# buffer


def test_buffer_by_count() -> None:
    result = run_batches([[event(n) for n in range(5)], [event(n) for n in range(5, 7)]], op.buffer(count=3))
    assert [[member.data for member in one.data] for one in result.events] == [[0, 1, 2], [3, 4, 5], [6]]
    node = result.report.pipelines["test"].nodes[0]
    assert (node.taken, node.merged, node.made, node.out) == (7, 7, 3, 3)


def test_buffer_by_time_in_virtual_time() -> None:
    scheduler = TestScheduler()
    source = scheduler.create_hot_observable(
        *[ops_next(at, value) for at, value in ((210, 1), (211, 2), (216, 3), (250, 4))], ops_done(260)
    )
    received = scheduler.start(lambda: source.pipe(op.buffer(time=5.0), op.map(lambda e: [m.data for m in e.data])))
    assert [(message.time, message.value.value.data) for message in received.messages[:-1]] == [
        (215.0, [1, 2]),
        (221.0, [3]),
        (255.0, [4]),
    ]
    assert received.messages[-1].time == 260


def lists_in_virtual_time(operator: Any, *events: tuple[float, Any], end: float) -> list[tuple[float, list[Any]]]:
    """When which list comes out."""
    scheduler = TestScheduler()
    source = scheduler.create_hot_observable(*[ops_next(at, value) for at, value in events], ops_done(end))
    received = scheduler.start(lambda: source.pipe(operator, op.map(lambda e: [m.data for m in e.data])))
    assert received.messages[-1].time == end
    return [(message.time, message.value.value.data) for message in received.messages[:-1]]


def test_buffer_by_count_and_time_waits_anew_for_each_list() -> None:
    """The timer that was set for a list which went by its count fires in the middle of the next one's wait."""
    buffer = op.buffer(count=2, time=5.0)
    assert lists_in_virtual_time(buffer, (210, 1), (212, 2), (213, 3), (230, 4), end=300) == [
        (212.0, [1, 2]),
        (218.0, [3]),
        (235.0, [4]),
    ]
    # Again and again, while lists go by their count just before their time is up.
    steady = [(210 + n, n) for n in range(40)]
    assert lists_in_virtual_time(op.buffer(count=4, time=5.0), *steady, end=300) == [
        (213.0 + n, [n, n + 1, n + 2, n + 3]) for n in range(0, 40, 4)
    ]


def test_buffer_whose_timer_fires_between_two_lists() -> None:
    buffer = op.buffer(count=2, time=5.0)
    assert lists_in_virtual_time(buffer, (210, 1), (212, 2), (216, 3), end=300) == [(212.0, [1, 2]), (221.0, [3])]


def test_buffer_at_its_end_sends_once_and_no_timer_is_left() -> None:
    buffer = op.buffer(count=2, time=5.0)
    assert lists_in_virtual_time(buffer, (210, 1), end=212) == [(212.0, [1])]


def test_buffer_that_is_disposed_drops_what_it_holds_counted() -> None:
    held = rx.runner("sh", "-c", "seq 5; exec sleep 3600", name="idle").pipe(op.buffer(count=3, time="1h"))
    result, context = Result(), new_context("test")
    connection = held.connect(result, context)
    (node,) = context.pipeline.operators
    wait_until(lambda: node.held() == 2, "two events are held")
    connection.dispose()
    assert (node.held(), node.dropped, node.merged, node.out, result.ended) == (0, {"disposed": 2}, 3, 1, 0)
    context.close()


def ops_next(at: float, value: Any) -> Any:
    from reactivex.testing import ReactiveTest

    return ReactiveTest.on_next(at, value)


def ops_done(at: float) -> Any:
    from reactivex.testing import ReactiveTest

    return ReactiveTest.on_completed(at)


def test_buffer_in_real_time_flushes_an_idle_stream() -> None:
    stream = rx.runner("sh", "-c", "echo 1; sleep 3600", name="idle")
    first = stream.pipe(op.buffer(count=100, time="10ms"), ops.take(1)).run()
    assert [member["message"] for member in first.data] == ["1"]


def test_buffer_sends_what_it_holds_before_an_error() -> None:
    failure = ValueError("x")
    result = run_batches([[event(1)]], op.buffer(count=3), error=failure)
    assert [len(one.data) for one in result.events] == [1]
    assert result.error is failure


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: op.buffer(), "say 'count' or 'time'"),
        (lambda: op.buffer(count=0), "at least one event"),
        (lambda: op.filter("uid ="), "syntax error"),
        (lambda: op.parse("jsn"), "did you mean 'json'"),
        (lambda: op.parse("json", on_eror="drop"), "did you mean 'on_error'"),
        (lambda: op.parse("regex", pattern="("), "not a regular expression"),
        (lambda: op.backpressure("drop_latest"), "unknown choice 'drop_latest'"),
        (lambda: op.backpressure("block", capacity=0), "the capacity is at least 1"),
        (lambda: op.set(), "the mapping is empty"),
        (lambda: op.drop(), "the list is empty"),
    ],
)
def test_a_wrong_description_says_what_is_wrong(make: Any, message: str) -> None:
    with pytest.raises(rx.ConfigError, match=message):
        make()


def test_origin_is_untouched() -> None:
    assert run(op.set(a="1"), events=[{}]).events[0].origin is ORIGIN
