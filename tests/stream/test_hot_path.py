"""The compiled loop: what it does for each event, and that all of its operators are the same in YAML and in Python."""

from __future__ import annotations

import gc
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import reactivex.operators as ops

import rx_collector as rx
from rx_collector import operators as op
from rx_collector import sinks
from rx_collector.event import Lines
from rx_collector.stream.eventstream import EventStream, new_context
from rx_collector.stream.operator import Operator
from tests.events import ORIGIN, Given, Result, run


class _Measured(Given):
    """Counts the calls that are made while each batch travels: Python's own, and those of functions written in C."""

    def __init__(self, sizes: list[int]) -> None:
        row = '{"pid":%d,"uid":1000,"comm":"bash","filename":"/usr/bin/env"}'
        super().__init__([Lines([(row % n).encode() for n in range(size)], 1, ORIGIN) for size in sizes])
        self.calls: list[Counter[str]] = []

    def connect(self, observer: Any, context: Any) -> Any:
        calls = self.calls

        class Counting:
            on_completed = observer.on_completed
            on_error = observer.on_error

            def on_batch(self, batch: Any) -> None:
                counts: Counter[str] = Counter()

                def count(frame: Any, what: str, argument: Any) -> None:
                    if what == "call":
                        counts[f"python {frame.f_code.co_qualname}"] += 1
                    elif what == "c_call":
                        counts[f"c {argument.__qualname__}"] += 1

                gc.collect()
                gc.disable()  # what others left behind is not ours to count
                sys.setprofile(count)
                try:
                    observer.on_batch(batch)
                finally:
                    sys.setprofile(None)
                    gc.enable()
                calls.append(counts)

        return super().connect(Counting(), context)


@pytest.mark.fast_path
def test_nothing_is_done_for_each_event_but_what_it_needs() -> None:
    """No scheduler, lock, clock or log call an event: a hundred times the events cost no more calls but these."""
    source = _Measured([10, 10, 1000])  # the first compiles
    stages = [
        op.parse("json"),
        op.filter("uid != 0 and pid >= 0"),
        op.set(host="'web'"),
        op.rename(filename="path"),
        op.drop("uid"),
    ]
    stream = EventStream(source)
    for operator in stages:
        stream = operator(stream)
    result, context = Result(), new_context("test")
    stream.connect(result, context)
    context.close()
    assert len(result.events) == 1020
    _, few, many = source.calls
    grew = {what for what in many if many[what] > few[what]}
    # The fields that the filter reads are decoded ahead; a line that passes is edited as it is laid out, and not decoded.
    assert {what for what in grew if what.startswith("python ")} == {"python edited"}
    edits = {"c bytes.join", "c Match.groups", "c Pattern.fullmatch"}
    number = {"c list_iterator.__length_hint__"}
    assert grew <= {"python edited", "c Decoder.decode", "c list.append", *edits, *number}, grew
    assert sum(many.values()) - sum(few.values()) <= 990 * 7


def test_several_stages_are_one_call_of_one_loop() -> None:
    source = _Measured([10, 1000])
    stream = EventStream(source)
    for operator in [op.parse("json"), op.filter("uid != 0"), op.set(a="1"), op.set(b="2"), op.set(c="3")]:
        stream = operator(stream)
    context = new_context("test")
    stream.connect(Result(), context)
    context.close()
    assert source.calls[1]["python segment"] == 1


# Every operator of a file is the one of Python

ROWS = [
    {"pid": 7, "uid": 0, "comm": "sh", "args": ["a", "b"]},
    {"pid": 8, "uid": 1000, "comm": "bash", "args": []},
    {"pid": 9, "uid": 1000, "comm": "env", "args": ["c"]},
]
BOTH: dict[str, tuple[str, list[Operator]]] = {
    "parse": ("[parse: json]", [op.parse("json")]),
    "filter": ("[parse: json, filter: uid == 1000]", [op.parse("json"), op.filter("uid == 1000")]),
    "map": ("""[parse: json, map: '{"who": comm}']""", [op.parse("json"), op.map('{"who": comm}')]),
    "set": ("[parse: json, set: {twice: pid * 2}]", [op.parse("json"), op.set(twice="pid * 2")]),
    "rename": ("[parse: json, rename: {comm: name}]", [op.parse("json"), op.rename(comm="name")]),
    "drop": ("[parse: json, drop: [args, uid]]", [op.parse("json"), op.drop("args", "uid")]),
    "keep": ("[parse: json, keep: [comm, pid]]", [op.parse("json"), op.keep("comm", "pid")]),
    "flat_map": ("[parse: json, flat_map: args]", [op.parse("json"), op.flat_map("args")]),
    "buffer": ("[parse: json, buffer: 2]", [op.parse("json"), op.buffer(2)]),
    "tap": ("[tap: message]", [op.tap("message")]),
}


@pytest.mark.parametrize("name", BOTH)
def test_an_operator_in_a_file_and_in_python(tmp_path: Path, name: str) -> None:
    yaml, operators = BOTH[name]
    (tmp_path / "in").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    (tmp_path / "x.yaml").write_text(
        "runners:\n  rows: {command: [cat, in]}\npipelines:\n  p:\n    from: rows\n"
        f"    operators: {yaml}\n    sinks:\n      - file: {{path: yaml, envelope: true}}\n        backpressure: block\n"
    )
    assert rx.load(tmp_path / "x.yaml").run().exit_code == 0
    rows = rx.runner("cat", str(tmp_path / "in"), name="rows")
    rx.run(rows.pipe(*operators, op.to(sinks.file(str(tmp_path / "python"), envelope=True))))

    def written(file: str) -> list[Any]:
        records = [json.loads(line) for line in (tmp_path / file).read_text().splitlines()]
        return [(one["id"].partition("/")[2], one["line"], one["data"]) for one in records]

    assert written("yaml") == written("python") != []


@pytest.mark.parametrize("name", [name for name in BOTH if name != "tap"])
def test_an_operator_between_those_of_reactivex(name: str) -> None:
    lines: list[str | bytes] = [json.dumps(row, separators=(",", ":")) for row in ROWS]
    alone = run(*BOTH[name][1], lines=lines).events
    mixed = run(
        ops.filter(lambda one: True),
        *[step for operator in BOTH[name][1] for step in (operator, ops.do_action(lambda one: None))],
        ops.skip(0),
        lines=lines,
    ).events

    def told(events: list[rx.Event]) -> list[Any]:
        return [(one.id, one.json()) for one in events]

    assert told(mixed) == told(alone) != []
