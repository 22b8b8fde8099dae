"""The kind of option that is a regular expression."""

from __future__ import annotations

import re
from typing import Any

from rx_collector.config.options import Kind, Scope

__all__ = ["PatternKind"]


class PatternKind(Kind):
    """A regular expression, in Python's syntax; `groups` have to be among those that it names."""

    wanted = "a regular expression"

    def __init__(self, *groups: str) -> None:
        self._groups = groups

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, re.Pattern):
            value = value.pattern
        if not isinstance(value, str):
            return self._wanted(value, scope)
        try:
            pattern = re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            position = getattr(error, "pos", None)
            return scope.wrong(f"not a regular expression: {error}", inside=(1, position) if position else None)
        for group in self._groups:
            if group not in pattern.groupindex:
                return scope.wrong(f"the expression names no group {group!r}; write (?P<{group}>…)")
        return self.checked(pattern, scope)

    def checked(self, pattern: re.Pattern[str], scope: Scope) -> Any:
        """Give the expression, or refuse it for what else is wanted of it."""
        return pattern

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}
