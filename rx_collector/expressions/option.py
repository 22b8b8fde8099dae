"""The kind of option that is an expression in YAML and an expression or a callable in Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rx_collector.config.options import INVALID, Kind, Scope, TextWithList, plainly
from rx_collector.expressions.errors import ExpressionError
from rx_collector.expressions.parse import Expression, parse_expression

if TYPE_CHECKING:
    from rx_collector.event import Event

__all__ = [
    "CONDITION",
    "EXPRESSION",
    "KEY",
    "KEYS",
    "LITERAL_EXPRESSION",
    "OF_LINES",
    "Evaluation",
    "fields_read",
    "may_be_payload",
]

#: What stands in an operator's option: a checked expression, or a user's function of the event.
Evaluation = Expression | Callable[["Event"], Any]


#: Of the envelope, what is known of a line before there is an event.
OF_LINES = frozenset({"line", "runner", "source", "incarnation", "pid"})


def fields_read(*evaluations: Evaluation) -> frozenset[str] | None:
    """Give the top-level fields that some expressions read, None when one needs more than fields (see `Stage.needs`)."""
    fields: set[str] = set()
    for evaluation in evaluations:
        if not isinstance(evaluation, Expression) or evaluation.fields is None or not evaluation.metas <= OF_LINES:
            return None
        fields |= evaluation.fields
    return frozenset(fields)


def may_be_payload(evaluation: Evaluation) -> bool:
    """Tell whether the value of an expression can be the whole payload, or have it within: what keeps it, or puts it into
    a payload, must not edit this one in place.
    """
    return isinstance(evaluation, Expression) and evaluation.fields is None


def _constant(value: Any, scope: Scope) -> Any:
    """Give the expression that is a value put in for a parameter: never its text, parsed."""
    try:
        made = parse_expression("${value}", lambda _: value)
    except ExpressionError as error:
        return scope.wrong(error.message)
    import json

    made.text = json.dumps(value, ensure_ascii=False)
    return made


class _ExpressionKind(Kind):
    """A text is parsed and checked; with `literals`, numbers, booleans and null stand for themselves."""

    wanted = "an expression"
    takes_text = True

    def __init__(self, *, literals: bool) -> None:
        self.literals = literals

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, Expression) or (callable(value) and scope.document is None):
            return value
        document = scope.document
        if document is not None and scope.broken:
            return INVALID
        if document is not None and document.is_argument(scope.path):
            return _constant(value, scope)
        if isinstance(value, TextWithList):
            value = scope.text()
        if self.literals and not isinstance(value, str) and (value is None or isinstance(value, bool | int | float)):
            return parse_expression(repr(value))
        if isinstance(value, bool | int | float):
            value = repr(value)
        if not isinstance(value, str):
            return scope.wrong(f"{self.wanted} is wanted here, not {plainly(value)}")
        # An expression sees its text as it was written: a variable is a constant in it, never more text.
        text = scope.text()
        try:
            if document is not None and text is not None:
                return parse_expression(text, document.variable(scope.path))
            return parse_expression(value)
        except ExpressionError as error:
            return scope.wrong(error.message, inside=(error.line, error.column))

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "number", "boolean", "null"] if self.literals else ["string", "number", "boolean"]}


class _ConditionKind(_ExpressionKind):
    """The same for what is true or false. A text alone is always true, so it is a mistake: mostly it stands for a variable
    or parameter that somebody takes for a part of the expression.
    """

    def convert(self, value: Any, scope: Scope) -> Any:
        made = super().convert(value, scope)
        if isinstance(made, Expression) and made.is_text:
            hint = "what is put in for ${…} is a constant, never more of the expression"
            return scope.wrong(f"a condition is wanted here, not a text, which is the same for every event; {hint}")
        return made


class _KeyKind(_ExpressionKind):
    """The same for what events are told apart by. A text alone is the same for all of them: mostly it is the name of a
    field in quotes, or one put in for a variable. Who means it can write a number.
    """

    def convert(self, value: Any, scope: Scope) -> Any:
        made = super().convert(value, scope)
        if isinstance(made, Expression) and made.is_text:
            hint = "a field is written without quotes, and one whose name is put in for ${…} as this[${…}]"
            scope.likely_not_meant(f"this key is a text, the same for every event; {hint}")
        return made


class _KeysKind(Kind):
    """The expressions that events are told apart by, with the names that their values have as fields."""

    wanted = "an expression, a list of them, or a mapping of names to expressions"
    takes_text = True

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, Mapping):
            if not value:
                return scope.wrong("the mapping is empty")
            keys = {str(name): EXPRESSION.convert(item, scope.child(str(name))) for name, item in value.items()}
        else:
            items = value if isinstance(value, list | tuple) else [value]
            single = items is not value and not isinstance(value, tuple)
            made = [KEY.convert(item, scope if single else scope.child(n)) for n, item in enumerate(items)]
            if not made:
                return scope.wrong("the list is empty")
            keys = {_name_of(key): key for key in made}
            if len(keys) < len(made) and INVALID not in made:
                return scope.wrong("two of them have the same name; write a mapping of names to expressions")
        return INVALID if any(key is INVALID for key in keys.values()) else keys

    def schema(self) -> dict[str, Any]:
        one = EXPRESSION.schema()
        return {
            "anyOf": [
                one,
                {"type": "array", "items": one, "minItems": 1},
                {"type": "object", "additionalProperties": one, "minProperties": 1},
            ]
        }


def _name_of(key: Any) -> str:
    return key.text.strip() if isinstance(key, Expression) else str(getattr(key, "__name__", "key"))


EXPRESSION = _ExpressionKind(literals=False)
KEY = _KeyKind(literals=False)
KEYS = _KeysKind()
CONDITION = _ConditionKind(literals=False)
LITERAL_EXPRESSION = _ExpressionKind(literals=True)
