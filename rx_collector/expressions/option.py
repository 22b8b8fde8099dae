"""The kind of option that is an expression in YAML and an expression or a callable in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rx_collector.config.options import INVALID, Kind, Scope, plainly
from rx_collector.expressions.errors import ExpressionError
from rx_collector.expressions.parse import Expression, parse_expression

if TYPE_CHECKING:
    from rx_collector.event import Event

__all__ = ["EXPRESSION", "LITERAL_EXPRESSION", "Evaluation", "fields_read"]

#: What stands in an operator's option: a checked expression, or a user's function of the event.
Evaluation = Expression | Callable[["Event"], Any]


#: Of the envelope, what is known of a line before there is an event.
_OF_LINES = frozenset({"line", "runner", "source", "incarnation", "pid"})


def fields_read(*evaluations: Evaluation) -> frozenset[str] | None:
    """Give the top-level fields that some expressions read, None when one needs more than fields (see `Stage.needs`)."""
    fields: set[str] = set()
    for evaluation in evaluations:
        if not isinstance(evaluation, Expression) or evaluation.fields is None or not evaluation.metas <= _OF_LINES:
            return None
        fields |= evaluation.fields
    return frozenset(fields)


class _ExpressionKind(Kind):
    """A text is parsed and checked; with `literals`, numbers, booleans and null stand for themselves."""

    wanted = "an expression"
    takes_text = True

    def __init__(self, *, literals: bool) -> None:
        self.literals = literals

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, Expression) or (callable(value) and scope.document is None):
            return value
        if self.literals and not isinstance(value, str) and (value is None or isinstance(value, bool | int | float)):
            return parse_expression(repr(value))
        if isinstance(value, bool | int | float):
            value = repr(value)
        if not isinstance(value, str):
            return scope.wrong(f"{self.wanted} is wanted here, not {plainly(value)}")
        # An expression sees its text as it was written: a variable is a constant in it, never more text.
        document = scope.document
        if document is not None and scope.path in document.broken:
            return INVALID
        text = scope.text()
        try:
            if document is not None and text is not None:
                return parse_expression(text, document.variables.value)
            return parse_expression(value)
        except ExpressionError as error:
            return scope.wrong(error.message, inside=(error.line, error.column))

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "number", "boolean", "null"] if self.literals else ["string", "number", "boolean"]}


EXPRESSION = _ExpressionKind(literals=False)
LITERAL_EXPRESSION = _ExpressionKind(literals=True)
