"""Sinks that fail: what is tried again, what is given up, and that all of it is counted and nobody else notices."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import rx_collector as rx
from rx_collector import operators as op
from rx_collector import sinks
from rx_collector.event import Event
from rx_collector.runners.feed import Feed
from rx_collector.sinks.base import Sink, Writer
from rx_collector.sinks.retry import Retry
from rx_collector.testing import Probe, run_script
from rx_collector.testing import Script as Scripted
from tests.conftest import wait_until
from tests.events import Result, event, run

QUICK = {"limit": 3, "backoff": "1ms..2ms"}


@dataclass(frozen=True)
class Script(Sink):
    """Takes so many events of each write as it is told, in turn; all when it is told no more."""

    name = "script"
    takes: list[int] = field(default_factory=list)
    buffered: bool = False
    got: list[Any] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def open(self) -> Writer:
        return _Script(self)


class _Script(Writer):
    def __init__(self, spec: Script) -> None:
        self.spec = spec
        self.buffer: list[Event] = []
        self.flush_interval = 3600.0 if spec.buffered else None

    def write(self, events: list[Event]) -> int:
        self.spec.log.append(f"write {len(events)}")
        self.buffer += events
        return 0 if self.spec.buffered else self.flush()

    def flush(self) -> int:
        events, self.buffer = self.buffer, []
        if events and self.spec.takes:
            count = self.spec.takes.pop(0)
            self.spec.got.extend(one.data for one in events[:count])
            raise rx.OutputError("it is full", delivered=count)
        self.spec.got.extend(one.data for one in events)
        return len(events)

    def recover(self) -> None:
        self.spec.log.append("recover")

    def close(self) -> int:
        return self.flush()


def numbers(sink: Sink, **options: Any) -> Result:
    return run(op.to(sink, **options), events=list(range(10)))


@pytest.mark.parametrize("buffered", [False, True])
def test_only_the_rest_is_tried_again(buffered: bool) -> None:
    sink = Script([3, 0, 2], buffered=buffered)
    result = numbers(sink, retry=QUICK)
    assert sink.got == list(range(10))
    node = result.report.pipelines["test"].nodes[0]
    assert (node.out, node.dropped) == (10, 0)
    assert node.notes["retried"] == 7 + 7 + 5
    assert result.error is None
    assert [one for one in sink.log if one.startswith("write")] == ["write 10", "write 7", "write 7", "write 5"]


def test_progress_begins_a_new_row_of_tries_and_no_progress_ends_it() -> None:
    sink = Script([1, 1, 1, 1, 1, 0, 0, 0, 0])
    result = numbers(sink, retry={"limit": 3, "backoff": "1ms"})
    assert sink.got == list(range(5))
    assert isinstance(result.error, rx.OutputError)
    assert str(result.error) == "it is full"
    node = result.report.pipelines["test"].nodes[0]
    assert (node.out, node.dropped) == (5, 5)


def test_within_bounds_a_row_of_tries() -> None:
    sink = Script([0] * 1000)
    started = time.monotonic()
    numbers(sink, retry={"limit": 1000, "backoff": "5ms", "within": "50ms"})
    assert time.monotonic() - started < 5
    assert 2 < len(sink.takes) < 1000


def test_drop_goes_on_with_what_follows() -> None:
    sink = Script([4])
    stream = [op.to(sink, on_failure="drop")]
    result = run(*stream, events=list(range(10)))
    assert result.error is None
    assert sink.got == [0, 1, 2, 3]
    assert result.report.pipelines["test"].nodes[0].dropped == 6


def test_an_event_that_the_sink_cannot_take_goes_alone() -> None:
    got: list[int] = []

    def take(one: Event) -> None:
        if one.data in (3, 7):
            raise ValueError(f"not {one.data}")
        got.append(one.data)

    result = numbers(sinks.callback(take), on_failure="dead_letter", retry={"limit": 1, "backoff": "1ms"})
    assert got == [0, 1, 2, 4, 5, 6, 8, 9]
    assert [(one["reason"], one["operator"], one["data"], one["error"]) for one in result.rejected] == [
        ("sink", "operators[0] to", 3, "the callback failed: ValueError: not 3"),
        ("sink", "operators[0] to", 7, "the callback failed: ValueError: not 7"),
    ]
    assert result.error is None


def test_a_buffer_is_dead_lettered_as_its_events() -> None:
    sink = Script([0])
    result = run(op.buffer(count=2), op.to(sink, on_failure="dead_letter"), events=["a", "b"])
    assert [one["data"] for one in result.rejected] == ["a", "b"]


def test_waiting_for_the_next_try_ends_at_once_when_it_is_disposed() -> None:
    sink = Script([0] * 10)
    stream = rx.runner("seq", "10").pipe(op.backpressure("block"), op.to(sink, retry={"limit": 9, "backoff": "1h"}))
    subscription = stream.subscribe()
    wait_until(lambda: bool(sink.log), "the sink has failed")
    subscription.dispose()
    wait_until(lambda: not [t for t in threading.enumerate() if t.name.startswith("rx-stream")], "it has ended", 2)


def test_disposing_closes_a_sink_that_has_no_thread_of_its_own(tmp_path: Path) -> None:
    """That the descriptor is given back is what every test checks at its end."""
    seen = threading.Event()
    stream = rx.runner("sh", "-c", "echo x; exec sleep 3600").pipe(op.to(sinks.file(str(tmp_path / "o"))))
    subscription = stream.subscribe(lambda one: seen.set())
    assert seen.wait(10)
    subscription.dispose()
    assert (tmp_path / "o").read_text() == "x\n" or '"x"' in (tmp_path / "o").read_text()


def test_a_failing_sink_never_makes_the_source_run_again(tmp_path: Path) -> None:
    import reactivex.operators as ops

    stream = rx.runner("sh", "-c", f"echo x >> {tmp_path}/starts; seq 5").pipe(
        op.to(Script([0, 0, 0, 0]), retry=QUICK), ops.catch(lambda error, source: __import__("reactivex").empty())
    )
    over = threading.Event()
    stream.subscribe(on_completed=over.set)
    assert over.wait(10)
    assert (tmp_path / "starts").read_text() == "x\n"


def test_a_flush_that_fails_on_the_timers_thread_waits_for_what_is_passed_on() -> None:
    """While what follows has a batch, the failure of the flush must not reach it; afterwards it is told once."""
    failed, chance = threading.Event(), threading.Event()

    class Failing(_Script):
        def flush(self) -> int:
            failed.set()
            raise rx.OutputError("it is full")

    class Sink(Script):
        def open(self) -> Writer:
            writer = Failing(self)
            writer.flush_interval = 0.001
            return writer

    def takes_its_time(batch: Any) -> None:
        assert failed.wait(10)
        chance.wait(0.05)  # for a signal that overlaps; what is asserted holds without it, too

    script = Scripted.of([1, 2, 3], error=ValueError("source"))
    run = run_script(script, op.to(Sink(buffered=True)), op.map("this"), probe=Probe(takes_its_time)).wait()
    run.check()
    assert run.probe.data == [1, 2, 3]
    assert str(run.probe.error) == "it is full"


def test_what_a_sink_dropped_is_passed_on_all_the_same() -> None:
    """What follows gets what was handed over, and the sheet balances."""
    result = run(op.to(Script([4]), on_failure="drop"), op.filter("this > 1"), events=list(range(10)))
    assert result.data == list(range(2, 10))
    assert [node.dropped for node in result.report.pipelines["test"].nodes] == [6, 0]


def test_the_waits_double_are_shortened_by_chance_and_the_same_each_time() -> None:
    waits = list(Retry(limit=5, backoff="1s..6s").waits("file"))
    assert waits == list(Retry(limit=5, backoff="1s..6s").waits("file"))
    assert waits != list(Retry(limit=5, backoff="1s..6s").waits("other"))
    for wait, full in zip(waits, [1, 2, 4, 6, 6], strict=True):
        assert full / 2 <= wait <= full
    for wrong in ("10s..1s", "0s..1s", "soon", [1], True):
        with pytest.raises(rx.ConfigError):
            Retry(backoff=wrong)  # type: ignore[arg-type]


# Writes that can hang


def hanging_console(**options: Any) -> tuple[Writer, int, int]:
    reading, writing = os.pipe()
    saved = os.dup(1)
    os.dup2(writing, 1)
    try:
        writer = sinks.console("ndjson", **options).open()
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(writing)
    return writer, reading, 0


def hanging_fifo(directory: Path) -> tuple[Writer, int]:
    path = directory / "fifo"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    return sinks.file(str(path), timeout="20ms").open(), reading


BIG = [event({"n": n, "fill": "x" * 1000}) for n in range(3000)]


def hanging_stdin() -> tuple[Writer, int]:
    reading, writing = os.pipe()
    feed = Feed("child", timeout=0.02)
    feed.attach(writing)
    return sinks.stdin("child").bound_to(feed).open(), reading


@pytest.mark.parametrize("sort", ["console", "exec", "fifo", "stdin"])
def test_a_write_that_hangs_times_out_and_what_follows_can_be_read(tmp_path: Path, sort: str) -> None:
    reading = -1
    if sort == "console":
        writer, reading, _ = hanging_console(timeout="20ms")
    elif sort == "fifo":
        writer, reading = hanging_fifo(tmp_path)
    elif sort == "stdin":
        writer, reading = hanging_stdin()
    else:
        writer = sinks.exec(["sleep", "3600"], timeout="20ms", grace="1ms").open()
    with pytest.raises(rx.OutputError, match=r"took nothing for 20ms") as caught:
        writer.write(BIG)
    assert 0 < caught.value.delivered < 3000
    if reading >= 0:
        first = read(reading)
        writer.recover()
        assert writer.write([event({"again": True})]) == 1
        lines = (first + read(reading)).split(b"\n")
        assert lines[-2:] == [b'{"again":true}', b""]
        assert len(lines) == caught.value.delivered + 3  # the torn one, the new one, and what is behind the last end
        os.close(reading)
    try:
        writer.close()
    except rx.OutputError:
        assert sort == "exec"


def test_stdin_in_a_file_has_its_timeout_too(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("""
runners:
  numbers: {command: [seq, "1000000"]}
  deaf: {command: [sleep, "3600"], stop: {grace: 50ms}}
pipelines:
  p:
    from: numbers
    sinks:
      - stdin: {runner: deaf, timeout: 20ms}
        backpressure: block
""")
    report = rx.load(tmp_path / "x.yaml", {}).run(duration="20s", drain="1s")
    assert report.balanced, report.unbalanced
    assert report.exit_code == 1
    assert report.errors == ["p, stdin: deaf took nothing for 20ms"]


def read(descriptor: int) -> bytes:
    os.set_blocking(descriptor, False)
    data = b""
    try:
        while chunk := os.read(descriptor, 1 << 20):
            data += chunk
    except BlockingIOError:
        pass
    return data


def test_a_file_on_a_fifo_can_be_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = sinks.file(str(path)).open()
    failure: list[str] = []

    def write() -> None:
        try:
            writer.write(BIG)
        except rx.OutputError as error:
            failure.append(str(error))

    thread = threading.Thread(target=write)
    thread.start()
    writer.cancel()
    thread.join(10)
    assert failure == [f"cannot write {path}: it took nothing any more and was given up"]
    writer.close()
    os.close(reading)


def test_exec_starts_another_program_for_the_next_try(tmp_path: Path) -> None:
    script = f"if mkdir {tmp_path}/once 2>/dev/null; then exit 3; fi; cat >> {tmp_path}/out"
    result = run(
        op.to(sinks.exec(["sh", "-c", script]), retry={"limit": 50, "backoff": "1ms..5ms"}),
        events=["x" * 1000] * 5000,
    )
    assert result.error is None
    delivered = result.report.pipelines["test"].nodes[0].out
    lines = (tmp_path / "out").read_bytes().count(b"\n")
    assert delivered == 5000
    assert 0 < lines <= 5000  # what the first one's pipe had taken is gone with it: delivered means taken by the pipe


# Files that go wrong


def test_a_directory_that_was_removed_is_made_again(tmp_path: Path) -> None:
    import shutil

    path = tmp_path / "d" / "o"
    writer = sinks.file(str(path)).open()
    assert writer.write([event(1)]) == 1
    shutil.rmtree(tmp_path / "d")
    assert writer.write([event(2)]) == 1
    writer.close()
    assert path.read_text() == "2\n"


def test_fsync_that_fails_takes_back_what_did_not_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[[int], None] = os.fsync
    failing = [OSError(5, "EIO")]

    def fsync(descriptor: int) -> None:
        if failing:
            raise failing.pop()
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    result = run(op.to(sinks.file(str(tmp_path / "o"), fsync="batch"), retry=QUICK), events=[1, 2])
    assert result.error is None
    assert (tmp_path / "o").read_text() == "1\n2\n"


def test_eio_of_a_write_is_tried_again_and_no_line_is_double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    plan = [3, OSError(5, "EIO")]

    def write(descriptor: int, data: bytes) -> int:
        if plan and os.readlink(f"/proc/self/fd/{descriptor}").endswith("/o"):
            step = plan.pop(0)
            if isinstance(step, OSError):
                raise step
            return real(descriptor, data[:step])
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    result = run(op.to(sinks.file(str(tmp_path / "o")), retry=QUICK), events=[10, 20, 30])
    assert result.error is None
    assert (tmp_path / "o").read_text() == "10\n20\n30\n"
