"""Events and streams for tests that need no child."""

from __future__ import annotations

from typing import Any

import pytest

from rx_collector.event import Event, Lines, Origin
from rx_collector.ledger import Report
from rx_collector.stream import segment
from rx_collector.stream.eventstream import EventStream, new_context
from rx_collector.stream.flow import Batch, BatchObserver, Connection, Context, Source
from tests.conftest import wait_until

ORIGIN = Origin("run", "exec", 1, 42, 1_700_000_000_123_456_789)


def compilations(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Give a list that gets the options of each loop that is compiled from now on."""
    noted: list[dict[str, Any]] = []
    compile_ = segment.compile_segment

    def compile_segment(*arguments: Any, **options: Any) -> segment.Segment:
        noted.append(options)
        return compile_(*arguments, **options)

    monkeypatch.setattr(segment, "compile_segment", compile_segment)
    return noted


def event(data: Any, line: int = 1) -> Event:
    return Event(data, None, ORIGIN, line)


class _Nothing(Connection):
    def stop(self) -> None: ...

    def dispose(self) -> None: ...


class Given(Source):
    """Sends batches that were made before, on the thread that connects."""

    name = "exec"

    def __init__(self, batches: list[Batch], error: Exception | None = None) -> None:
        self.batches = batches
        self.emits_lines = any(isinstance(batch, Lines) for batch in batches)
        self.error = error

    def connect(self, observer: BatchObserver, context: Context) -> Connection:
        for batch in self.batches:
            with context.ledger.lock:
                context.pipeline.taken += len(batch)
            observer.on_batch(batch)
        if self.error is not None:
            observer.on_error(self.error)
        else:
            observer.on_completed()
        return _Nothing()


class Result:
    """What came out of a stream: events, rejected records, the error, and the balance sheet."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.batches: list[int] = []
        self.rejected: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self.ended = 0
        self.report: Report

    def on_batch(self, batch: Batch) -> None:
        assert isinstance(batch, list)
        assert not self.ended
        self.batches.append(len(batch))
        self.events += batch

    def on_error(self, error: Exception) -> None:
        self.error = error
        self.ended += 1

    def on_completed(self) -> None:
        self.ended += 1

    @property
    def data(self) -> list[Any]:
        return [event.data for event in self.events]


def run(
    *operators: Any, lines: list[str | bytes] | None = None, events: list[Any] | None = None, **options: Any
) -> Result:
    """Send lines, or events with these payloads, through operators. The ledger must balance at every node."""
    batch: Batch
    if lines is not None:
        raw = [line.encode() if isinstance(line, str) else line for line in lines]
        batch = Lines(raw, 1, ORIGIN)
    else:
        batch = [event(data, number) for number, data in enumerate(events or [], 1)]
    return run_batches([batch], *operators, **options)


def run_batches(
    batches: list[Batch], *operators: Any, scheduler: Any = None, error: Exception | None = None, wait: bool = False
) -> Result:
    """`wait` says that a boundary among the operators brings the end on another thread."""
    result = Result()
    context = new_context("test", scheduler)
    object.__setattr__(context, "reject", lambda record: result.rejected.append(record.data))
    stream = EventStream(Given(batches, error))
    for operator in operators:
        stream = operator(stream)
    EventStream.of(stream).connect(result, context)
    if wait:
        wait_until(lambda: result.ended > 0, "the stream ends")
    context.close()
    result.report = Report.of(context.ledger, seconds=0, exit_code=0)
    assert result.report.balanced, result.report.unbalanced
    assert result.ended == 1
    return result
