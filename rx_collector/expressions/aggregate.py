"""Aggregates: ``total: sum(bytes)``, a value that is made of many events one by one.

>>> total = parse_aggregate("sum(bytes)")
>>> state = total.function.start()
>>> for value in (3, None, 4):
...     state = total.function.step(state, value)
>>> total.function.result(state)
7
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rx_collector.config.options import INVALID, Kind, Scope, did_you_mean, plainly
from rx_collector.expressions.errors import ExpressionError
from rx_collector.expressions.parse import Expression, parse_expression

if TYPE_CHECKING:
    from rx_collector.event import Event

__all__ = ["AGGREGATE", "AGGREGATES", "Aggregate", "AggregateFunction", "parse_aggregate"]


@dataclass(frozen=True)
class AggregateFunction:
    """One way to make a value of many. `step` never changes the state it is given; None is skipped, as in SQL."""

    doc: str
    start: Callable[[], Any]
    add: Callable[[Any, Any], Any]
    result: Callable[[Any], Any] = lambda state: state
    argument_needed: bool = True

    def step(self, state: Any, value: Any) -> Any:
        """Give the state with one more value in it. Raises TypeError for a value that cannot be added."""
        return state if value is None else self.add(state, value)


def _number(value: Any) -> Any:
    if not isinstance(value, int | float):
        raise TypeError(f"a number is wanted here, not a {type(value).__name__}")
    return value


def _mean(state: tuple[Any, int]) -> Any:
    return state[0] / state[1] if state[1] else None


def _nothing() -> Any:
    return None


#: By name. What they keep has the size of one value, so that many keys can be aggregated at once.
AGGREGATES: Final[dict[str, AggregateFunction]] = {
    "count": AggregateFunction(
        "how many events; with an argument, those for which it is not null",
        int,
        lambda state, value: state + 1,
        argument_needed=False,
    ),
    "sum": AggregateFunction("the sum of numbers; 0 of none", int, lambda state, value: state + _number(value)),
    "mean": AggregateFunction(
        "the mean of numbers", lambda: (0, 0), lambda state, value: (state[0] + _number(value), state[1] + 1), _mean
    ),
    "min": AggregateFunction(
        "the least value", _nothing, lambda state, value: value if state is None else min(state, value)
    ),
    "max": AggregateFunction(
        "the greatest value", _nothing, lambda state, value: value if state is None else max(state, value)
    ),
    "first": AggregateFunction(
        "the first value that is not null", _nothing, lambda state, value: value if state is None else state
    ),
    "last": AggregateFunction("the last value that is not null", _nothing, lambda state, value: value),
}
_CALL = re.compile(r"(\s*)(\w+)\s*\((.*)\)\s*", re.DOTALL)


class Aggregate:
    """A checked aggregate: a function and the expression of its argument, None for ``count()``."""

    __slots__ = ("argument", "function", "text")

    def __init__(self, text: str, function: AggregateFunction, argument: Expression | None) -> None:
        self.text = text
        self.function = function
        self.argument = argument

    def value(self, event: Event) -> Any:
        """Give the value of the argument for an event. Raises whatever goes wrong."""
        return self.argument(event) if self.argument is not None else True

    def __repr__(self) -> str:
        return f"Aggregate({self.text!r})"


def parse_aggregate(text: str, variable: Callable[[str], str] | None = None) -> Aggregate:
    """Parse and check an aggregate. Raises ExpressionError with the place in the text."""
    match = _CALL.fullmatch(text)
    if match is None:
        raise ExpressionError(f"an aggregate is wanted here, such as {_example()}")
    before, name, inner = match.groups()
    if name not in AGGREGATES:
        raise ExpressionError(f"unknown aggregate {name!r}{did_you_mean(name, AGGREGATES)}", 1, len(before))
    function = AGGREGATES[name]
    if not inner.strip():
        if function.argument_needed:
            raise ExpressionError(f"{name} takes 1 argument, not 0", 1, len(before))
        return Aggregate(text, function, None)
    try:
        return Aggregate(text, function, parse_expression(inner, variable))
    except ExpressionError as error:
        start = text[: match.start(3)]
        shift = len(start) - (start.rfind("\n") + 1) if error.line == 1 else 0
        raise ExpressionError(error.message, error.line + start.count("\n"), error.column + shift) from None


def _example() -> str:
    return ", ".join(f"{name}(…)" if AGGREGATES[name].argument_needed else f"{name}()" for name in AGGREGATES)


class _AggregateKind(Kind):
    wanted = "an aggregate such as count() or sum(bytes)"
    takes_text = True

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, Aggregate):
            return value
        if not isinstance(value, str):
            return scope.wrong(f"{self.wanted} is wanted here, not {plainly(value)}")
        document, text = scope.document, scope.text()
        if document is not None and scope.path in document.broken:
            return INVALID
        try:
            if document is not None and text is not None:
                return parse_aggregate(text, document.variables.value)
            return parse_aggregate(value)
        except ExpressionError as error:
            return scope.wrong(error.message, inside=(error.line, error.column))

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": rf"^\s*({'|'.join(AGGREGATES)})\s*\("}


AGGREGATE: Final = _AggregateKind()
