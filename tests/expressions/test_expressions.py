"""The expression language: what it means, what it refuses and where."""

from __future__ import annotations

import string
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rx_collector import operators as op
from rx_collector.expressions import FUNCTIONS, METHODS, ExpressionError, parse_expression
from tests.events import event, run

PAYLOAD = {
    "uid": 5,
    "zero": 0,
    "filename": "/usr/bin/x",
    "a": {"b": [1, 2], "startswith": "mine"},
    "n": None,
    "s": "abc",
    "list": [3, 1, 2],
    "_PID": "7",
}

GOOD: list[tuple[str, Any]] = [
    ('uid != 0 and not filename.startswith("/usr/bin/dpkg")', True),
    ("uid > 3", True),
    ("missing > 3", False),
    ("3 < missing", False),
    ("missing <= n", False),
    ("not (missing > 3)", True),
    ("0 < uid < 10", True),
    ("0 < uid < 5", False),
    ("0 < missing < 10", False),
    ("uid == 5 < 6", True),
    ("uid == 5 < missing", False),
    ("1 < uid == 5 > zero", True),
    ("missing == None", True),
    ("missing is None", True),
    ("uid is not None", True),
    ("a.b[1]", 2),
    ("a.b[-1]", 2),
    ("a.b[9]", None),
    ("a.c.d.e", None),
    ("n.x", None),
    ("n[0]", None),
    ("n[1:]", None),
    ('a["b"]', [1, 2]),
    ("a.startswith", "mine"),
    ('filename.rpartition("/")[0]', "/usr/bin"),
    ('f"{s}-{uid:>4}{n}{{}}!"', "abc-   5None{}!"),
    ("f\"{s!r} {'in' + s}\"", "'abc' inabc"),
    ("this['uid'] + 1", 6),
    ("this.uid + 1", 6),
    ("len(this)", len(PAYLOAD)),
    ("_PID", "7"),
    ("meta.line", 3),
    ("meta.runner + meta.source", "execexec"),
    ("uid if n is None else 1", 5),
    ("s[1:]", "bc"),
    ("s[::-1]", "cba"),
    ("s * 2", "abcabc"),
    ("2 * s", "abcabc"),
    ("uid * 1.5", 7.5),
    ("uid % 2", 1),
    ("2 ** 3 ** 2", 512),
    ("1 << 4 | 1", 17),
    ("-uid // 2", -3),
    ("'b' in s", True),
    ("uid in [1, 5]", True),
    ("uid not in {1, 2}", True),
    ("{'who': s, 'n': [uid, (1, 2)]}", {"who": "abc", "n": [5, (1, 2)]}),
    ("default(missing, 7)", 7),
    ("coalesce(missing, n, s)", "abc"),
    ("exists(n) or exists(s)", True),
    (r"extract(filename, r'/(\w+)$')", "x"),
    (r"extract(filename, '(?P<dir>/usr)')", {"dir": "/usr"}),
    ("matches(missing, 'x')", False),
    ("matches(s, '^a')", True),
    ("basename(filename) + dirname(filename)", "x/usr/bin"),
    ("basename(missing)", None),
    ("min(list) + max(1, 9) + sum(list)", 16),
    ("sorted(list)", [1, 2, 3]),
    ("int('ff', 16) + int('7')", 262),
    ("type_of(this) + type_of(uid) + type_of(n)", "objectnumbernull"),
    ("json(a.b)", "[1,2]"),
    ("a.get('zz', 3)", 3),
    ("list(a.keys())", ["b", "startswith"]),
    ("'-'.join(['a', 'b']).upper().ljust(5, '.')", "A-B.."),
    ("uid and s", "abc"),
    ("zero or s", "abc"),
    ("\n  uid\n  + 1\n", 6),
]


@pytest.mark.parametrize(("text", "value"), GOOD)
def test_value(text: str, value: Any) -> None:
    expression = parse_expression(text)
    one = event(PAYLOAD, 3)
    assert expression(one) == value
    assert type(expression(one)) is type(value)
    # The same within a segment, from an event and from a line.
    assert run(op.map(text), events=[{}, {}, PAYLOAD]).data[-1:] == [value]


@pytest.mark.parametrize(
    "text",
    ["n + 1", "s > 1", "uid.upper()", "n.upper()", "uid[0]", "s.x", "1 / zero", "list < s", "'%s' % s", "s in n"],
)
def test_any_other_failure_rejects_the_event(text: str) -> None:
    result = run(op.filter(text), events=[PAYLOAD])
    assert len(result.rejected) == 1


BAD: list[tuple[str, int, int, str]] = [
    ("uid = 0", 1, 4, "write '==' to compare"),
    ("uid && 1", 1, 4, "write 'and' instead of '&&'"),
    ("a || b", 1, 2, "write 'or' instead of '||'"),
    ("!uid", 1, 0, "write 'not' instead of '!'"),
    ("uid >", 1, 0, "syntax error"),
    ("(", 1, 0, "'(' was never closed"),
    ("a) + (b", 1, 1, "unmatched ')'"),
    ("", 1, 0, "the expression is empty"),
    ("foo(1)", 1, 0, "unknown function 'foo'"),
    ("1 + lenn(s)", 1, 4, "did you mean 'len'?"),
    ("s.statswith('x')", 1, 2, "did you mean 'startswith'?"),
    ("s.len()", 1, 2, "it is a function: write len(value)"),
    ("lower(s)", 1, 0, "it is a method: write value.lower(…)"),
    ("len()", 1, 0, "len takes 1 argument, not 0"),
    ("round(1, ndigits=2)", 1, 17, "arguments have no names"),
    ("meta.lin", 1, 5, "did you mean 'line'?"),
    ("meta", 1, 0, "'meta' alone is not a value"),
    ("x == true", 1, 5, "write True"),
    ("x == null", 1, 5, "write None"),
    ("1 is 1", 1, 5, "write == for other values"),
    ("matches(s, '(')", 1, 11, "not a regular expression"),
    ("matches(s, s)", 1, 11, "the pattern is a text that stands here"),
    ("f'{s:>99999}'", 1, 0, "the format '>99999' is not allowed"),
    ("uid +\n  bad bad", 2, 6, "syntax error"),
    ("é.x + foo(1)", 1, 6, "unknown function 'foo'"),
    ("b'x'", 1, 0, "is not allowed"),
    ("s.\ufb01nde('x')", 1, 2, "unknown method 'finde', did you mean 'find'?"),
    ("(s) .\n  finde('x')", 2, 2, "unknown method 'finde', did you mean 'find'?"),
    ("1j", 1, 0, "is not allowed"),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), BAD)
def test_mistake(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)
    assert message in caught.value.message
    if "format" not in message:  # within f-strings the interpreters differ
        assert (caught.value.line, caught.value.column) == (line, column)


def test_fields_and_metas() -> None:
    assert parse_expression("a.b + this.c + this['d'] + len(e)").fields == {"a", "c", "d", "e"}
    assert parse_expression("this").fields is None
    assert parse_expression("meta.line > 1 and x").metas == {"line"}
    assert parse_expression("1 + 1").constant


def test_render_is_what_one_would_write() -> None:
    class Scope:
        this = "data"

        def field(self, name: str) -> str:
            return f"data.get({name!r})"

        def meta(self, name: str) -> str:
            return name

        def bind(self, value: object, hint: str) -> str:
            return hint

        def temporary(self) -> str:
            return "t1"

    def render(text: str) -> str:
        return parse_expression(text).render(Scope())

    assert render("uid > 0") == "((t1 := data.get('uid')) is not None and t1 > (0))"
    assert render("uid != 0") == "(data.get('uid') != (0))"
    assert render('f.rpartition("/")[0]') == "data.get('f').rpartition('/')[0]"


VALUE = "x' + 1 or ${Y} {}\"\n\\"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${X}", VALUE),
        ("'${X}'", VALUE),
        ("'a${X}b$${X}'", f"a{VALUE}b${{X}}"),
        ("f'{uid}${X}'", f"5{VALUE}"),
        ("${X} == this.x", True),
        ("len(${X}) + uid", len(VALUE) + 5),
        ("{'${X}': ${X}}", {VALUE: VALUE}),
    ],
)
def test_a_variable_is_a_constant_text(text: str, value: Any) -> None:
    expression = parse_expression(text, lambda inside: VALUE)
    assert expression(event({**PAYLOAD, "x": VALUE})) == value
    assert expression.text == text


def test_mistakes_beside_variables_have_their_place() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_expression("${LONG_NAME} == foo(1)", lambda inside: "x")
    assert caught.value.column == 16
    with pytest.raises(ExpressionError, match="in files only"):
        parse_expression("${X}")


ALPHABET = string.ascii_letters[:6] + "_.,:;()[]{}+-*/%<>=!&|^~'\"\\$#@ \n\t019é\0"
TOKENS = st.sampled_from(
    [
        *FUNCTIONS,
        *METHODS,
        "this",
        "meta",
        "and",
        "or",
        "not",
        "in",
        "if",
        "else",
        "lambda",
        "for",
        "is",
        "None",
        "${A}",
    ]
    + [
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ".",
        ",",
        ":",
        "+",
        "*",
        "**",
        "<<",
        "<",
        "==",
        "'x'",
        "f'{x}'",
        "1",
        "x",
        " ",
        "\n",
    ]
)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(text=st.one_of(st.text(ALPHABET, max_size=40), st.lists(TOKENS, max_size=15).map("".join)))
def test_no_text_raises_anything_else(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            expression = parse_expression(text, lambda inside: "value")
        except ExpressionError as error:
            assert error.line >= 1
            assert 0 <= error.column <= len(text)
            return
        try:
            expression(event(PAYLOAD))
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, IndexError):
            pass  # these reject an event
