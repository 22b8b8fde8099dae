"""``run``: run pipelines and print the balance sheet."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from loguru import logger

from rx_collector.cli.files import check_writable, load_all, profile_option, write_whole
from rx_collector.cli.sheet import Progress, print_sheet
from rx_collector.cli.stderr import StandardError
from rx_collector.errors import OutputError
from rx_collector.pipeline.collector import Collector
from rx_collector.pipeline.project import Project
from rx_collector.sinks.console import Console
from rx_collector.units import parse_count, parse_duration

if TYPE_CHECKING:
    from loguru import Message

__all__ = ["COUNT", "DURATION", "carry_out", "run", "stop_on_signals"]


class _Duration(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return parse_duration(float(value) if str(value).replace(".", "", 1).isdigit() else value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Count(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            count = parse_count(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if count == 0:
            self.fail("the count is at least 1", param, ctx)
        return count


#: A duration, and a count of at least one, on the command line.
DURATION = _Duration()
COUNT = _Count()


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@profile_option
@click.option("--duration", type=DURATION, help="Stop after this long (10s, 5m).")
@click.option("--max-events", type=COUNT, help="Stop when so many events have reached the sinks.")
@click.option("--report", type=click.Path(dir_okay=False), help="Write the balance sheet as JSON to this file.")
@click.option(
    "--drain", type=DURATION, default="30s", show_default=True, help="How long the sinks may take at the end."
)
@click.option("--quiet", "-q", is_flag=True, help="Only warnings and errors; no table, no progress.")
@click.option("--verbose", "-v", is_flag=True, help="Everything that is logged.")
def run(
    files: tuple[str, ...],
    profile: str | None,
    duration: float | None,
    max_events: int | None,
    report: str | None,
    drain: float,
    quiet: bool,
    verbose: bool,
) -> int:
    """Run the pipelines of FILE until their programs end, or until a signal.

    SIGINT or SIGTERM stops the programs, lets their last events arrive, and prints the balance sheet; a second one stops
    at once. Results go to standard output, all else to standard error. Exits with 1 when something failed or an event has
    no account.
    """
    project = load_all(files, profile)
    if report is not None:
        check_writable(report, "--report")
    return carry_out(Collector(project), duration, max_events, drain=drain, report=report, quiet=quiet, verbose=verbose)


def carry_out(
    collector: Collector,
    duration: float | None = None,
    max_events: int | None = None,
    *,
    drain: float,
    report: str | None,
    quiet: bool,
    verbose: bool,
) -> int:
    """Let a collector run to its end as the options say, with progress, log and balance sheet. Gives the exit code."""
    project = collector.project
    stderr = StandardError()
    progress = None
    if not quiet and sys.stderr.isatty() and not _shows_on_terminal(project):
        progress = Progress(collector, stderr.write)
    write = progress.write if progress is not None else stderr.write
    log_to_stderr(project, "DEBUG" if verbose else "WARNING" if quiet else "INFO", write)
    for warning in project.warnings:
        logger.warning("{}", replace(warning, warning=False))
    # To the very end: a signal that comes late must not keep the report or the balance sheet from being written.
    with stop_on_signals(collector):
        try:
            try:
                sheet = collector.run(
                    duration=duration,
                    max_events=max_events,
                    drain=drain,
                    tick=progress.show if progress is not None else None,
                )
            except OutputError as error:
                message = project.redact(str(error))
                sheet = collector.report(1, errors=[message])
                stderr.write(f"rx-collector: {message}\n")
                quiet = True
            finally:
                if progress is not None:
                    progress.clear()
        finally:
            stderr.close()
        try:
            if report is not None:
                write_whole(report, sheet.json())
        finally:
            if not quiet:
                print_sheet(sheet)
    return sheet.exit_code


def log_to_stderr(project: Project, level: str, write: Callable[[str], object]) -> None:
    """Turn logging on, without the values of secret variables. `write` puts a line on standard error."""
    logger.remove()

    def show(message: Message) -> None:
        write(project.redact(str(message)))  # the whole of it: a traceback, too, may show what was read

    layout = "<dim>{time:HH:mm:ss}</dim> <level>{level: <7}</level> {message}"
    colorize = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    # Without the values of variables in tracebacks: they are cut, and a part of a secret is not known for one.
    logger.add(show, level=level, format=layout, colorize=colorize, diagnose=False)
    logger.enable("rx_collector")


def _shows_on_terminal(project: Project) -> bool:
    """Tell whether a console sink writes to the terminal, where progress would come between its lines."""
    return any(
        isinstance(branch.sink, Console) and (sys.stdout.isatty() or branch.sink.stream == "stderr")
        for pipeline in project.pipelines.values()
        for branch in pipeline.sinks
    )


@contextmanager
def stop_on_signals(collector: Collector) -> Iterator[None]:
    """The first SIGINT or SIGTERM asks for a stop, the second for an end at once."""
    seen: list[int] = []

    def handle(number: int, frame: object) -> None:
        seen.append(number)
        if len(seen) == 1:
            collector.stop(f"{signal.Signals(number).name}: stopping, a second one ends at once")
        else:
            collector.abort()

    wakeup = signal.set_wakeup_fd(collector.signals(), warn_on_full_buffer=False)
    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in old.items():
            signal.signal(number, handler)
