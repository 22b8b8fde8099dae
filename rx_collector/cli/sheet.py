"""The balance sheet and the progress lines, for eyes."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from rx_collector.cli.stderr import columns
from rx_collector.ledger import PipelineReport, Report
from rx_collector.pipeline.collector import Collector
from rx_collector.units import format_count, format_duration, format_size

__all__ = ["Progress", "print_sheet"]

_NOTES = {
    "time_unusable": "bore no usable time",
    "kept_raw": "did not parse and were kept raw",
    "evicted": "evicted by {operator}, as its size was reached",
    "expired": "ended by {operator}, as they were idle",
    "early": "sent early by {operator}, as its size was reached",
    "late": "came late and passed {operator} out of order",
    "unusable": "of the other stream had no key for {operator}",
    "unlogged": "were not logged by {operator}, as its count was reached",
}
_RATE_OVER = 3.0  # seconds


def print_sheet(report: Report) -> None:
    """Print the balance sheet to standard error."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stderr, highlight=False, width=None if sys.stderr.isatty() else 100)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    for name, runner in report.runners.items():
        starts = f", {runner.starts} starts" if runner.starts != 1 else ""
        table.add_row(f"[bold]runner {name}[/]", "", f"{format_size(runner.bytes)}{starts}")
        table.add_row("  lines read", format_count(runner.lines), "")
        for what, count in (
            ("stderr lines as events", runner.stderr_events),
            ("lifecycle events", runner.lifecycle),
            ("skipped", runner.skipped),
            *((f"rejected, {reason.replace('_', ' ')}", count) for reason, count in runner.rejected.items()),
            *((f"dropped, {reason}", count) for reason, count in runner.dropped.items()),
        ):
            if count:
                table.add_row(f"  {what}", format_count(count), "")
        notes = [f"{format_count(runner.invalid_utf8)} lines were not UTF-8"] if runner.invalid_utf8 else []
        notes += [f"{format_count(runner.lost_upstream)} lost before they reached us"] if runner.lost_upstream else []
        notes += [f"ended {_how(end)}" for end in runner.exits[-1:] if end["code"] != 0]
        for note in notes:
            table.add_row("", "", note)
    for name, pipeline in report.pipelines.items():
        table.add_row(f"[bold]pipeline {name}[/]", "", "")
        for what, count in _rows(pipeline):
            table.add_row(f"  {what}", format_count(count), "")
        for what, count in _notes(pipeline):
            table.add_row("", format_count(count), what)
        for sink, counts in pipeline.sinks.items():
            failed = f"[red]{format_count(counts.failed)} failed[/]" if counts.failed else ""
            table.add_row(f"  delivered to [green]{sink}[/]", format_count(counts.delivered), failed)
        for sink, count in pipeline.kept.items():
            table.add_row(f"  kept on disk for the next run, {sink}", format_count(count), "")
        if pipeline.dead_letter is not None and pipeline.dead_letter.delivered:
            table.add_row("  records in dead letter", format_count(pipeline.dead_letter.delivered), "")
    console.print(table)
    seconds = format_duration(round(report.seconds, 2))
    if report.balanced:
        mark = "green" if not report.errors else "yellow"
        console.print(f"[{mark}]balanced[/]: every event is accounted for, after {seconds}")
    else:
        console.print(f"[red bold]not balanced[/] after {seconds}")
        for line in report.unbalanced:
            console.print(f"  {line}", markup=False, soft_wrap=True)
    for line in report.errors:
        console.print("[red bold]failed[/]: ", end="")
        console.print(line, markup=False, soft_wrap=True)  # one line, however long, for who looks for it


def _how(end: dict[str, Any]) -> str:
    """Say how a child ended."""
    return f"with code {end['code']}" if end["signal"] is None else f"by {signal.Signals(end['signal']).name}"


def _notes(pipeline: PipelineReport) -> list[tuple[str, int]]:
    """What is counted beside the account."""
    notes: Counter[str] = Counter()
    for node in pipeline.nodes:
        operator = node.node.rpartition(" ")[2]
        notes.update({_NOTES[what].format(operator=operator): n for what, n in node.notes.items() if what in _NOTES})
    return [(what, count) for what, count in notes.items() if count]


def _rows(pipeline: PipelineReport) -> list[tuple[str, int]]:
    rows = [("in", pipeline.taken)]
    rows += [(f"restored from an earlier run, {sink}", count) for sink, count in pipeline.restored.items()]
    if pipeline.filtered:
        rows.append(("filtered", pipeline.filtered))
    rows += [(f"rejected by {operator}", count) for operator, count in pipeline.rejected.items()]
    if pipeline.merged or pipeline.made:
        rows += [("merged", pipeline.merged), ("made", pipeline.made)]
    rows += [(f"dropped, {reason}", count) for reason, count in pipeline.dropped.items()]
    return rows


class Progress:
    """One line a pipeline on the terminal, redrawn in place: rate, what was delivered, queues, drops.

    Whatever else is to stand on the terminal meanwhile goes through `write`, from any thread.
    """

    def __init__(self, collector: Collector, write: Callable[[str], None]) -> None:
        self._collector = collector
        self._write = write
        self._drawn = 0
        self._lock = threading.Lock()
        self._seen: dict[str, deque[tuple[float, int]]] = {}

    def show(self) -> None:
        """Draw the lines as of now."""
        report = self._collector.report()
        now = time.monotonic()
        lines = []
        for name, pipeline in report.pipelines.items():
            delivered = ", ".join(f"{sink} {format_count(counts.delivered)}" for sink, counts in pipeline.sinks.items())
            line = f"{name}: {self._rate(name, now, pipeline.taken)}/s, in {format_count(pipeline.taken)}, {delivered}"
            held = sum(node.held for node in pipeline.nodes)
            line += f", waiting {format_count(held)}" if held else ""
            dropped = sum(pipeline.dropped.values())
            line += f", dropped {format_count(dropped)}" if dropped else ""
            lines.append(line)
        self._draw(lines)

    def _rate(self, name: str, now: float, count: int) -> str:
        """Give the events a second over the last few seconds."""
        seen = self._seen.setdefault(name, deque([(self._collector.started, 0)]))
        seen.append((now, count))
        while len(seen) > 2 and seen[1][0] <= now - _RATE_OVER:
            seen.popleft()
        then, before = seen[0]
        rate = (count - before) / (now - then) if now > then else 0.0
        return format_count(round(rate)) if rate >= 10 or rate == 0 else f"{rate:.1f}"

    def clear(self) -> None:
        """Take the lines away."""
        self._draw([])

    def write(self, text: str) -> None:
        """Put a line of the log where the progress stands; it comes again below with the next tick."""
        self._draw([], text)

    def _draw(self, lines: list[str], before: str = "") -> None:
        width = columns() - 1  # a line that wraps could not be taken away again
        with self._lock:
            up = f"\x1b[{self._drawn}A" if self._drawn else ""
            self._write(f"{up}\r\x1b[J{before}" + "".join(f"\x1b[2m{line[:width]}\x1b[0m\n" for line in lines))
            self._drawn = len(lines)
