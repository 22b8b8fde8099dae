"""The ``csv`` and ``tsv`` formats: fields between separators, named by a list or by the first line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any, ClassVar

from rx_collector.config.options import BOOLEAN, TEXT, ListOf, MappingOf, Scope, described, option
from rx_collector.errors import ParseError
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

__all__ = ["Csv", "Tsv"]

# How long a line may be is the runner's affair (`max_line`); the reader's own limit would reject a field of 128 KiB.
csv.field_size_limit(max(csv.field_size_limit(), 1 << 31))


@format(
    "csv",
    summary="Fields between commas, quoted where needed.",
    example="parse: {format: csv, columns: [pid, comm], types: {pid: int}}",
)
@described
class Csv(Format):
    """Fields between commas. A record is one line: a quoted newline cannot be in it.

    With ``header: true`` the first line of each incarnation of a runner names the columns and is counted as filtered; a
    name that stands there twice becomes ``name_2``, and a byte order mark before the first is no part of it.
    """

    columns: tuple[str, ...] | None = option(ListOf(TEXT, least=1), "The names of the columns, in order.", None)
    header: bool = option(BOOLEAN, "Whether the first line of each incarnation names the columns.", False)
    separator: str | None = option(TEXT, "The one character between fields.", None)
    types: dict[str, str] = option(MappingOf(TYPES), "What type a column has; text unless named here.", None)
    nulls: tuple[str, ...] = null_texts()

    default_separator: ClassVar[str] = ","
    quotes: ClassVar[bool] = True

    def check(self, scope: Scope) -> None:
        if self.separator is not None and len(self.separator) != 1:
            scope.child("separator").wrong(f"the separator is one character, not {self.separator!r}")
        elif self.separator is not None and self.separator in '"\r\n':
            scope.child("separator").wrong(f"{self.separator!r} cannot stand between fields")
        if self.columns is None and not self.header:
            scope.wrong("name the columns, or say 'header: true' if the first line does")
        if self.columns is not None and self.header:
            scope.child("header").wrong("the columns are named already; 'header: true' goes without 'columns'")
        if self.columns is not None and len(set(self.columns)) < len(self.columns):
            scope.child("columns").wrong("a column is named twice")
        for name in self.types or {}:
            if self.columns is not None and name not in self.columns:
                scope.child("types").wrong(f"there is no column {name!r}")

    @property
    def independent(self) -> bool:  # type: ignore[override]
        """Whether no line says what the others mean."""
        return not self.header

    def parser(self) -> TextParser:
        separator = self.separator or self.default_separator
        types, nulls = self.types or {}, frozenset(self.nulls)

        quoting: Any = csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE

        def rows(text: str) -> Iterator[list[str]]:
            return csv.reader([text], delimiter=separator, strict=True, quoting=quoting)

        named: OfIncarnation[list[str]] = OfIncarnation(list)

        def parse(text: str, origin: Origin) -> dict[str, Any] | None:
            named_here = self.columns is None and not named(origin)
            try:
                row = next(rows(text.removeprefix("\ufeff") if named_here else text), [])
            except csv.Error as error:
                raise ParseError(f"not {self.name}: {error}") from None
            if named_here:
                named(origin).extend(each_once(row))
                return None
            columns = self.columns or named(origin)
            if len(row) != len(columns):
                raise wrong_number(len(columns), len(row))
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
    quotes: ClassVar[bool] = False
