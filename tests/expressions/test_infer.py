"""What is known of kinds: mistakes at load that nobody has to wait for an event to see, and never a false one."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings

import rx_collector
from rx_collector.expressions import FUNCTIONS, METHODS, ExpressionError, parse, parse_expression
from rx_collector.expressions.infer import infer
from rx_collector.expressions.kinds import Kinds, kind_of
from tests.events import event
from tests.expressions.grammar import CONSTANTS, EXPRESSIONS, FIELDS, ORDINARY, VALUES

MISTAKES: list[tuple[str, int, str]] = [
    ('"a" + 1', 6, "'+' takes two numbers, two texts or two lists, not a text and a number"),
    ('x + ("a" + 1)', 11, "'+' takes"),
    ('"x" - 1', 6, "'-' takes two numbers, two times or two sets, not a text and a number"),
    ('"a" * "b"', 6, "'*' takes two numbers, or a text or list and a whole number, not a text and a text"),
    ('"a" * 1.5', 6, "not a text and a number"),
    ('"%s" % 1', 7, "'%' takes two numbers, not a text and a number"),
    ("1.5 << 1", 7, "'<<' takes two whole numbers"),
    ("len(5)", 4, "len takes a text, a list, a tuple, a set or an object here, not a number"),
    ("len(meta.line)", 4, "not a number"),
    ("1 in 5", 5, "'in' looks into a text, list, set or object, not into a number"),
    ('1 in "abc"', 5, "a number cannot be in a text"),
    ('x > duration("5 parsecs")', 4, "'5 parsecs' is not a duration"),
    ('x and x < size("5 apples")', 10, "'5 apples' is not a size"),
    ('x and x < parse_time("13:00")', 10, "Invalid isoformat string: '13:00'"),
    ("meta.line in meta.source", 13, "a number cannot be in a text"),
    ('"a" < 1', 6, "'<' compares values of one kind, not a text with a number"),
    ('meta.time > "2023"', 12, "'>' compares values of one kind, not a time with a text"),
    ("meta.line.lower()", 10, "lower is for texts, not for a number"),
    ("len(x).lower()", 7, "lower is for texts, not for a number"),
    ('"a".keys()', 4, "keys is for objects, not for a text"),
    ('"a".startswith(1)', 15, "startswith takes a text or a tuple here, not a number"),
    ('meta.source + ":" + meta.line', 20, "not a text and a number"),
    ("meta.line + ':'", 12, "not a number and a text"),
    ("meta.line.x", 0, "a number has no fields, so no 'x'"),
    ("meta.source['x']", 12, "an item of a text is named by a whole number, not by a text"),
    ("len(x)[0]", 0, "a number has no items"),
    ("len(x)[1:]", 0, "a number has no parts to take out"),
    ('"abc"["a":]', 6, "a part is named by whole numbers, not by a text"),
    ('-"a"', 1, "'-' before a value takes a number, not a text"),
    ("~1.5", 1, "'~' before a value takes a whole number, not a number"),
    ("None + 1", 7, "not None and a number"),
    ("{[1]: 2}", 1, "a list cannot be a key"),
    ("{{}}", 1, "an object cannot be in a set"),
    ('matches(5, "a")', 8, "matches takes a text or None here, not a number"),
    ("default(x, 1) if len(5) else 2", 21, "len takes"),
    ("f'{len(5)}'", None, "len takes"),
    ('int("x")', 0, "invalid literal for int() with base 10: 'x'"),
    ("int(5, 16)", 4, "int takes a text when there is a base, not a number"),
    ("min(5)", 4, "min takes several values or a list, not a number"),
    ('duration("5 parsecs")', 0, "'5 parsecs' is not a duration; write 250ms, 5s, 1m or 1h30m"),
    ('size("5 apples")', 0, "'5 apples' is not a size; write 64KiB or 100MB"),
    ('duration("1m") + "a"', 17, "not a number and a text"),
    ('coalesce(None, "a") - 1', 22, "not a text and a number"),
    ("(1 if x else 2).upper()", 16, "upper is for texts, not for a number"),
    ('("a" if x else 2) - "b"', 20, "not a number or a text and a text"),
    ("len(5) if x else len(6)", 4, "len takes"),
    ("hash(x) + 1", 10, "not a text or None and a number"),
    ("[len(5)]", 5, "len takes"),
    ("(len(5),)", 5, "len takes"),
    ('{"a": len(5)}', 10, "len takes"),
    ("{len(5): 1}", 5, "len takes"),
    ("None.x + 1", 9, "not None and a number"),
    ('default(meta.pid, 1) + "a"', 23, "not a number and a text"),
    ('parse_time("x")', 0, "Invalid isoformat string: 'x'"),
]


@pytest.mark.parametrize(("text", "column", "message"), MISTAKES)
def test_a_mistake_of_kinds(text: str, column: int | None, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)
    assert message in caught.value.message
    assert column in (None, caught.value.column)


@pytest.mark.parametrize(
    "text",
    [
        'x + 1', 'x + "a" + 1', 'x["a"] + x[0]', "len(x) + y", "x.lower()", "1 in x", "x in 'abc'", "x < 1 < y",
        'x and "a" + 1', 'x or len(5)', 'len(5) if x else 1', '1 < x < len(5)', "x == 1 in 5",
        "(x == 1) + 'a'", "(x < 1).lower()", "x.upper() - 1", "int(5, None)", "len(5) < x",
        "None < len(5)", "meta.pid < 'a'", "default(x, 'a') + 1", "None.x", "None[0]", "None[1:]",
        "meta.time - meta.observed_time", "True + 1", "'a' * True", "[1] * 2 + [3]", "{1} | {2}", "{} | {'a': 1}",
        "(-8) ** 0.5", "'a' == 1", "x is None", "sum('')", "[1, 2].index(1)", "(x if y else 1) + 'a'",
        'int("x") if x else 0', "'a'[True]", "{}[1]", "{1} in {2}", "dict([])", "round(x) + 'a'",
    ],
)  # fmt: skip
def test_no_mistake_where_it_may_succeed(text: str) -> None:
    parse_expression(text)


def test_a_mistake_of_kinds_has_its_place_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        "runners:\n  a: {command: [seq, 1]}\npipelines:\n  p:\n    from: a\n    operators:\n"
        '      - set:\n          n: message\n          to: >-\n            message +\n            (meta.line + "x")\n'
        "    sinks:\n      - null:\n          backpressure: block\n"
    )
    with pytest.raises(rx_collector.ConfigError) as caught:
        rx_collector.load(tmp_path / "x.yaml")
    assert "x.yaml:11:26: " in str(caught.value)
    assert "'+' takes two numbers, two texts or two lists, not a number and a text" in str(caught.value)


def test_the_value_of_a_variable_is_in_no_message() -> None:
    for text in ('duration("${SECRET}")', 'matches(x, "(${SECRET}")', 'in_cidr(x, "${SECRET}")', 'int("${SECRET}")'):
        with pytest.raises(ExpressionError) as caught:
            parse_expression(text, lambda name: "hunter2")
        assert "the value of the variable" in caught.value.message or "cannot take the value" in caught.value.message
        assert "hunter2" not in caught.value.message


PAYLOADS = [dict(zip(FIELDS, (one, other), strict=True)) for one in VALUES for other in (one, VALUES[0], VALUES[-1])]


def kinds_and_values(text: str, payloads: list[dict[str, Any]]) -> tuple[Kinds, list[Any]] | None:
    """Give what is known of an expression, none where it is refused, and its values or errors; None for what is wrong
    in another way.
    """
    known: list[Kinds] = []

    def recording(*arguments: Any) -> Kinds:
        try:
            known.append(infer(*arguments))
        except ExpressionError:
            known.append(Kinds(0))
        return known[-1]

    with patch.object(parse, "infer", recording):
        try:
            expression = parse_expression(text)
        except ExpressionError:
            return None
    values: list[Any] = []
    for payload in payloads:
        try:
            values.append(expression(event(payload)))
        except ORDINARY as error:
            values.append(error)
    return known[0], values


def assert_true(text: str, kinds: Kinds, values: list[Any]) -> int:
    """See that nothing is refused that succeeds, and that nothing comes that was not foreseen; count what succeeds."""
    right = [value for value in values if not isinstance(value, Exception)]
    for value in right:
        assert kind_of(value) in kinds, f"{text} gives {value!r}, which is not in {kinds}"
    return len(right)


#: Of each kind all that matters: small and large, empty and not.
OPERANDS = {
    Kinds.NULL: ["None"],
    Kinds.BOOLEAN: ["True", "False"],
    Kinds.INTEGER: ["0", "1", "meta.line"],
    Kinds.FLOAT: ["0.5", "-1.5"],
    Kinds.TEXT: ["''", "'ab'"],
    Kinds.LIST: ["[]", "[1]"],
    Kinds.TUPLE: ["()", "(1,)"],
    Kinds.SET: ["{1}", "{'ab'}"],
    Kinds.OBJECT: ["{}", "{'ab': 1}"],
    Kinds.TIME: ["meta.time"],
}
INFIX = "+ - * / // % ** << >> & | ^ < <= > >= == in".split()  # noqa: SIM905
FORMS = [f"({{}}) {operator} ({{}})" for operator in INFIX]
FORMS += ["({})[{}]", "({})[{}:]", "({})[::{}]", "({}) and ({})", "({}) if 1 else ({})"]
SINGLE = ["-({})", "+({})", "~({})", "not ({})", "({}).a", "[{}]", "({},)", "{{{}: 1}}", "{{{}}}"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Bitwise inversion:DeprecationWarning")
@pytest.mark.parametrize("form", [*FORMS, *SINGLE])
def test_an_operator_is_refused_for_just_those_kinds_that_it_never_takes(form: str) -> None:
    others = OPERANDS if form in FORMS else {Kinds.NULL: [""]}
    for one in OPERANDS:
        for other in others:
            texts = [form.format(left, right) for left in OPERANDS[one] for right in others[other]]
            known = set()
            tried: list[Any] = []
            for text in texts:
                found = kinds_and_values(text, [{}])
                assert found is not None, text
                assert_true(text, *found)
                known.add(found[0])
                tried += found[1]
            (kinds,) = known
            assert bool(kinds) != all(isinstance(value, TypeError | AttributeError | KeyError) for value in tried), (
                texts
            )


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FUNCTIONS, *METHODS])
def test_what_is_known_of_a_call_is_true(name: str) -> None:
    operands = [text for texts in OPERANDS.values() for text in texts]
    succeeded = 0
    for first in operands:
        for second in [None, *operands]:
            arguments = [first] if second is None else [first, second]
            if name in FUNCTIONS:
                constants = [FUNCTIONS[name].constant(index) for index in range(3)]
                whole = [CONSTANTS[constant.name] if constant else None for constant in constants]
                arguments = [whole[index] or argument for index, argument in enumerate(arguments)]
                arguments += [whole[2] or "1"] if FUNCTIONS[name].least == 3 and len(arguments) == 2 else []
                text = f"{name}({', '.join(arguments)})"
            else:
                text = f"({first}).{name}({', '.join(arguments[1:])})"
            found = kinds_and_values(text, [{}])
            if found is not None:
                succeeded += assert_true(text, *found)
    assert succeeded or name == "replace"


class _Seen:
    refused = succeeded = 0


@settings(deadline=None, derandomize=True, max_examples=800, suppress_health_check=list(HealthCheck))
@given(text=EXPRESSIONS)
def _what_is_known_is_true(text: str) -> None:
    found = kinds_and_values(text, PAYLOADS)
    if found is not None:
        _Seen.refused += not found[0]
        _Seen.succeeded += assert_true(text, *found)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Bitwise inversion:DeprecationWarning")
def test_what_is_refused_fails_for_every_event_and_what_is_known_is_true() -> None:
    _what_is_known_is_true()
    assert _Seen.refused > 100
    assert _Seen.succeeded > 1000
