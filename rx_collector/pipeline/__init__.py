"""Pipelines: `spec` declares a file, `project` checks one, `parts` and `collector` run it, `streams` runs Python's own."""

from typing import TYPE_CHECKING

from rx_collector.config.lazily import lazily

if TYPE_CHECKING:
    from rx_collector.pipeline.project import Project, load
    from rx_collector.pipeline.streams import run

__all__ = ["Project", "load", "run"]

lazily(__name__, {"project": "Project load", "streams": "run"})
