"""The ``csv`` and ``tsv`` formats: fields between separators, named by a list or by the first line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any, ClassVar

from rx_collector.config.options import BOOLEAN, TEXT, ListOf, MappingOf, Scope, described, option
from rx_collector.errors import ParseError
from rx_collector.event import Origin
from rx_collector.parsers.base import TYPES, Format, OfIncarnation, TextParser, convert_types, format, null_texts

__all__ = ["Csv", "Tsv"]


@format(
    "csv",
    summary="Fields between commas, quoted where needed.",
    example="parse: {format: csv, columns: [pid, comm], types: {pid: int}}",
)
@described
class Csv(Format):
    """Fields between commas. A record is one line: a quoted newline cannot be in it.

    With ``header: true`` the first line of each incarnation of a runner names the columns and is counted as filtered.
    """

    columns: tuple[str, ...] | None = option(ListOf(TEXT, least=1), "The names of the columns, in order.", None)
    header: bool = option(BOOLEAN, "Whether the first line of each incarnation names the columns.", False)
    separator: str | None = option(TEXT, "The one character between fields.", None)
    types: dict[str, str] = option(MappingOf(TYPES), "What type a column has; text unless named here.", None)
    nulls: tuple[str, ...] = null_texts()

    default_separator: ClassVar[str] = ","

    def check(self, scope: Scope) -> None:
        if self.separator is not None and len(self.separator) != 1:
            scope.child("separator").wrong(f"the separator is one character, not {self.separator!r}")
        if self.columns is None and not self.header:
            scope.wrong("name the columns, or say 'header: true' if the first line does")
        if self.columns is not None and self.header:
            scope.child("header").wrong("the columns are named already; 'header: true' goes without 'columns'")
        if self.columns is not None and len(set(self.columns)) < len(self.columns):
            scope.child("columns").wrong("a column is named twice")

    @property
    def independent(self) -> bool:  # type: ignore[override]
        """Whether no line says what the others mean."""
        return not self.header

    def parser(self) -> TextParser:
        separator = self.separator or self.default_separator
        types, nulls = self.types or {}, frozenset(self.nulls)

        def rows(text: str) -> Iterator[list[str]]:
            if separator == "\t":
                return csv.reader([text], delimiter=separator, strict=True, quoting=csv.QUOTE_NONE)
            return csv.reader([text], delimiter=separator, strict=True)

        named: OfIncarnation[list[str]] = OfIncarnation(list)

        def parse(text: str, origin: Origin) -> dict[str, Any] | None:
            try:
                row = next(rows(text), [])
            except csv.Error as error:
                raise ParseError(f"not {self.name}: {error}") from None
            columns: Any = self.columns
            if columns is None:
                columns = named(origin)
                if not columns:
                    columns += row
                    return None
            if len(row) != len(columns):
                raise ParseError(f"{len(columns)} columns are wanted, the line has {len(row)}")
            return convert_types(dict(zip(columns, row, strict=True)), types, nulls)

        return parse


@format(
    "tsv",
    summary="Fields between tabs, never quoted.",
    example="parse: {format: tsv, columns: [pid, comm, filename]}",
)
@described
class Tsv(Csv):
    """Fields between tabs, taken as they are: a quotation mark is a character like any other."""

    default_separator: ClassVar[str] = "\t"
