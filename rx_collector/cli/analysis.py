"""What was counted and how long it took, beside each part of what `explain` shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rx_collector.ledger import NodeReport, Report
from rx_collector.pipeline.collector import Collector
from rx_collector.stream.meter import LoopMeter, Meter
from rx_collector.stream.segment import Step
from rx_collector.units import format_count, format_size

__all__ = ["Analysis"]


class Analysis:
    """The figures of a run that is over."""

    def __init__(self, collector: Collector, meter: Meter, report: Report) -> None:
        self._collector = collector
        self._meter = meter
        self._report = report

    def ending(self) -> str:
        """Say how long it ran, and whether each event has an account."""
        balanced = "balanced" if self._report.balanced else "NOT balanced"
        return f"ran for {self._report.seconds:.2f} s; the ledger is {balanced}"

    def runner(self, name: str) -> Iterator[str]:
        """Say what a runner gave, and what reading it took."""
        runner = self._report.runners.get(name)
        if runner is None or not runner.starts:
            return
        times = self._meter.of(("runner", name))
        rate = runner.lines / self._report.seconds if self._report.seconds else 0.0
        yield f"read {format_count(runner.lines)} lines, {format_size(runner.bytes)}, {format_count(round(rate))} lines/s"
        if times.calls:
            reading = max(0, times.threads - times.within)
            own = f"{_seconds(reading / 1e9)} for reading, framing and handing over {format_count(times.calls)} batches"
            yield f"CPU of the thread {_seconds(times.threads / 1e9)}, of which {own}"

    def segment(self, pipeline: str, row: Sequence[Step]) -> Iterator[tuple[int, str]]:
        """Give the figures of a loop (as number -1) and of each of its stages."""
        loops = list(self._meter.loops.get((pipeline, row[0].label), {}).values())
        whole = sum(loop.seconds() for loop in loops)
        events = sum(loop.events + loop.clocked_events for loop in loops)
        if events:
            each = f"{whole / events * 1e9:,.0f} ns for each of {format_count(events)} events"
            yield -1, f"CPU of the loop {_seconds(whole)}, {each}"
        for index, step in enumerate(row):
            spent = sum(_of_stage(loop, step.label) for loop in loops)
            yield index, self._figures(pipeline, step.label, spent, whole)

    def absorbed(self, pipeline: str, row: Sequence[Step], step: Step) -> str:
        """Give the figures of a window that takes events in within the loop of the row before it."""
        loops = list(self._meter.loops.get((pipeline, row[0].label if row else step.label), {}).values())
        times = self._meter.of((pipeline, step.label))
        spent = sum(_of_stage(loop, step.label) for loop in loops) + times.cpu / 1e9
        return self._figures(pipeline, step.label, spent, 0.0)

    def node(self, pipeline: str, label: str) -> str:
        """Give the figures of an operator that stands between loops."""
        return self._figures(pipeline, label, self._meter.of((pipeline, label)).cpu / 1e9, 0.0)

    def _figures(self, pipeline: str, label: str, spent: float, whole: float) -> str:
        node = self._node(pipeline, label)
        if node is None:
            return "was not reached"
        counts = [f"in {format_count(node.taken)}", f"out {format_count(node.out)}"]
        for what, count in (
            ("filtered", node.filtered),
            ("rejected", node.rejected),
            ("merged", node.merged),
            ("made", node.made),
            ("dropped", node.dropped),
        ):
            counts += [f"{what} {format_count(count)}"] if count else []
        text = ", ".join(counts)
        if spent:  # within groups a loop has a time as a whole
            text += f"; {_seconds(spent)}"
            text += f", {spent / whole:.0%} of the loop" if whole else ""
            text += f", {spent / node.taken * 1e9:,.0f} ns an event" if node.taken else ""
        return text

    def _node(self, pipeline: str, label: str) -> NodeReport | None:
        nodes = self._report.pipelines[pipeline].nodes
        return next((node for node in nodes if node.node == label), None)

    def branch(self, pipeline: str, name: str, *, dead_letter: bool = False) -> Iterator[str]:
        """Say how full a boundary was, how long producers waited before it, and what writing took."""
        for branch in self._collector.branches:
            if branch.pipeline != pipeline or branch.name != ("dead_letter" if dead_letter else name):
                continue
            boundary, node = branch.consumer.boundary, branch.nodes[1]
            times = self._meter.of((pipeline, node.name))
            yield (
                f"at most {format_count(boundary.high_watermark)} of {format_count(boundary.capacity)} in flight; producers "
                f"waited for {_seconds(boundary.waited)}"
            )
            dropped = (
                f", dropped {format_count(branch.nodes[0].dropped.total())}" if branch.nodes[0].dropped.total() else ""
            )
            failed = f", failed {format_count(node.failed)}" if node.failed else ""
            rate = node.out / self._report.seconds if self._report.seconds else 0.0
            each = f", {times.cpu / node.out:,.0f} ns an event" if node.out else ""
            yield (
                f"delivered {format_count(node.out)}{dropped}{failed}, {format_count(round(rate))} events/s; in write "
                f"{_seconds(times.wall / 1e9)}, of which CPU {_seconds(times.cpu / 1e9)}{each}"
            )


def _of_stage(loop: LoopMeter, label: str) -> float:
    """Give the CPU seconds of a stage in a loop."""
    return sum(share for name, share in zip(loop.labels, loop.share(), strict=True) if name == label) * loop.seconds()


def _seconds(seconds: float) -> str:
    """Say a time so that it can be compared with its neighbours."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.1f} ms"
