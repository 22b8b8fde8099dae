"""``record``: run pipelines, and write what their programs give, with when, to a file that ``replay`` plays."""

from __future__ import annotations

import os

import click

from rx_collector.cli.files import check_writable, load_all, profile_option
from rx_collector.cli.run import COUNT, DURATION, carry_out

__all__ = ["record"]


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@profile_option
@click.option("--to", required=True, type=click.Path(dir_okay=False), help="The recording; a file not there yet.")
@click.option("--duration", type=DURATION, help="Stop after this long (10s, 5m).")
@click.option("--max-events", type=COUNT, help="Stop when so many events have reached the sinks.")
@click.option("--report", type=click.Path(dir_okay=False), help="Write the balance sheet as JSON to this file.")
@click.option(
    "--drain", type=DURATION, default="30s", show_default=True, help="How long the sinks may take at the end."
)
@click.option("--quiet", "-q", is_flag=True, help="Only warnings and errors; no table, no progress.")
@click.option("--verbose", "-v", is_flag=True, help="Everything that is logged.")
def record(
    files: tuple[str, ...],
    profile: str | None,
    to: str,
    duration: float | None,
    max_events: int | None,
    report: str | None,
    drain: float,
    quiet: bool,
    verbose: bool,
) -> int:
    """Run the pipelines of FILE as 'run' does, and record what their programs give.

    The recording holds every line as it came, every start and end of a program, and when; 'replay' plays it. Exits with 1
    as 'run' does, and when the recording could not be written to its end.
    """
    from rx_collector.pipeline.record import RecordingCollector

    project = load_all(files, profile)
    if report is not None:
        check_writable(report, "--report")
    check_writable(to, "--to")
    if os.path.lexists(to):
        raise click.BadParameter(f"{to} is there already; a recording is never written over", param_hint="--to")
    collector = RecordingCollector(project, to)
    return carry_out(collector, duration, max_events, drain=drain, report=report, quiet=quiet, verbose=verbose)
