"""Random expressions that are grammatical, and values of all kinds for their fields."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from rx_collector.expressions import FUNCTIONS, METHODS

#: What a per-event failure is.
ORDINARY = (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, LookupError)


class Yielding:
    """An object that a user's own function may have put into a payload: no operator and no method fails with it."""

    def _yield(self, *arguments: Any) -> Any:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _yield
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __lshift__ = __rlshift__ = _yield
    __rshift__ = __rrshift__ = __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _yield
    __neg__ = __pos__ = __invert__ = __lt__ = __le__ = __gt__ = __ge__ = __getitem__ = __abs__ = __round__ = _yield

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._yield

    def __eq__(self, other: object) -> Any:
        return self

    def __ne__(self, other: object) -> Any:
        return self

    def __hash__(self) -> int:
        return 1

    def __contains__(self, value: object) -> bool:
        return True

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 3

    def __index__(self) -> int:
        return 1

    def __int__(self) -> int:
        return 1

    def __float__(self) -> float:
        return 1.0


VALUES: list[Any] = [
    *(None, True, 0, 1, -2, 0.5, "", "a", "12", [], [1, 2], ["a"], {}, {"a": 1, "x": "y"}, {1, 2}, (1, 2)),
    *(b"ab", datetime(2023, 1, 1, tzinfo=UTC), timedelta(seconds=1), Decimal(1), Yielding()),
]
FIELDS = ("x", "y")

LITERALS = st.sampled_from(
    [
        "None",
        "True",
        "0",
        "1",
        "-2",
        "0.5",
        "'a'",
        "''",
        "'12'",
        "[]",
        "[1]",
        "['a']",
        "{}",
        "{'a': 1}",
        "{1}",
        "(1, 2)",
        "()",
    ]
)
LEAVES = st.one_of(
    LITERALS,
    st.sampled_from(["x", "y", "this", "meta.line", "meta.source", "meta.time", "meta.pid", "meta.time_ns"]),
)
#: A right text for each argument that has to be constant.
CONSTANTS = {"pattern": "'(a)'", "replacement": "'b'", "network": "'10.0.0.0/8'", "format": "'%Y'", "zone": "'UTC'"}


@st.composite
def _function_calls(draw: st.DrawFn, parts: st.SearchStrategy[str]) -> str:
    name = draw(st.sampled_from(sorted(FUNCTIONS)))
    function = FUNCTIONS[name]
    count = draw(st.integers(function.least, function.least + 1 if function.most is None else function.most))
    constants = [function.constant(index) for index in range(count)]
    arguments = [draw(parts) if constant is None else CONSTANTS[constant.name] for constant in constants]
    return f"{name}({', '.join(arguments)})"


@st.composite
def _method_calls(draw: st.DrawFn, parts: st.SearchStrategy[str]) -> str:
    name = draw(st.sampled_from(sorted(METHODS)))
    count = draw(st.integers(METHODS[name].least, METHODS[name].most))
    return f"({draw(parts)}).{name}({', '.join(draw(parts) for _ in range(count))})"


def _composed(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def filled(form: str) -> st.SearchStrategy[str]:
        return st.tuples(*[parts] * form.count("{}")).map(lambda texts: form.format(*texts))

    infix = [
        "+",
        "-",
        "*",
        "/",
        "//",
        "%",
        "**",
        "<<",
        ">>",
        "&",
        "|",
        "^",
        "<",
        "<=",
        ">",
        ">=",
        "==",
        "!=",
        "in",
        "and",
        "or",
    ]
    forms = [f"({{}}) {operator} ({{}})" for operator in [*infix, "not in"]]
    forms += [f"({{}}) {one} ({{}}) {other} ({{}})" for one in ("<", "==", "in") for other in (">=", "!=", "in")]
    forms += ["-({})", "+({})", "~({})", "not ({})", "({}) if ({}) else ({})", "({}) is None", "({}).a"]
    forms += ["({})[{}]", "({})[{}:{}]", "[{}, {}]", "({}, {})"]
    simple = st.sampled_from(forms).flatmap(filled)
    braces = parts.map(lambda text: "{" + text + ", 1}"), parts.map(lambda text: "{" + text + ": 1}")
    quoted = parts.map(lambda text: text.replace("'", '"')).map(lambda text: "f'{(" + text + ")!r}'")
    return st.one_of(simple, simple, _function_calls(parts), _method_calls(parts), *braces, quoted)


EXPRESSIONS = st.recursive(LEAVES, _composed, max_leaves=6)
