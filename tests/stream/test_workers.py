"""Workers: what comes out of several processes is what comes out of one, in the same order, with the same balance sheet."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import rx_collector as rx
from rx_collector import operators as op
from rx_collector.backpressure import records
from rx_collector.clock import Look
from rx_collector.config.options import described
from rx_collector.errors import ParseError, ProcessError
from rx_collector.event import Event, Lines, Origin, Packed, encode_json, from_json, pack
from rx_collector.ledger import Report
from rx_collector.parsers import FORMATS
from rx_collector.stream import workers as workers_module
from rx_collector.stream.chain import rows_of, shared_by
from rx_collector.stream.code import SegmentCode
from rx_collector.stream.eventstream import EventStream, new_context
from rx_collector.stream.flow import Context
from rx_collector.stream.operator import OPERATORS, Stage
from rx_collector.stream.segment import Step, compile_segment
from rx_collector.stream.sharing import Share
from rx_collector.stream.workers import FEW, Workers
from tests.conftest import wait_until
from tests.events import ORIGIN, Given, Result

CAPTURES = Path(__file__).parents[1] / "captures"

pytestmark = [pytest.mark.slow, pytest.mark.fast_path]


# Operators that do to a worker what a test wants


@described
class Slowly(Stage):
    """Takes a moment for some lines, so that batches are done in another order than they came."""

    name = "slowly"
    independent = True

    def emit(self, code: SegmentCode, following: Any) -> None:
        code.write(f"{code.bind(_wait_for_some, 'wait')}({code.data()})")


def _wait_for_some(data: dict[str, Any]) -> None:
    if data["message"].endswith("00") and data["message"][:1] in "37":
        threading.Event().wait(0.02)


@described
class Deadly(Stage):
    """Ends the process that does a line with `die` in it. The one of the test is safe."""

    name = "deadly"
    independent = True

    def emit(self, code: SegmentCode, following: Any) -> None:
        code.write(f"{code.bind(_die, 'die')}({code.data()})")


def _die(data: dict[str, Any]) -> None:
    path = data["message"].partition("die ")[2]
    if path and str(os.getpid()) != os.environ["OF_THE_TEST"]:
        with open(path, "a") as file:
            file.write(f"{os.getpid()}\n")
        os.kill(os.getpid(), signal.SIGKILL)


@described
class Endless(Stage):
    """Never comes back from a line, in a worker."""

    name = "endless"
    independent = True

    def emit(self, code: SegmentCode, following: Any) -> None:
        code.write(f"{code.bind(threading.Event, 'never')}().wait()")


@described
class Buggy(Stage):
    """Is not even compiled by a worker."""

    name = "buggy"
    independent = True

    def emit(self, code: SegmentCode, following: Any) -> None:
        if threading.current_thread() is threading.main_thread() and not hasattr(signal, "of_the_test"):
            raise RuntimeError("a bug")


@described
class Locked(Stage):
    """Puts into some events what no process can give to another."""

    name = "locked"
    independent = True

    def emit(self, code: SegmentCode, following: Any) -> None:
        code.write(f"if {code.data()}['n'] % 100 == 99: {code.own()}['lock'] = {code.bind(threading.Lock, 'lock')}()")


@described
class Foreign(Stage):
    """Cannot be made again by a worker."""

    name = "foreign"
    independent = True

    def __reduce__(self) -> Any:
        return _only_here, (os.getpid(),)

    def emit(self, code: SegmentCode, following: Any) -> None:
        """Do nothing."""


def _only_here(pid: int) -> Stage:
    if os.getpid() != pid:
        raise RuntimeError("not in this process")
    return Foreign()


# Running streams


@dataclass
class Run:
    result: Result
    report: Report
    rejected: list[dict[str, Any]]

    def events(self) -> list[tuple[Any, ...]]:
        return [
            (event.id, event.line, event.part, event.raw, event._time_ns, _typed(event.data), event.json())
            for event in self.result.events
        ]

    def nodes(self) -> list[Any]:
        return list(self.report.pipelines["test"].nodes)


def _typed(value: Any) -> Any:
    """Tell apart what Python calls equal: 1, 1.0 and true; 0.0 and -0.0."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value).__name__, [_typed(item) for item in value]
    return type(value).__name__, repr(value)


def run(batches: list[Any], *operators: Any, workers: int, error: Exception | None = None) -> Run:
    result, rejected = Result(), []
    context = replace(new_context("test"), workers=workers, reject=lambda record: rejected.append(record.data))
    stream = EventStream(Given(batches, error))
    stream.source.emits_lines = True
    for operator in operators:
        stream = operator(stream)
    connection = stream.connect(result, context)
    wait_until(lambda: result.ended > 0, "the stream ends", 60)
    assert connection.wait(10)
    report = Report.of(context.ledger, seconds=0, exit_code=0)
    assert report.balanced, report.unbalanced
    assert result.ended == 1
    return Run(result, report, rejected)


def batches_of(
    lines: list[bytes], size: int | Callable[[], int] = 500, repaired: dict[int, bytes] | None = None
) -> list[Any]:
    made: list[Any] = []
    at = 0
    while at < len(lines):
        count = size if isinstance(size, int) else size()
        part = lines[at : at + count]
        mended = {number: raw for number, raw in (repaired or {}).items() if at < number <= at + len(part)}
        origin = Origin("run", "exec", 1, 42, 1_700_000_000_000_000_000 + at)
        made.append(Lines(part, at + 1, origin, mended or None, any(b"\n" in line for line in part)))
        at += count
    return made


def with_newlines(batches: list[Any]) -> list[Any]:
    """The same lines as a reader gives them that leaves their newlines on, as far as they can come so."""
    return [
        Lines.of_ended([line + b"\n" for line in batch.lines], batch.first, batch.origin)
        if isinstance(batch, Lines) and not batch.repaired and not batch.broken
        else batch
        for batch in batches
    ]


def both(batches: list[Any], *operators: Any) -> Run:
    """Run it in this process and in two, and see that it comes to the same."""
    here = run(batches, *operators, workers=1)
    shared = run(batches, *operators, workers=2)
    assert shared.events() == here.events()
    assert shared.nodes() == here.nodes()
    assert shared.rejected == here.rejected
    assert str(shared.result.error) == str(here.result.error)
    return shared


def of_capture(name: str, times: int) -> list[bytes]:
    return (CAPTURES / name).read_bytes().splitlines() * times


ROWS: list[tuple[str, list[Any]]] = [
    ("process.ndjson", [op.parse("json")]),
    ("process.ndjson", [op.parse("json"), op.filter('event == "EXEC"'), op.set(host='"web"'), op.drop("ppid")]),
    ("process.ndjson", [op.parse("json"), op.filter("pid > 100"), op.map("{'a': [pid, 1.0, None], 'b': this}")]),
    ("process.ndjson", [op.parse("json", time={"field": "timestamp", "unit": "ns"}), op.rename({"pid": "p"})]),
    ("process.ndjson", [op.filter("'EXEC' in message")]),
    ("process.ndjson", [op.parse("json"), op.filter("meta.line % 2 == 0"), op.set(line="meta.line", id="meta.id")]),
    ("process.ndjson", [op.parse("json"), op.flat_map("[this, {'pid': pid}, [1, pid]]"), op.filter("this")]),
    (
        "process.ndjson",
        [op.parse("json"), op.keep("pid", "comm"), op.cast({"pid": "float"}), op.coalesce({"c": ["comm", "pid"]})],
    ),
    ("process.ndjson", [op.parse("json"), op.redact(), op.dedupe("pid", size=10), op.set(n="1")]),
    ("process.ndjson", [op.parse("json"), op.aggregate({"n": "count()", "s": "sum(pid)"}, by="event")]),
    ("sslsniff.ndjson", [op.parse("json"), op.redact(), op.set(size="len(data)")]),
    ("strace.txt", [op.parse("regex", pattern=r"(?P<call>\w+)\((?P<rest>.*)"), op.encode({"call": "hex"})]),
    ("ps.txt", [op.parse("columns", columns=["a", "b", "c"], rest=True), op.set(n="int(a)")]),
]


@pytest.mark.parametrize(("capture", "operators"), ROWS)
def test_it_comes_to_the_same(capture: str, operators: list[Any]) -> None:
    """Batches of all sizes, few lines and many, come out as if one process had done them."""
    random.seed(capture)
    lines = of_capture(capture, 3000 // len(of_capture(capture, 1)) + 1)
    sizes = [1, FEW, FEW + 1, 200, 500]
    batches = batches_of(lines, lambda: random.choice(sizes))
    shared = both(batches, *operators)
    assert run(with_newlines(batches), *operators, workers=2).events() == shared.events()
    assert shared.report.pipelines["test"].nodes[0].taken == len(lines)
    assert shared.result.events or shared.rejected


def test_batches_that_are_done_out_of_order_go_on_in_theirs() -> None:
    lines = [f"{number}".encode() for number in range(8_000)]
    shared = run(batches_of(lines, 100), Slowly(), workers=4)
    assert [event.line for event in shared.result.events] == list(range(1, 8_001))


def test_lines_that_are_no_lines_and_no_text() -> None:
    """Invalid UTF-8, which a reader repairs, and records with newlines in them."""
    lines = [f'{{"n":{number},"text":"\ufffd"}}'.encode() for number in range(1000)]
    lines[500] = b'{"n":500,\n"text":"two lines"}'
    lines[600] = b"\xef\xbf\xbd no JSON"
    repaired = {number + 1: line.replace("\ufffd".encode(), b"\xff") for number, line in enumerate(lines) if number % 7}
    for operators in ([op.parse("json")], [op.filter("message != ''")], [op.parse("json"), op.set(a="n")]):
        shared = both(batches_of(lines, 250, repaired), *operators)
        assert len(shared.result.events) >= 999


def test_payloads_that_json_has_no_form_for_stay_what_they_are() -> None:
    """Numbers beyond a double, not a number, minus zero, a set of things that only Python tells apart."""
    numbers = ["1e999", "-0.0", "1.0", "1", "true", "123456789012345678901234567890", '"\\ud800"', "[[]]", "{}"]
    lines = [f'{{"n":{number}}}'.encode() for number in numbers * 40]
    both(batches_of(lines, 180), op.parse("json"), op.map("{'n': n, 'l': [n, 1e308 * 10, -0.0, (1, 2)]}"))
    both(batches_of(lines, 180), op.parse("json"), op.map("[n]"))
    both(batches_of(lines, 180), op.parse("json"), op.flatten(), op.set(m="n"))


def test_events_among_the_lines_keep_their_place() -> None:
    lines = batches_of([f"{number}".encode() for number in range(3000)], 300)
    told = [[Event({"message": f"told {number}"}, None, ORIGIN, number)] for number in range(len(lines))]
    mixed = [batch for pair in zip(lines, told, strict=True) for batch in pair]
    shared = both(mixed, Slowly(), op.filter("message != '7'"))
    assert len(shared.result.events) == 3009
    # What is under way while events are done here is no part of what becomes of these.
    shared = both(mixed[:-1], Slowly(), op.filter("message != '7'"), op.set(a="1"))
    assert len(shared.result.events) == 3008


def test_few_lines_are_done_at_once_and_here() -> None:
    """While nothing is under way no line waits for another process."""
    result = Result()
    context = new_context("test")
    step = Step(op.parse("json"), "operators[0] parse")
    node = context.pipeline.node(step.label)
    workers = Workers(2, [step], [node], result, context)
    workers.on_batch(Lines([b'{"n":1}'] * FEW, 1, ORIGIN))
    assert len(result.events) == FEW
    workers.on_completed()
    assert workers.wait(10)
    assert result.ended == 1


@pytest.mark.parametrize("on_error", ["dead_letter", "drop", "fail"])
def test_what_does_not_parse(on_error: str) -> None:
    lines = [b'{"n":1}'] * 5000
    lines[700] = lines[2500] = lines[4999] = b"{no"
    if on_error == "fail":
        here = run(batches_of(lines), op.parse("json", on_error=on_error), workers=1)
        shared = run(batches_of(lines), op.parse("json", on_error=on_error), workers=2)
        assert isinstance(shared.result.error, ParseError)
        assert str(shared.result.error) == str(here.result.error)
        assert shared.events() == here.events()
        assert shared.nodes()[0].dropped == here.nodes()[0].dropped == 5000 - 701
    else:
        shared = both(batches_of(lines), op.parse("json", on_error=on_error))
        assert shared.nodes()[0].rejected == 3
        assert len(shared.rejected) == (3 if on_error == "dead_letter" else 0)


def test_the_first_rejection_is_logged_and_the_others_are_not(log: list[str]) -> None:
    lines = [b"{no"] * 2000
    run(batches_of(lines), op.parse("json"), workers=2)
    said = [line for line in log if line.startswith("WARNING") and "more like this are counted" in line]
    assert len(said) == 1
    assert "(line 1 of exec" in said[0]


def test_a_time_that_cannot_be_used_is_told_once(log: list[str]) -> None:
    lines = [b'{"t":"never"}'] * 2000
    both(batches_of(lines), op.parse("json", time={"field": "t"}))
    assert sum("bears no usable time" in line for line in log) == 2  # of two runs


def test_times_that_are_read_from_the_clock_of_the_kernel_do_not_jump() -> None:
    """Each process would measure the distance between the clocks for itself, and come to another one."""
    lines = [f'{{"n":{number},"t":{10**12 + number}}}'.encode() for number in range(4000)]
    for clock in ("boot", "monotonic"):
        parse = op.parse("json", time={"field": "t", "unit": "ns", "clock": clock})
        for operators in ([parse, op.set(a="1")], [parse, op.dedupe("n")]):
            batches = batches_of(lines, lambda: random.choice([1, 200]))
            shared = run(batches, *operators, workers=4)
            assert len(shared.result.events) == 4000
            assert len({event.time_ns - event["t"] for event in shared.result.events}) == 1


def test_what_the_clocks_say_when_a_batch_comes_counts_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is done, and however late."""

    class Stepping:
        """The wall clock is set by a second for each batch."""

        def __init__(self) -> None:
            self.steps = 0

        def __call__(self) -> Look:
            self.steps += 1
            return Look(self.steps * 10**9, 0, 1)

    monkeypatch.setattr(workers_module, "SteadyLook", Stepping)
    sizes = [1, 200, 1, 1, 200, 300, FEW, 200, 1] * 5
    batches, at = [], 1
    for size in sizes:
        batches.append(Lines([b'{"t":1}'] * size, at, ORIGIN))
        at += size
    shared = run(batches, op.parse("json", time={"field": "t", "unit": "ns", "clock": "boot"}), workers=2)
    stepped = [event.time_ns // 10**9 for event in shared.result.events]
    assert stepped == [number for number, size in enumerate(sizes, 2) for _ in range(size)]


@pytest.mark.parametrize("keyed", [False, True])
def test_what_cannot_be_sent_back_is_rejected_alone(keyed: bool, log: list[str]) -> None:
    lines = [f'{{"n":{number}}}'.encode() for number in range(1000)]
    for number in range(150, 1000, 100):
        lines[number] = b"{no"
    operators = [op.parse("json"), *([op.dedupe("n")] if keyed else []), Locked()]
    shared = run(batches_of(lines, 250), *operators, workers=2)
    assert shared.result.error is None
    assert [event["n"] for event in shared.result.events] == [
        n for n in range(1000) if n % 100 != 99 and lines[n] != b"{no"
    ]
    assert [record["line"] for record in shared.rejected] == sorted([*range(100, 1001, 100), *range(151, 1001, 100)])
    locked = shared.rejected[::2]
    assert [record["raw"] for record in locked] == [f'{{"n":{n}}}' for n in range(99, 1000, 100)]
    assert locked[0]["operator"] == f"operators[{len(operators) - 1}] locked"
    assert "a worker cannot send what it makes of it: cannot pickle" in locked[0]["error"]
    node = shared.nodes()[-1]
    assert (node.taken, node.out, node.rejected) == (991, 981, 10)
    assert sum("a worker cannot send" in line for line in log) == 1


def test_of_events_what_cannot_be_sent_back_is_rejected_alone() -> None:
    told = [[Event({"n": number}, None, ORIGIN, number) for number in range(90, 110)] for _ in range(2)]
    shared = run(told, op.scan({"k": "default(k, 0) + 1"}, by="n // 50"), Locked(), workers=2)
    assert shared.result.error is None
    assert [event["n"] for event in shared.result.events] == [*range(90, 99), *range(100, 110)] * 2
    assert [record["line"] for record in shared.rejected] == [99, 99]
    assert shared.rejected[0]["data"] is None


def test_what_is_rejected_and_cannot_be_sent_back_has_its_line() -> None:
    lines = [f'{{"n":{number}}}'.encode() for number in range(1000)]
    shared = run(batches_of(lines, 250), op.parse("json"), Locked(), op.filter("1 // (n % 100 - 99)"), workers=2)
    assert shared.result.error is None
    assert [record["raw"] for record in shared.rejected] == [f'{{"n":{n}}}' for n in range(99, 1000, 100)]
    assert "ZeroDivisionError" in shared.rejected[0]["error"]
    assert "data" not in shared.rejected[0]


def test_an_error_of_the_source_comes_after_what_came_before() -> None:
    lines = [b'{"n":1}'] * 5000
    shared = run(batches_of(lines), op.parse("json"), workers=2, error=ProcessError("it failed"))
    assert len(shared.result.events) == 5000
    assert str(shared.result.error) == "it failed"


# Processes that die


class Door:
    """What stands before workers in a pipeline, and counts."""

    def __init__(self, workers: Workers, context: Context) -> None:
        self.workers = workers
        self.context = context
        self.on_completed, self.dispose, self.wait = workers.on_completed, workers.dispose, workers.wait

    def on_batch(self, batch: Any) -> None:
        with self.context.ledger.lock:
            self.context.pipeline.taken += len(batch)
        self.workers.on_batch(batch)

    def report(self, *, final: bool = True) -> Report:
        report = Report.of(self.context.ledger, seconds=0, exit_code=0, final=final)
        assert report.balanced, report.unbalanced
        return report


def steps_of(operators: Sequence[Any]) -> list[Step]:
    return [Step(operator, f"operators[{index}] {operator.name}") for index, operator in enumerate(operators)]


def workers_of(count: int, operators: list[Any], downstream: Any) -> Door:
    context = new_context("test")
    steps = steps_of(operators)
    nodes = [context.pipeline.node(step.label) for step in steps]
    return Door(Workers(count, steps, nodes, downstream, context), context)


def test_workers_that_are_killed_are_replaced_and_nothing_is_missing(log: list[str]) -> None:
    result = Result()
    workers = workers_of(3, [Slowly()], result)
    killed = 0
    wait_until(lambda: len(workers.workers._processes) == 3, "they are there", 30)
    for batch in batches_of([f"{number}".encode() for number in range(20_000)], 100):
        workers.on_batch(batch)
        if random.random() < 0.06:
            for process in random.sample(list(workers.workers._processes.values()), 1):
                process.kill()
                killed += 1
    workers.on_completed()
    assert workers.wait(60)
    assert killed
    assert result.error is None
    assert [event.line for event in result.events] == list(range(1, 20_001))
    died = workers.report().pipelines["test"].nodes[0].notes["workers_died"]
    assert 1 <= died <= killed
    assert sum("was ended by signal 9" in line for line in log) == died


def test_what_ends_every_worker_ends_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried three times, and not in this process, which would end, too."""
    monkeypatch.setenv("OF_THE_TEST", str(os.getpid()))
    lines = [b"fine"] * 1000
    lines[650] = f"die {tmp_path}/died".encode()
    result = Result()
    workers = workers_of(2, [Deadly()], result)
    for batch in batches_of(lines, 250):
        workers.on_batch(batch)
    workers.on_completed()
    assert workers.wait(30)
    assert isinstance(result.error, ProcessError)
    assert result.error.signal == signal.SIGKILL
    assert "was ended by signal 9, as 3 did over the lines 501 to 750 of exec" in str(result.error)
    assert len((tmp_path / "died").read_text().splitlines()) == 3
    node = workers.report().pipelines["test"].nodes[0]
    assert node.taken == 1000
    assert node.out == len(result.events) <= 500
    assert node.dropped == 1000 - node.out


def test_a_bug_in_a_worker_is_told(log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "of_the_test", True, raising=False)
    result = Result()
    workers = workers_of(1, [Buggy()], result)
    workers.on_batch(Lines([b"a"] * 100, 1, ORIGIN))
    wait_until(lambda: result.ended > 0, "it fails", 30)
    assert workers.wait(10)
    assert "a worker failed: RuntimeError: a bug" in str(result.error)
    assert any("Traceback" in line for line in log)
    assert workers.report().pipelines["test"].nodes[0].dropped == 100


def test_a_worker_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module.sys, "executable", "/nowhere/python")
    result = Result()
    workers = workers_of(2, [op.parse("json")], result)
    wait_until(lambda: result.ended > 0, "it fails")
    assert workers.wait(10)
    assert str(result.error) == "test: a worker cannot be started: no such file or directory"


def test_no_descriptor_is_left_open_by_a_worker_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, made = os.pipe, []

    def second_fails() -> tuple[int, int]:
        made.append(1)
        if len(made) == 2:
            raise OSError(errno.EMFILE, "of the test")
        return pipe()

    before = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(workers_module.os, "pipe", second_fails)
    result = Result()
    workers = workers_of(1, [op.parse("json")], result)
    wait_until(lambda: result.ended > 0, "it fails")
    assert workers.wait(10)
    assert str(result.error) == "test: a worker cannot be started: too many open files"
    assert set(os.listdir("/proc/self/fd")) == before


def test_an_error_does_not_overtake_what_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few lines go on on the thread of the source, and a failed worker is told by another one."""
    may_fail = threading.Event()

    def failing(setup: bytes) -> None:
        may_fail.wait(30)
        raise OSError(errno.ENOMEM, "of the test")

    class Slow(Result):
        """Is told of the error only when it has taken what it is given."""

        def on_batch(self, batch: Any) -> None:
            may_fail.set()
            assert not told.wait(0.2)
            super().on_batch(batch)

        def on_error(self, error: Exception) -> None:
            told.set()
            super().on_error(error)

    told = threading.Event()
    monkeypatch.setattr(workers_module, "_Process", failing)
    result = Slow()
    workers = workers_of(2, [op.parse("json")], result)
    workers.on_batch(Lines([b"{}"], 1, ORIGIN))
    assert workers.wait(10)
    assert len(result.events) == 1
    assert "a worker cannot be started" in str(result.error)


@pytest.mark.parametrize("size", [10, 100_000], ids=["it gets all", "it gets a part of it"])
def test_why_a_worker_cannot_begin_is_told(size: int, log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it ends while it is still being given its first lines."""
    monkeypatch.setattr(workers_module, "LARGEST", 1 << 16)  # bytes that a pipe holds
    result = Result()
    workers = workers_of(1, [Foreign()], result)
    workers.on_batch(Lines([b"x" * size] * 100, 1, ORIGIN))
    wait_until(lambda: result.ended > 0, "it fails", 30)
    assert workers.wait(10)
    assert "a worker failed: RuntimeError: not in this process" in str(result.error)
    assert any("Traceback" in line for line in log)


def test_what_cannot_be_sent_to_another_process() -> None:
    with pytest.raises(ProcessError, match=r"operators\[0\] map cannot be sent to a worker"):
        workers_of(2, [op.map(lambda event: event.data)], Result())


# The end


class Stuck(Result):
    """Takes nothing until it is let, or one batch `once`."""

    def __init__(self) -> None:
        super().__init__()
        self.let, self.once = threading.Event(), threading.Event()

    def on_batch(self, batch: Any) -> None:
        while not self.let.wait(0.005) and not self.once.is_set():
            pass
        self.once.clear()
        super().on_batch(batch)


def test_it_holds_no_more_than_two_batches_for_each_process() -> None:
    """Who sends waits when what follows does; what is held is in the balance sheet."""
    result = Stuck()
    workers = workers_of(2, [op.parse("json")], result)
    sent = []

    def send() -> None:
        for batch in batches_of([b'{"n":1}'] * 2000, 100):
            workers.on_batch(batch)
            sent.append(len(batch))
        workers.on_completed()

    sender = threading.Thread(target=send)
    sender.start()
    wait_until(lambda: len(sent) == 4, "four batches are under way", 30)
    sender.join(0.05)
    assert len(sent) == 4
    node = workers.report(final=False).pipelines["test"].nodes[0]
    assert 300 <= node.held <= 400
    result.let.set()
    sender.join(30)
    assert workers.wait(30)
    assert len(result.events) == 2000


def test_disposing_ends_the_processes_at_once_and_counts_what_was_under_way() -> None:
    result = Stuck()
    workers = workers_of(2, [op.parse("json")], result)
    for batch in batches_of([b'{"n":1}'] * 400, 100):
        workers.on_batch(batch)
    workers.dispose()
    workers.on_batch(Lines([b"{}"] * 70, 401, ORIGIN))
    result.let.set()
    assert workers.wait(10)
    workers.on_completed()
    node = workers.report().pipelines["test"].nodes[0]
    assert node.taken == 470
    assert node.dropped == 470 - node.out
    assert node.out == len(result.events) <= 100
    assert not result.ended


def test_disposing_ends_processes_that_do_not_come_back() -> None:
    result = Result()
    workers = workers_of(2, [Endless()], result)
    wait_until(lambda: len(workers.workers._processes) == 2, "they are there", 30)
    processes = list(workers.workers._processes.values())
    for batch in batches_of([b"a"] * 400, 100):
        workers.on_batch(batch)
    wait_until(lambda: workers.report(final=False).pipelines["test"].nodes[0].held == 400, "all are under way")
    workers.dispose()
    assert workers.wait(10)
    assert all(process.signal == signal.SIGKILL for process in processes)
    assert workers.report().pipelines["test"].nodes[0].dropped == 400


def test_events_that_are_being_sent_on_while_it_is_disposed_of_are_counted_once() -> None:
    result = Stuck()
    workers = workers_of(2, [op.filter("message != '7'")], result)
    workers.on_batch(Lines([b"a"] * 100, 1, ORIGIN))  # goes to a worker, so what follows waits for its turn
    for number in range(2):
        workers.on_batch([Event({"message": f"told {number}"}, None, ORIGIN, 101 + number)])
    wait_until(lambda: workers.report(final=False).pipelines["test"].nodes[0].out == 100, "they are sent", 30)
    result.once.set()
    wait_until(lambda: workers.report(final=False).pipelines["test"].nodes[0].out == 101, "the next one is", 30)
    workers.dispose()
    result.let.set()
    assert workers.wait(10)
    node = workers.report().pipelines["test"].nodes[0]
    assert (node.taken, node.out, node.dropped) == (102, 101, 1)
    assert len(result.events) == 101


# What can be shared


def test_only_what_keeps_nothing_is_shared(tmp_path: Path) -> None:
    """No stage that says that it is independent keeps anything."""
    keeps = set()
    for name in OPERATORS:
        if not issubclass(OPERATORS[name], Stage) or name == "enrich":  # which needs a table
            continue
        stage = _made(name, tmp_path)
        segment = compile_segment([Step(stage, name)], "lines")
        if name != "parse" and any(make for _, make in segment._makers.values()):
            keeps.add(name)
            assert not stage.independent, name
    assert keeps == {"dedupe", "diff", "log", "scan", "skip", "throttle"}
    assert not op.tap(print).independent
    assert not op.sample(every=2).independent


def _made(name: str, tmp_path: Path) -> Stage:
    file, example = tmp_path / "x.yaml", OPERATORS[name].example.replace("\n", "\n        ")
    file.write_text(
        "runners: {numbers: {command: [seq, '3']}}\npipelines:\n  all:\n    from: numbers\n"
        f"    operators:\n      - {example}\n    sinks: [{{'null': {{}}, backpressure: block}}]\n"
    )
    made = rx.load(file).pipelines["all"].operators[0].operator
    assert isinstance(made, Stage)
    return made


def test_which_formats_are_independent() -> None:
    independent = {name for name in FORMATS if _format(name).independent}
    assert independent == {"json", "jc", "key_value", "logfmt", "regex", "syslog", "text"}
    for name, options in (("csv", {"columns": ["a"]}), ("tsv", {"columns": ["a"]}), ("columns", {"columns": ["a"]})):
        assert op.parse(name, **options).independent
        assert not op.parse(name, header=True).independent
    assert not op.parse("json", skip_noise=True).independent


def _format(name: str) -> Any:
    options: dict[str, Any] = {"regex": {"pattern": "(?P<a>.)"}, "jc": {"parser": "ls"}}.get(name, {})
    if name in ("csv", "tsv", "columns"):
        options = {"header": True}
    return op.parse(name, **options).format


def test_how_far_a_row_is_shared() -> None:
    rows = [op.parse("json"), op.filter("pid > 1"), op.skip(2), op.set(a="1"), op.buffer(count=2), op.set(b="2")]
    steps = [Step(operator, f"operators[{index}]") for index, operator in enumerate(rows)]
    assert shared_by(steps, 1) is None
    assert shared_by(steps, 4) == Share(2)
    assert shared_by(steps[2:], 4) is None
    assert rows_of(steps) == [range(4), range(4, 5), range(5, 6)]
    assert rows_of(steps, 4) == [range(2), range(2, 4), range(4, 5), range(5, 6)]
    assert rows_of(steps[2:], 4) == rows_of(steps[2:])
    nested = [Step(op.flat_map("[this]"), f"operators[{index}]") for index in range(12)]
    assert rows_of(nested, 4) == rows_of(nested)


@pytest.mark.parametrize("depth", [1999, 2001, 5500, 9000])
def test_what_is_nested_deeply_comes_back(depth: int) -> None:
    """More than marshal and pickle take, and less than is refused by the parser: in payloads, and in dead letters."""
    deep = b"[" * depth + b'{"b":[]}' + b"]" * depth
    lines = [b'{"n":%d,"a":%b}' % (number, deep if number in (70, 90) else b"1") for number in range(100)]
    batches = [Lines(lines, 1, ORIGIN)]
    operators = op.parse("json"), op.set(c="1"), op.map("this"), op.set(d="1 / (90 - n)")
    ran, shared = (run(batches, *operators, workers=workers) for workers in (1, 2))
    assert [event.json() for event in shared.result.events] == [event.json() for event in ran.result.events]
    assert [encode_json(record) for record in shared.rejected] == [encode_json(record) for record in ran.rejected]
    if sys.version_info < (3, 13):  # where msgspec refuses what is nested less deeply than marshal takes
        assert [record["reason"] for record in shared.rejected] == ["parse", "parse"]
        return
    assert len(shared.result.events) == 99
    assert encode_json(shared.result.events[70].data["a"]) == deep
    assert shared.rejected[0]["data"]["n"] == 90


def test_packed_events_spill_like_others() -> None:
    data = {"n": 1, "deep": {"x": [1, 2.5, None]}}
    packed = Event(Packed(pack(data)), b"raw", ORIGIN, 7, json.dumps(data).encode())
    (back,) = records.decode(records.encode([packed]))
    assert back._data is from_json
    assert (back.data, back.raw, back.line) == (data, b"raw", 7)
    assert packed._data.__class__ is Packed
    assert packed.data == data
    assert packed._data is packed.data
