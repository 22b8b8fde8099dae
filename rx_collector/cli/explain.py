"""``explain``: what a file is compiled to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click

from rx_collector.backpressure.strategy import WorstCase
from rx_collector.cli.analysis import Analysis
from rx_collector.cli.files import load_all, profile_option
from rx_collector.cli.reasons import TakenIn, not_absorbed, not_fused, of_grouping, of_row, of_stage, of_workers
from rx_collector.cli.run import COUNT, DURATION, carry_out
from rx_collector.operators.parse import Parse
from rx_collector.operators.placed import steps_of
from rx_collector.operators.python import Python
from rx_collector.operators.window import Grouping
from rx_collector.pipeline.collector import Collector
from rx_collector.pipeline.project import Project, lifecycle_of
from rx_collector.pipeline.sizes import largest_event
from rx_collector.pipeline.spec import Branch
from rx_collector.stream.chain import rows_of, shared_by
from rx_collector.stream.meter import Meter
from rx_collector.stream.operator import Stage
from rx_collector.stream.segment import Step, Taken, compile_segment
from rx_collector.units import format_count, format_size

__all__ = ["explain"]


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@profile_option
@click.option("--source", is_flag=True, help="Show the loops, too, as they are generated.")
@click.option("--analyze", is_flag=True, help="Run FILE, and show counts and time beside each part.")
@click.option("--duration", type=DURATION, help="With --analyze: stop after this long (10s, 5m).")
@click.option("--max-events", type=COUNT, help="With --analyze: stop when so many events have reached the sinks.")
@click.option(
    "--drain",
    type=DURATION,
    default="30s",
    show_default=True,
    help="With --analyze: how long the sinks may take at the end.",
)
def explain(
    files: tuple[str, ...],
    profile: str | None,
    source: bool,
    analyze: bool,
    duration: float | None,
    max_events: int | None,
    drain: float,
) -> int:
    """Show what FILE is compiled to: threads, fused loops, what is read of a line and why not less, boundaries.

    With --analyze it is run as by `run`, its events go to their sinks, and the plan comes at the end with counts and time.
    Exits with 1 then when something failed. The values of secret variables are not shown.
    """
    if not analyze and (duration is not None or max_events is not None):
        raise click.UsageError("--duration and --max-events go with --analyze")
    project = load_all(files, profile)
    if not analyze:
        click.echo(project.redact("\n".join(_Explaining(project, source).lines())))
        return 0
    meter = Meter()
    collector = Collector(project, meter)
    code = carry_out(collector, duration, max_events, drain=drain, report=None, quiet=True, verbose=False)
    analysis = Analysis(collector, meter, collector.report(code, final=True))
    click.echo(project.redact("\n".join(_Explaining(project, source, analysis).lines())))
    return code


class _Explaining:
    """Explains a project, with the figures of a run where there are any."""

    def __init__(self, project: Project, source: bool, analysis: Analysis | None = None) -> None:
        self._project = project
        self._source = source
        self._analysis = analysis
        self._pipeline = ""

    def lines(self) -> Iterator[str]:
        project, analysis = self._project, self._analysis
        for name, runner in project.runners.items():
            names = {name, lifecycle_of(name)}
            readers = [pipeline for pipeline, spec in project.pipelines.items() if names & spec.reads]
            yield f"runner {name}: {' '.join(runner.argv())}"
            yield f"    thread rx-{name}-stdout reads it and runs the segments of {', '.join(readers) or 'no pipeline'}"
            if analysis is not None:
                yield from _marked("    ", analysis.runner(name))
        for name, spec in project.pipelines.items():
            self._pipeline = name
            yield ""
            yield f"pipeline {name}, from {', '.join(spec.sources)}"
            operators = [placed.operator.name for placed in spec.operators]
            sinks = [f"{branch.name} ({branch.backpressure.strategy.name})" for branch in spec.sinks]
            way = f"{' + '.join(spec.sources)} -> {' -> '.join([*operators, ''])}"
            yield f"    {way}{', '.join(sinks) or 'other pipelines'}"
            lines = not set(project.runners).isdisjoint(spec.sources)
            yield from self._operators(steps_of(spec.operators), lines=lines, workers=spec.workers)
            taken: list[str] = []
            for branch in spec.sinks:
                yield from self._branch(branch, _sink_name(branch, taken))
            if spec.dead_letter is not None:
                yield from self._branch(spec.dead_letter, "dead_letter", "dead letter ")
        if analysis is not None:
            yield ""
            yield analysis.ending()

    def _operators(
        self, steps: list[Step], indent: str = "    ", *, lines: bool = False, in_group: bool = False, workers: int = 1
    ) -> Iterator[str]:
        """Explain a row of operators; `lines` tells that the first one gets lines of runners."""
        analysis = self._analysis
        if workers > 1:
            yield from (indent + line for line in of_workers(steps, workers, measured=analysis is not None))
        workers = 1 if analysis is not None else workers
        rows, share = rows_of(steps, workers), shared_by(steps, workers)
        for number, row in enumerate(rows):
            step = steps[row.start]
            before = rows[number - 1] if number else None
            if isinstance(step.operator, Stage):
                following = steps[row.stop] if row.stop < len(steps) else None
                here = steps[row.start : row.stop]
                shared = share is not None and row == range(share.count)
                windowed = before is not None and isinstance(steps[before.start].operator, Grouping)
                takes: Taken = "lines" if lines and row.start == 0 else "events" if windowed else "encoded"
                for line in self._segment(here, following, takes=takes, in_group=in_group, shared=shared):
                    yield indent + line
                if following is not None and isinstance(following.operator, Stage) and not shared:
                    yield f"{indent}    {following.label} begins a loop of its own: Python nests no more of them"
                continue
            behind_workers = share is not None and before == range(share.count)
            kept_apart = not_absorbed(step, in_group=in_group, behind_workers=behind_workers)
            absorbs = not kept_apart
            if isinstance(step.operator, Python):
                yield f"{indent}{step}: an operator of your own, event by event"
            elif step.operator.within:
                yield f"{indent}{step}: for each group, compiled once:"
            elif absorbs and isinstance(step.operator, Grouping):
                what = "the loop before it" if before is not None else "a loop over the lines"
                yield f"{indent}{step}: takes events in within {what}; {of_grouping(step.operator)}"
            else:
                yield f"{indent}{step}: not fused: {not_fused(step.operator)}"
                if kept_apart:
                    yield f"{indent}    takes no events in within the loop before it: {kept_apart}"
            if analysis is not None and not isinstance(step.operator, Python):
                row_before = steps[before.start : before.stop] if before is not None else []
                figures = (
                    analysis.absorbed(self._pipeline, row_before, step)
                    if absorbs and isinstance(step.operator, Grouping)
                    else analysis.node(self._pipeline, step.label)
                )
                yield from _marked(indent, [figures])
            if step.operator.within:
                yield from self._operators(steps_of(step.operator.within, step.label), indent + "    ", in_group=True)

    def _segment(
        self, row: list[Step], following: Step | None, *, takes: Taken, in_group: bool, shared: bool
    ) -> Iterator[str]:
        """Explain a loop; `following` is the operator behind it."""
        last = following is None and not in_group
        compiled = compile_segment(row, takes, to_bytes=last)
        yield f"segment of {len(row)} fused stage{'s' if len(row) > 1 else ''}, one loop over each batch:"
        figures: dict[int, str] = {}
        if self._analysis is not None:
            figures = dict(self._analysis.segment(self._pipeline, row))
        if (
            following is not None
            and isinstance(following.operator, Grouping)
            and not not_absorbed(following, in_group=in_group, behind_workers=shared)
        ):
            whole = [*row, Step(TakenIn(following.operator), following.label)]
            reasons = of_row(whole, compile_segment(whole, takes), to_bytes=False)
        else:
            reasons = of_row(row, compiled, to_bytes=last)
        for reason in reasons:
            yield f"    {reason}"
        if -1 in figures:
            yield from _marked("", [figures[-1]])
        for index, step in enumerate(row):
            parses = isinstance(step.operator, Parse)
            yield f"    {step}" if parses else f"    {step}: {of_stage(step.operator)}"  # type: ignore[arg-type]
            if index in figures:
                yield from _marked("    ", [figures[index]])
        if self._source:
            for line in compiled.source.splitlines():
                yield f"    | {line}"

    def _branch(self, branch: Branch, name: str, what: str = "") -> Iterator[str]:
        pipeline, strategy = self._pipeline, branch.backpressure.strategy
        worst = strategy.worst_case()
        most = f"{format_count(worst.events)} events"
        yield (
            f"    {what}sink {branch.name}: boundary {strategy.name}, at most {most} in flight; thread rx-{pipeline}-{name}"
        )
        yield f"        worst case: {most}, {_bytes(pipeline, worst, self._project, bool(what))}"
        if branch.retry is not None or branch.on_failure != "fail":
            tries = f"{branch.retry.limit} more tries" if branch.retry is not None else "no more tries"
            yield f"        when the sink fails: {tries}, then {branch.on_failure}"
        if self._analysis is not None:
            yield from _marked("    ", self._analysis.branch(pipeline, name, dead_letter=bool(what)))


def _sink_name(branch: Branch, taken: list[str]) -> str:
    """Give the name of a sink in the ledger: one that is taken gets a number."""
    name, number = branch.name, 2
    while name in taken:
        name, number = f"{branch.name}_{number}", number + 1
    taken.append(name)
    return name


def _marked(indent: str, lines: Iterable[str]) -> Iterator[str]:
    """Set what was measured off from what was planned."""
    for line in lines:
        yield f"{indent}    = {line}"


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
