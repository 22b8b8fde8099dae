"""The files named on the command line: those to load, with all mistakes of all of them, and those to write."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import click

from rx_collector.errors import OutputError
from rx_collector.pipeline.project import Project, load_each, load_together

__all__ = ["check_writable", "load_all", "load_each", "profile_option", "write_whole"]


def profile_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--profile`` to a command."""
    return click.option(
        "--profile",
        metavar="NAME",
        envvar="RX_COLLECTOR_PROFILE",
        show_envvar=True,
        callback=lambda context, parameter, value: value or None,
        help="Lay this one of the file's profiles over it.",
    )(command)


def load_all(files: Sequence[str], profile: str | None = None) -> Project:
    """Load files as one project. Raises ConfigError with the mistakes of all of them."""
    return load_together(files, profile=profile)


def check_writable(path: str, option: str) -> None:
    """Refuse the value of an option that names a file which cannot be written, before anything else is done."""
    directory = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(directory) or not os.access(directory, os.W_OK):
        raise click.BadParameter(f"cannot write {path}", param_hint=option)


def write_whole(path: str, data: bytes) -> None:
    """Write a file whole or not at all."""
    import tempfile

    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "wb") as file:
                file.write(data)
            return
        whole = tempfile.NamedTemporaryFile(dir=os.path.dirname(os.path.abspath(path)), delete=False)  # noqa: SIM115
        try:
            with whole:
                whole.write(data)
            os.replace(whole.name, path)
        except OSError:
            os.unlink(whole.name)
            raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {os.strerror(error.errno or 0).lower()}") from None
