"""What is one key and what are two: as in JSON, and the same for whatever tells events apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st

import rx_collector as rx
from rx_collector import operators as op
from rx_collector.expressions.keys import canonical, hashable
from rx_collector.expressions.sketch import Distinct, Frequent
from rx_collector.testing import Script, run_script

#: Values in groups of those that are one key.
ALIKE: list[list[Any]] = [
    [1, 1.0],
    [True],
    ["1"],
    [0, 0.0, -0.0],
    [False],
    [None],
    ["true"],
    [{"x": 1, "y": [True]}, {"y": [True], "x": 1.0}],
    [{"x": True, "y": [True]}],
    [{"x": 1, "y": [1]}],
    [[1, 2], [1.0, 2.0]],
    [[True, 2]],
    [[2, 1]],
    [[]],
    [{}],
    [[["a"]], [["a"]]],
    [float("nan"), float("nan")],
    [2**60, float(2**60)],
    [2**60 + 1],
    ["[1,2]"],
]
EVENTS = [{"k": value, "n": 1, "g": group} for group, values in enumerate(ALIKE) for value in values]
FIRST = [next(number for number, event in enumerate(EVENTS) if event["g"] == group) for group in range(len(ALIKE))]


def came(*operators: Any) -> list[Any]:
    run = run_script(Script.of(EVENTS), *operators).wait()
    run.check()
    return run.probe.data


@pytest.mark.parametrize("several", [False, True], ids=["one value", "a value and a text"])
@pytest.mark.parametrize(
    "operator",
    [
        lambda key: op.dedupe(key),
        lambda key: op.throttle(count=1, time=3600, key=key),
        lambda key: op.sample(every=1000, key=key),
        lambda key: op.group_by(key, op.limit(1)),
    ],
    ids=["dedupe", "throttle", "sample", "group_by"],
)
def test_the_first_of_each_key_passes(operator: Callable[[Any], Any], several: bool) -> None:
    assert came(operator(["k", "'text'"] if several else ["k"])) == [EVENTS[number] for number in FIRST]


@pytest.mark.parametrize(
    "operator",
    [
        op.aggregate({"n": "count()", "g": "first(g)"}, by="k"),
        op.window(every=3600, by="k", aggregate={"n": "count()", "g": "first(g)"}),
        op.window(session=3600, by="k", aggregate={"n": "count()", "g": "first(g)"}),
        op.window(count=1000, by="k", aggregate={"n": "count()", "g": "first(g)"}),
        # behind a function, where the window is not part of the loop before it
        [op.group_by("1", op.tap(lambda event: None)), op.aggregate({"n": "count()", "g": "first(g)"}, by="k")],
    ],
    ids=["aggregate", "window", "session", "count", "aggregate of events"],
)
def test_there_is_a_window_of_each_key(operator: Any) -> None:
    operators = operator if isinstance(operator, list) else [operator]
    assert [(event["g"], event["n"]) for event in came(*operators)] == [(g, len(ALIKE[g])) for g in range(len(ALIKE))]


def test_state_is_kept_for_each_key() -> None:
    wanted = [number + 1 for values in ALIKE for number in range(len(values))]
    assert [event["t"] for event in came(op.scan({"t": "default(t, 0) + 1"}, by="k"))] == wanted
    changes = [None if number == 1 else 0 for number in wanted]
    assert [event["n_change"] for event in came(op.diff("n", by="k"))] == changes


def test_a_join_finds_what_is_equal() -> None:
    said = reactivex.from_iterable([{"k": values[0], "said": group} for group, values in enumerate(ALIKE)])
    assert [event["said"] for event in came(op.join(said, "k"))] == [event["g"] for event in EVENTS]


def test_values_are_counted_as_keys_are() -> None:
    distinct, frequent = Distinct(), Frequent(1000)
    for event in EVENTS:
        if event["k"] == event["k"] and event["k"] is not None:  # NaN has the JSON of null
            distinct.add(event["k"])
            frequent.add(event["k"])
    assert distinct.count() == len(frequent.top(1000)) == len(ALIKE) - 2


def test_a_sample_by_a_key_keeps_all_that_are_equal() -> None:
    for rate in (0.1, 0.3, 0.5, 0.7, 0.9):
        kept = came(op.sample(rate=rate, key="k"))
        assert {event["g"] for event in kept}.isdisjoint(event["g"] for event in EVENTS if event not in kept)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, 1.5, "", "1", "true"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


@given(VALUES, VALUES)
def test_the_key_is_one_if_and_only_if_the_json_is(left: Any, right: Any) -> None:
    assert (hashable(left) == hashable(right)) == (canonical(left) == canonical(right))
    text = json.dumps(left)
    assert hashable(json.loads(text)) == hashable(left)


def test_a_key_that_is_nested_too_deeply_rejects_its_event() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    run = run_script(Script.of([{"k": deep}, {"k": 1}]), op.map(lambda event: event.data), op.dedupe("k")).wait()
    assert run.probe.data == [{"k": 1}]


def test_the_payload_has_the_key_as_it_came_first() -> None:
    stream = rx.runner("printf", '{"k":1.0}\n{"k":1}\n').pipe(op.parse("json"), op.aggregate({"n": "count()"}, by="k"))
    assert repr(stream.run().data) == "{'k': 1.0, 'n': 2}"
