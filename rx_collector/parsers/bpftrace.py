r"""The ``bpftrace`` format: what bpftrace prints by itself, as text or with ``-f json``.

>>> from rx_collector import operators as op, runner
>>> maps = runner("printf", r"@calls[sh]: 7\n@calls[vi]: 1\n").pipe(op.parse("bpftrace")).to_list().run()
>>> [(event["name"], event["key"], event["value"]) for event in maps]
[('@calls', 'sh', 7), ('@calls', 'vi', 1)]
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from rx_collector.config.options import SIZE, Scope, described, option
from rx_collector.event import Origin
from rx_collector.parsers.base import Format, OfIncarnation, TextParser, format
from rx_collector.parsers.json_lines import decode, decode_slowly
from rx_collector.stream.peeking import NOT_JSON

__all__ = ["Bpftrace"]

_MAP = re.compile(r"(@\w{0,255})(?:\[(.*)\])?: (.*)", re.DOTALL)
_KEY_BEGINS = re.compile(r"(@\w{0,255})\[(.*)", re.DOTALL)
_KEY_ENDS = re.compile(r"(.*)\]: (.*)", re.DOTALL)
_BUCKET = re.compile(
    r"[\[(](\.\.\.|-?[0-9]{1,20})([KMGTPE]?)(?:, (\.\.\.|-?[0-9]{1,20})([KMGTPE]?))?[)\]] +([0-9]{1,20}) \|[@ ]{52}\|$"
)
_NUMBER = re.compile(r"-?[0-9]{1,20}$")
_STATS = re.compile(r"count (-?[0-9]{1,20}), average (-?[0-9]{1,20}), total (-?[0-9]{1,20})$")
_ATTACHED = re.compile(r"Attaching ([0-9]{1,9}) probes?\.\.\.$")
_LOST = re.compile(r"Lost ([0-9]{1,20}) events$")
_SCALES: Final = {"": 1, **{letter: 1024**power for power, letter in enumerate("KMGTPE", 1)}}
_STATS_KEYS: Final = {"count", "average", "total"}

Record = dict[str, Any]


@dataclass
class _Block:
    """A map entry of several lines, as far as it has come: its key or its value are not at their end yet."""

    name: str | None = None
    key: str | None = None
    key_is_whole: bool = True
    lines: list[str] = field(default_factory=list)  # of a key those that were printed, of a value the text in it
    buckets: list[Record] = field(default_factory=list)
    size: int = 0

    def value(self) -> Record:
        """Give the entry whose value has come to its end."""
        if self.buckets:
            return {"type": "hist", "name": self.name, "key": self.key, "value": self.buckets}
        text = "".join(f"\n{line}" for line in self.lines)
        return {"type": "map", "name": self.name, "key": self.key, "value": text and f"{text}\n"}


@format("bpftrace", summary="What bpftrace prints by itself: maps, histograms, losses.", example="parse: bpftrace")
@described
class Bpftrace(Format):
    """What bpftrace (0.17 and newer) prints, as text or with ``-f json``: the records are the same.

    ``type`` is ``map``, ``hist`` or ``stats`` (with ``name``, ``key``, null for a map without one, and ``value``: of a
    histogram its buckets, with ``min``, ``max`` and ``count`` of each); ``attached_probes`` (``probes``), ``lost_events``
    (``events``), or what ``-f json`` calls it (``printf``, ``time`` …), with ``data``, without the newline at its end. In
    the text any other line is a ``printf``. A map with many keys gives a record for each. Empty lines are left out.

    The histogram of a text is one record, made at the empty line behind it, so are stacks in a key or a value. Of an
    entry over several lines no more than ``max_bytes`` are joined, what is beyond that becomes ``printf`` lines; its
    lines before the last are counted as filtered, and so is an entry that the end of the stream cuts off.

    In the text the last ``]: `` of a line ends the key, and a program that prints ``@calls: 7`` cannot be told from a map.
    Use ``-f json`` where others may choose what is printed.
    """

    several = True

    max_bytes: int = option(SIZE, "How much of an entry over several lines is joined.", 2**20)

    def check(self, scope: Scope) -> None:
        if self.max_bytes == 0:
            scope.child("max_bytes").wrong("at least one byte has to be kept")

    def parser(self) -> TextParser:
        blocks: OfIncarnation[list[_Block]] = OfIncarnation(list)
        most = self.max_bytes

        def parse(text: str, origin: Origin) -> list[Record]:
            open_blocks = blocks(origin)
            if open_blocks:
                block = open_blocks[0]
                block.size += len(text) + 1
                if block.size <= most:
                    if block.key_is_whole:
                        if _goes_on(block, text):
                            return []
                    elif text[:1] != "@" and (end := _KEY_ENDS.match(text)) is not None:
                        del open_blocks[0]
                        return _entry(block.name, "\n".join([*block.lines, end[1]]), end[2], open_blocks)
                    elif text[:1] in _IN_A_KEY:
                        block.lines.append(text)
                        return []
                del open_blocks[0]
                if not block.key_is_whole:
                    begun = [f"{block.name}[{block.lines[0]}", *block.lines[1:]]
                    return [{"type": "printf", "data": line} for line in begun] + _line(text, open_blocks)
                return [block.value(), *_line(text, open_blocks)]
            return _line(text, open_blocks)

        return parse


#: How a line begins that can be part of a stack in a key.
_IN_A_KEY: Final = (" ", "\t", ",", "")


def _goes_on(block: _Block, text: str) -> bool:
    """Take a line into the value of a block if it is part of it."""
    if text[:1] in ("[", "(") and not block.lines and (bucket := _BUCKET.match(text)) is not None:
        block.buckets.append(_bucket(*bucket.groups()))
        return True
    if text[:1] in (" ", "\t") and not block.buckets:
        block.lines.append(text)
        return True
    return False


def _bucket(low: str, low_scale: str, high: str | None, high_scale: str | None, count: str) -> Record:
    """Make a bucket as ``-f json`` has it; it has no end where it holds all that is less or more.

    >>> _bucket("1", "K", "2", "K", "7")
    {'min': 1024, 'max': 2047, 'count': 7}
    """
    bucket: Record = {}
    if low != "...":
        bucket["min"] = int(low) * _SCALES[low_scale]
    if high is None:
        bucket["max"] = bucket.get("min")
    elif high != "...":
        bucket["max"] = int(high) * _SCALES[high_scale or ""] - 1
    bucket["count"] = int(count)
    return bucket


def _line(text: str, open_blocks: list[_Block]) -> list[Record]:
    """Give the records of a line outside of any block; one that begins a block is put into `open_blocks`."""
    if not text:
        return []
    if text[0] == "@":
        if (entry := _MAP.match(text)) is not None:
            return _entry(entry[1], entry[2], entry[3], open_blocks)
        if (begun := _KEY_BEGINS.match(text)) is not None:
            open_blocks.append(_Block(begun[1], None, False, [begun[2]], size=len(text)))
            return []
    elif text.startswith('{"type": "'):
        try:
            record = decode(text)
        except NOT_JSON as error:
            record = decode_slowly(text, error)
        if record.keys() == {"type", "data"}:
            return _json_records(record["type"], record["data"])
    elif (attached := _ATTACHED.match(text)) is not None:
        return [{"type": "attached_probes", "probes": int(attached[1])}]
    elif (lost := _LOST.match(text)) is not None:
        return [{"type": "lost_events", "events": int(lost[1])}]
    return [{"type": "printf", "data": text}]


def _entry(name: str | None, key: str | None, value: str, open_blocks: list[_Block]) -> list[Record]:
    """Give the record of a map entry, or begin a block where its value is in the lines that follow."""
    if not value:
        open_blocks.append(_Block(name, key, size=len(key or "")))
        return []
    if _NUMBER.match(value):
        return [{"type": "map", "name": name, "key": key, "value": int(value)}]
    if (stats := _STATS.match(value)) is not None:
        count, average, total = map(int, stats.groups())
        numbers = {"count": count, "average": average, "total": total}
        return [{"type": "stats", "name": name, "key": key, "value": numbers}]
    return [{"type": "map", "name": name, "key": key, "value": value}]


def _json_records(kind: Any, data: Any) -> list[Record]:
    if kind in ("map", "hist", "stats") and isinstance(data, dict):
        return [
            {"type": kind, "name": name, "key": key, "value": value}
            for name, values in data.items()
            for key, value in _by_key(kind, values)
        ]
    if kind in ("attached_probes", "lost_events") and isinstance(data, dict):
        return [{"type": kind, **data}]
    return [{"type": kind, "data": data.removesuffix("\n") if isinstance(data, str) else data}]


def _by_key(kind: str, values: Any) -> list[tuple[str | None, Any]]:
    """Give the values of a map by key; None is the key of a map that has none."""
    if not isinstance(values, dict) or (kind == "stats" and values.keys() == _STATS_KEYS):
        return [(None, values)]
    return [*values.items()]
