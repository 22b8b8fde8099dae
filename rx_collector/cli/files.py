"""Loading the files named on the command line, with all mistakes of all of them."""

from __future__ import annotations

from collections.abc import Sequence

from rx_collector.errors import ConfigError, Mistake
from rx_collector.pipeline.project import Project, load, merge

__all__ = ["load_all"]


def load_all(files: Sequence[str]) -> Project:
    """Load files as one project. Raises ConfigError with the mistakes of all of them."""
    projects: list[Project] = []
    mistakes: list[Mistake] = []
    for file in files:
        try:
            projects.append(load(file))
        except ConfigError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigError(mistakes)
    return merge(projects)
