"""``validate``: every mistake in some files, or ``ok``."""

from __future__ import annotations

import click

from rx_collector.cli.mistakes import show_mistakes
from rx_collector.errors import ConfigError
from rx_collector.pipeline.project import load

__all__ = ["validate"]


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def validate(files: tuple[str, ...]) -> int:
    """Find every mistake in FILE.

    Prints each as file:line:column: where: what, on standard error, and exits with 2; or "FILE: ok" for each. On a
    terminal the line of the file and an example of the right form stand below each.
    """
    code = 0
    for file in files:
        try:
            load(file)
        except ConfigError as error:
            show_mistakes(error)
            code = 2
        else:
            click.echo(f"{file}: ok")
    return code
