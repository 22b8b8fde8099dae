"""Pipelines: `spec` declares a file, `project` checks one, `parts` and `collector` run it, `streams` runs Python's own."""

from rx_collector.pipeline.project import Project, load
from rx_collector.pipeline.streams import run

__all__ = ["Project", "load", "run"]
