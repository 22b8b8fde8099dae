"""Workers that share the keys: what an operator keeps goes by the key as if one process had it all, also when one dies."""

from __future__ import annotations

import os
import pickle
import random
import signal
import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rx_collector import operators as op
from rx_collector.config.options import TEXT, described, option
from rx_collector.errors import ParseError, ProcessError
from rx_collector.event import Event, Lines, Origin
from rx_collector.expressions.keys import hashable
from rx_collector.ledger import Report
from rx_collector.stream import workers as workers_module
from rx_collector.stream.chain import attach, rows_of, shared_by
from rx_collector.stream.code import SegmentCode
from rx_collector.stream.eventstream import new_context
from rx_collector.stream.operator import Stage
from rx_collector.stream.sharing import Router, Sharing, why_not_by_key
from tests.conftest import wait_until
from tests.events import ORIGIN, Result
from tests.stream.test_workers import Door, batches_of, both, of_capture, run, steps_of, with_newlines

pytestmark = [pytest.mark.slow, pytest.mark.fast_path]


@described
class Where(Stage):
    """Says in which process it is."""

    name = "where_it_is"
    independent = True

    def emit(self, code: SegmentCode, following: Any) -> None:
        code.write(f"{code.own()}['in'] = {code.bind(os.getpid, 'getpid')}()")


@described
class Deadly(Stage):
    """Ends the worker that does a line with this text in it, so many times in all."""

    name = "deadly"
    independent = True

    text: str = option(TEXT, "The text.")
    path: str = option(TEXT, "A file that has a line for each death still to come.")

    def leaves(self, fields: frozenset[str]) -> bool:
        return True

    def emit(self, code: SegmentCode, following: Any) -> None:
        code.write(f"{code.bind(_Death(self.text, self.path), 'die')}({code.event()})")


class _Death:
    def __init__(self, text: str, path: str) -> None:
        self.text, self.path = text, path

    def __call__(self, event: Event) -> None:
        if self.text in (event.raw or b"").decode():
            left = Path(self.path).read_text().splitlines()
            if left:
                Path(self.path).write_text("\n".join(left[1:]))
                os.kill(os.getpid(), signal.SIGKILL)


def share_of(*operators: Any) -> tuple[int, list[str], list[str]]:
    """Give how many of the operators are shared, by which values, and what these are read with."""
    share = shared_by(steps_of(operators), 2)
    if share is None:
        return 0, [], []
    if share.by is None:
        return share.count, [], []
    return share.count, [value.text for value in share.by.key], [step.label for step in share.by.steps]


# What it comes to

ROWS: list[tuple[str, list[Any]]] = [
    ("process.ndjson", [op.parse("json"), op.dedupe("pid")]),
    ("process.ndjson", [op.parse("json"), op.filter('event == "EXEC"'), op.dedupe("[pid, comm]"), op.set(a="1")]),
    (
        "process.ndjson",
        [op.parse("json"), op.set(k="pid % 7"), op.scan({"n": "default(n, 0) + 1"}, by="k"), op.redact()],
    ),
    (
        "process.ndjson",
        [op.parse("json"), op.cast({"pid": "text"}), op.rename({"pid": "p"}), op.throttle(3, "1h", key="p")],
    ),
    (
        "process.ndjson",
        [op.parse("json"), op.sample(every=3, key="comm"), op.flat_map("[this, pid]"), op.filter("this")],
    ),
    (
        "process.ndjson",
        [op.parse("json"), op.diff("ppid", by="comm"), op.dedupe(["comm", "pid"]), op.keep("pid", "comm")],
    ),
    ("process.ndjson", [op.parse("json", on_error="drop"), op.dedupe("pid // (pid % 3)"), op.map("this")]),
    ("process.ndjson", [op.filter("len(message) % 5"), op.dedupe("message"), op.parse("json"), op.redact()]),
    ("sslsniff.ndjson", [op.parse("json"), op.dedupe("len(data)", time="3us"), op.redact(), op.set(size="len(data)")]),
    (
        "process.ndjson",
        [op.parse("json"), op.sample(every=2, key="pid"), op.set(a="1 // (timestamp % 5)"), op.map("this")],
    ),
    ("process.ndjson", [op.parse("json"), op.flat_map("[this, this]"), op.dedupe("pid"), op.set(a="1")]),
]


@pytest.mark.parametrize(("capture", "operators"), ROWS)
def test_it_comes_to_the_same(capture: str, operators: list[Any]) -> None:
    random.seed(capture)
    lines = of_capture(capture, 3000 // len(of_capture(capture, 1)) + 1)
    lines[700] = b"{no"
    batches = batches_of(lines, lambda: random.choice([1, 3, 65, 200, 500]))
    shared = both(batches, *operators)
    assert run(with_newlines(batches), *operators, workers=3).events() == shared.events()
    assert shared.report.pipelines["test"].nodes[0].taken == len(lines)
    assert shared.result.events
    assert shared.rejected or operators[0].on_error == "drop" or operators[0].name == "filter"


def test_all_but_one_of_the_rows_are_shared_by_key() -> None:
    assert [bool(share_of(*operators)[1]) for _, operators in ROWS] == [True] * 10 + [False]


def test_events_among_the_lines_keep_their_place_and_their_key() -> None:
    """Those of other streams have no line to be read, and are told apart by the same keys."""
    numbers = random.Random(1)
    lines = batches_of([f'{{"n":{numbers.randrange(50)}}}'.encode() for _ in range(3000)], 300)
    told = [
        [Event({"n": numbers.randrange(60), "from": "elsewhere"}, None, ORIGIN, number) for number in range(40)]
        for _ in lines
    ]
    mixed = [batch for pair in zip(lines, told, strict=True) for batch in pair]
    shared = both(mixed, op.scan({"seen": "default(seen, 0) + 1"}, by="n"), op.set(a="n"))
    assert len(shared.result.events) == 3400
    shared = both(
        mixed, op.filter("n != 3"), op.sample(every=4, key="n"), op.set(a="n"), op.map("{'a': a, 'b': 1 / a}")
    )
    assert {record["data"]["a"] for record in shared.rejected} == {0, None}  # of lines, which have no n here
    origin = Origin("run", "exec", 1, 42, 1, "lifecycle")
    for batch in told:
        for event in batch:
            event.origin = origin
    shared = both(mixed, op.parse("json"), op.scan({"seen": "default(seen, 0) + 1"}, by="n"), op.set(a="n"))
    assert max(event["seen"] for event in shared.result.events) > 55


def test_values_that_are_one_key_are_in_one_process() -> None:
    """As JSON has it: 1 is 1.0, true is another, and objects are the same whatever their order."""
    values = [
        "1",
        "1.0",
        "true",
        "null",
        '"1"',
        '{"a":1,"b":[2]}',
        '{"b":[2.0],"a":1}',
        "[]",
        "1e999",
        "2",
        "4",
        "6",
        '"\\u0041"',
        '"A"',
    ]
    lines = [f'{{"k":{random.Random(number).choice(values)},"n":{number}}}'.encode() for number in range(4000)]
    shared = both(batches_of(lines, 250), op.parse("json"), op.dedupe("k"), op.set(m="n"))
    assert len(shared.result.events) == 11
    where: dict[Any, set[int]] = defaultdict(set)
    ran = run(batches_of(lines, 250), op.parse("json"), op.scan({"i": "default(i, 0) + 1"}, by="k"), Where(), workers=4)
    for event in ran.result.events:
        where[hashable(event["k"])].add(event["in"])
    assert all(len(processes) == 1 for processes in where.values())
    assert len({process for processes in where.values() for process in processes}) > 1
    assert os.getpid() not in set.union(*where.values())


def test_even_numbers_are_not_all_in_one_process() -> None:
    """Numbers are their own hashes, and those of processes, ports or users may all be multiples of something."""
    (parse, dedupe) = steps_of([op.parse("json"), op.dedupe("n")])
    share = shared_by([parse, dedupe], 4)
    assert share is not None
    assert share.by is not None
    lanes = Router(share.by, 4).lanes(Lines([f'{{"n":{number * 64}}}'.encode() for number in range(1000)], 1, ORIGIN))
    assert all(lanes.count(lane) > 150 for lane in range(4))


def test_lines_that_are_no_lines_and_no_text() -> None:
    """Invalid UTF-8, which a reader repairs, and records with newlines in them."""
    lines = [f'{{"n":{number % 90},"text":"\ufffd"}}'.encode() for number in range(1000)]
    lines[500] = b'{"n":500,\n"text":"two lines"}'
    lines[600] = b"\xef\xbf\xbd no JSON"
    repaired = {number + 1: line.replace("\ufffd".encode(), b"\xff") for number, line in enumerate(lines) if number % 7}
    for following in ([], [op.set(a="n")], [op.flat_map("[this, text]")]):
        shared = both(batches_of(lines, 250, repaired), op.parse("json"), op.sample(every=3, key="n"), *following)
        assert len(shared.result.events) > 300


def test_fewer_keys_are_forgotten() -> None:
    """Each process remembers as many keys as one would."""
    numbers = random.Random(2)
    lines = [f'{{"n":{numbers.randrange(300)}}}'.encode() for _ in range(6000)]
    operators = op.parse("json"), op.dedupe("n", size=100), op.set(a="1")
    here, shared = run(batches_of(lines), *operators, workers=1), run(batches_of(lines), *operators, workers=2)
    assert shared.nodes()[1].notes["evicted"] < here.nodes()[1].notes["evicted"]
    assert 300 < len(shared.result.events) < len(here.result.events)


@pytest.mark.parametrize("on_error", ["dead_letter", "drop", "fail"])
def test_what_does_not_parse(on_error: str) -> None:
    lines = [f'{{"n":{number}}}'.encode() for number in range(5000)]
    lines[700] = lines[2500] = lines[4999] = b"{no"
    operators = op.parse("json", on_error=on_error), op.dedupe("n"), op.set(a="n")
    if on_error == "fail":
        shared = run(batches_of(lines), *operators, workers=2)
        assert isinstance(shared.result.error, ParseError)
        assert "(line 701 of exec)" in str(shared.result.error)
        nodes = shared.nodes()
        assert nodes[0].taken == 5000 == nodes[0].out + nodes[0].rejected + nodes[0].dropped
        assert 500 <= len(shared.result.events) <= 1000
    else:
        shared = both(batches_of(lines), *operators)
        assert shared.nodes()[0].rejected == 3
        assert [record["line"] for record in shared.rejected] == (
            [701, 2501, 5000] if on_error == "dead_letter" else []
        )


def test_of_several_failures_the_first_is_told() -> None:
    """Workers that each have a part of the lines may all fail."""
    numbers = random.Random(4)
    for _ in range(5):
        lines = [f'{{"n":{numbers.randrange(100)},"x":"{{}}"}}'.encode() for _ in range(500)]
        first = numbers.randrange(300)
        for number in range(first, 500, 3):
            lines[number] = lines[number].replace(b"{}", b"{no")
        shared = run(
            [Lines(lines, 1, ORIGIN)],
            op.parse("json"),
            op.scan({"seen": "1"}, by="n"),
            op.parse("json", field="x", on_error="fail"),
            workers=4,
        )
        assert f"(line {first + 1} of exec)" in str(shared.result.error)


def test_an_event_that_cannot_be_sent_leaves_no_process_behind(log: list[str]) -> None:
    before = set(os.listdir("/proc/self/fd"))
    shared = Shared(2, *COUNTING[1:])
    wait_until(lambda: len(shared.workers._processes) == 2, "they are there", 30)
    pids = [process.pid for process in shared.workers._processes.values()]
    shared.on_batch([Event({"k": 1, "lock": threading.Lock()}, None, ORIGIN, 1)])
    wait_until(lambda: shared.result.ended > 0, "it fails", 30)
    assert shared.workers.wait(10)
    assert str(shared.result.error) == "test: 1 events cannot be sent to a worker: cannot pickle '_thread.lock' object"
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert set(os.listdir("/proc/self/fd")) == before


def test_the_first_rejection_is_logged_and_the_others_are_not(log: list[str]) -> None:
    lines = [f'{{"n":{number}}}'.encode() for number in range(1, 2001)]
    for first in range(2, 12):
        run(batches_of(lines), op.parse("json"), op.dedupe("n"), op.set(a=f"1 / (n < {first})"), workers=4)
        said = [line for line in log if line.startswith("WARNING") and "more like this are counted" in line]
        assert len(said) == first - 1
        assert f"(line {first} of exec" in said[-1]


# Processes that die

COUNTING = op.parse("json"), op.scan({"seen": "default(seen, 0) + 1"}, by="k"), op.set(a="seen")


def counted(lines: int, keys: int) -> tuple[list[bytes], list[tuple[int, int]]]:
    """Give lines, and what is to come of each: its key, and how often that was there."""
    numbers = random.Random(lines)
    chosen = [numbers.randrange(keys) for _ in range(lines)]
    seen: dict[int, int] = defaultdict(int)
    expected = []
    for key in chosen:
        seen[key] += 1
        expected.append((key, seen[key]))
    return [f'{{"k":{key}}}'.encode() for key in chosen], expected


class Shared(Door):
    """A row of operators that workers share as far as they can, and what is behind it."""

    def __init__(self, count: int, *operators: Any) -> None:
        context, steps = new_context("test"), steps_of(operators)
        self.result = Result()
        nodes = [context.pipeline.node(step.label) for step in steps]
        head = attach(steps, nodes, self.result, context, [], workers=count)
        assert isinstance(head, workers_module.Workers)
        super().__init__(head, context)

    def end(self) -> Report:
        self.on_completed()
        assert self.wait(60)
        return self.report()


@pytest.mark.parametrize("remembered", [1, 10_000, 1 << 40], ids=["always given", "sometimes given", "asked again"])
def test_what_a_killed_worker_kept_is_not_lost(
    remembered: int, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    monkeypatch.setattr(workers_module, "_REMEMBERED", remembered)
    monkeypatch.setattr(workers_module, "_TIMES_MEMORY", 1)
    lines, expected = counted(20_000, 1000)
    shared = Shared(3, *COUNTING)
    wait_until(lambda: len(shared.workers._processes) == 3, "they are there", 30)
    killed = 0
    numbers = random.Random(remembered)
    for number, batch in enumerate(batches_of(lines, 100)):
        shared.on_batch(batch)
        if number % 40 == 20:
            numbers.choice(list(shared.workers._processes.values())).kill()
            killed += 1
    report = shared.end()
    assert shared.result.error is None
    assert [event.line for event in shared.result.events] == list(range(1, 20_001))
    assert [(event["k"], event["a"]) for event in shared.result.events] == expected
    died = report.pipelines["test"].nodes[0].notes["workers_died"]
    assert 1 <= died <= killed
    assert sum("was ended by signal 9" in line for line in log) == died


@pytest.mark.parametrize(
    "keeping",
    [
        op.dedupe(["k", "b"]),
        op.dedupe("k", time="1us"),
        op.throttle(2, "1us", key="k"),
        op.sample(every=3, key="k"),
        op.diff("n", by="k", rate=True),
        op.scan({"sum": "default(sum, 0) + n"}, by="k"),
    ],
    ids=lambda operator: operator.name,
)
@pytest.mark.parametrize("remembered", [1, 1 << 40], ids=["given", "asked again"])
def test_what_each_operator_keeps_survives(keeping: Any, remembered: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With keys of all kinds, and every worker killed several times. The layout of lines, which the loop learns, is not
    given: it is learned again.
    """
    monkeypatch.setattr(workers_module, "_REMEMBERED", remembered)
    monkeypatch.setattr(workers_module, "_TIMES_MEMORY", 0)
    numbers = random.Random(5)
    keys, more = ["1", "1.5", "true", "[1,2]", "null", '"x"', '{"a":[]}'], ["true", "1e999", "1", "{}"]
    lines = [
        f'{{"k":{numbers.choice(keys)},"b":{numbers.choice(more)},"n":{number}}}'.encode() for number in range(4000)
    ]
    operators = op.parse("json"), keeping, op.set(n="n + 1")
    here = run(batches_of(lines, 100), *operators, workers=1)
    shared = Shared(2, *operators)
    wait_until(lambda: len(shared.workers._processes) == 2, "they are there", 30)
    for number, batch in enumerate(batches_of(lines, 100)):
        shared.on_batch(batch)
        if number % 13 == 7:
            for process in list(shared.workers._processes.values()):
                process.kill()
    report = shared.end()
    assert [(event.line, event.data) for event in shared.result.events] == [
        (event.line, event.data) for event in here.result.events
    ]
    assert report.pipelines["test"].nodes[0].notes["workers_died"] >= 2


def test_what_is_learned_of_lines_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Edits behind the key, on the bytes of lines of which the layout is learned."""
    monkeypatch.setattr(workers_module, "_REMEMBERED", 1)
    monkeypatch.setattr(workers_module, "_TIMES_MEMORY", 0)
    lines = [b'{"n":%d,"a":1,"b":"x","c":2}' % number for number in range(3000)]
    row = [op.dedupe("n"), op.set(d="n"), op.rename(b="e"), op.drop("a", "c")]
    shared = both(batches_of(lines), op.parse("json"), *row)
    assert [event.json() for event in shared.result.events][1] == b'{"n":1,"d":1,"e":"x"}'
    assert len(shared.result.events) == 3000


def test_what_is_kept_and_cannot_be_given_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that is nested more deeply than pickle takes."""
    monkeypatch.setattr(workers_module, "_REMEMBERED", 1)
    (tmp_path / "deaths").write_text("one\n")
    deep = b"[" * 6000 + b"]" * 6000
    lines = [b'{"k":%d,"a":%b}' % (number % 7, deep if number == 499 else b"1") for number in range(2000)]
    lines[1500] = lines[1500][:-1] + b',"die":1}'
    steps = {"seen": "default(seen, 0) + 1", "last": "a"}
    row = op.parse("json"), op.scan(steps, by="k"), op.set(a="seen"), op.drop("last")
    here = run(batches_of(lines), *row, workers=1)
    shared = Shared(2, row[0], Deadly("die", str(tmp_path / "deaths")), *row[1:])
    for batch in batches_of(lines):
        shared.on_batch(batch)
    report = shared.end()
    assert report.pipelines["test"].nodes[0].notes == {"workers_died": 1}
    assert [event.data for event in shared.result.events] == [event.data for event in here.result.events]


def test_one_that_dies_while_it_does_again_what_another_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two deaths over the same lines, one while they are done and one while they are done again, change nothing."""
    monkeypatch.setattr(workers_module, "_REMEMBERED", 1 << 40)
    (tmp_path / "deaths").write_text("one\nmore\n")
    lines, expected = counted(4000, 10)
    lines[1234] = lines[1234][:-1] + b',"die":1}'
    shared = Shared(2, op.parse("json"), Deadly("die", str(tmp_path / "deaths")), *COUNTING[1:])
    for batch in batches_of(lines, 500):
        shared.on_batch(batch)
    report = shared.end()
    assert (tmp_path / "deaths").read_text() == ""
    assert [(event["k"], event["a"]) for event in shared.result.events] == expected
    assert report.pipelines["test"].nodes[0].notes["workers_died"] == 2


def test_what_ends_every_worker_ends_the_stream(tmp_path: Path) -> None:
    (tmp_path / "deaths").write_text("one\n" * 10)
    lines, _ = counted(4000, 10)
    lines[1234] = lines[1234][:-1] + b',"die":1}'
    shared = Shared(2, op.parse("json"), Deadly("die", str(tmp_path / "deaths")), *COUNTING[1:])
    for batch in batches_of(lines, 500):
        shared.on_batch(batch)
    report = shared.end()
    assert isinstance(shared.result.error, ProcessError)
    message = "was ended by signal 9, as 3 did over some of the lines 1001 to 1500 of exec"
    assert message in str(shared.result.error)
    assert len((tmp_path / "deaths").read_text().splitlines()) == 7
    node = report.pipelines["test"].nodes[0]
    assert node.taken == 4000
    assert node.out == len(shared.result.events) <= 1000
    assert node.dropped == 4000 - node.out


def test_what_is_kept_is_as_long_as_it_takes_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process was asked is forgotten when it has given what it keeps."""
    monkeypatch.setattr(workers_module, "_REMEMBERED", 50_000)
    asked: list[int] = []
    add = workers_module._Memory.add

    def adding(memory: Any, process: Any, request: bytes) -> None:
        add(memory, process, request)
        asked.append(memory._size)

    monkeypatch.setattr(workers_module._Memory, "add", adding)
    lines, expected = counted(20_000, 100)
    shared = Shared(2, *COUNTING)
    for batch in batches_of(lines, 200):
        shared.on_batch(batch)
    shared.end()
    assert [(event["k"], event["a"]) for event in shared.result.events] == expected
    assert asked.count(0) > 3
    assert max(asked) < 60_000


@described
class Unpicklable(Stage):
    """Keeps what cannot be given to another process."""

    name = "unpicklable"

    def keyed_by(self) -> Sequence[Any]:
        return op.dedupe("k").key

    def emit(self, code: SegmentCode, following: Any) -> None:
        code.state(threading.Lock, "lock")


def test_what_cannot_be_given_is_told(monkeypatch: pytest.MonkeyPatch, log: list[str]) -> None:
    monkeypatch.setattr(workers_module, "_REMEMBERED", 1)
    shared = Shared(2, op.parse("json"), Unpicklable())
    shared.on_batch(Lines([b'{"k":1}'] * 100, 1, ORIGIN))
    wait_until(lambda: shared.result.ended > 0, "it fails", 30)
    assert shared.workers.wait(10)
    assert "a worker failed: TypeError: cannot pickle '_thread.lock' object" in str(shared.result.error)
    assert any("Traceback" in line for line in log)


def test_what_operators_keep_is_the_same_in_another_process() -> None:
    for value in (True, False, float("nan")):
        assert pickle.loads(pickle.dumps(hashable([value]))) == hashable([value])


# What can be shared


def test_how_far_a_row_is_shared() -> None:
    parse, dedupe, after = op.parse("json"), op.dedupe("pid"), op.set(a="1")
    assert share_of(parse, dedupe, after) == (3, ["pid"], ["operators[0] parse"])
    assert share_of(parse, dedupe) == (2, ["pid"], ["operators[0] parse"])
    # what keeps it by no key ends it, and so does what is no stage
    assert share_of(parse, dedupe, op.skip(3), after) == (2, ["pid"], ["operators[0] parse"])
    assert share_of(parse, op.skip(3), dedupe) == (1, [], [])
    assert share_of(parse, op.scan({"n": "1"}), after) == (1, [], [])
    assert share_of(parse, dedupe, op.buffer(count=2), after) == (2, ["pid"], ["operators[0] parse"])
    # of several keys what they have in common
    assert share_of(parse, op.dedupe(["pid", "comm"]), op.scan({"n": "1"}, by="comm"))[:2] == (3, ["comm"])
    assert share_of(parse, op.dedupe(["pid", "comm"]), op.redact())[:2] == (3, ["pid", "comm"])
    assert share_of(parse, op.dedupe("pid"), after, op.dedupe("comm"), after)[:2] == (3, ["pid"])
    # what a Python function makes is not made twice
    assert share_of(parse, op.dedupe(lambda event: event["pid"]), after) == (1, [], [])
    assert share_of(parse, op.set(pid=lambda event: 1), dedupe) == (2, [], [])
    assert share_of(parse, op.scan({"n": lambda before, event: 1}, by="pid")) == (1, [], [])
    # no field, no key
    assert share_of(parse, op.dedupe("meta.runner"), after) == (1, [], [])
    assert share_of(parse, op.dedupe("1"), after) == (1, [], [])
    assert share_of(op.dedupe("message"), after) == (2, ["message"], [])
    assert share_of(op.skip(1), after) == (0, [], [])


def test_what_a_key_is_read_with() -> None:
    parse, dedupe = op.parse("json"), op.dedupe("k")
    labels = ["operators[0] parse", "operators[1] set"]
    assert share_of(parse, op.filter("a"), dedupe)[2] == labels[:1]
    assert share_of(parse, op.set(a="k"), dedupe)[2] == labels[:1]
    assert share_of(parse, op.set(k="a"), dedupe)[2] == labels
    assert share_of(parse, op.set(a="b"), op.set(k="a"), dedupe)[2] == [*labels, "operators[2] set"]
    assert share_of(parse, op.drop("k"), dedupe)[2] == ["operators[0] parse", "operators[1] drop"]
    assert share_of(parse, op.keep("k"), dedupe)[2] == labels[:1]
    assert share_of(parse, op.keep("a"), dedupe)[2] == ["operators[0] parse", "operators[1] keep"]
    assert share_of(parse, op.rename({"a": "k"}), dedupe)[2] == ["operators[0] parse", "operators[1] rename"]
    assert share_of(parse, op.set(a="b"), op.rename({"a": "k"}), dedupe)[2][1:] == [labels[1], "operators[2] rename"]
    assert share_of(parse, op.cast({"a": "int"}), dedupe)[2] == labels[:1]
    assert share_of(parse, op.cast({"k": "int"}), dedupe)[2] == ["operators[0] parse", "operators[1] cast"]
    assert share_of(parse, op.coalesce({"k": ["a"]}), dedupe)[2] == ["operators[0] parse", "operators[1] coalesce"]
    assert share_of(parse, op.encode({"a": "hex"}), dedupe)[2] == labels[:1]
    # the same name, but another value
    assert share_of(parse, op.dedupe("k"), op.set(k="a"), op.dedupe("k"), op.set(b="1"))[:2] == (3, ["k"])
    assert share_of(parse, op.scan({"k": "1"}, by="a"), op.dedupe("k"))[:2] == (2, ["a"])
    assert share_of(parse, dedupe, op.scan({"k": "1"}, by="k"), dedupe, op.set(a="1"))[:2] == (3, ["k"])
    changed = op.dedupe("a_change")
    assert share_of(parse, changed, op.diff("a", by="a_change"), changed, op.set(a="1"))[:2] == (3, ["a_change"])
    assert share_of(parse, op.diff("a", by="b"), op.dedupe("a_change"))[:2] == (2, ["b"])
    assert share_of(parse, op.diff("a", by="b"), op.dedupe(["b", "a_change"]))[:2] == (3, ["b"])


@pytest.mark.parametrize(
    ("operators", "why"),
    [
        ([op.parse("logfmt")], "its key is read from what operators[0] parse makes, which costs as much as what"),
        ([op.parse("json", on_error="keep_raw")], "its key is read from what operators[0] parse makes"),
        ([op.parse("json", duplicate_keys="first")], "its key is read from what operators[0] parse makes"),
        ([op.parse("json"), op.redact()], "its key is read from what operators[1] redact makes"),
        ([op.parse("json"), op.encode({"k": "hex"})], "its key is read from what operators[1] encode makes"),
        (
            [op.parse("json"), op.encode({"a": "hex"}), op.set(k="a")],
            "its key is read from what operators[1] encode makes",
        ),
        ([op.parse("json"), op.explode("k")], "its key is read from what operators[1] explode makes"),
        ([op.parse("json"), op.parse("json", field="k")], "its key is read from what operators[1] parse makes"),
    ],
)
def test_why_a_row_is_not_shared_by_key(operators: list[Any], why: str) -> None:
    row = [*operators, op.dedupe("k"), op.set(a="1")]
    assert share_of(*row) == (len(operators), [], [])
    assert why_not_by_key(steps_of(row), len(operators)).startswith(why)


def test_a_sharing_is_a_row_of_its_own() -> None:
    rows = steps_of([op.parse("json"), op.dedupe("pid"), op.set(a="1"), op.skip(1), op.set(b="2"), op.buffer(count=2)])
    assert rows_of(rows) == [range(5), range(5, 6)]
    assert rows_of(rows, 2) == [range(3), range(3, 5), range(5, 6)]


def test_the_key_of_what_is_no_json_is_none() -> None:
    share = shared_by(steps_of([op.parse("json"), op.dedupe("k // 2")]), 64)
    assert share is not None
    assert isinstance(share.by, Sharing)
    lines = [b"{no", b"", b'{"k":"text"}', b'{"k":9}', b'{"k":8}', b'{"k":1000}']
    lanes = Router(share.by, 64).lanes(Lines(lines, 1, ORIGIN))
    assert [*lanes[:3]] == [0, 0, 0]
    assert len({*lanes[3:]}) == 2
    assert lanes[3] == lanes[4]
