"""Windows: which event is in which, when they close, and that every event is accounted for meanwhile."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from typing import Any

import pytest
import reactivex
import reactivex.operators as ops
from hypothesis import given, settings
from hypothesis import strategies as st
from reactivex.testing import TestScheduler

import rx_collector as rx
from rx_collector import operators as op
from rx_collector.config.document import parse_document
from rx_collector.config.options import INVALID, Scope
from rx_collector.event import Event, format_time
from rx_collector.operators import OPERATORS
from rx_collector.stream.eventstream import new_context
from tests.events import ORIGIN, Result, run, run_batches

SECOND = 10**9


def at(seconds: float, line: int = 1, **data: Any) -> Event:
    """An event of so many seconds after 1970 by its own time."""
    return Event(data, None, ORIGIN, line, None, round(seconds * SECOND))


def windows(*events: Event, **options: Any) -> list[dict[str, Any]]:
    aggregate = options.pop("aggregate", {"n": "count()"})
    return run_batches([list(events)], op.window(aggregate=aggregate, time="event", **options)).data


def bounds(data: dict[str, Any]) -> tuple[str, str]:
    return data["window_start"][11:23], data["window_end"][11:23]


# Which event is in which window


def test_tumbling_windows_by_key() -> None:
    events = [at(0, k="a", b=1), at(59.9, k="b", b=2), at(60, k="a", b=4), at(61, k="a", b=8), at(119, k="b", b=16)]
    made = windows(*events, every="1m", by="k", aggregate={"n": "count()", "total": "sum(b)"})
    assert [(one["k"], one["n"], one["total"], *bounds(one)) for one in made] == [
        ("a", 1, 1, "00:00:00.000", "00:01:00.000"),
        ("b", 1, 2, "00:00:00.000", "00:01:00.000"),
        ("a", 2, 12, "00:01:00.000", "00:02:00.000"),
        ("b", 1, 16, "00:01:00.000", "00:02:00.000"),
    ]
    assert list(made[0]) == ["k", "n", "total", "window_start", "window_end"]


def test_sliding_windows() -> None:
    made = windows(at(25, x=1), at(31, x=2), every="30s", slide="10s", aggregate={"xs": "sum(x)"})
    assert [(one["xs"], bounds(one)[0]) for one in made] == [
        (1, "00:00:00.000"),
        (3, "00:00:10.000"),
        (3, "00:00:20.000"),
        (2, "00:00:30.000"),
    ]


def test_a_window_closes_when_the_events_have_come_so_far_and_not_before() -> None:
    operator = op.window(every="10s", aggregate={"n": "count()"}, time="event", lateness="5s")
    result = run_batches([[at(1)], [at(14.9)], [at(3)], [at(15)], [at(4)], [at(16)]], operator)
    assert [(one["n"], bounds(one)[0]) for one in result.data] == [(2, "00:00:00.000"), (3, "00:00:10.000")]
    assert result.batches == [1, 1]
    node = result.report.pipelines["test"].nodes[0]
    assert result.report.pipelines["test"].dropped == {"window: late": 1}
    assert (node.merged, node.made) == (5, 2)


def test_sessions_by_key() -> None:
    events = [at(0, k="a"), at(4, k="b"), at(9.9, k="a"), at(19.9, k="a"), at(20, k="b")]
    made = windows(*events, session="10s", by="k")
    assert [(one["k"], one["n"], *bounds(one)) for one in made] == [
        ("b", 1, "00:00:04.000", "00:00:04.000"),
        ("a", 2, "00:00:00.000", "00:00:09.900"),
        ("a", 1, "00:00:19.900", "00:00:19.900"),
        ("b", 1, "00:00:20.000", "00:00:20.000"),
    ]


def test_a_late_event_joins_two_sessions() -> None:
    aggregate = {"n": "count()", "first": "first(x)", "last": "last(x)", "top": "top(x, 2)", "p": "percentile(x, 100)"}
    made = windows(at(0, x=1), at(16, x=2), at(8, x=3), session="10s", lateness="1m", aggregate=aggregate)
    (one,) = made
    assert (one["n"], one["first"], one["last"], one["p"], *bounds(one)) == (3, 1, 3, 3, "00:00:00.000", "00:00:16.000")
    assert [top["count"] for top in one["top"]] == [1, 1]


def test_windows_of_so_many_events() -> None:
    made = run(
        op.window(count=2, by="k", aggregate={"s": "sum(x)"}), events=[{"k": k, "x": x} for x in range(3) for k in "ab"]
    )
    assert [(one["k"], one["s"]) for one in made.data] == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]


def test_windows_of_so_many_events_that_overlap() -> None:
    made = run(
        op.window(count=4, step=2, aggregate={"s": "sum(x)", "n": "count()"}), events=[{"x": x} for x in range(7)]
    )
    assert [(one["s"], one["n"]) for one in made.data] == [(1, 2), (6, 4), (14, 4), (15, 3)]
    assert made.report.pipelines["test"].nodes[0].merged == 7


def test_a_window_that_was_full_does_not_give_way_again() -> None:
    """What it had is sent once, though it is the one that got no event for longest."""
    options: dict[str, Any] = {"count": 4, "step": 2, "size": 1, "by": "k", "aggregate": {"n": "count()"}}
    made = run(op.window(**options), events=[{"k": k} for k in "abbab"])
    assert [(one["k"], one["n"]) for one in made.data] == [("a", 1), ("b", 2), ("a", 1), ("b", 1)]
    node = made.report.pipelines["test"].nodes[0]
    assert (node.taken, node.merged, node.rejected, node.held) == (5, 5, 0, 0)


def test_aggregate_alone_closes_at_the_end() -> None:
    records = [{"k": "a", "x": 1}, {"k": "b", "x": 5}, {"k": "a", "x": 2}, {"k": "a"}]
    made = run(
        op.aggregate({"n": "count()", "xs": "count(x)", "mean": "mean(x)"}, by={"who": "k.upper()"}), events=records
    )
    assert (
        made.data == [{"who": "A", "n": 3, "xs": 2, "mean": 1.5}, {"who": "B", "n": 1, "xs": 1, "mean": 5.0}]
        or made.data
    )
    assert [one["who"] for one in made.data] == ["B", "A"] or [one["who"] for one in made.data] == ["A", "B"]


def test_what_is_open_is_sent_before_an_error() -> None:
    result = run_batches([[at(1)]], op.window(every="1m", aggregate={"n": "count()"}), error=ValueError("x"))
    assert [one["n"] for one in result.data] == [1]
    assert isinstance(result.error, ValueError)


# Aggregates


def test_every_aggregate() -> None:
    names = {
        "n": "count()",
        "c": "count(x)",
        "s": "sum(x)",
        "lo": "min(x)",
        "hi": "max(x)",
        "m": "mean(x)",
        "f": "first(x)",
        "l": "last(x)",
        "d": "distinct(x)",
        "p": "percentile(x, 50)",
        "t": "top(x, 1)",
    }
    (made,) = run(op.aggregate(names), events=[{"x": 3}, {"x": 1}, {}, {"x": 3}, {"x": 5}]).data
    assert made == {
        "n": 5,
        "c": 4,
        "s": 12,
        "lo": 1,
        "hi": 5,
        "m": 3.0,
        "f": 3,
        "l": 5,
        "d": 3,
        "p": pytest.approx(3, rel=0.01),
        "t": [{"value": 3, "count": 2}],
    }
    (empty,) = run(op.aggregate(names), events=[{}]).data
    assert empty == {
        "n": 1,
        "c": 0,
        "s": 0,
        "d": 0,
        "t": [],
        **dict.fromkeys(("lo", "hi", "m", "f", "l", "p")),
    }


@settings(deadline=None)
@given(st.lists(st.floats(-1e12, 1e12) | st.integers(-1000, 1000), min_size=1, max_size=300), st.floats(0, 100))
def test_percentiles_are_within_one_percent(values: list[float], percent: float) -> None:
    (made,) = run(op.aggregate({"p": f"percentile(x, {percent:.6f})"}), events=[{"x": x} for x in values]).data
    ordered = sorted(values)
    rank = round(percent, 6) / 100 * (len(values) - 1)
    low, high = ordered[int(rank)], ordered[min(int(rank) + 1, len(values) - 1)]
    assert low - 0.0101 * abs(low) <= made["p"] <= high + 0.0101 * abs(high)


@pytest.mark.parametrize("count", [0, 1, 1024, 1025, 5000, 200_000])
def test_distinct_values_are_counted_within_a_few_percent(count: int) -> None:
    from rx_collector.expressions.sketch import Distinct

    one, other = Distinct(), Distinct()
    for number in range(count):
        (one if number % 2 else other).add(f"value {number}")
        one.add(f"value {number}")
    one.merge(other)
    assert one.count() == count if count <= 1024 else abs(one.count() - count) < 0.05 * count


def test_the_most_frequent_are_found_among_very_many() -> None:
    chance = random.Random(1)
    values = [f"often {n}" for n in range(5) for _ in range(2000 - 100 * n)] + [f"once {n}" for n in range(20_000)]
    chance.shuffle(values)
    (made,) = run(op.aggregate({"top": "top(x, 5)"}), events=[{"x": x} for x in values]).data
    assert [one["value"] for one in made["top"]] == [f"often {n}" for n in range(5)]
    for number, one in enumerate(made["top"]):
        assert 0 <= one["count"] - (2000 - 100 * number) <= len(values) / 1000


@pytest.mark.parametrize(
    ("aggregate", "value", "message"),
    [
        ("sum(x)", "a", "TypeError: a number is wanted here, not a str"),
        ("percentile(x, 9)", True, "ValueError: a finite number is wanted here, not True"),
        ("max(x)", [1], "TypeError: a number or a text is wanted here, not a list"),
        ("sum(x + 1)", "a", "TypeError: "),
    ],
)
def test_what_cannot_be_aggregated_is_rejected_and_leaves_no_trace(aggregate: str, value: Any, message: str) -> None:
    records = [{"x": 1}, {"x": value}, {"x": 2}]
    result = run(op.window(count=2, aggregate={"n": "count()", "a": aggregate}), events=records)
    assert [one["n"] for one in result.data] == [2]
    (record,) = result.rejected
    assert record["error"].startswith(message)
    assert (record["reason"], record["operator"], record["data"]) == ("window", "operators[0] window", {"x": value})


def test_numbers_come_before_texts() -> None:
    (made,) = run(op.aggregate({"lo": "min(x)", "hi": "max(x)"}), events=[{"x": x} for x in ("b", 2, "a", 1.5)]).data
    assert made == {"lo": 1.5, "hi": "b"}


# What is kept is bounded


def test_more_keys_than_there_is_room_for_are_sent_early_and_said() -> None:
    records = [{"k": k} for k in ("a", "b", "a", "c", "a", "b")]
    result = run(op.aggregate({"n": "count()"}, by="k", size=2), events=records)
    assert [(one["k"], one["n"]) for one in result.data] == [("b", 1), ("c", 1), ("a", 3), ("b", 1)]
    assert result.report.pipelines["test"].nodes[0].notes["evicted"] == 2


def test_a_million_keys_take_the_memory_of_a_few() -> None:
    from rx_collector.operators._windows import Tiles

    context = new_context("test")
    result = Result()
    node = context.pipeline.node("x")
    window = op.window(every="1h", by="k", aggregate={"n": "count()"}, time="event", size=10).attach(
        result, context, node
    )
    assert isinstance(window, Tiles)
    for number in range(20_000):
        window.on_batch([at(1, k=number)])
    assert len(window.states) == 10
    assert len(window._due) < 1100
    window.on_completed()
    assert sum(one["n"] for one in result.data) == 20_000


# By the clock


def test_windows_by_arrival_close_when_the_time_is_up_without_another_event() -> None:
    scheduler = TestScheduler()
    context = new_context("test", scheduler)
    node = context.pipeline.node("operators[0] window")
    seen: list[tuple[float, str, int]] = []
    held: list[int] = []

    class Seen(Result):
        def on_batch(self, batch: Any) -> None:
            seen.extend((scheduler.clock, one["k"], one["n"]) for one in batch)

    window: Any = op.window(every=10, by="k", aggregate={"n": "count()"}).attach(Seen(), context, node)

    def send(keys: str) -> Any:
        return lambda *_: window.on_batch([Event({"k": k}, None, ORIGIN, 1) for k in keys])

    for moment, keys in ((1.0, "ab"), (9.0, "a"), (12.0, "b"), (35.0, "a")):
        scheduler.schedule_absolute(moment, send(keys))
    for moment in (9.5, 10.5, 15.0, 25.0):
        scheduler.schedule_absolute(moment, lambda *_: held.append(node.held()))
    scheduler.schedule_absolute(37.0, lambda *_: window.on_completed())
    scheduler.start()
    assert seen == [(10.0, "a", 2), (10.0, "b", 1), (20.0, "b", 1), (37.0, "a", 1)]
    assert held == [3, 0, 1, 0]
    assert (node.missing(), node.merged) == (0, 5)


def test_sessions_by_arrival_go_on_as_long_as_something_comes() -> None:
    scheduler = TestScheduler()
    context = new_context("test", scheduler)
    seen: list[tuple[float, int]] = []

    class Seen(Result):
        def on_batch(self, batch: Any) -> None:
            seen.extend((scheduler.clock, one["n"]) for one in batch)

    window: Any = op.window(session=10, aggregate={"n": "count()"}).attach(Seen(), context, context.pipeline.node("x"))
    for moment in (1.0, 9.0, 18.0, 40.0):
        scheduler.schedule_absolute(moment, lambda *_: window.on_batch([Event({}, None, ORIGIN, 1)]))
    scheduler.schedule_absolute(100.0, lambda *_: window.on_completed())
    scheduler.start()
    assert seen == [(28.0, 3), (50.0, 1)]


def test_an_hour_of_windows_takes_no_time() -> None:
    scheduler = TestScheduler()
    made: list[Any] = []
    ticks = reactivex.interval(1.0, scheduler=scheduler).pipe(ops.take(3600))
    stream = ticks.pipe(op.window(every="1m", aggregate={"n": "count()"}))
    stream.subscribe(made.append, scheduler=scheduler)
    began = time.process_time()
    scheduler.start()
    assert time.process_time() - began < 3  # an hour by its own clock
    assert sum(one["n"] for one in made) == 3600
    assert len(made) in (60, 61)


# The ledger, and everything against a model


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from("abc"), st.integers(-5, 5)), max_size=60),
    st.integers(1, 30),
    st.integers(1, 4),
    st.integers(0, 40),
    st.lists(st.integers(1, 10), max_size=10),
)
def test_time_windows_against_a_model(
    given_: list[tuple[int, str, int]], slide: int, times: int, lateness: int, sizes: list[int]
) -> None:
    """However the events are cut into batches, and in whatever order they come."""
    length = slide * times
    events = [at(second, line, k=key, x=x) for line, (second, key, x) in enumerate(given_, 1)]
    batches: list[Any] = []
    rest = list(events)
    for size in sizes:
        batches.append(rest[:size])
        rest = rest[size:]
    batches.append(rest)
    options: dict[str, Any] = {"every": length, "slide": slide, "time": "event", "lateness": lateness}
    aggregate = {"n": "count()", "s": "sum(x)", "f": "first(x)"}
    result = run_batches([batch for batch in batches if batch], op.window(aggregate, by="k", **options))

    expected: dict[tuple[int, str], list[int]] = defaultdict(list)
    watermark, late = -(10**9), 0
    for second, key, x in given_:
        watermark = max(watermark, second - lateness)
        starts = [
            start for start in range(-length, second + 1) if start % slide == 0 and start <= second < start + length
        ]
        open_ = [start for start in starts if start + length > watermark]
        late += not open_
        for start in open_:
            expected[start, key].append(x)
    got = Counter((one["window_start"], one["k"], one["n"], one["s"], one["f"]) for one in result.data)
    assert got == Counter(
        (format_time(start * SECOND), key, len(xs), sum(xs), xs[0]) for (start, key), xs in expected.items()
    )
    ends = [one["window_end"] for one in result.data]
    assert ends == sorted(ends)
    node = result.report.pipelines["test"].nodes[0]
    assert node.dropped == late
    assert node.merged == len(events) - late


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 100), st.sampled_from("ab")), max_size=50), st.integers(1, 20))
def test_sessions_against_a_model(given_: list[tuple[int, str]], gap: int) -> None:
    """With all the time in the world for late events, sessions do not depend on the order in which events come."""
    events = [at(second, line, k=key) for line, (second, key) in enumerate(given_, 1)]
    made = windows(*events, session=gap, lateness=1000, by="k")
    expected = []
    for key in "ab":
        moments = sorted(second for second, of in given_ if of == key)
        sessions: list[list[int]] = []
        for moment in moments:
            if sessions and moment - sessions[-1][-1] < gap:
                sessions[-1].append(moment)
            else:
                sessions.append([moment])
        expected += [(key, len(one), one[0], one[-1]) for one in sessions]
    got = sorted((one["k"], one["n"], one["window_start"], one["window_end"]) for one in made)
    assert got == sorted((k, n, format_time(a * SECOND), format_time(b * SECOND)) for k, n, a, b in expected)


def test_ids_of_windows_differ_and_stay_the_same() -> None:
    def ids() -> list[str]:
        batch = [at(second, line, k=k) for line, (second, k) in enumerate([(0, "a"), (5, "b"), (70, "a")], 1)]
        operator = op.window(every="1m", slide="30s", by="k", aggregate={"n": "count()"}, time="event")
        return [one.id for one in run_batches([batch], operator).events]

    assert ids() == ids()
    assert len(set(ids())) == len(ids()) == 6


def test_a_window_that_is_disposed_says_what_it_held() -> None:
    context = new_context("test")
    node = context.pipeline.node("x")
    result = Result()
    window: Any = op.window(every="1h", slide="30m", aggregate={"n": "count()"}).attach(result, context, node)
    window.on_batch([at(1), at(2)])
    assert node.held() == 2
    window.dispose()
    window.on_batch([at(3)])
    window.on_completed()
    assert (node.held(), node.dropped, node.missing(), result.events) == (0, {"disposed": 3}, 0, [])
    context.close()


def test_an_event_in_several_windows_is_held_until_the_last_of_them_closes() -> None:
    context = new_context("test")
    node = context.pipeline.node("x")
    window: Any = op.window({"n": "count()"}, every=30, slide=10, time="event").attach(Result(), context, node)
    held = []
    for second in (25, 41, 51, 200):  # the first is in windows that end at 30, 40 and 50
        window.on_batch([at(second)])
        held.append(node.held())
    assert held == [1, 2, 2, 1]
    window.on_completed()
    assert (node.held(), node.merged, node.missing()) == (0, 4, 0)
    context.close()


# In files


def made(text: str) -> Any:
    scope = Scope()
    value = parse_document(text).value
    (name,) = value
    operator = OPERATORS[name].from_value(value[name], scope)
    return operator if operator is not INVALID else [mistake.message for mistake in scope.mistakes]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("window: {aggregate: {n: count()}}", "say one of 'every', 'session' and 'count'"),
        ("window: {every: 1m, session: 1m, aggregate: {n: count()}}", "say one of"),
        ("window: {every: 1m}", "'aggregate' is missing"),
        ("window: {every: 0s, aggregate: {n: count()}}", "more than nothing"),
        ("window: {every: 1m, slide: 2m, aggregate: {n: count()}}", "an event can be in 1 to 1,000 windows"),
        ("window: {session: 1m, slide: 2m, aggregate: {n: count()}}", "'slide' goes with 'every'"),
        ("window: {count: 5, step: 2, aggregate: {n: count()}}", "must be a multiple of 'step'"),
        ("window: {count: 5, time: event, aggregate: {n: count()}}", "has no time"),
        ("window: {every: 1m, lateness: 1s, aggregate: {n: count()}}", "goes with 'time: event'"),
        ("window: {every: 1m, by: n, aggregate: {n: count()}}", "there is a field 'n' already"),
        ("window: {every: 1m, by: [], aggregate: {n: count()}}", "the list is empty"),
        ("window: {every: 1m, aggregate: {n: cuont()}}", "did you mean 'count'"),
        ("window: {every: 1m, aggregate: {n: 'percentile(x, 101)'}}", "a number from 0 to 100"),
        ("window: {every: 1m, aggregate: {n: top(x)}}", "such as top(bytes, 5)"),
        ("aggregate: {by: k}", "the mapping is empty"),
        ("aggregate: {n: 7}", "an aggregate such as count()"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    (said,) = made(text)
    assert message in said


def test_ways_to_write_them() -> None:
    assert made("aggregate: {n: count()}").aggregate["n"].text == "count()"
    both = made("aggregate: {by: [a, b.c], n: count()}")
    assert (list(both.by), list(both.aggregate)) == (["a", "b.c"], ["n"])
    assert list(made("aggregate: {by: a, aggregate: {by_the_way: count()}}").aggregate) == ["by_the_way"]
    assert list(made("window: {every: 1m, by: {program: basename(filename)}, aggregate: {n: count()}}").by) == [
        "program"
    ]


def test_sketches_are_not_for_conflate() -> None:
    with pytest.raises(rx.ConfigError, match="too much memory"):
        op.backpressure("conflate", aggregate={"d": "distinct(x)"})
