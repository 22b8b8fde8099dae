"""``validate``: every mistake in some files, or ``ok``."""

from __future__ import annotations

import os
from collections.abc import Mapping

import click

from rx_collector.cli.files import profile_option
from rx_collector.cli.mistakes import show_mistakes
from rx_collector.errors import ConfigError, Mistake
from rx_collector.pipeline.project import Examined, examine

__all__ = ["look_at", "validate"]


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@profile_option
@click.option("--strict", is_flag=True, help="Take warnings for mistakes.")
def validate(files: tuple[str, ...], profile: str | None, strict: bool) -> int:
    """Find every mistake in FILE.

    Prints each as file:line:column: where: what, on standard error, and exits with 2; or "FILE: ok" for each. On a
    terminal the line of the file and an example of the right form stand below each. A file with profiles is checked with
    each of them and with none, or with the one that is named. What is likely not meant is a warning: it is printed and
    changes nothing, but with --strict.
    """
    code = 0
    for file in files:
        found = look_at(file, profile=profile)
        if found:
            show_mistakes(ConfigError(found))
        if any(strict or not one.warning for one in found):
            code = 2
        else:
            click.echo(f"{file}: ok")
    return code


def look_at(
    file: str | os.PathLike[str], environment: Mapping[str, str] | None = None, *, profile: str | None = None
) -> list[Mistake]:
    """Give the mistakes in a file and its warnings, each once: with no profile and with each of them, or with one."""
    first = examine([file], environment, profile)
    every = [first]
    if profile is None:
        every += [examine([file], environment, each) for each in first.profiles]
    return _once([*(mistake for each in every for mistake in each.mistakes), *_of_all(every)])


def _of_all(found: list[Examined]) -> list[Mistake]:
    """Give the warnings that there are with every profile: what one of them has a use for is none."""
    every = set(found[0].warnings).intersection(*(each.warnings for each in found))
    return [warning for warning in found[0].warnings if warning in every]


def _once(mistakes: list[Mistake]) -> list[Mistake]:
    """Say each mistake once, those of each file together and in their order."""
    unique = list(dict.fromkeys(mistakes))
    files = list(dict.fromkeys(mistake.file for mistake in unique))
    return sorted(unique, key=lambda mistake: (files.index(mistake.file), mistake.line, mistake.column))
