r"""The ``columns`` format: the aligned columns of ps, vmstat and ss.

>>> from rx_collector import operators as op, runner
>>> parse = op.parse("columns", header=True, rest=True, types={"PID": "int"})
>>> table = runner("printf", r"  PID CMD\n    1 init splash\n   42 sh\n").pipe(parse).to_list().run()
>>> [event.data for event in table]
[{'PID': 1, 'CMD': 'init splash'}, {'PID': 42, 'CMD': 'sh'}]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from rx_collector.config.options import BOOLEAN, COUNT, TEXT, Either, ListOf, MappingOf, Scope, described, option
from rx_collector.event import Origin
from rx_collector.parsers.base import (
    TYPES,
    Format,
    OfIncarnation,
    TextParser,
    convert_types,
    each_once,
    format,
    null_texts,
    wrong_number,
)

__all__ = ["Columns"]

_MOST_HEADER_LINES = 10


@dataclass
class _Header:
    lines: list[str] = field(default_factory=list)
    names: Sequence[str] = ()


@format(
    "columns",
    summary="Columns between blanks or of fixed widths, named by a list or by the header.",
    example="parse: {format: columns, columns: [pid, ppid, comm], rest: true, types: {pid: int, ppid: int}}",
)
@described
class Columns(Format):
    """Columns between blanks, or of fixed widths, as ps, vmstat, ss and df print them.

    The names are those of ``columns``, or the words of the last line of the header, where a name that stands there twice
    becomes ``name_2``. The header is the first lines of each incarnation of a runner; a line of it that comes again, as
    vmstat repeats them, is left out, too. Header lines and empty lines are counted as filtered.

    A line must have as many columns as there are names. With ``rest`` the last one holds all that is left, with its blanks,
    and is null where nothing is left.
    """

    columns: tuple[str, ...] | None = option(ListOf(TEXT, least=1), "The names of the columns, in order.", None)
    header: int = option(
        Either(
            "true, false or a number of lines",
            (lambda value: isinstance(value, bool), BOOLEAN),
            (lambda value: isinstance(value, int | str), COUNT),
        ),
        "How many lines of header there are; true for one.",
        0,
    )
    widths: tuple[int, ...] | None = option(
        ListOf(COUNT, least=1), "The widths of the columns, in characters; the last one takes what is left.", None
    )
    rest: bool = option(BOOLEAN, "Whether the last column is all that is left, blanks and all.", False)
    types: dict[str, str] = option(MappingOf(TYPES), "What type a column has; text unless named here.", None)
    nulls: tuple[str, ...] = null_texts()

    def check(self, scope: Scope) -> None:
        if self.columns is None and not self.header:
            scope.wrong("name the columns, or say 'header: true' if the first line does")
        if self.header > _MOST_HEADER_LINES:
            scope.child("header").wrong(f"a header has at most {_MOST_HEADER_LINES} lines")
        if self.columns is not None and len(set(self.columns)) < len(self.columns):
            scope.child("columns").wrong("a column is named twice")
        if self.widths is not None:
            if 0 in self.widths:
                scope.child("widths").wrong("a column has a width of at least one character")
            if self.columns is not None and len(self.columns) != len(self.widths):
                scope.child("widths").wrong(f"there are {len(self.columns)} columns, but {len(self.widths)} widths")
            if self.rest:
                scope.child("rest").wrong("the last of columns with 'widths' takes what is left anyway")
        if self.columns is not None:
            for name in self.types or {}:
                if name not in self.columns:
                    scope.child("types").wrong(f"there is no column {name!r}")

    @property
    def independent(self) -> bool:  # type: ignore[override]
        """Whether no line says what the others mean."""
        return not self.header

    def parser(self) -> TextParser:
        types, nulls = self.types or {}, frozenset(self.nulls)
        wanted, rest = int(self.header), self.rest
        given = self.columns
        ends = [*accumulate(self.widths)] if self.widths is not None else None
        spans = None if ends is None else [*zip([0, *ends[:-1]], [*ends[:-1], None], strict=True)]
        headers: OfIncarnation[_Header] = OfIncarnation(_Header)

        def split(text: str) -> list[str]:
            return text.split() if spans is None else [text[begin:end].strip() for begin, end in spans]

        def parse(text: str, origin: Origin) -> dict[str, Any] | None:
            names: Sequence[str]
            if wanted:
                header = headers(origin)
                if len(header.lines) < wanted:
                    if text.strip():
                        header.lines.append(text)
                        if len(header.lines) == wanted:
                            header.names = given or each_once(split(text))
                    return None
                if text in header.lines:
                    return None
                names = header.names
            else:
                assert given is not None
                names = given
            count = len(names)
            row = text.split(None, count - 1) if rest else split(text)
            if not any(row):
                return None
            fields: dict[str, Any] = dict(zip(names, row, strict=False))
            if rest and len(row) == count - 1:
                fields[names[-1]] = None
            elif len(row) != count:
                raise wrong_number(count, len(row))
            elif rest:
                fields[names[-1]] = row[-1].rstrip()
            return convert_types(fields, types, nulls)

        return parse
