"""``graph``: a picture of what some files describe, as text for Mermaid or Graphviz, or as SVG."""

from __future__ import annotations

import os

import click

from rx_collector.cli.files import check_writable, load_all, profile_option, write_whole
from rx_collector.config.options import did_you_mean
from rx_collector.errors import ConfigError, Mistake
from rx_collector.ledger import Report
from rx_collector.pipeline.project import Project

__all__ = ["graph"]

_SUFFIXES = {".mmd": "mermaid", ".mermaid": "mermaid", ".dot": "dot", ".gv": "dot", ".svg": "svg"}


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@profile_option
@click.option("--format", type=click.Choice(["mermaid", "dot", "svg"]), help="Else as the suffix of --output; mermaid.")
@click.option("--report", type=click.Path(dir_okay=False), help="Add the counts of this report of `run --report`.")
@click.option("--output", type=click.Path(dir_okay=False), help="Write to this file (.mmd, .dot, .svg), not to stdout.")
def graph(
    files: tuple[str, ...], profile: str | None, format: str | None, report: str | None, output: str | None
) -> int:
    """Draw what FILE describes: programs, pipelines with their operators, boundaries, sinks.

    With --report, every edge and every node bears its counts, and what was lost is red. The values of secret variables are
    not shown.
    """
    if output is not None:
        format = format or _format_of(output)
        check_writable(output, "--output")
    project = load_all(files, profile)
    counts = _read(report) if report is not None else None
    text = _drawn(project, counts, report or "", format or "mermaid")
    if output is None:
        click.echo(text.encode(), nl=False)
    else:
        write_whole(output, text.encode())
    return 0


def _format_of(output: str) -> str:
    suffix = os.path.splitext(output)[1].lower()
    if not suffix:
        known = ", ".join(sorted(_SUFFIXES))
        message = f"{output}: without a suffix ({known}) the format has to be said by --format"
        raise click.BadParameter(message, param_hint="--output")
    if suffix not in _SUFFIXES:
        message = f"{output}: {suffix!r} is the suffix of no format{did_you_mean(suffix, _SUFFIXES)}"
        raise click.BadParameter(message, param_hint="--output")
    return _SUFFIXES[suffix]


def _read(report: str) -> Report:
    # Not needed by the other commands, which shall start quickly.
    import msgspec

    try:
        with open(report, "rb") as file:
            return msgspec.json.decode(file.read(), type=Report)
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise click.BadParameter(f"cannot read {report}: {why}", param_hint="--report") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{report} is no report of 'run --report': {error}", param_hint="--report") from None


def _drawn(project: Project, report: Report | None, file: str, format: str) -> str:
    from rx_collector.graph.build import graph_of
    from rx_collector.graph.dot import dot
    from rx_collector.graph.mermaid import mermaid
    from rx_collector.graph.svg import svg

    try:
        picture = graph_of(project, report)
    except ConfigError as error:
        where = (f"{file}: {mistake.where}" if mistake.where else file for mistake in error.mistakes)
        raise ConfigError(
            [Mistake(mistake.message, place) for mistake, place in zip(error.mistakes, where, strict=True)]
        ) from None
    return {"mermaid": mermaid, "dot": dot, "svg": svg}[format](picture)
