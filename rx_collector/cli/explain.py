"""``explain``: what a file is compiled to."""

from __future__ import annotations

from collections.abc import Iterator

import click

from rx_collector.backpressure.strategy import WorstCase
from rx_collector.cli.files import load_all, profile_option
from rx_collector.operators.placed import steps_of
from rx_collector.operators.python import Python
from rx_collector.pipeline.project import Project, lifecycle_of
from rx_collector.pipeline.sizes import largest_event
from rx_collector.pipeline.spec import Branch
from rx_collector.stream.chain import rows_of
from rx_collector.stream.operator import Stage
from rx_collector.stream.segment import Step, compile_segment
from rx_collector.units import format_count, format_size

__all__ = ["explain"]


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@profile_option
def explain(files: tuple[str, ...], profile: str | None) -> int:
    """Show what FILE is compiled to: threads, fused loops, boundaries.

    The values of secret variables are not shown.
    """
    project = load_all(files, profile)
    click.echo(project.redact("\n".join(_explain(project))))
    return 0


def _explain(project: Project) -> Iterator[str]:
    for name, runner in project.runners.items():
        names = {name, lifecycle_of(name)}
        readers = [pipeline for pipeline, spec in project.pipelines.items() if names & spec.reads]
        yield f"runner {name}: {' '.join(runner.argv())}"
        yield f"    thread rx-{name}-stdout reads it and runs the segments of {', '.join(readers) or 'no pipeline'}"
    for name, spec in project.pipelines.items():
        yield ""
        yield f"pipeline {name}, from {', '.join(spec.sources)}"
        operators = [placed.operator.name for placed in spec.operators]
        sinks = [f"{branch.name} ({branch.backpressure.strategy.name})" for branch in spec.sinks]
        yield f"    {' + '.join(spec.sources)} -> {' -> '.join([*operators, ''])}{', '.join(sinks) or 'other pipelines'}"
        yield from _operators(steps_of(spec.operators))
        for branch in spec.sinks:
            yield from _branch(name, branch, project)
        if spec.dead_letter is not None:
            yield from _branch(name, spec.dead_letter, project, "dead letter ")


def _operators(steps: list[Step], indent: str = "    ", lines: bool = True) -> Iterator[str]:
    """Explain a row of operators; `lines` when the first one gets lines."""
    for row in rows_of(steps):
        step = steps[row.start]
        if isinstance(step.operator, Stage):
            for line in _segment(steps[row.start : row.stop], lines and row.start == 0, row.stop == len(steps)):
                yield indent + line
        elif isinstance(step.operator, Python):
            yield f"{indent}{step}: an operator of your own, event by event"
        elif step.operator.within:
            yield f"{indent}{step}: for each group, compiled once:"
            yield from _operators(steps_of(step.operator.within, step.label), indent + "    ", lines=False)
        else:
            yield f"{indent}{step}: keeps events between batches"


def _segment(row: list[Step], lines: bool, last: bool) -> Iterator[str]:
    yield f"segment of {len(row)} fused stage{'s' if len(row) > 1 else ''}:"
    for line in compile_segment(row, "lines" if lines else "events", to_bytes=last).source.splitlines():
        yield f"    {line}"


def _branch(pipeline: str, branch: Branch, project: Project, what: str = "") -> Iterator[str]:
    strategy = branch.backpressure.strategy
    worst = strategy.worst_case()
    yield (
        f"    {what}sink {branch.name}: boundary {strategy.name}, at most {format_count(worst.events)} events in flight; "
        f"thread rx-{pipeline}-{'dead_letter' if what else branch.name}"
    )
    yield f"        worst case: {format_count(worst.events)} events, {_bytes(pipeline, worst, project, bool(what))}"
    if branch.retry is not None or branch.on_failure != "fail":
        tries = f"{branch.retry.limit} more tries" if branch.retry is not None else "no more tries"
        yield f"        when the sink fails: {tries}, then {branch.on_failure}"


def _bytes(pipeline: str, worst: WorstCase, project: Project, records: bool) -> str:
    disk = f", and {format_size(worst.disk)} on disk" if worst.disk is not None else ""
    if worst.bytes is not None:
        return f"{format_size(worst.bytes)} (or one event, where that is larger){disk}"
    if worst.each is None:
        return f"as many bytes as its 'merge' makes of them{disk}"
    largest, unbounded = largest_event(project, pipeline)
    largest *= worst.each
    if unbounded:
        return f"as many bytes as {unbounded} makes of them; max_bytes would bound it{disk}"
    size = format_size(largest)
    kind = f"records of lines of at most {size}" if records else f"{size} each"
    return f"{format_size(worst.events * largest)} ({kind}){disk}"
