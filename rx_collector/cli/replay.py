"""``replay``: play a recording through pipelines, in its own time, at any speed."""

from __future__ import annotations

import math
from typing import Any

import click

from rx_collector.cli.files import check_writable, load_all, profile_option
from rx_collector.cli.run import DURATION, carry_out

__all__ = ["replay"]


class _Speed(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    name = "speed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if value == "max":
            return math.inf
        try:
            speed = float(value)
        except ValueError:
            speed = 0.0
        if not 0 < speed < math.inf:
            self.fail(f"a number above 0 such as 10, or max, is wanted here, not {value!r}", param, ctx)
        return speed


@click.command()
@click.argument("recording", type=click.Path())
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@profile_option
@click.option("--speed", type=_Speed(), default="max", show_default=True, help="1, 10 times, or as fast as it goes.")
@click.option("--report", type=click.Path(dir_okay=False), help="Write the balance sheet as JSON to this file.")
@click.option(
    "--drain", type=DURATION, default="30s", show_default=True, help="How long the sinks may take at the end."
)
@click.option("--quiet", "-q", is_flag=True, help="Only warnings and errors; no table, no progress.")
@click.option("--verbose", "-v", is_flag=True, help="Everything that is logged.")
def replay(
    recording: str,
    files: tuple[str, ...],
    profile: str | None,
    speed: float,
    report: str | None,
    drain: float,
    quiet: bool,
    verbose: bool,
) -> int:
    """Play RECORDING through the pipelines of FILE into their sinks. No runner is started.

    The time that operators see is that of the recording, so the same bytes come out every time, at any speed. Every sink
    gets every event, whatever its backpressure is. A signal ends it with what was played. Exits with 1 as 'run' does, also
    when a recorded program had failed.
    """
    from rx_collector.pipeline.recording import Recording
    from rx_collector.pipeline.replay import ReplayCollector

    project = load_all(files, profile)
    if report is not None:
        check_writable(report, "--report")
    played = Recording(recording)
    collector = ReplayCollector(project, played, speed=None if math.isinf(speed) else speed)
    return carry_out(collector, drain=drain, report=report, quiet=quiet, verbose=verbose)
