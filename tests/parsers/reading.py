"""Captures, and what a format makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rx_collector import operators as op
from tests.events import Result, run

CAPTURES = Path(__file__).parent.parent / "captures"


def lines_of(capture: str) -> list[str | bytes]:
    """The lines of a capture as a runner sends them: repaired where they are not UTF-8."""
    lines = (CAPTURES / capture).read_bytes().split(b"\n")
    assert lines.pop() == b""
    return [line.decode("utf-8", "replace") for line in lines]


def parsed(format: str, lines: list[Any], **options: Any) -> Result:
    return run(op.parse(format, **options), lines=lines)


def counts(result: Result) -> tuple[int, int, int]:
    """How many events came out, and how many lines were filtered and rejected."""
    pipeline = result.report.pipelines["test"]
    return len(result.events), pipeline.filtered, pipeline.rejected.get("parse", 0)


def errors(result: Result) -> list[str]:
    return [record["error"] for record in result.rejected]
