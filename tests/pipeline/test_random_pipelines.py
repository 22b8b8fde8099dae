"""Random pipelines and chains with random ends: the ledger balances, children and threads are gone."""

from __future__ import annotations

import json
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
import reactivex
import reactivex.operators as ops
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import rx_collector as rx
from rx_collector import operators as op
from rx_collector import sinks as sinks_
from rx_collector.backpressure import STRATEGIES
from rx_collector.operators.backpressure import Backpressure
from rx_collector.operators.to import To
from rx_collector.pipeline.collector import Collector
from rx_collector.testing import Probe, Script, run_script
from tests.conftest import rounds, wait_until

OPERATORS: list[Any] = [
    {"parse": "text"},
    {"parse": {"format": "regex", "pattern": "(?P<n>[0-9]*[02468])$", "on_error": "keep_raw"}},
    {"parse": {"format": "json", "on_error": "drop"}},
    {"filter": "len(message) != 2"},
    {"filter": "int(message) % 3 == 0"},
    {"set": {"n": "int(message)"}},
    {"drop": "n"},
    {"keep": "message"},
    {"rename": {"n": "number"}},
    {"map": "{'message': message}"},
    {"flat_map": "[this, this]"},
    {"flat_map": "[] if message == None else [this]"},
    {"buffer": {"count": 7}},
    {"buffer": {"count": 100, "time": "1ms"}},
    {"restore": None},
    {"cast": {"message": "int"}},
    {"coalesce": {"n": ["x", "message"]}},
    {"encode": {"message": "hex"}},
    {"dedupe": {"key": "message", "size": 3}},
    {"dedupe": {"key": "len(message)", "time": "1ms"}},
    {"throttle": {"count": 5, "time": "1ms", "key": "len(message)", "size": 2}},
    {"sample": {"every": 3, "key": "len(message)", "size": 2}},
    {"sample": {"rate": 0.5}},
    {"skip": 3},
    {"limit": 20},
    {"scan": {"fields": {"n": "default(n, 0) + int(message)"}, "by": "len(message)", "size": 2}},
    {"diff": {"fields": "n", "by": "len(message)", "size": 2}},
    {"redact": ["ip", "token"]},
    {"flatten": None},
    {"explode": {"field": "message", "keep_empty": True}},
    {
        "window": {
            "every": "1ms",
            "by": "len(message)",
            "size": 3,
            "aggregate": {"n": "count()", "message": "last(message)"},
        }
    },
    {"window": {"every": "4ms", "slide": "1ms", "aggregate": {"n": "count()", "top": "top(message, 2)"}}},
    {"window": {"session": "1ms", "by": "len(message)", "aggregate": {"p": "percentile(int(message), 50)"}}},
    {"window": {"session": "1ms", "time": "event", "lateness": "1ms", "aggregate": {"d": "distinct(message)"}}},
    {"window": {"count": 6, "step": 2, "by": "len(message)", "aggregate": {"n": "sum(int(message))"}}},
    {"aggregate": {"by": "len(message)", "size": 2, "n": "count()", "message": "first(message)"}},
    {"debounce": {"time": "1ms", "key": "len(message)", "size": 2}},
    {"sort": {"lateness": "1ms", "size": 20}},
    {"timeout": "5ms"},
    {"heartbeat": {"every": "3ms"}},
]
#: Those of which there can be one for each group.
GROUPED = [one for one in OPERATORS if not {"heartbeat", "restore"} & one.keys()]
SINKS: list[Any] = [
    {"null": None},
    {"file": "good"},
    {"file": {"path": "flushed", "flush": "5ms"}},
    {"file": {"path": "rotated", "rotate": {"size": "2KB", "keep": 2}}},
    {"file": {"path": "packed.gz", "compression": "gzip", "flush": "5ms", "rotate": {"size": "300B", "keep": 2}}},
    {"file": "/dev/full"},
    {"exec": {"command": ["sh", "-c", "cat >/dev/null"]}},
    {"exec": {"command": ["sh", "-c", "head -n 3 >/dev/null"]}},
]

#: What each strategy needs or may have beside its name; a field that is not there is null, and a text is no number.
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "latest": [{}, {"key": "meta.line % 5"}, {"key": "int(message)"}],
    "conflate": [
        {"aggregate": {"n": "count()"}},
        {"by": "meta.line % 5", "aggregate": {"n": "count()", "last": "last(message)", "total": "sum(n)"}},
    ],
    "spill": [
        {"path": "spilled", "max_bytes": "1MiB"},
        {"path": "spilled", "max_bytes": "1MiB", "when_full": "drop_newest"},
    ],
}

group_by = st.builds(
    lambda operators, size, idle: {"group_by": {"key": "len(message)", "operators": operators, "size": size, **idle}},
    st.lists(st.sampled_from(GROUPED), min_size=1, max_size=3),
    st.integers(1, 3),
    st.sampled_from([{}, {"idle": "1ms"}]),
)
operators = st.lists(st.one_of(st.sampled_from(OPERATORS), group_by), max_size=5)
capacity = st.sampled_from([1, 2, 10, 1000])
backpressure = st.sampled_from(list(STRATEGIES)).flatmap(
    lambda name: st.builds(
        lambda options, capacity, bounds: {"strategy": name, "capacity": capacity, **bounds, **options},
        st.sampled_from(OPTIONS.get(name, [{}])),
        capacity,
        st.sampled_from([{}, {"max_age": "5ms"}, {"max_bytes": 100} if name != "spill" else {}]),
    )
)
failure = st.fixed_dictionaries(
    {},
    optional={
        "retry": st.just({"limit": 2, "backoff": "1ms..2ms"}),
        "on_failure": st.sampled_from(["fail", "drop", "dead_letter"]),
    },
)
sinks = st.lists(
    st.builds(
        lambda sink, boundary, fails: {**sink, "backpressure": boundary, **fails},
        st.sampled_from(SINKS),
        backpressure,
        failure,
    ),
    max_size=3,
)
commands = st.sampled_from(
    [
        ["seq", "0"],
        ["seq", "1"],
        ["seq", "5000"],
        ["sh", "-c", "seq 100; exit 3"],
        ["sh", "-c", "while :; do seq 50; done"],
        ["no-such-command"],
    ]
)


def _may_be_shared(row: list[dict[str, Any]]) -> bool:
    return bool(row) and next(iter(row[0])) in (
        "dedupe",
        "throttle",
        "sample",
        "scan",
        "diff",
        "filter",
        "map",
        "flat_map",
        "set",
        "cast",
        "redact",
        "flatten",
        "explode",
    )


@st.composite
def files(draw: Any) -> Any:
    """A file with one or two runners and up to three pipelines, each reading what stands before it."""
    runners = {f"r{n}": {"command": draw(commands)} for n in range(draw(st.integers(1, 2)))}
    names = list(runners)
    pipelines: dict[str, Any] = {}
    for number in range(draw(st.integers(1, 3))):
        sources = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
        pipeline = {"from": sources, "operators": draw(operators), "sinks": draw(sinks)}
        if _may_be_shared(pipeline["operators"]) and not draw(st.integers(0, 5)):
            pipeline["workers"] = 2
        if draw(st.booleans()):
            pipeline["dead_letter"] = {"null": None}
        beside = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
        if beside and draw(st.booleans()):
            pipeline["operators"].insert(draw(st.integers(0, len(pipeline["operators"]))), {"merge": beside})
        elif beside:
            pipeline["operators"].append({"join": {"with": beside[0], "on": "message", "prefix": "other_"}})
        pipelines[f"p{number}"] = pipeline
        names.append(f"p{number}")
    read = {source for pipeline in pipelines.values() for source in pipeline["from"]}
    for name, pipeline in pipelines.items():
        if not pipeline["sinks"] and name not in read:
            pipeline["sinks"] = [{"null": None, "backpressure": "block"}]
        for index, sink in enumerate(pipeline["sinks"]):
            if isinstance(sink.get("file"), dict):
                sink["file"] = {**sink["file"], "path": f"{sink['file']['path']}-{name}-{index}"}
            if isinstance(sink["backpressure"], dict) and "path" in sink["backpressure"]:
                sink["backpressure"] = {**sink["backpressure"], "path": f"spilled-{name}-{index}"}
            if sink.get("on_failure") == "dead_letter" and "dead_letter" not in pipeline:
                del sink["on_failure"]
    return {"runners": runners, "pipelines": pipelines}


def ours() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("rx-") and name != "rx-supervisor"]


ends = st.one_of(
    st.tuples(st.just("natural"), st.just(0)),
    st.tuples(st.just("max_events"), st.integers(1, 500)),
    st.tuples(st.just("stop"), st.integers(0, 40)),
    st.tuples(st.just("abort"), st.integers(0, 40)),
)


@pytest.mark.slow
@settings(
    deadline=None,
    derandomize=True,
    max_examples=rounds(50, 120),
    phases=[Phase.generate],  # each try of a smaller one that hangs would take the whole deadline again
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(file=files(), end=ends)
def test_any_pipeline_with_any_end(file: Any, end: tuple[str, int]) -> None:
    endless = any("while" in word for runner in file["runners"].values() for word in runner["command"])
    how, amount = ("stop", 20) if endless and end[0] == "natural" else end
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "x.yaml").write_text(json.dumps(file))
        collector = Collector(rx.load(Path(directory) / "x.yaml"))
        # An end in the middle of things, wherever that is; what is asserted holds for every one.
        timer = threading.Timer(amount / 1000, collector.abort if how == "abort" else collector.stop)
        if how in ("stop", "abort") or (how == "max_events" and endless):
            timer.start()
        report = collector.run(max_events=amount if how == "max_events" else None, drain="5s")
        timer.cancel()
        if timer.ident is not None:
            timer.join()
        assert report.balanced, report.unbalanced
        wait_until(lambda: not ours(), f"threads are left: {ours()}")
        for runner in report.runners.values():
            assert runner.starts == len(runner.exits)
        if report.exit_code:
            assert report.errors
        for pipeline in report.pipelines.values():
            for node in pipeline.nodes:
                gone = node.out + node.filtered + node.rejected + node.dropped + node.merged + node.held
                assert node.taken + node.made == gone
                assert node.held == node.kept
                assert not node.kept or node.node.startswith("sinks[")


CHAIN: list[Any] = [
    op.filter("n % 3 != 0"),
    op.map("{'n': n + 1}"),
    op.map("n + 1 if n % 5 else this"),  # for some a number, in which what follows finds no field
    op.flat_map("[this, this]"),
    op.set(k="n % 2"),
    op.buffer(count=3),
    op.buffer(count=50, time=0.001),
    op.to(sinks_.null()),
    op.to(sinks_.callback(lambda event: 1 // (event.line % 7)), on_failure="drop"),
    op.to(sinks_.callback(lambda event: 1 // (event.line % 40))),
    ops.filter(lambda event: event.line % 2),
    ops.take(9),
    op.backpressure("block", capacity=4),
    op.backpressure("drop_oldest", capacity=4),
    op.backpressure("drop_newest", capacity=4, max_bytes=20),
    op.backpressure("latest", capacity=4, key="meta.line % 3"),
    op.backpressure("conflate", capacity=4, merge=lambda older, newer: newer),
    op.backpressure("error", capacity=40),
    op.window(every=0.001, by="n", aggregate={"k": "count()"}, size=3),
    op.window(count=4, step=2, aggregate={"n": "max(n)"}),
    op.debounce(0.001, key="k"),
    op.sort(0.001, size=5),
    op.limit(11),
    op.heartbeat(0.001),
    op.timeout(0.005),
    op.route({"some": "n % 4 == 0"}),
    op.dedupe("n", size=4),
    op.scan({"n": "default(n, 0) + 1"}),
    op.group_by("n % 3", op.skip(1), op.buffer(count=3), size=2),
    op.group_by("n % 2", op.debounce(0.001), op.limit(4), op.flat_map("[this, this]"), idle=0.001),
    op.group_by("n % 2", op.timeout(0.005)),
    op.merge(reactivex.of({"n": 1}, {"n": 2})),
]
#: Those that end a stream by themselves, or have an error of their own.
ENDING = (Backpressure, To, type(op.limit(1)), type(op.timeout(1)), type(CHAIN[-2]))


@pytest.mark.slow
@settings(
    deadline=None,
    derandomize=True,
    max_examples=rounds(60, 150),
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    chain=st.lists(st.sampled_from(CHAIN), max_size=5),
    count=st.integers(0, 120),
    size=st.integers(1, 30),
    fails=st.booleans(),
    cancel_at=st.none() | st.integers(0, 20),
)
def test_any_chain_sends_nothing_after_its_end(
    chain: list[Any], count: int, size: int, fails: bool, cancel_at: int | None
) -> None:
    """One terminal signal at the most, none that overlaps another or comes after the end, also that by a cancellation."""
    enough, seen = threading.Event(), 0

    def count_down(batch: Any) -> None:
        nonlocal seen
        seen += 1
        if cancel_at is not None and seen >= cancel_at:
            enough.set()

    script = Script.of([{"n": n} for n in range(count)], size=size, error=ValueError("source") if fails else None)
    run = run_script(script, *chain, probe=Probe(count_down))
    if cancel_at is None:
        run.wait()
    else:
        wait_until(lambda: enough.is_set() or run.probe.ended.is_set() or cancel_at == 0, "it is far enough")
        run.dispose()
        run.probe.closed = True
    run.check()
    assert len(run.probe.terminals) <= 1
    if cancel_at is None and fails and not any(isinstance(one, ENDING) or one is CHAIN[11] for one in chain):
        assert str(run.probe.error) == "source"
    assert not any(connection.thread.is_alive() for connection in run.source.connections)
