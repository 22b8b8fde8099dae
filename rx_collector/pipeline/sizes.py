"""How large an event can become, by what a file declares: for the worst cases that `explain` states."""

from __future__ import annotations

from typing import Final

from rx_collector.operators.buffer import Buffer
from rx_collector.operators.placed import steps_of
from rx_collector.pipeline.project import Project
from rx_collector.stream.operator import Operator

__all__ = ["largest_event"]

#: Operators behind which an event is not larger than its line, but for names that the file itself gives: those that take
#: fields out of it, and those that pass it on or do not.
_KEEP_SIZE: Final = frozenset(
    ["parse", "drop", "keep", "rename"]
    + ["filter", "where", "tap", "log", "limit", "skip", "sample", "throttle", "dedupe", "debounce", "sort", "timeout"]
)


def largest_event(project: Project, pipeline: str) -> tuple[int, str]:
    """Give the bytes of the largest event at the end of a pipeline; or 0, and the name of what sets no bound."""
    if pipeline in project.runners:
        return project.runners[pipeline].max_line, ""
    if (spec := project.pipelines.get(pipeline)) is None:
        return 0, ""  # the lifecycle of a runner: a few fields
    largest = 0
    for source in spec.sources:
        size, unbounded = largest_event(project, source)
        if unbounded:
            return 0, unbounded
        largest = max(largest, size)
    for step in steps_of(spec.operators):
        factor = _factor(step.operator)
        if factor is None:
            return 0, f"{pipeline}.{step.label}"
        largest *= factor
    return largest, ""


def _factor(operator: Operator) -> int | None:
    """Give by how much an operator can make an event larger, None when nothing bounds it."""
    if isinstance(operator, Buffer):
        return operator.count
    return 1 if operator.name in _KEEP_SIZE else None
