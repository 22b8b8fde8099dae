"""The balance sheet: a frozen picture of a ledger, in the one shape that `--report`, `run`'s table and tests read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
    """One pipeline: what came in, where it went, and each node in the order of the flow.

    All are sums over its generations where it was changed while it ran. The nodes of the later ones have names such as
    ``generation 2, operators[0] filter``; a sink that was kept open stands once.
    """

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
    #: How often what runs was changed.
    reloads: int = 0

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
                reloads=ledger.reloads,
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


def _node(name: str, node: Node) -> NodeReport:
    return NodeReport(
        node=name,
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


def _sink(nodes: Sequence[Node]) -> SinkReport:
    return SinkReport(
        delivered=sum(node.out for node in nodes),
        failed=sum(node.failed for node in nodes),
        retried=sum(node.notes["retried"] for node in nodes),
        held=sum(node.held() for node in nodes),
        kept=sum(node.kept for node in nodes),
    )


def _rows(pipeline: PipelineLedger) -> Iterator[tuple[str, Node]]:
    """Give each node of all generations once, with its name in the report, in the order of the flow."""
    for number, generation in enumerate(pipeline.generations, 1):
        before = {id(node) for earlier in generation.earlier for node in earlier.sinks.copy().values()}
        nodes = [*generation.operators]
        for key, node in generation.sinks.copy().items():  # a picture may be taken while a sink is being added
            if id(node) not in before:
                nodes += [generation.boundaries[key], node]
        for node in nodes:
            yield node.name if number == 1 else f"generation {number}, {node.name}", node


def _ends(pipeline: PipelineLedger) -> dict[str, list[tuple[Node, Node]]]:
    """Give the boundaries and sinks by name: of one name there are several when a sink was changed while it ran."""
    ends: dict[str, dict[int, tuple[Node, Node]]] = {}
    for generation in pipeline.generations:
        for key, node in generation.sinks.copy().items():
            ends.setdefault(key, {})[id(node)] = (generation.boundaries[key], node)
    return {key: list(pairs.values()) for key, pairs in ends.items()}


def _letters(pipeline: PipelineLedger) -> list[Node]:
    """Give the nodes of all dead letters, each with that of its boundary before it."""
    nodes: dict[int, Node] = {}
    for generation in pipeline.generations:
        for node in (generation.dead_letter_boundary, generation.dead_letter):
            if node is not None:
                nodes[id(node)] = node
    return list(nodes.values())


def _pipeline(pipeline: PipelineLedger) -> PipelineReport:
    rejected: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for generation in pipeline.generations:
        for node in generation.operators:
            kind = node.name.rpartition(" ")[2]
            rejected[kind] += node.rejected
            dropped.update({f"{kind}: {reason}": count for reason, count in dict(node.dropped).items()})
    ends = _ends(pipeline)
    for key, pairs in ends.items():
        for boundary, _ in pairs:
            dropped.update({f"{key}: {reason}": count for reason, count in dict(boundary.dropped).items()})
            rejected[f"{key} backpressure"] += boundary.rejected
    rows = list(_rows(pipeline))
    letters = _letters(pipeline)[1::2]
    return PipelineReport(
        taken=sum(generation.taken for generation in pipeline.generations),
        filtered=sum(node.filtered for _, node in rows),
        rejected={what: count for what, count in rejected.items() if count},
        dropped=dict(dropped),
        merged=sum(node.merged for _, node in rows),
        made=sum(node.made for _, node in rows),
        sinks={key: _sink([node for _, node in pairs]) for key, pairs in ends.items()},
        dead_letter=_sink(letters) if letters else None,
        kept=_by_sink(ends, lambda boundary, sink: boundary.kept + sink.kept),
        restored=_by_sink(ends, lambda boundary, sink: boundary.notes["restored"]),
        nodes=[_node(name, node) for name, node in rows],
    )


def _missed(ledger: Ledger) -> bool:
    """Tell whether a child did not end in time when it was stopped."""
    return any(runner.missed is not None for runner in ledger.runners.values())


def _by_sink(ends: dict[str, list[tuple[Node, Node]]], count: Callable[[Node, Node], int]) -> dict[str, int]:
    counts = {key: sum(count(boundary, sink) for boundary, sink in pairs) for key, pairs in ends.items()}
    return {key: number for key, number in counts.items() if number}


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
        rows = list(_rows(pipeline))
        labels = {id(node): label for label, node in rows}
        ends = [pair for pairs in _ends(pipeline).values() for pair in pairs]
        operators = [node for generation in pipeline.generations for node in generation.operators]
        boundaries, sinks = [boundary for boundary, _ in ends], [sink for _, sink in ends]
        for node in [*operators, *boundaries, *sinks, *_letters(pipeline)]:
            label = labels.get(id(node), node.name)
            if node.missing():
                wrong.append(f"pipeline {name}, {label}: {node.missing():+} events have no account")
            if final and node.held() != node.kept:
                held = node.held() - node.kept
                wrong.append(f"pipeline {name}, {label}: {held} events are still held")
        if not final:
            continue
        sent: Counter[int] = Counter()  # to each boundary, by all generations that had it
        for generation in pipeline.generations:
            flowing = generation.taken
            # Where operators that are not ours stand between, a row of ours may begin anywhere; else at the source.
            straight = bool(pipeline.sources) and not any(node.foreign for node in generation.operators)
            for node in generation.operators:
                if node.taken != flowing and (straight or not node.first):
                    label = labels[id(node)]
                    wrong.append(f"pipeline {name}: {flowing} events were sent to {label}, it took {node.taken}")
                flowing = _passed(node)
                for source, count in dict(node.joined).items() if pipeline.sources else ():
                    if (given := _given(ledger, source, generation)) != count:
                        label = labels[id(node)]
                        wrong.append(
                            f"pipeline {name}: {given} events of {source} were sent to {label}, it took {count}"
                        )
            for boundary in generation.boundaries.copy().values():
                sent[id(boundary)] += flowing
        for boundary, sink in ends:
            flowing, label = sent[id(boundary)], labels[id(boundary)]
            if boundary.taken != flowing:
                wrong.append(f"pipeline {name}: {flowing} events were sent to {label}, it took {boundary.taken}")
            if boundary.out != sink.taken:
                key = sink.name.partition(" ")[2]
                wrong.append(f"pipeline {name}: {boundary.out} events left {label}, {key} took {sink.taken}")
        for number, generation in enumerate(pipeline.generations, 1):
            if generation.sources:
                given = sum(_given(ledger, source, generation) for source in generation.sources)
                if given != generation.taken:
                    which = f"pipeline {name}" if number == 1 else f"pipeline {name}, generation {number}"
                    wrong.append(f"{which}: its sources sent {given} events, it took {generation.taken}")
    return wrong


def _passed(node: Node) -> int:
    """Give how many events the last operator handed on."""
    return node.out if node.passed is None else node.passed


def _given(ledger: Ledger, source: str, reader: PipelineLedger) -> int:
    """Give how many events a source sent while it was read."""
    until = reader.left[source] if source in reader.left else _sent(ledger, source)
    return until - reader.begun.get(source, 0)


def _sent(ledger: Ledger, source: str) -> int:
    runner = source.removesuffix(".lifecycle")
    if source not in ledger.runners and source not in ledger.pipelines and runner in ledger.runners:
        return ledger.runners[runner].lifecycle_apart
    if source in ledger.runners:
        return ledger.runners[source].out
    if source in ledger.pipelines:
        generations = ledger.pipelines[source].generations
        return sum(_passed(one.operators[-1]) if one.operators else one.taken for one in generations)
    name, _, branch = source.rpartition(".")
    generations = ledger.pipelines[name].generations
    return sum(node.branches[branch] for generation in generations for node in generation.operators)
