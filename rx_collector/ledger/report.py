"""The balance sheet: a frozen picture of a ledger, in the one shape that `--report`, `run`'s table and tests read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from rx_collector.ledger.counts import Ledger, Node, PipelineLedger, RunnerLedger

__all__ = ["NodeReport", "PipelineReport", "Report", "RunnerReport", "SinkReport"]


class RunnerReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """One runner, over all its incarnations; `exits` has the last hundred. lines + stderr_events + lifecycle = out +
    rejected + dropped + skipped.
    """

    starts: int
    exits: list[dict[str, Any]]
    bytes: int
    lines: int
    stderr_lines: int
    invalid_utf8: int
    rejected: dict[str, int]
    lost_upstream: int
    out: int
    skipped: int = 0
    stderr_events: int = 0
    lifecycle: int = 0
    dropped: dict[str, int] = {}
    error: str | None = None
    missed: str | None = None


class SinkReport(msgspec.Struct, frozen=True):
    """One sink: `delivered` events arrived, `failed` ones did not, `retried` counts events that were handed to it again.

    `held` events are on their way; `kept` of them stay on disk for another run.
    """

    delivered: int
    failed: int
    retried: int = 0
    held: int = 0
    kept: int = 0


class NodeReport(msgspec.Struct, frozen=True, rename={"taken": "in"}):
    """One place in a pipeline. in + made = out + filtered + rejected + dropped + merged + held; `branches` says how much
    of `out` went to each branch of a route, `joined` how much of `made` came from each of the streams that were let in.

    `dropped` of a sink's node includes the events that the sink failed to write. `kept` of those held stay on disk at the
    end, for another run; at its start they are `made`, and noted as ``restored``.
    """

    node: str
    taken: int
    out: int
    filtered: int
    rejected: int
    dropped: int
    held: int
    merged: int = 0
    made: int = 0
    kept: int = 0
    branches: dict[str, int] = {}
    joined: dict[str, int] = {}
    notes: dict[str, int] = {}


class PipelineReport(msgspec.Struct, frozen=True, rename={"taken": "in"}):
    """One pipeline: what came in, where it went, and each node in the order of the flow."""

    taken: int
    filtered: int
    rejected: dict[str, int]
    dropped: dict[str, int]
    merged: int
    made: int
    sinks: dict[str, SinkReport]
    dead_letter: SinkReport | None
    kept: dict[str, int]
    restored: dict[str, int]
    nodes: list[NodeReport]


class Report(msgspec.Struct, frozen=True):
    """The balance sheet of a run.

    `unbalanced` says in words what does not add up; empty when `balanced`. `errors` says what else made `exit_code` 1.
    """

    version: int
    name: str
    balanced: bool
    exit_code: int
    seconds: float
    runners: dict[str, RunnerReport]
    pipelines: dict[str, PipelineReport]
    unbalanced: list[str]
    errors: list[str] = []

    @classmethod
    def of(
        cls, ledger: Ledger, *, seconds: float, exit_code: int, errors: Sequence[str] = (), final: bool = True
    ) -> Report:
        """Take a consistent picture of a ledger. `final` also demands that nothing is held any more."""
        with ledger.lock:
            wrong = [*_check_runners(ledger), *_check_pipelines(ledger, final)]
            return cls(
                version=1,
                name=ledger.name,
                balanced=not wrong,
                exit_code=1 if final and (wrong or _missed(ledger)) else exit_code,
                seconds=round(seconds, 3),
                runners={name: _runner(runner) for name, runner in ledger.runners.items()},
                pipelines={name: _pipeline(pipeline) for name, pipeline in ledger.pipelines.items()},
                unbalanced=wrong,
                errors=list(errors),
            )

    def json(self) -> bytes:
        """Give the report as JSON, indented, with a newline at the end."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


def _runner(runner: RunnerLedger) -> RunnerReport:
    return RunnerReport(
        starts=runner.starts,
        exits=[dict(exit) for exit in runner.exits],
        bytes=runner.bytes,
        lines=runner.lines,
        stderr_lines=runner.stderr_lines,
        invalid_utf8=runner.invalid_utf8,
        rejected=dict(runner.rejected),
        lost_upstream=runner.lost_upstream,
        out=runner.out,
        skipped=runner.skipped,
        stderr_events=runner.stderr_events,
        lifecycle=runner.lifecycle,
        dropped=dict(runner.dropped),
        error=runner.error,
        missed=runner.missed,
    )


def _node(node: Node) -> NodeReport:
    return NodeReport(
        node=node.name,
        taken=node.taken,
        out=node.out,
        filtered=node.filtered,
        rejected=node.rejected,
        dropped=node.dropped.total() + node.failed,
        held=node.held(),
        merged=node.merged,
        made=node.made,
        kept=node.kept,
        branches=dict(node.branches),
        joined=dict(node.joined),
        notes=dict(node.notes),
    )


def _sink(node: Node) -> SinkReport:
    return SinkReport(
        delivered=node.out, failed=node.failed, retried=node.notes["retried"], held=node.held(), kept=node.kept
    )


def _pipeline(pipeline: PipelineLedger) -> PipelineReport:
    rejected: dict[str, int] = {}
    dropped: dict[str, int] = {}
    for node in pipeline.operators:
        kind = node.name.rpartition(" ")[2]
        if node.rejected:
            rejected[kind] = rejected.get(kind, 0) + node.rejected
        for reason, count in node.dropped.items():
            dropped[f"{kind}: {reason}"] = dropped.get(f"{kind}: {reason}", 0) + count
    for name, node in pipeline.boundaries.items():
        for reason, count in node.dropped.items():
            dropped[f"{name}: {reason}"] = count
        if node.rejected:
            rejected[f"{name} backpressure"] = node.rejected
    everything = [*pipeline.operators]
    for name, node in pipeline.sinks.items():
        everything += [pipeline.boundaries[name], node]
    return PipelineReport(
        taken=pipeline.taken,
        filtered=sum(node.filtered for node in everything),
        rejected=rejected,
        dropped=dropped,
        merged=sum(node.merged for node in everything),
        made=sum(node.made for node in everything),
        sinks={name: _sink(node) for name, node in pipeline.sinks.items()},
        dead_letter=_sink(pipeline.dead_letter) if pipeline.dead_letter is not None else None,
        kept=_by_sink(pipeline, lambda boundary, sink: boundary.kept + sink.kept),
        restored=_by_sink(pipeline, lambda boundary, sink: boundary.notes["restored"]),
        nodes=[_node(node) for node in everything],
    )


def _missed(ledger: Ledger) -> bool:
    """Tell whether a child did not end in time when it was stopped."""
    return any(runner.missed is not None for runner in ledger.runners.values())


def _by_sink(pipeline: PipelineLedger, count: Callable[[Node, Node], int]) -> dict[str, int]:
    counts = {name: count(pipeline.boundaries[name], sink) for name, sink in pipeline.sinks.items()}
    return {name: number for name, number in counts.items() if number}


def _check_runners(ledger: Ledger) -> list[str]:
    return [
        f"runner {name}: {runner.missing():+} lines have no account"
        for name, runner in ledger.runners.items()
        if runner.missing()
    ]


def _check_pipelines(ledger: Ledger, final: bool) -> list[str]:
    """At every node the law; at the end also that each node took in what the one before it gave out."""
    wrong = []
    for name, pipeline in ledger.pipelines.items():
        dead = [node for node in (pipeline.dead_letter_boundary, pipeline.dead_letter) if node is not None]
        for node in [*pipeline.operators, *pipeline.boundaries.values(), *pipeline.sinks.values(), *dead]:
            if node.missing():
                wrong.append(f"pipeline {name}, {node.name}: {node.missing():+} events have no account")
            if final and node.held() != node.kept:
                held = node.held() - node.kept
                wrong.append(f"pipeline {name}, {node.name}: {held} events are still held")
        if not final:
            continue
        flowing = pipeline.taken
        # Where operators that are not ours stand between, a row of ours may begin anywhere; else it begins at the source.
        straight = bool(pipeline.sources) and not any(node.foreign for node in pipeline.operators)
        for node in pipeline.operators:
            if node.taken != flowing and (straight or not node.first):
                wrong.append(f"pipeline {name}: {flowing} events were sent to {node.name}, it took {node.taken}")
            flowing = node.out if node.passed is None else node.passed
            for source, count in node.joined.items() if pipeline.sources else ():
                if (given := _given(ledger, source)) != count:
                    wrong.append(
                        f"pipeline {name}: {given} events of {source} were sent to {node.name}, it took {count}"
                    )
        for key, node in pipeline.boundaries.items():
            if node.taken != flowing:
                wrong.append(f"pipeline {name}: {flowing} events were sent to {node.name}, it took {node.taken}")
            if node.out != pipeline.sinks[key].taken:
                wrong.append(
                    f"pipeline {name}: {node.out} events left {node.name}, {key} took {pipeline.sinks[key].taken}"
                )
        if pipeline.sources:
            given = sum(_given(ledger, source) for source in pipeline.sources)
            if given != pipeline.taken:
                wrong.append(f"pipeline {name}: its sources sent {given} events, it took {pipeline.taken}")
    return wrong


def _given(ledger: Ledger, source: str) -> int:
    runner = source.removesuffix(".lifecycle")
    if source not in ledger.runners and source not in ledger.pipelines and runner in ledger.runners:
        return ledger.runners[runner].lifecycle_apart
    if source in ledger.runners:
        return ledger.runners[source].out
    if source not in ledger.pipelines:
        name, _, branch = source.rpartition(".")
        return sum(node.branches[branch] for node in ledger.pipelines[name].operators)
    pipeline = ledger.pipelines[source]
    if not pipeline.operators:
        return pipeline.taken
    last = pipeline.operators[-1]
    return last.out if last.passed is None else last.passed
