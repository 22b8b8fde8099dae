"""Windows that take events in within the loop before them: what comes out is what comes out of windows that get events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reactivex.testing import TestScheduler

from rx_collector import operators as op
from rx_collector.event import Event, Lines, Origin, from_json
from rx_collector.ledger import Report
from rx_collector.operators._windows import Fold, Windows
from rx_collector.stream import segment as segment_module
from rx_collector.stream.eventstream import EventStream, new_context
from rx_collector.stream.segment import Step, compile_segment
from tests.conftest import rounds
from tests.events import ORIGIN, Given, Result

AGGREGATES = {
    "n": "count()",
    "some": "count(a)",
    "total": "sum(a)",
    "mean": "mean(a)",
    "least": "min(b)",
    "most": "max(a)",
    "first": "first(b)",
    "last": "last(b)",
    "distinct": "distinct(b)",
    "p": "percentile(a, 50)",
    "top": "top(b, 2)",
}
VALUES = st.sampled_from([None, 0, 1, 2, 3.5, -7, True, "x", "y", 2**70, [1], {"c": 1}, "text"])
payloads = st.fixed_dictionaries(
    {}, optional={"a": VALUES, "b": VALUES, "k": VALUES, "t": st.one_of(st.integers(0, 40), st.none())}
)
#: Seconds after which a batch comes, what it has, and the payloads.
KINDS = st.sampled_from(["lines", "events", "encoded"])
batches = st.lists(st.tuples(st.integers(0, 7), KINDS, st.lists(payloads, max_size=8)), max_size=6)
keys = st.sampled_from([None, "k", ["k", "b"], {"key": "1 / a"}])
rows = st.lists(
    st.sampled_from(
        [
            op.filter("a != 0"),
            op.set(c="len(b)"),
            op.set(a="a + 1", b="a"),
            op.set(k="'constant'"),
            op.set(k="[b, k]"),
            op.set({"b": "c", "c": "1"}),
            op.filter("c != 1"),
            op.drop("b"),
            op.drop("a", "c"),
            op.rename(b="k"),
            op.rename({"a": "b", "b": "a"}),
            op.keep("a", "k"),
            op.keep("b", "c", "k"),
            op.log("b", level="debug"),
            op.dedupe("k", size=2),
            op.flat_map("[this, this]"),
            op.map(lambda event: event.data),
        ]
    ),
    max_size=4,
)


def windows(by: Any, aggregate: dict[str, str], size: int) -> list[Any]:
    return [
        op.aggregate(aggregate=aggregate, by=by, size=size),
        op.window(every=5, aggregate=aggregate, by=by, size=size),
        op.window(every=5, slide=2, aggregate=aggregate, by=by, size=size),
        op.window(every=6, slide=2, aggregate=aggregate, by=by, size=size),
        op.window(session=3, aggregate=aggregate, by=by, size=size),
        op.window(count=3, aggregate=aggregate, by=by, size=size),
        op.window(count=4, step=2, aggregate=aggregate, by=by, size=size),
        op.window(count=1, aggregate=aggregate, by=by, size=size),
        op.window(every=5, time="event", aggregate=aggregate, by=by, size=size),
        op.window(every=5, time="event", lateness=3, aggregate=aggregate, by=by, size=size),
        op.window(every=5, slide=2, time="event", lateness=2, aggregate=aggregate, by=by, size=size),
        op.window(session=3, time="event", aggregate=aggregate, by=by, size=size),
        op.window(session=2, time="event", lateness=6, aggregate=aggregate, by=by, size=size),
    ]


class Source(Given):
    """Sends each batch at its second of virtual time."""

    def __init__(self, scheduler: TestScheduler, given: list[tuple[int, str, list[Any]]]) -> None:
        super().__init__([])
        self._scheduler, self._given = scheduler, given

    def connect(self, observer: Any, context: Any) -> Any:
        first = 1
        for seconds, kind, data in self._given:
            self._scheduler.advance_by(seconds)
            origin = Origin("run", "exec", 1, 42, int(self._scheduler.clock * 10**9))
            encoded = [json.dumps(one).encode() for one in data]
            if kind == "lines":
                observer.on_batch(Lines(encoded, first, origin))
            elif kind == "events":
                observer.on_batch([Event(one, None, origin, first + n) for n, one in enumerate(data)])
            else:
                observer.on_batch([Event(from_json, None, origin, first + n, one) for n, one in enumerate(encoded)])
            first += len(data)
        observer.on_completed()
        return super().connect(Result(), context)


def play(
    given: Any, row: list[Any], window: Any, *, times: bool = False, parses: bool = True
) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """Give what came out, the dead letters, and the counts of all nodes."""
    scheduler = TestScheduler()
    context = new_context("test", scheduler)
    letters: list[Any] = []
    object.__setattr__(context, "reject", lambda record: letters.append((record.id, record.data)))
    result = Result()
    stream = EventStream(Source(scheduler, given))
    parse = op.parse("json", time={"field": "t", "unit": "s"}) if times else op.parse("json")
    for operator in [parse if parses else op.skip(0), *row, window]:
        stream = operator(stream)
    stream.connect(result, context)
    report = Report.of(context.ledger, seconds=0, exit_code=0)
    events = [(event.id, event.time_ns, event.data) for event in result.events]
    letters.sort(key=repr)  # those of one batch may come in another order: a loop has them event by event
    return events, letters, list(report.pipelines["test"].nodes), [result.ended]


@pytest.mark.slow
@settings(deadline=None, max_examples=rounds(400, 1600))
@given(
    given=batches,
    row=rows,
    by=keys,
    names=st.lists(st.sampled_from(list(AGGREGATES)), min_size=1, unique=True),
    size=st.sampled_from([1, 2, 100]),
    which=st.integers(0, 12),
    times=st.booleans(),
    parses=st.booleans(),
)
def test_taking_in_gives_what_sending_gives(
    given: Any, row: list[Any], by: Any, names: list[str], size: int, which: int, times: bool, parses: bool
) -> None:
    window = windows(by, {name: AGGREGATES[name] for name in names}, size)[which]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment_module, "is_on", lambda switch: switch != "absorbing")
        expected = play(given, row, window, times=times, parses=parses)
    assert repr(play(given, row, window, times=times, parses=parses)) == repr(expected)


@pytest.mark.parametrize(
    "row",
    [
        [op.keep("a", "k"), op.keep("a", "b", "k")],
        [op.set(b="1"), op.keep("a", "k")],
        [op.set(b="1"), op.drop("b")],
        [op.set(b="1"), op.rename(b="k")],
        [op.set(b="1"), op.rename(a="b")],
        [op.set(b="1"), op.drop("b"), op.filter("b == None")],
        [op.set(b="a"), op.set(a="b + 1", b="k")],
        [op.keep("a"), op.set(b="a"), op.keep("a", "b")],
    ],
    ids=lambda row: "-".join(stage.name for stage in row),
)
@pytest.mark.parametrize("kind", ["lines", "encoded"])
def test_edits_before_a_window_are_as_good_as_made(row: list[Any], kind: str) -> None:
    """What was set, dropped, renamed or not kept is read as it would be from the payload."""
    given = [(0, kind, [{"a": 1, "b": 2, "k": 3}, {"a": 4, "k": 5}, {"b": 6}])]
    window = windows(["k", "b"], {"first": "first(b)", "total": "sum(a)"}, 9)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment_module, "is_on", lambda switch: switch != "absorbing")
        expected = play(given, row, window, parses=kind == "lines")
    assert len(expected[0]) > 0
    assert repr(play(given, row, window, parses=kind == "lines")) == repr(expected)


@pytest.mark.fast_path
def test_no_event_is_made_but_for_the_first_of_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    batch: list[Any] = []
    sent = Windows.on_batch
    monkeypatch.setattr(Windows, "on_batch", lambda self, events: batch.append(events) or sent(self, events))
    lines = [b'{"k":"a","n":%d}' % n for n in range(100)]
    events, _, nodes, _ = play(
        [(0, "lines", [json.loads(line) for line in lines])], [], windows("k", {"n": "sum(n)"}, 9)[0]
    )
    assert [data for _, _, data in events] == [{"k": "a", "n": 4950}]
    assert batch == []
    assert (nodes[1].node, nodes[1].taken, nodes[1].merged, nodes[1].made) == ("operators[1] aggregate", 100, 100, 1)


@pytest.mark.fast_path
def test_only_what_is_read_is_decoded() -> None:
    node = new_context("test").pipeline.node("operators[1] aggregate")
    window = op.aggregate(aggregate={"n": "count()", "total": "sum(bytes)"}, by="comm").attach(
        Result(), new_context("test"), node
    )
    assert isinstance(window, Windows)
    stage = window.absorbing_stage()
    assert isinstance(stage, Fold)
    steps = [Step(op.parse("json"), "operators[0] parse"), Step(stage, "operators[1] aggregate")]
    source = compile_segment(steps, "lines").source
    assert "decode(raw)" not in source
    assert source.count("Event(") == 1
    assert "peek = decode_fields(raw)" in source


def test_what_sends_the_last_event_gets_all_of_them() -> None:
    context = new_context("test")
    made: Any = op.debounce(5).attach(Result(), context, context.pipeline.node("x"))
    assert made.absorbing_stage() is None
    made.dispose()
    context.close()


def test_what_comes_when_it_is_disposed_is_counted() -> None:
    context = new_context("test")
    result = Result()
    stream = EventStream(Given([])).then(op.parse("json")).then(op.aggregate(aggregate={"n": "count()"}))
    heads: list[Any] = []

    class Keeps(Given):
        def connect(self, observer: Any, context: Any) -> Any:
            heads.append(observer)
            return super().connect(Result(), context)

    connection = EventStream(Keeps([]), stream.steps).connect(result, context)
    heads[0].on_batch(Lines([b"{}", b"{}"], 1, ORIGIN))
    connection.dispose()
    heads[0].on_batch(Lines([b"{}", b"{}", b"{}"], 3, ORIGIN))
    parse, aggregate = context.pipeline.operators
    assert (parse.taken, parse.out) == (5, 5)
    assert (aggregate.taken, aggregate.dropped, aggregate.held()) == (5, {"disposed": 5}, 0)
    assert result.events == []


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(
    given=st.lists(st.tuples(st.just(0), st.booleans(), st.lists(st.integers(0, 9), max_size=30)), max_size=6),
    size=st.integers(1, 6),
    row=st.sampled_from(
        [[], [op.filter("k != 0")], [op.flat_map("[this, {'k': k + 1}]")], [op.map(lambda event: event.data)]]
    ),
    absorbing=st.booleans(),
)
def test_the_key_without_an_event_for_longest_gives_way(given: Any, size: int, row: list[Any], absorbing: bool) -> None:
    """Beside the plainest way to do it: a dict in the order of the last event."""
    counts: dict[int, int] = {}
    expected, opened = [], []
    for key in [key for _, _, keys in given for key in keys]:
        if row and isinstance(row[0], op.OPERATORS["filter"]) and key == 0:
            continue
        for one in (key, key + 1) if row and isinstance(row[0], op.OPERATORS["flat_map"]) else (key,):
            if one not in counts:
                opened.append(one)
            counts[one] = counts.pop(one, 0) + 1
            if len(counts) > size:
                oldest = next(iter(counts))
                opened.remove(oldest)
                expected.append({"k": oldest, "n": counts.pop(oldest)})
    expected += [{"k": one, "n": counts[one]} for one in opened]

    batches = []
    for seconds, of_lines, keys in given:
        rows = [{"k": key} for key in keys]
        if of_lines:
            batches.append((seconds, "lines", rows))
        else:
            batches.append((seconds, "events", [{"message": json.dumps(one)} for one in rows]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment_module, "is_on", lambda switch: absorbing or switch != "absorbing")
        events, _, nodes, _ = play(batches, row, op.aggregate(aggregate={"n": "count()"}, by="k", size=size))
    assert [data for _, _, data in events] == expected
    assert nodes[-1].held == 0


def test_what_is_noted_of_keys_that_gave_way_is_forgotten() -> None:
    """New keys all the time, and one that gets an event each time: that one stays, and what closes leaves nothing."""
    noted: list[int] = []
    real = Windows._send

    def send(self: Windows) -> None:
        real(self)
        noted.append(len(self._oldest or ()))

    rows = [{"k": key} for number in range(500) for key in (number, -1)]
    given = [(0, "lines", rows), *[(5, "lines", [{"k": key} for key in range(8)])] * 200]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Windows, "_send", send)
        events, *_ = play(given, [], op.window(every=5, aggregate={"n": "count()"}, by="k", size=10))
    assert 10 < max(noted) <= 1020
    assert [data["n"] for _, _, data in events].count(500) == 1
    assert len(events) == 501 + 1600
