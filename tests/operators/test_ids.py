"""The ids of what operators make: deterministic, and no two alike, however they follow upon each other."""

from __future__ import annotations

from typing import Any

import pytest
import reactivex.operators as ops

import rx_collector as rx
from rx_collector import operators as op
from rx_collector import sinks
from rx_collector.event import Event
from tests.events import Result, event, run, run_batches


def parts(result: Result) -> list[str]:
    """The line and the part of each id."""
    ids = [one.id for one in result.events]
    assert all(one.startswith("run/exec/1/") for one in ids)
    assert len(set(ids)) == len(ids)
    return [one.removeprefix("run/exec/1/") for one in ids]


@pytest.mark.parametrize("between", [[], [ops.map(lambda item: item)]], ids=["fused", "apart"])
def test_parts_of_parts(between: list[Any]) -> None:
    """Fused, the second loop stands within the first; apart, each is a segment of its own."""
    nested = [[["a", "b"], ["c"]], [["d"]]]
    result = run(op.flat_map("this"), *between, op.flat_map("this"), events=nested)
    assert result.data == ["a", "b", "c", "d"]
    assert parts(result) == ["1.0.0", "1.0.1", "1.1.0", "2.0.0"]
    deeper = run(
        op.flat_map("this"),
        *between,
        op.flat_map("this"),
        *between,
        op.map('[this, "x"]'),
        op.flat_map("this"),
        events=nested,
    )
    assert parts(deeper) == [f"{one}.{n}" for one in ("1.0.0", "1.0.1", "1.1.0", "2.0.0") for n in (0, 1)]
    assert deeper.data == ["a", "x", "b", "x", "c", "x", "d", "x"]


def test_parts_of_lines_are_parts_of_events() -> None:
    """The same for a segment that begins with lines, whose envelope is not made yet."""
    result = run(op.flat_map("message.split()"), op.flat_map("[this, this]"), lines=["a b"])
    assert parts(result) == ["1.0.0", "1.0.1", "1.1.0", "1.1.1"]


def test_a_part_keeps_its_number_through_what_follows() -> None:
    for made in (op.map('{"word": this}'), op.map(lambda one: {"word": one.data})):
        steps = [made, op.set(n="1"), op.filter('word != "b"'), op.rename(word="w")]
        result = run(op.flat_map("message.split()"), *steps, lines=["a b c"])
        assert parts(result) == ["1.0", "1.2"]
        assert [one["w"] for one in result.events] == ["a", "c"]


def test_the_dead_letter_of_a_part_names_the_part() -> None:
    result = run(op.flat_map("message.split()"), op.map("int(this)"), lines=["1 x 3"])
    assert parts(result) == ["1.0", "1.2"]
    assert [(one["id"], one["data"]) for one in result.rejected] == [("run/exec/1/1.1", "x")]


def test_an_event_that_a_function_gives_itself_is_a_part_too() -> None:
    result = run(op.flat_map(lambda one: [one, one]), events=[{"a": 1}])
    assert parts(result) == ["1.0", "1.1"]
    assert result.data == [{"a": 1}, {"a": 1}]


def test_an_event_that_a_function_made_keeps_its_id() -> None:
    result = run(op.flat_map(lambda one: [event("other", 99), "part"]), events=[0])
    assert parts(result) == ["99", "1.1"]


@pytest.mark.parametrize("nothing", [None, [], ()])
def test_of_nothing_nothing_is_made(nothing: object) -> None:
    result = run(op.flat_map(lambda one: nothing), events=[1, 2])
    assert (result.events, result.rejected) == ([], [])
    assert result.report.pipelines["test"].filtered == 2


@pytest.mark.parametrize("wrong", ["text", b"bytes", {"a": 1}, 7])
def test_what_is_no_list_of_payloads(wrong: object) -> None:
    result = run(op.flat_map(lambda one: wrong), events=[1])
    (record,) = result.rejected
    assert record["error"] == f"TypeError: a list of payloads is wanted, not a {type(wrong).__name__}"


def test_a_function_that_fails_half_way_sends_nothing_of_that_event() -> None:
    def countdown(one: Event) -> Any:
        for number in range(3, -1, -1):
            yield 6 // number if one.data == "bad" else number

    result = run(op.flat_map(countdown), events=["bad", "good"])
    assert result.data == [3, 2, 1, 0]
    assert [one["error"] for one in result.rejected] == ["ZeroDivisionError: integer division or modulo by zero"]


# Lists that a buffer makes


def test_a_list_is_named_after_its_first_event_and_how_many_follow() -> None:
    result = run(op.buffer(count=3), events=list("abcdefg"))
    assert parts(result) == ["1.+2", "4.+2", "7.+0"]
    assert [[one.line for one in made.data] for made in result.events] == [[1, 2, 3], [4, 5, 6], [7]]


def test_a_list_of_one_is_not_its_event() -> None:
    """Both may reach one sink."""
    (made,) = run(op.buffer(count=1), events=["a"]).events
    (member,) = made.data
    assert (made.id, member.id) == ("run/exec/1/1.+0", "run/exec/1/1")


def test_the_ids_of_lists_do_not_depend_on_the_batches() -> None:
    together = run_batches([[event(n, n) for n in range(1, 8)]], op.buffer(count=3))
    apart = run_batches([[event(n, n)] for n in range(1, 8)], op.buffer(count=3))
    assert parts(together) == parts(apart) == ["1.+2", "4.+2", "7.+0"]


def test_lists_of_parts_and_of_lists() -> None:
    result = run(op.flat_map("message.split()"), op.buffer(count=2), lines=["a b c"])
    assert parts(result) == ["1.0+1", "1.2+0"]
    result = run(op.buffer(count=2), op.buffer(count=2), events=list("abcde"))
    assert parts(result) == ["1.+1+1", "5.+0+0"]


def test_the_parts_of_a_list_that_is_taken_apart_again() -> None:
    """Its members are events, so they are themselves again."""
    result = run(op.buffer(count=2), op.flat_map("this"), events=list("abc"))
    assert parts(result) == ["1", "2", "3"]
    assert result.data == ["a", "b", "c"]


# The same for each run of the same lines, and another one for another run


def test_the_same_run_gives_the_same_ids_and_another_one_others() -> None:
    stream = rx.runner("seq", "5").pipe(op.flat_map("[message, message]"), op.buffer(count=4))
    seen: list[list[str]] = []
    runs: set[str] = set()
    for _ in range(2):
        ids: list[str] = []
        rx.run(stream.pipe(op.to(sinks.callback(lambda one, ids=ids: ids.append(one.id)))))
        seen.append([one.partition("/")[2] for one in ids])
        runs |= {one.partition("/")[0] for one in ids}
    assert seen[0] == seen[1] == ["seq/1/1.0+3", "seq/1/3.0+3", "seq/1/5.0+1"]
    assert len(runs) == 2
