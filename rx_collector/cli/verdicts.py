"""The results of tests for eyes: a line a test, and for what is not as expected both sides beside each other."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from rx_collector.graph.text import legible
from rx_collector.pipeline.project import Project
from rx_collector.pipeline.verdict import NOTHING, Failure, Field, Verdict
from rx_collector.units import format_duration

__all__ = ["Results", "failure_lines", "show"]

#: Each file, its project, and what came of its tests.
Results = Sequence[tuple[str, Project, Sequence[Verdict]]]
_INDENT = "      "
_WIDEST = 100
_MOST_NAMED = 8  # fields beside the expected ones that are shown
_MOST_SHOWN = 2_000  # characters of a value


def show(results: Results) -> bool:
    """Print the results to standard output. True when all is as expected."""
    color = False if os.environ.get("NO_COLOR") else None  # None: when standard output is a terminal
    width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST) if sys.stdout.isatty() else _WIDEST
    for file, project, verdicts in results:
        click.echo(click.style(file if verdicts else f"{file}: no tests", bold=True), color=color)
        for verdict in verdicts:
            lines = _verdict(verdict, width)
            click.echo(project.redact("\n".join(lines)), color=color)
    every = [verdict for _, _, verdicts in results for verdict in verdicts]
    failed = sum(not verdict.passed for verdict in every)
    took = _milliseconds(sum(verdict.seconds for verdict in every))
    counts = f"{len(every) - failed} passed" + (f", {failed} failed" if failed else "")
    click.echo(click.style(counts, fg="red" if failed else "green") + f" in {took}", color=color)
    return not failed


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else format_duration(round(seconds, 2))


def _verdict(verdict: Verdict, width: int) -> Iterator[str]:
    mark = click.style("✓", fg="green") if verdict.passed else click.style("✗", fg="red", bold=True)
    name = legible(verdict.name)
    yield f"  {mark} {name}  " + click.style(_milliseconds(verdict.seconds), dim=True)
    for failure in verdict.failures:
        yield from (f"    {line}" for line in failure_lines(failure, width - 4, styled=True))


def failure_lines(failure: Failure, width: int = _WIDEST, *, styled: bool = False) -> Iterator[str]:
    """Say in lines what is not as expected: where and what, then the fields with both sides beside each other."""
    place = f"{failure.place}: " if failure.place else ""
    yield (click.style(place, dim=True) if styled else place) + legible(failure.what)
    if not failure.fields:
        return
    named = [field for field in failure.fields if field.expected is not NOTHING]
    rows = named or list(failure.fields)
    yield from _table(rows, width, styled)
    others = [field for field in failure.fields if field.expected is NOTHING] if named else []
    if others:
        text = ", ".join(f"{legible(field.name)}={_shown(field.got)}" for field in others[:_MOST_NAMED])
        more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
        line = f"{_INDENT}beside: {_cut(text, width - len(_INDENT) - len(more) - 8)}{more}"
        yield click.style(line, dim=True) if styled else line


def _table(rows: Sequence[Field], width: int, styled: bool) -> Iterator[str]:
    names = [legible(row.name) for row in rows]
    sides = [(_shown(row.expected), _shown(row.got)) for row in rows]
    first = max(map(len, [*names, "field"]))
    half = (width - len(_INDENT) - first - 6) // 2
    left = max(len(one) for one, other in [*sides, ("expected", "got")] if max(len(one), len(other)) <= half)

    def paint(text: str, colour: str) -> str:
        return click.style(text, fg=colour) if styled else text

    yield f"{_INDENT}  {'field':<{first}}  {'expected':<{left}}  got"
    for name, row, (expected, got) in zip(names, rows, sides, strict=True):
        if row.same:
            mark, line = " ", f"{name:<{first}}  {_cut(expected, left):<{left}}  {_cut(got, half)}"
            yield f"{_INDENT}{mark} {line}"
        elif len(expected) <= half and len(got) <= half:
            yield (
                f"{_INDENT}{paint('✗', 'red')} {name:<{first}}  "
                f"{paint(f'{expected:<{left}}', 'green')}  {paint(got, 'red')}"
            )
        else:  # what tells them apart may be at their ends: below each other, whole
            yield f"{_INDENT}{paint('✗', 'red')} {name:<{first}}  expected  {paint(expected, 'green')}"
            yield f"{_INDENT}  {'':<{first}}  got       {paint(got, 'red')}"


def _shown(value: Any) -> str:
    """Write a value as JSON on one line, without anything that a terminal would obey."""
    if value is NOTHING:
        return "—"
    return _cut(legible(json.dumps(value, ensure_ascii=False, default=str)), _MOST_SHOWN)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"
