"""Aggregates: ``total: sum(bytes)``, a value that is made of many events one by one.

>>> total = parse_aggregate("sum(bytes)")
>>> state = total.function.start()
>>> for value in (3, None, 4):
...     state = total.function.step(state, value)
>>> total.function.result(state)
7
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from rx_collector.config.options import INVALID, Kind, Scope, TextWithList, did_you_mean, plainly
from rx_collector.expressions.errors import ExpressionError
from rx_collector.expressions.parse import Expression, parse_expression
from rx_collector.expressions.sketch import Distinct, Frequent, Quantiles
from rx_collector.frozen import frozen
from rx_collector.later import pattern

if TYPE_CHECKING:
    from rx_collector.event import Event

__all__ = ["AGGREGATE", "AGGREGATES", "WINDOW_AGGREGATE", "Aggregate", "AggregateFunction", "parse_aggregate"]


@frozen
class AggregateFunction:
    """One way to make a value of many. None is skipped, as in SQL.

    `check` refuses a value; what it lets pass can be added to any state. `merge` gives the state of what two states stand
    for, the older one first. A state of `fixed_size` is never changed by `add` or `merge`; the others are sketches of some
    kilobytes, and the (older) one that is given is changed.
    """

    doc: str
    start: Callable[[], Any]
    add: Callable[[Any, Any], Any]
    merge: Callable[[Any, Any], Any]
    result: Callable[[Any], Any] = lambda state: state
    check: Callable[[Any], object] = lambda value: None
    argument_needed: bool = True
    fixed_size: bool = True
    #: The least and the greatest value of a second argument, and how the other functions depend on it.
    parameter: tuple[float, float] | None = None
    with_parameter: Callable[[AggregateFunction, float], AggregateFunction] | None = None
    #: Source that does what `add` does, for compiled loops, with the names ``state`` and ``value`` in braces.
    inline: str = ""
    #: Source of a condition under which `check` lets ``{value}`` pass, so that most need no call.
    fits: str = ""

    def step(self, state: Any, value: Any) -> Any:
        """Give the state with one more value in it. Raises TypeError or ValueError for one that `check` refuses."""
        if value is None:
            return state
        self.check(value)
        return self.add(state, value)


_MOST_BITS = 900  # of a number, so that the sum of very many can still be a float


def _number(value: Any) -> None:
    if not isinstance(value, int | float):
        raise TypeError(f"a number is wanted here, not a {type(value).__name__}")
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise ValueError("the number is too large")


def _finite(value: Any) -> None:
    _number(value)
    if isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"a finite number is wanted here, not {value!r}")


def _rank(value: Any) -> tuple[int, Any]:
    """Numbers come before texts."""
    if isinstance(value, int | float):
        return 0, value
    if isinstance(value, str):
        return 1, value
    raise TypeError(f"a number or a text is wanted here, not a {type(value).__name__}")


def _mean(state: tuple[Any, int]) -> Any:
    return state[0] / state[1] if state[1] else None


def _nothing() -> Any:
    return None


def _either(choose: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Make a step or a merge of a choice between two values that are there."""
    return lambda one, other: other if one is None else one if other is None else choose(one, other)


def _taken_in(sketch: Any, value: Any) -> Any:
    sketch.add(value)
    return sketch


def _merged(sketch: Any, other: Any) -> Any:
    sketch.merge(other)
    return sketch


def _top(function: AggregateFunction, count: float) -> AggregateFunction:
    capacity = max(1000, 10 * int(count))
    return replace(function, start=lambda: Frequent(capacity), result=lambda state: state.top(int(count)))


def _percentile(function: AggregateFunction, percent: float) -> AggregateFunction:
    return replace(function, result=lambda state: state.at(percent / 100))


#: A number from JSON, as nearly all are.
_IS_A_NUMBER: Final = "{value}.__class__ is float or {value}.__class__ is int and -(2**63) <= {value} < 2**64"
_least = _either(lambda one, other: min(one, other, key=_rank))
_greatest = _either(lambda one, other: max(one, other, key=_rank))
_first, _last = _either(lambda one, other: one), _either(lambda one, other: other)
#: By name.
AGGREGATES: Final[dict[str, AggregateFunction]] = {
    "count": AggregateFunction(
        "how many events; with an argument, those for which it is not null",
        int,
        lambda state, value: state + 1,
        operator.add,
        argument_needed=False,
        inline="{state} += 1",
    ),
    "sum": AggregateFunction(
        "the sum of numbers; 0 of none",
        int,
        operator.add,
        operator.add,
        check=_number,
        inline="{state} += {value}",
        fits=_IS_A_NUMBER,
    ),
    "mean": AggregateFunction(
        "the mean of numbers",
        lambda: (0, 0),
        lambda state, value: (state[0] + value, state[1] + 1),
        lambda one, other: (one[0] + other[0], one[1] + other[1]),
        _mean,
        check=_number,
        fits=_IS_A_NUMBER,
    ),
    "min": AggregateFunction("the least number or text", _nothing, _least, _least, check=_rank),
    "max": AggregateFunction("the greatest number or text", _nothing, _greatest, _greatest, check=_rank),
    "first": AggregateFunction("the first value that is not null", _nothing, _first, _first),
    "last": AggregateFunction("the last value that is not null", _nothing, _last, _last),
    "distinct": AggregateFunction(
        "how many different values; exact up to 1,024, then within about 2 %",
        Distinct,
        _taken_in,
        _merged,
        Distinct.count,
        fixed_size=False,
    ),
    "percentile": AggregateFunction(
        "the value below which so many percent are, within 1 %: percentile(latency, 99)",
        Quantiles,
        _taken_in,
        _merged,
        check=_finite,
        fixed_size=False,
        parameter=(0, 100),
        with_parameter=_percentile,
    ),
    "top": AggregateFunction(
        "the most frequent values and their counts: top(filename, 5); exact up to 1,000 different ones",
        _nothing,
        _taken_in,
        _merged,
        fixed_size=False,
        parameter=(1, 1000),
        with_parameter=_top,
    ),
}
_PARAMETER = pattern(r"(.*),\s*([0-9_]+(?:\.[0-9]+)?)\s*", re.DOTALL)
_CALL = pattern(r"(\s*)(\w+)\s*\((.*)\)\s*", re.DOTALL)


class Aggregate:
    """A checked aggregate: a function and the expression of its argument, None for ``count()``."""

    __slots__ = ("argument", "function", "text")

    def __init__(self, text: str, function: AggregateFunction, argument: Expression | None) -> None:
        self.text = text
        self.function = function
        self.argument = argument

    def value(self, event: Event) -> Any:
        """Give the value of the argument for an event, which can be added then. Raises whatever goes wrong."""
        if self.argument is None:
            return True
        value = self.argument(event)
        if value is not None:
            self.function.check(value)
        return value

    def __repr__(self) -> str:
        return f"Aggregate({self.text!r})"

    def __eq__(self, other: object) -> bool:
        """Whether it is the same aggregate of the same expression; the text names the function and its parameter."""
        if not isinstance(other, Aggregate):
            return NotImplemented
        return self.text == other.text and self.argument == other.argument

    def __hash__(self) -> int:
        return hash(self.text)


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
    if function.parameter is not None and function.with_parameter is not None:
        least, most = function.parameter
        parts = _PARAMETER.fullmatch(inner)
        if parts is None or not least <= float(parts[2]) <= most:
            message = (
                f"{name} takes a value and a number from {least:g} to {most:g}, such as {name}(bytes, {_usual(name)})"
            )
            raise ExpressionError(message, 1, len(before))
        inner, function = parts[1], function.with_parameter(function, float(parts[2]))
    try:
        return Aggregate(text, function, parse_expression(inner, variable))
    except ExpressionError as error:
        start = text[: match.start(3)]
        shift = len(start) - (start.rfind("\n") + 1) if error.line == 1 else 0
        raise ExpressionError(error.message, error.line + start.count("\n"), error.column + shift) from None


def _usual(name: str) -> int:
    return 99 if name == "percentile" else 5


def _example() -> str:
    return ", ".join(f"{name}(…)" if AGGREGATES[name].argument_needed else f"{name}()" for name in AGGREGATES)


class _AggregateKind(Kind):
    wanted = "an aggregate such as count() or sum(bytes)"
    takes_text = True

    def __init__(self, *, sketches: bool) -> None:
        self.sketches = sketches

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, Aggregate):
            return value
        if not isinstance(value, str | TextWithList):
            return scope.wrong(f"{self.wanted} is wanted here, not {plainly(value)}")
        document, text = scope.document, scope.text()
        if scope.broken:
            return INVALID
        try:
            if document is not None and text is not None:
                aggregate = parse_aggregate(text, document.variable(scope.path))
            else:
                aggregate = parse_aggregate(str(value))
        except ExpressionError as error:
            return scope.wrong(error.message, inside=(error.line, error.column))
        if not aggregate.function.fixed_size and not self.sketches:
            return scope.wrong("this aggregate takes too much memory for each key to stand here; a window can have it")
        return aggregate

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": rf"^\s*({'|'.join(AGGREGATES)})\s*\("}


#: One whose state has the size of a value, so that there can be one for each of many keys.
AGGREGATE: Final = _AggregateKind(sketches=False)
#: Any of them.
WINDOW_AGGREGATE: Final = _AggregateKind(sketches=True)
