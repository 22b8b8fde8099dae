"""``explain``: what a file is compiled to."""

from __future__ import annotations

from collections.abc import Iterator

import click

from rx_collector.cli.files import load_all
from rx_collector.operators.python import Python
from rx_collector.pipeline.project import Project, lifecycle_of
from rx_collector.pipeline.spec import Branch, PipelineSpec
from rx_collector.stream.eventstream import rows_of
from rx_collector.stream.operator import Stage
from rx_collector.stream.segment import Step, compile_segment
from rx_collector.units import format_count

__all__ = ["explain"]


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def explain(files: tuple[str, ...]) -> int:
    """Show what FILE is compiled to: threads, fused loops, boundaries.

    The values of secret variables are not shown.
    """
    project = load_all(files)
    click.echo(project.redact("\n".join(_explain(project))))
    return 0


def _explain(project: Project) -> Iterator[str]:
    for name, runner in project.runners.items():
        names = {name, lifecycle_of(name)}
        readers = [pipeline for pipeline, spec in project.pipelines.items() if names & set(spec.sources)]
        yield f"runner {name}: {' '.join(runner.argv())}"
        yield f"    thread rx-{name}-stdout reads it and runs the segments of {', '.join(readers) or 'no pipeline'}"
    for name, spec in project.pipelines.items():
        yield ""
        yield f"pipeline {name}, from {', '.join(spec.sources)}"
        operators = [placed.operator.name for placed in spec.operators]
        sinks = [f"{branch.name} ({branch.backpressure.strategy})" for branch in spec.sinks]
        yield f"    {' + '.join(spec.sources)} -> {' -> '.join([*operators, ''])}{', '.join(sinks) or 'other pipelines'}"
        yield from _operators(spec)
        for branch in spec.sinks:
            yield from _branch(name, branch)
        if spec.dead_letter is not None:
            yield from _branch(name, spec.dead_letter, "dead letter ")


def _operators(spec: PipelineSpec) -> Iterator[str]:
    steps = [
        Step(placed.operator, f"operators[{index}] {placed.operator.name}", placed.place)
        for index, placed in enumerate(spec.operators)
    ]
    for row in rows_of(steps):
        step = steps[row.start]
        if isinstance(step.operator, Stage):
            yield from _segment(steps[row.start : row.stop], row.start == 0)
        elif isinstance(step.operator, Python):
            yield f"    {step}: an operator of your own, event by event"
        else:
            yield f"    {step}: keeps events between batches"


def _segment(row: list[Step], first: bool) -> Iterator[str]:
    yield f"    segment of {len(row)} fused stage{'s' if len(row) > 1 else ''}:"
    for line in compile_segment(row, "lines" if first else "events").source.splitlines():
        yield f"        {line}"


def _branch(pipeline: str, branch: Branch, what: str = "") -> Iterator[str]:
    capacity = format_count(branch.backpressure.capacity)
    yield (
        f"    {what}sink {branch.name}: boundary {branch.backpressure.strategy}, at most {capacity} events in flight; "
        f"thread rx-{pipeline}-{'dead_letter' if what else branch.name}"
    )
