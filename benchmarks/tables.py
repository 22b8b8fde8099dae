"""What was measured, as tables of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["tables"]

#: The columns of a result, with their headings and decimals.
_COLUMNS = {
    "cpu_us": ("CPU us/event", 2),
    "wall_us": ("wall us/event", 2),
    "memory_mb": ("peak MB", 1),
    "cpu_ratio": ("CPU ratio", 2),
    "wall_ratio": ("wall ratio", 2),
    "p50_ms": ("p50 ms", 3),
    "p99_ms": ("p99 ms", 3),
    "least_p99_ms": ("least p99 ms", 3),
    "most_ms": ("most ms", 3),
    "cpu_percent": ("CPU %", 4),
    "wall_ms": ("wall ms", 1),
    "least_wall_ms": ("least ms", 1),
    "cpu_ms": ("CPU ms", 1),
    "ns": ("ns/event", 1),
    "least_ns": ("least ns", 1),
    "cpu_ns_byte": ("CPU ns/byte", 3),
    "cpu_s": ("CPU s", 3),
    "file_mb": ("file MB", 2),
}
_ABOUT = {
    "start": "from the start of `rx-collector run` to the first event, {starts} times",
    "idle": "a child that prints nothing, for {seconds:g} s",
    "latency": "from a child's write to the byte in the file, {per_second:,} events/s, {lines:,} of them, {rounds} rounds",
    "steady": "lines that a child writes one by one, {per_second:,} a second, {lines:,} of them, CPU without the child",
    "stage": "one more fused stage, {lines:,} events, the difference that {more} more make",
    "workers": "pipelines whose first operators several processes share, {lines:,} lines, ratios to one process",
    "compression": "J2 into a gzip file at level 3, {lines:,} lines, ratios to the typed Struct",
    "boundary": "a boundary and its sink, {batches:,} batches of 500 events",
}


def tables(found: Mapping[str, Any]) -> Iterator[str]:
    """Give the lines of all tables."""
    machine = found["machine"]
    yield (
        f"{found['date']}, {machine['processors']} processors ({machine['model']}), {machine['system']}, Python "
        f"{machine['python']}, sizes: {found['sizes']}"
    )
    for part, measured in found["parts"].items():
        if part == "jobs":
            for job, results in measured["results"].items():
                yield ""
                yield f"{job}, {measured['lines']:,} lines, medians of {measured['rounds']} rounds, ratios to the typed Struct"
                yield from _table(results)
        elif part == "growth":
            for what, points in measured["results"].items():
                yield ""
                yield f"growth with {what}"
                yield from _table({f"{point['size']:,}": point for point in points})
        else:
            yield ""
            yield _ABOUT[part].format(**measured)
            yield from _table(measured["results"])


def _table(results: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    columns = [name for name in _COLUMNS if any(name in row for row in results.values())]
    rows: list[Sequence[str]] = [["", *(_COLUMNS[name][0] for name in columns)]]
    for what, row in results.items():
        rows.append([what, *(f"{row[name]:,.{_COLUMNS[name][1]}f}" if name in row else "" for name in columns)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = (f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
        yield f"    {first:{widths[0]}}  {'  '.join(cells)}"
