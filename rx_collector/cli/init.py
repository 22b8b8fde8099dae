"""``init``: write a file to begin with, for a command, by looking at what it prints."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Final

import click

from rx_collector.cli.catalogue import schema_text
from rx_collector.cli.files import check_writable
from rx_collector.cli.guess import guesses
from rx_collector.cli.run import DURATION, stop_on_signals
from rx_collector.cli.starter import Seen, starter
from rx_collector.errors import ConfigError, OutputError, ProcessError
from rx_collector.event import Event
from rx_collector.ledger import Report
from rx_collector.operators.backpressure import Backpressure
from rx_collector.pipeline.collector import Collector
from rx_collector.pipeline.project import Project, load
from rx_collector.pipeline.spec import Branch, PipelineSpec
from rx_collector.runners.spec import RunnerSpec
from rx_collector.sinks.callback import Callback

__all__ = ["init"]

_SCHEMA: Final = "rx-collector.schema.json"
_MOST_LINES: Final = 200
_MOST_SAID: Final = 3  # lines of standard error that are repeated


@click.command()
@click.option("--output", type=click.Path(dir_okay=False), help="The file to write; COMMAND.yaml unless said.")
@click.option("--duration", type=DURATION, default="3s", show_default=True, help="How long to look at the command.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
def init(output: str | None, duration: float, command: tuple[str, ...]) -> int:
    """Write a commented file to begin with, for what COMMAND prints.

    Runs COMMAND for a moment, stops it (after 200 lines at the latest), and finds out the format of its lines; one that
    prints nothing into a pipe is run once more on a terminal. The file validates, runs, and has a test with one of the
    lines seen. Beside it stands the JSON Schema for editors that know the YAML language server. A file that is there
    already is never overwritten.
    """
    runner = re.sub(r"\W+", "_", os.path.basename(command[0]), flags=re.ASCII).strip("_") or "command"
    output = output or f"{runner}.yaml"
    if os.path.lexists(output):
        raise click.BadParameter(f"{output} is there already and is not overwritten", param_hint="--output")
    check_writable(output, "--output")
    directory = os.path.dirname(os.path.abspath(output))
    schema = os.path.join(directory, _SCHEMA)
    if os.path.lexists(schema) and not _is_ours(schema):
        raise click.BadParameter(f"{schema} is there already and is no schema of ours", param_hint="--output")
    away = os.path.relpath(os.getcwd(), directory)
    seen = _look(command, runner, duration, "" if away == "." else away)
    text = _right(seen, os.path.basename(output), directory)
    _write(schema, schema_text() + "\n", "w")
    _write(output, text, "x")
    click.echo(f"{output}: written; lines seen: {len(seen.lines)}. Run it with 'rx-collector run {output}'")
    return 0


def _write(path: str, text: str, mode: str) -> None:
    try:
        with open(path, mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {os.strerror(error.errno or 0).lower()}") from None


def _is_ours(path: str) -> bool:
    try:
        schema = json.loads(Path(path).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(schema, dict) and schema.get("title") == "rx_collector"


def _look(command: tuple[str, ...], runner: str, duration: float, cwd: str) -> Seen:
    """Run the command and give what was seen; into a terminal when it prints nothing into a pipe and does not end.

    Raises ProcessError when it cannot be started or prints nothing.
    """
    late = None
    for output in ("pipe", "pty"):
        said: list[str] = []
        lines: list[str] = []
        begun = time.monotonic()
        times: list[float] = []

        def take(event: Event, lines: list[str] = lines, said: list[str] = said, times: list[float] = times) -> None:
            (said if event.type == "stderr" else lines).append(event["message"])
            times.append(time.monotonic())

        spec = RunnerSpec(command, stop="SIGINT", stderr="events", output=output)  # type: ignore[arg-type]
        sink = Branch(Callback(take), Backpressure("block"), "look")  # type: ignore[arg-type]
        project = Project("init", {runner: spec}, {"look": PipelineSpec((runner,), sinks=(sink,))})
        collector = Collector(project)
        with stop_on_signals(collector):
            report = collector.run(duration=duration, max_events=_MOST_LINES)
        ended = report.seconds < duration and len(lines) + len(said) < _MOST_LINES
        if any(line.strip() for line in lines):
            seen = Seen(command, runner, cwd, output, ended, lines)
            if times[0] < begun + duration or output == "pty":
                return seen
            late = seen  # it wrote them when it was stopped, in one block
        elif ended or report.runners[runner].error is not None:
            break
    if late is not None:
        return late
    raise ProcessError(_nothing(report, runner, said, duration), runner=runner, stderr=said)


def _nothing(report: Report, runner: str, said: list[str], duration: float) -> str:
    error = report.runners[runner].error
    last = f"; on standard error: {' / '.join(said[-_MOST_SAID:])}" if said else ""
    if error is not None and not said:
        return error
    return f"{runner} printed nothing to look at within {duration:g}s{last}"


def _right(seen: Seen, name: str, directory: str) -> str:
    """Give the text of the file for the first guess with which it loads and its test passes."""
    text = ""
    for guess in guesses(seen.lines):
        text = starter(seen, guess, name, _SCHEMA)
        with tempfile.TemporaryDirectory() as beside:
            file = Path(beside, name)
            file.write_text(text, encoding="utf-8")
            try:
                verdicts = load(file).test()
            except ConfigError:
                if not guess.options:
                    raise
                continue  # a format whose options cannot be written for these lines; the next one fits, too
        if all(verdict.passed for verdict in verdicts):
            break
    return text
