"""An expression gives what Python gives for the same text, but for what is said to be otherwise."""

from __future__ import annotations

import ast
import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rx_collector.expressions import parse_expression
from rx_collector.expressions.errors import ExpressionError
from tests.events import event

VALUES = st.sampled_from([0, 1, -1, 7, 2**70, 1.5, -0.5, True, False, "a", "ab", "", [1, 2], ["a"], {"a": 1}, {}])
LEAVES = st.sampled_from(["a", "b", "c", "a", "b", "1", "2", "0", "1.5", "'a'", "'ab'", "True", "[1, 2]"])


def _larger(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    infix = st.sampled_from(["+", "-", "*", "/", "//", "**", "<<", ">>", "&", "|", "^", "and", "or", "in", "not in"])
    order = st.sampled_from(["<", "<=", "==", "!=", ">", ">=", "is", "is not"])
    return st.one_of(
        st.tuples(parts, infix | order, parts).map(" ".join),
        st.tuples(parts, order, parts, order, parts).map(" ".join),
        parts.map(lambda one: f"({one})"),
        st.tuples(st.sampled_from(["not ", "-", "+"]), parts).map("".join),
        st.tuples(parts, parts, parts).map(lambda three: f"{three[0]} if {three[1]} else {three[2]}"),
        # The remainder of numbers: a text is no format here.
        st.tuples(st.sampled_from("12"), parts).map(lambda two: f"{two[0]} % ({two[1]})"),
    )


def of(evaluate: Any) -> tuple[str, Any]:
    try:
        value = evaluate()
    except Exception as error:
        return "fails", type(error)
    return type(value).__name__, repr(value)


# How many of those that are drawn are refused is left to chance, and no reason to stop.
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(st.recursive(LEAVES, _larger, max_leaves=8), VALUES, VALUES, VALUES)
def test_it_gives_what_python_gives(text: str, a: Any, b: Any, c: Any) -> None:
    try:
        expression = parse_expression(text)
    except ExpressionError:
        assume(False)  # refused at load, which other tests look at
        return
    fields = {"a": a, "b": b, "c": c}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        python = compile(ast.parse(text, mode="eval"), "python", "eval")
    ours = of(lambda: expression(event(dict(fields))))
    if ours == (
        "fails",
        OverflowError,
    ):  # what is longer than 4096 bits, or a text of gigabytes: Python would go on with it
        return
    assert ours == of(lambda: eval(python, {}, dict(fields)))


@pytest.mark.parametrize("text", ["a << 1", "1.5 << a", "a << 'x'"])
def test_what_cannot_be_shifted_is_refused_as_by_python(text: str) -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        parse_expression(text)(event({"a": "text"}))
