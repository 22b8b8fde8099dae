"""``run``: run pipelines and print the balance sheet."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from rx_collector.cli.files import check_writable, load_all, profile_option, write_whole
from rx_collector.cli.reload import EarlyHangUps, Files, Terminal, Watching
from rx_collector.cli.sheet import Progress, print_sheet
from rx_collector.cli.starting import starting
from rx_collector.cli.stderr import StandardError
from rx_collector.cli.watch import Watch
from rx_collector.errors import OutputError
from rx_collector.log import logger
from rx_collector.pipeline.collector import Collector
from rx_collector.pipeline.project import Project
from rx_collector.units import parse_count, parse_duration

if TYPE_CHECKING:
    from loguru import Logger, Message

__all__ = ["COUNT", "DURATION", "carry_out", "run", "stop_on_signals"]

#: The colours of the levels, those that loguru has for them.
_COLORS = {"DEBUG": "blue", "INFO": None, "WARNING": "yellow", "ERROR": "red"}
_TURN = 0.0002  # seconds; shorter turns cost processor time, those of 0.2 ms none that could be measured


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
@click.option("--watch", is_flag=True, help="Reload whenever FILE changes, as SIGHUP does.")
@click.option("--quiet", "-q", is_flag=True, help="Only warnings and errors; no table, no progress.")
@click.option("--verbose", "-v", is_flag=True, help="Everything that is logged.")
def run(
    files: tuple[str, ...],
    profile: str | None,
    duration: float | None,
    max_events: int | None,
    report: str | None,
    drain: float,
    watch: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Run the pipelines of FILE until their programs end, or until a signal.

    SIGINT or SIGTERM stops the programs, lets their last events arrive, and prints the balance sheet; a second one stops
    at once. SIGHUP loads FILE again: what is described otherwise is changed, all else runs on, and no event is lost; with a
    mistake in it nothing changes. When the terminal has gone, SIGHUP stops as SIGTERM does. Results go to standard output,
    all else to standard error. Exits with 1 when something failed or an event has no account.
    """
    with EarlyHangUps() as early:
        changes = Watch(files, others=lambda project: project.files) if watch else None  # before they are read
        with starting():
            project = load_all(files, profile)
        if report is not None:
            check_writable(report, "--report")
        return carry_out(
            Collector(project),
            duration,
            max_events,
            drain=drain,
            report=report,
            quiet=quiet,
            verbose=verbose,
            files=files,
            profile=profile,
            changes=changes,
            early=early,
        )


def carry_out(
    collector: Collector,
    duration: float | None = None,
    max_events: int | None = None,
    *,
    drain: float,
    report: str | None,
    quiet: bool,
    verbose: bool,
    files: tuple[str, ...] | None = None,
    profile: str | None = None,
    changes: Watch | None = None,
    early: EarlyHangUps | None = None,
) -> int:
    """Let a collector run to its end as the options say, with progress, log and balance sheet. Gives the exit code.

    With `files` SIGHUP loads them again, and so does what `changes` tells of; `early` knows of one that came before.
    """
    project = collector.project
    stderr = StandardError()
    progress = None
    if not quiet and sys.stderr.isatty() and not _shows_on_terminal(project):
        progress = Progress(collector, stderr.write)
    write = progress.write if progress is not None else stderr.write
    loaded = Files(partial(load_all, files or (), profile), project, write, changes)
    log_to_stderr(loaded.redact, "DEBUG" if verbose else "WARNING" if quiet else "INFO", write)
    for warning in project.warnings:
        logger.warning("{}", replace(warning, warning=False))

    def show(progress: Progress) -> None:
        if _shows_on_terminal(collector.project):  # since a reload
            progress.clear()
        else:
            progress.show()

    # To the very end: a signal that comes late must not keep the report or the balance sheet from being written.
    with stop_on_signals(collector, loaded.load if files is not None else None, early):
        try:
            try:
                with _short_turns(), nullcontext() if changes is None else Watching(changes, loaded, collector):
                    sheet = collector.run(
                        duration=duration,
                        max_events=max_events,
                        drain=drain,
                        tick=partial(show, progress) if progress is not None else None,
                    )
            except OutputError as error:
                message = loaded.redact(str(error))
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
                with suppress(OSError):  # standard error has gone, with a terminal say; the report has it all
                    print_sheet(sheet)
        if (end := click.get_current_context().find_root().obj) is not None:
            end()
    return sheet.exit_code


@contextmanager
def _short_turns() -> Iterator[None]:
    """Let threads take shorter turns than Python's 5 ms: a quiet runner's lines wait less beside one that floods.

    It is a setting of the whole process, so only the command changes it, never the library.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(_TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def log_to_stderr(redact: Callable[[str], str], level: str, write: Callable[[str], object]) -> None:
    """Turn logging on; `redact` hides the values of secret variables, `write` puts a line on standard error."""
    colorize = sys.stderr.isatty() and not os.environ.get("NO_COLOR")

    def show(level: str, text: str, exception: BaseException | None) -> None:
        at, grave = time.strftime("%H:%M:%S"), f"{level: <7}"
        if colorize:
            at, grave = click.style(at, dim=True), click.style(grave, fg=_COLORS[level], bold=True)
        line = f"{at} {grave} {text}\n"
        if exception is not None:
            from traceback import format_exception

            line += "".join(format_exception(exception))
        write(redact(line))  # the whole of it: a traceback, too, may show what was read

    def join(loguru: Logger) -> None:
        layout = "<dim>{time:HH:mm:ss}</dim> <level>{level: <7}</level> {message}"
        loguru.remove()

        def show(message: Message) -> None:
            write(redact(str(message)))

        # Without the values of variables in tracebacks: they are cut, and a part of a secret is not known for one.
        loguru.add(show, level=level, format=layout, colorize=colorize, diagnose=False)
        loguru.enable("rx_collector")

    logger.turn_on(level, show, join)


def _shows_on_terminal(project: Project) -> bool:
    """Tell whether a console sink writes to the terminal, where progress would come between its lines."""
    return any(
        branch.sink.name == "console" and (sys.stdout.isatty() or getattr(branch.sink, "stream", "") == "stderr")
        for pipeline in project.pipelines.values()
        for branch in pipeline.sinks
    )


@contextmanager
def stop_on_signals(
    collector: Collector, load: Callable[[], Project | None] | None = None, early: EarlyHangUps | None = None
) -> Iterator[None]:
    """The first SIGINT or SIGTERM asks for a stop, the second for an end at once.

    SIGHUP asks for a stop when the terminal has gone, and else for a reload where there is `load`; where it is ignored, as
    under nohup, it stays so.
    """
    seen: list[int] = []
    terminal = Terminal() if early is None else early.terminal

    def handle(number: int, frame: object) -> None:
        seen.append(number)
        if len(seen) == 1:
            collector.stop(f"{signal.Signals(number).name}: stopping, a second one ends at once")
        else:
            collector.abort()

    def hang_up(number: int, frame: object) -> None:
        if terminal.gone:
            if not seen:  # the shell and the kernel may both send one
                handle(number, frame)
        elif load is not None:
            collector.reload(load)
        else:
            logger.warning("SIGHUP: only 'rx-collector run' loads its files again; this goes on with what it has")

    def ignore(number: int, frame: object) -> None:
        """Stay deaf, as a shell wants what it starts with ``&``. A child gets its default back from exec, where it would
        inherit SIG_IGN, but for a program in between.
        """

    wakeup = signal.set_wakeup_fd(collector.signals(), warn_on_full_buffer=False)
    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        old[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
        if early is not None and early.came:
            hang_up(signal.SIGHUP, None)
    if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
        old[signal.SIGQUIT] = signal.signal(signal.SIGQUIT, ignore)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in old.items():
            # And not what is there until the process has ended.
            if signal.getsignal(number) in (handle, hang_up, ignore):
                signal.signal(number, handler)
