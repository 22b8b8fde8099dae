"""The files named on the command line: those to load, with all mistakes of all of them, and those to write."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence

import click

from rx_collector.errors import ConfigError, Mistake, OutputError
from rx_collector.pipeline.project import Project, load, merge

__all__ = ["check_writable", "load_all", "load_each", "write_whole"]


def load_all(files: Sequence[str]) -> Project:
    """Load files as one project. Raises ConfigError with the mistakes of all of them."""
    return merge(load_each(files))


def load_each(files: Sequence[str]) -> list[Project]:
    """Load files, each as a project of its own. Raises ConfigError with the mistakes of all of them."""
    projects: list[Project] = []
    mistakes: list[Mistake] = []
    for file in files:
        try:
            projects.append(load(file))
        except ConfigError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigError(mistakes)
    return projects


def check_writable(path: str, option: str) -> None:
    """Refuse the value of an option that names a file which cannot be written, before anything else is done."""
    directory = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(directory) or not os.access(directory, os.W_OK):
        raise click.BadParameter(f"cannot write {path}", param_hint=option)


def write_whole(path: str, data: bytes) -> None:
    """Write a file whole or not at all."""
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
