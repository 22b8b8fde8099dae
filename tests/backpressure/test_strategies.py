"""What the options of the strategies do, their mistakes, and the law of the ledger while all of it goes on."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import rx_collector as rx
from rx_collector import operators as op
from rx_collector import sinks
from rx_collector.backpressure import STRATEGIES, Boundary
from rx_collector.config.document import parse_document
from rx_collector.event import Event
from rx_collector.ledger import Node
from rx_collector.operators.backpressure import Backpressure
from tests.cli.test_errors import GOOD
from tests.conftest import wait_until
from tests.events import event, run


def made(strategy: str, clock: Any = None, rejected: list[Any] | None = None, **options: Any) -> Boundary:
    def reject(one: Event, error: Exception) -> None:
        assert rejected is not None
        rejected.append((one.data, str(error)))

    more = {} if clock is None else {"clock": clock}
    return Boundary(STRATEGIES[strategy](**options), Node("b"), reject=reject, **more)


def rest(boundary: Boundary) -> list[Any]:
    boundary.close()
    found: list[Any] = []
    while (batch := boundary.drain()) is not None:
        found += [one.data for one in batch]
    assert boundary.node.missing() == 0
    assert boundary.node.held() == 0
    return found


@pytest.mark.parametrize("strategy", ["block", "drop_oldest", "drop_newest", "latest", "conflate", "error"])
def test_max_age_drops_what_waited_too_long_when_its_turn_comes(strategy: str) -> None:
    now = [0.0]
    options: dict[str, Any] = {"latest": {"key": "this"}, "conflate": {"by": "this", "merge": max}}.get(strategy, {})
    boundary = made(strategy, lambda: now[0], max_age="5s", **options)
    boundary.offer([event(1), event(2)])
    now[0] = 3.0
    boundary.offer([event(3)])
    now[0] = 7.0
    assert rest(boundary) == [3]
    assert boundary.dropped == {"max_age": 2}


def test_max_age_of_spill_counts_over_memory_and_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("rx_collector.backpressure.spill.time.time", lambda: now[0])
    boundary = made("spill", lambda: now[0], path=str(tmp_path / "s"), capacity=2, max_age="5s")
    boundary.offer([event(n) for n in range(5)])
    now[0] += 7
    boundary.offer([event(5)])
    assert rest(boundary) == [5]
    boundary.acknowledge(1)
    boundary.release()
    assert boundary.dropped == {"max_age": 5}


def test_one_event_larger_than_max_bytes_passes_alone() -> None:
    boundary = made("block", max_bytes=10)
    boundary.offer([event("x" * 100)])
    blocked = threading.Thread(target=boundary.offer, args=([event("y")],))
    blocked.start()
    (large,) = boundary.drain() or []
    assert len(large.data) == 100
    assert boundary.waiting == 0
    (small,) = boundary.drain() or []  # being back for more makes room, and the producer goes on
    assert small.data == "y"
    blocked.join(10)
    assert rest(boundary) == []


def test_error_delivers_what_waits_and_then_fails() -> None:
    release = threading.Event()
    got: list[int] = []

    def slow(one: Event) -> None:
        release.wait(20)
        got.append(int(one["message"]))

    stream = rx.runner("seq", "1000").pipe(op.backpressure("error", capacity=10), op.to(sinks.callback(slow)))
    errors: list[Exception] = []
    stream.subscribe(on_error=errors.append)
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == "rx-seq-stdout"], "all is read")
    release.set()
    wait_until(lambda: bool(errors), "the stream fails")
    assert str(errors[0]) == "what follows is too slow: 10 events were in flight, and more came"
    assert isinstance(errors[0], rx.BackpressureError)
    assert got == list(range(1, 11))


def test_latest_evicts_the_key_that_waited_longest() -> None:
    boundary = made("latest", key="k", capacity=3)
    boundary.offer([event({"k": k, "n": n}) for n, k in enumerate("aabca d".replace(" ", ""))])
    assert [(one["k"], one["n"]) for one in rest(boundary)] == [("b", 2), ("c", 3), ("d", 5)]
    assert boundary.dropped == {"latest": 2, "evicted": 1}


def test_a_key_that_cannot_be_had_rejects_its_event() -> None:
    rejected: list[Any] = []
    boundary = made("latest", key="n + 1", rejected=rejected)
    boundary.offer([event({"n": 1}), event({"n": "x"}), event({"n": [1]})])
    assert rest(boundary) == [{"n": 1}]
    assert boundary.node.rejected == 2
    assert rejected[0] == ({"n": "x"}, 'can only concatenate str (not "int") to str')


def test_conflate_by_named_aggregates() -> None:
    rejected: list[Any] = []
    aggregate = {"n": "count()", "with": "count(b)", "total": "sum(b)", "most": "max(b)", "mean": "mean(b)"}
    boundary = made("conflate", by="comm", aggregate={**aggregate, "end": "last(b)"}, rejected=rejected)
    boundary.offer([event({"comm": c, "b": b}, n) for n, (c, b) in enumerate([("x", 1), ("y", 5), ("x", None)], 1)])
    boundary.offer([event({"comm": "x", "b": 4}, 4), event({"comm": "x", "b": "text"}, 5)])
    batch = boundary.drain()
    assert batch is not None
    assert [one.data for one in batch] == [
        {"comm": "x", "n": 3, "with": 2, "total": 5, "most": 4, "mean": 2.5, "end": 4},
        {"comm": "y", "n": 1, "with": 1, "total": 5, "most": 5, "mean": 5.0, "end": 5},
    ]
    assert [one.id for one in batch] == ["run/exec/1/1.+2", "run/exec/1/2"]
    node = boundary.node
    assert (node.taken, node.merged, node.made, node.out, node.rejected) == (5, 3, 1, 2, 1)
    assert len(rejected) == 1
    assert rest(boundary) == []


def test_conflate_by_a_function_and_its_failure_leaves_what_was() -> None:
    rejected: list[Any] = []
    boundary = made("conflate", merge=lambda older, newer: older.data + newer.data, rejected=rejected)
    boundary.offer([event(1), event(2), event("x"), event(3)])
    assert rest(boundary) == [6]
    assert rejected[0][0] == "x"
    assert (boundary.node.taken, boundary.node.merged, boundary.node.made) == (4, 3, 1)


def test_conflate_counts_events_when_what_they_were_merged_into_is_dropped() -> None:
    boundary = made("conflate", by="this % 2", aggregate={"n": "count()"}, capacity=1)
    boundary.offer([event(n) for n in (0, 2, 4, 1)])
    assert boundary.node.held() == 3
    boundary.cancel("cut short")
    assert boundary.dropped == {"conflate": 1, "cut short": 3}
    assert boundary.node.missing() == 0


MISTAKES = {
    "{strategy: block, key: pid}": ":11:41: pipelines.all.sinks[0].backpressure.key: unknown key 'key' of strategy block; "
    "latest takes it",
    "{strategy: latest, key: pid +}": "backpressure.key: syntax error",
    "{strategy: blok}": ":11:34: pipelines.all.sinks[0].backpressure.strategy: unknown choice 'blok', did you mean 'block'?",
    "{capacity: 7}": "'strategy' is missing: one of block, drop_oldest",
    "{strategy: block, capacity: 0}": ":11:51: pipelines.all.sinks[0].backpressure.capacity: the capacity is at least 1",
    "{strategy: conflate}": "say either 'aggregate', for example",
    "{strategy: conflate, aggregate: {n: cont()}}": ":11:59: pipelines.all.sinks[0].backpressure.aggregate.n: unknown "
    "aggregate 'cont', did you mean 'count'?",
    "{strategy: conflate, aggregate: {n: sum()}}": "sum takes 1 argument, not 0",
    "{strategy: conflate, aggregate: {n: 'sum(a.__b)'}}": "the attribute '__b' is not allowed",
    "spill": "'path' is missing: The file",
    "{strategy: spill, path: s, max_bytes: 1KB}": "a spill file needs at least 1MiB",
    "{strategy: spill, path: s, when_full: wait}": "unknown choice 'wait'",
    "{strategy: drop_oldest, max_age: 0s}": "max_age must be longer than nothing",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_have_their_place(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_text(GOOD.replace("{strategy: block}", text))
    with pytest.raises(rx.ConfigError) as caught:
        rx.load(tmp_path / "x.yaml")
    (mistake,) = caught.value.mistakes
    assert MISTAKES[text] in str(mistake)
    assert mistake.line == 11


def test_mistakes_in_python() -> None:
    with pytest.raises(
        rx.ConfigError, match=r"backpressure\.key: unknown key 'key' of strategy block; latest takes it"
    ):
        op.backpressure("block", key="pid")
    with pytest.raises(rx.ConfigError, match="did you mean 'latest'"):
        op.backpressure("lates")


def test_every_strategy_in_the_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(Backpressure.schema())
    schema = jsonschema.Draft202012Validator(Backpressure.schema())
    for name in STRATEGIES:
        good: Any = parse_document(STRATEGIES[name].example.splitlines()[1]).value["backpressure"]
        schema.validate(good)
        with pytest.raises(jsonschema.ValidationError):
            schema.validate({**good, "capacitty": 1})


def test_anywhere_in_a_chain() -> None:
    result = run(
        op.set(k="n % 3"),
        op.backpressure("conflate", by="k", aggregate={"n": "count()"}),
        op.map("n"),
        events=[{"n": n} for n in range(9)],
        wait=True,
    )
    assert sum(result.data) == 9


@pytest.mark.parametrize("strategy", ["block", "drop_oldest", "latest"])
def test_the_law_holds_at_every_moment(strategy: str) -> None:
    """Pictures are taken by another thread, also while the producer is blocked in the middle of a batch."""
    node, lock, over = Node("b"), threading.Lock(), threading.Event()
    boundary = Boundary(STRATEGIES[strategy](capacity=7), node, lock)
    missing: set[int] = set()
    pictures = [0]

    def look() -> None:
        while not over.is_set():
            with lock:
                missing.add(node.missing())
            pictures[0] += 1

    def produce() -> None:
        for number in range(300):
            boundary.offer([event(number)] * (number % 20))
        boundary.close()

    threads = [threading.Thread(target=look), threading.Thread(target=produce)]
    for thread in threads:
        thread.start()
    while boundary.drain() is not None:
        pass
    over.set()
    for thread in threads:
        thread.join(10)
    assert missing == {0}
    assert pictures[0] > 0
    assert node.taken == sum(number % 20 for number in range(300))
