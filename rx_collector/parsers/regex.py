"""The ``regex`` format: the named groups of a regular expression."""

from __future__ import annotations

import re
from typing import Any

from rx_collector.config.options import MappingOf, Scope, described, option
from rx_collector.config.pattern import PatternKind
from rx_collector.errors import ParseError
from rx_collector.event import Origin
from rx_collector.parsers.base import TYPES, Format, TextParser, convert_types, format, null_texts

__all__ = ["Regex"]


class _Pattern(PatternKind):
    def checked(self, pattern: re.Pattern[str], scope: Scope) -> Any:
        if not pattern.groupindex:
            return scope.wrong("the expression names no group; write (?P<name>…) for each field")
        return pattern


@format(
    "regex",
    summary="The named groups of a regular expression.",
    example="parse: {format: regex, pattern: '(?P<path>\\S+) (?P<event>\\S+) (?P<file>.+)'}",
)
@described
class Regex(Format):
    """The named groups of a regular expression that is searched for in the line. A group that took no part is null."""

    independent = True

    pattern: re.Pattern[str] = option(
        _Pattern(), "The regular expression, in Python's syntax.", example=r"'(?P<pid>\d+) (?P<comm>\S+)'"
    )
    types: dict[str, str] = option(MappingOf(TYPES), "What type a field has; text unless named here.", None)
    nulls: tuple[str, ...] = null_texts()

    def check(self, scope: Scope) -> None:
        for field in self.types or {}:
            if field not in self.pattern.groupindex:
                scope.child("types").wrong(f"the pattern has no group {field!r}")

    def parser(self) -> TextParser:
        search, types, nulls = self.pattern.search, self.types or {}, frozenset(self.nulls)

        def parse(text: str, origin: Origin) -> dict[str, Any]:
            match = search(text)
            if match is None:
                raise ParseError("the pattern does not match")
            fields = match.groupdict()
            return convert_types(fields, types, nulls) if types or nulls else fields

        return parse
