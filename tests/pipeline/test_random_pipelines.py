"""Random pipelines with random ends: the ledger balances, children and threads are gone, an exit code 1 has its reasons."""

from __future__ import annotations

import json
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rx_collector as rx
from rx_collector.pipeline.collector import Collector
from tests.conftest import wait_until

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
    {"backpressure": {"strategy": "drop_oldest", "capacity": 10}},
]
SINKS: list[Any] = [
    {"null": None},
    {"file": "good"},
    {"file": {"path": "flushed", "flush": "5ms"}},
    {"file": {"path": "rotated", "rotate": {"size": "2KB", "keep": 2}}},
    {"file": "/dev/full"},
    {"exec": {"command": ["sh", "-c", "cat >/dev/null"]}},
    {"exec": {"command": ["sh", "-c", "head -n 3 >/dev/null"]}},
]

operators = st.lists(st.sampled_from([one for one in OPERATORS if "backpressure" not in one]), max_size=5)
backpressure = st.fixed_dictionaries(
    {
        "strategy": st.sampled_from(["block", "drop_oldest", "drop_newest"]),
        "capacity": st.sampled_from([1, 2, 10, 1000]),
    }
)
sinks = st.lists(
    st.builds(lambda sink, b: {**sink, "backpressure": b}, st.sampled_from(SINKS), backpressure), max_size=3
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


@st.composite
def files(draw: Any) -> Any:
    """A file with one or two runners and up to three pipelines, each reading what stands before it."""
    runners = {f"r{n}": {"command": draw(commands)} for n in range(draw(st.integers(1, 2)))}
    names = list(runners)
    pipelines: dict[str, Any] = {}
    for number in range(draw(st.integers(1, 3))):
        sources = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
        pipeline = {"from": sources, "operators": draw(operators), "sinks": draw(sinks)}
        if draw(st.booleans()):
            pipeline["dead_letter"] = {"null": None}
        pipelines[f"p{number}"] = pipeline
        names.append(f"p{number}")
    read = {source for pipeline in pipelines.values() for source in pipeline["from"]}
    for name, pipeline in pipelines.items():
        if not pipeline["sinks"] and name not in read:
            pipeline["sinks"] = [{"null": None, "backpressure": "block"}]
        for index, sink in enumerate(pipeline["sinks"]):
            if isinstance(sink.get("file"), dict):
                sink["file"] = {**sink["file"], "path": f"{sink['file']['path']}-{name}-{index}"}
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
    max_examples=120,
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
                assert node.held == 0
