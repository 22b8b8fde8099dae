"""group_by: whatever operators keep, they keep for each key by itself; groups come and go, and no event without account."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rx_collector as rx
from rx_collector import operators as op
from rx_collector.config.document import parse_document
from rx_collector.errors import ConfigError, ParseError, ProcessError
from rx_collector.event import Event
from rx_collector.ledger import NodeReport
from rx_collector.testing import Probe, Script, run_script
from tests.conftest import wait_until
from tests.events import ORIGIN, compilations
from tests.operators.test_timed import Timed
from tests.runners.helpers import run_project

LETTERS = [{"k": letter, "n": number} for number, letter in enumerate("abacbbaca")]


def through(script: Script, *operators: Any) -> tuple[list[Any], dict[str, NodeReport]]:
    """Give what comes out and the nodes by name; every breach of a rule fails."""
    run = run_script(script, *operators).wait()
    run.check()
    return run.probe.data, {node.node: node for node in run.report().pipelines["check"].nodes}


def pairs(data: list[Any]) -> list[str]:
    return [f"{one['k']}{one['n']}" for one in data]


def test_each_key_has_operators_of_its_own_and_the_order_is_that_of_the_stream() -> None:
    data, nodes = through(Script.of(LETTERS), op.group_by("k", op.skip(1), op.limit(2)))
    assert pairs(data) == ["a2", "b4", "b5", "a6", "c7"]
    assert list(nodes) == ["operators[0] group_by", "operators[0].group_by[0] skip", "operators[0].group_by[1] limit"]
    outer, skip, limit = nodes.values()
    assert (outer.taken, outer.out, outer.notes) == (9, 9, {})
    assert (skip.taken, skip.filtered, skip.out) == (9, 3, 6)
    assert (limit.taken, limit.filtered, limit.out) == (6, 1, 5)


def test_a_key_can_be_of_several_values_of_any_kind() -> None:
    given = [{"a": [1], "b": 2}, {"a": [1], "b": 3}, {"a": [1], "b": 2}, {"a": None}, {}]
    data, _ = through(Script.of(given), op.group_by(["a", lambda event: event["b"]], op.limit(1)))
    assert data == [given[0], given[1], given[3]]


def test_what_groups_hold_is_sent_at_the_end_the_one_idle_for_longest_first() -> None:
    data, _ = through(Script.of(LETTERS), op.group_by("k", op.buffer(count=100)))
    assert [pairs([event.data for event in made]) for made in data] == [
        ["b1", "b4", "b5"],
        ["c3", "c7"],
        ["a0", "a2", "a6", "a8"],
    ]


def test_held_counts_what_all_groups_hold() -> None:
    timed = Timed(op.group_by("k", op.buffer(count=3)))
    for data in LETTERS[:6]:
        timed.head.on_batch([Event(data, None, ORIGIN, 1)])
    buffers = timed.context.pipeline.operators[1]
    assert (buffers.name, buffers.taken, buffers.merged, buffers.held()) == ("operators[0].it[0] buffer", 6, 3, 3)
    assert buffers.missing() == 0
    timed.head.on_completed()
    assert (buffers.held(), buffers.merged, buffers.made) == (0, 6, 3)


def test_of_too_many_groups_the_one_idle_for_longest_is_completed() -> None:
    data, nodes = through(Script.of(LETTERS[:6]), op.group_by("k", op.buffer(count=100), size=2))
    # a and b are there, a was seen last when c comes; b begins anew and c is still there.
    assert [pairs([event.data for event in made]) for made in data] == [["b1"], ["a0", "a2"], ["c3"], ["b4", "b5"]]
    assert nodes["operators[0] group_by"].notes == {"evicted": 2}
    assert nodes["operators[0].group_by[0] buffer"].merged == 6


def test_a_group_that_got_nothing_for_so_long_is_completed() -> None:
    timed = Timed(op.group_by("k", op.aggregate(aggregate={"n": "count()"}), idle="10s"))
    a, b = {"k": "a"}, {"k": "b"}
    seen = timed.run((0, a), (4, b), (8, a), (30, a), end=35)
    assert [(second, data["n"] if isinstance(data, dict) else data) for second, data in seen] == [
        (14, 1),  # b
        (18, 2),  # a
        (35, 1),  # a, anew
        (35, "completed"),
    ]
    assert timed.node.notes == {"expired": 2}


def test_timers_of_operators_within_send_for_their_group() -> None:
    timed = Timed(op.group_by("k", op.debounce("5s")))
    a, b = {"k": "a"}, {"k": "b"}
    assert timed.run((0, a), (3, b), (4, a), (6, b)) == [(9, a), (11, b)]


def test_the_error_of_one_group_ends_the_stream_after_what_the_others_hold() -> None:
    timed = Timed(op.group_by("k", op.filter("n >= 0"), op.timeout("10s"), op.buffer(count=10)))
    seen = timed.run((1, {"k": "a", "n": 1}), (5, {"k": "b", "n": 2}), (7, {"k": "b", "n": 3}))
    assert [second for second, _ in seen] == [11, 11, 11]
    assert [[event.data["n"] for event in made] for _, made in seen[:2]] == [[1], [2, 3]]
    assert isinstance(seen[2][1], ProcessError)
    assert "operators[0].it[1] timeout: no event for 10s" in str(seen[2][1])
    timed.head.on_batch([Event({"k": "c"}, None, ORIGIN, 1)])
    assert timed.node.dropped == {"stream failed": 1}


def test_a_stage_that_ends_the_stream_ends_it_and_the_rest_is_counted() -> None:
    given = [{"k": "a", "t": "{}"}, {"k": "b", "t": "x"}, {"k": "a", "t": "{}"}, {"k": "b", "t": "{}"}]
    run = run_script(
        Script.of(given), op.group_by("k", op.parse("json", on_error="fail", field="t"), op.buffer(count=5))
    ).wait()
    run.check(balanced=False)
    assert isinstance(run.probe.error, ParseError)
    nodes = {node.node: node for node in run.report().pipelines["check"].nodes}
    assert len(run.probe.data) == 1
    assert nodes["operators[0] group_by"].dropped == 2
    for node in run.context.pipeline.operators:
        assert node.missing() == 0, node.name


def test_an_event_for_which_the_key_fails_is_rejected() -> None:
    run = run_script(Script.of([{"n": "1"}, {"n": "x"}, {"n": "2"}]), op.group_by("int(n)", op.limit(1))).wait()
    run.check()
    assert [event["n"] for event in run.probe.events] == ["1", "2"]
    (record,) = run.rejected
    assert (record.data["operator"], record.data["reason"], record.data["data"]) == (
        "operators[0] group_by",
        "group_by",
        {"n": "x"},
    )


def test_an_event_that_an_operator_within_rejects_names_it() -> None:
    run = run_script(Script.of([{"k": 1, "n": "x"}]), op.group_by("k", op.set(m="int(n)"))).wait()
    run.check()
    (record,) = run.rejected
    assert record.data["operator"] == "operators[0].group_by[0] set"


def test_disposing_drops_what_all_groups_hold() -> None:
    probe = Probe()
    run = run_script(Script.of(LETTERS, endless=True), op.group_by("k", op.buffer(count=1_000_000)), probe=probe)
    buffers = run.context.pipeline.operators[1]
    wait_until(lambda: buffers.held() > 100, "events in the groups")
    run.dispose()
    assert probe.data == []
    assert buffers.held() == 0
    assert buffers.missing() == 0
    assert buffers.dropped["disposed"] > 100


def test_the_state_of_ended_groups_is_let_go() -> None:
    """Twenty thousand keys, a hundred groups: what the node knows of holders does not grow."""
    keys = [{"k": number} for number in range(20_000)]
    run = run_script(Script.of(keys, size=1000), op.group_by("k", op.buffer(count=2), size=100)).wait()
    run.check()
    assert len(run.probe.events) == 20_000
    node: Any = run.context.pipeline.operators[1]
    assert node._holders == {}


def test_the_loops_within_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = compilations(monkeypatch)
    data, _ = through(
        Script.of([{"k": number % 50, "n": number} for number in range(200)]),
        op.group_by("k", op.set(x="n"), op.dedupe("n % 100"), op.buffer(count=2), op.map("{'size': len(this)}")),
    )
    assert data == [{"size": 2}] * 50
    assert len(compiled) == 2  # the two rows of stages, not fifty times two


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=60), st.integers(1, 7))
def test_grouping_equals_a_stream_for_each_key(events: list[tuple[int, int]], size: int) -> None:
    inner = [op.dedupe("n", size=2), op.scan({"s": "default(s, 0) + n"}), op.window(count=2, aggregate={"s": "sum(s)"})]
    given = [{"k": key, "n": number} for key, number in events]
    grouped, _ = through(Script.of(given, size=size), op.group_by("k", op.set(k="k"), *inner, op.set(k="1")))
    alone: list[Any] = []
    for key in dict.fromkeys(key for key, _ in events):
        data, _ = through(Script.of([one for one in given if one["k"] == key]), *inner)
        alone += [one["s"] for one in data]
    assert sorted(one["s"] for one in grouped) == sorted(alone)


# In a file

FILE = """
runners: {{numbers: {{command: [seq, "1000"]}}}}
pipelines:
  all:
    from: numbers
    operators:
      - set: {{n: int(message), kind: int(message) % 7}}
      - drop: message
      - group_by: {{key: kind, operators: [{inner}]}}
    sinks: [{{file: out, backpressure: block}}]
    dead_letter: {{file: rejected}}
"""


def test_in_a_file(tmp_path: Path) -> None:
    report = run_project(tmp_path, FILE.format(inner="limit: 2, {set: {n: 10 // (n - 3)}}"))
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [line["kind"] for line in lines] == [1, 2, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6, 0]
    assert report.balanced, report.unbalanced
    rejected = json.loads((tmp_path / "rejected").read_text())
    assert rejected["operator"] == "operators[2].group_by[1] set"
    assert rejected["place"].endswith("x.yaml:9")
    nodes = [node.node for node in report.pipelines["all"].nodes[:5]]
    assert nodes[3:] == ["operators[2].group_by[0] limit", "operators[2].group_by[1] set"]
    assert report.pipelines["all"].filtered == 1000 - 14


@pytest.mark.parametrize("name", ["route", "join", "python", "enrich", "heartbeat", "group_by", "merge"])
def test_what_cannot_stand_within(name: str, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(FILE.format(inner="{" + op.OPERATORS[name].example + "}"))
    with pytest.raises(ConfigError) as caught:
        rx.load(file)
    (mistake,) = caught.value.mistakes
    assert mistake.message == f"{name!r} cannot stand in a group_by; put it before or behind"
    assert (mistake.line, mistake.where) == (9, f"pipelines.all.operators[2].group_by.operators[0].{name}")


@pytest.mark.parametrize("inner", [op.backpressure("block"), op.to(rx.sinks.null())])
def test_what_has_a_thread_or_a_sink_cannot_stand_within(inner: Any) -> None:
    with pytest.raises(ConfigError, match="cannot stand in a group_by"):
        op.group_by("k", inner)


def test_a_mistake_within_has_its_place(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(FILE.format(inner="filtr: n > 1, {limit: -1}"))
    with pytest.raises(ConfigError) as caught:
        rx.load(file)
    assert [(mistake.line, mistake.column, mistake.message) for mistake in caught.value.mistakes] == [
        (9, 43, "unknown operator 'filtr', did you mean 'filter'?"),
        (9, 65, "a count cannot be negative"),
    ]


def test_no_group_is_left_when_the_operator_needs_no_groups() -> None:
    value = parse_document("group_by: {key: k, operators: [], size: 0}").value["group_by"]
    with pytest.raises(ConfigError, match="the list is empty"):
        op.group_by(value["key"])
    with pytest.raises(ConfigError, match="must be more than nothing"):
        op.group_by("k", op.limit(1), size=0)
    with pytest.raises(ConfigError, match="must be more than nothing"):
        op.group_by("k", op.limit(1), idle=0)
