"""Nothing gets out of an expression: the known ways out of Python sandboxes, each refused, or a plain value and no more."""

from __future__ import annotations

import time
import tracemalloc
import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rx_collector.expressions import ExpressionError, parse_expression
from tests.events import event
from tests.expressions.grammar import EXPRESSIONS, ORDINARY

PAYLOAD = {"x": 5, "y": "abc", "s": "abc", "file": "mine", "n": None, "list": [3, 1, 2]}

ATTRIBUTES = [
    "().__class__.__bases__[0].__subclasses__()",
    "''.__class__.__mro__[1].__subclasses__()",
    "{}.__class__.__base__",
    "(1).__class__",
    "1.0.__class__",
    "True.__class__",
    "None.__class__",
    "x.__init__.__globals__",
    "x.__reduce_ex__(2)",
    "x.__getattribute__('y')",
    "x.__dict__",
    "x._private",
    "x._",
    "this.__dict__",
    "this.__class__",
    "meta.__class__",
    "meta._data",
    "meta.origin",
    "meta.raw",
    "meta.data",
    "meta.replace(1)",
    "meta.time.__class__",
    "len.__self__",
    "len.__self__.__import__('os')",
    "max.__call__(1)",
    "{}.get.__self__",
    "s.startswith.__self__",
    "matches.__globals__",
    "(x if y else s).__class__",
    "[x][0].__class__",
    "f'{x}'.__class__",
    "(x or y).__class__",
    "x.__class__.__init__.__globals__['__builtins__']",
    "s.__format__('')",
    "s.__add__('x')",
    "list.__getitem__(0)",
]
NORMALISED = [
    "().__cl\uff41ss__",  # full-width a
    "().\uff3f\uff3fclass\uff3f\uff3f",  # full-width low lines
    "x.\uff3fprivate",
    "x._\ufe4d_",  # dashed low line
    "x.\ufe33\ufe33class\ufe33\ufe33",  # low lines for vertical text
    "x.__𝒸lass__",  # mathematical letters
    "x.__ᶜlass__",
    "ｅval('1')",
    "__ｉmport__('os')",
    "\uff3f_import__('os')",
    "𝔬pen('x')",
    "x.ｆormat(1)",
    "s.\ufb00ormat()",  # a ligature: fformat
    "\ufb01le()",  # file()
    "s.\ufb03x()",
    "\uff3f\uff3fbuiltins\uff3f\uff3f",
]
CALLS = [
    "__import__('os').system('true')",
    "__builtins__",
    "__builtins__['eval']",
    "__name__",
    "__debug__",
    "eval('1')",
    "exec('1')",
    "compile('1', '', 'eval')",
    "open('/etc/passwd').read()",
    "input()",
    "print(1)",
    "help()",
    "exit()",
    "breakpoint()",
    "getattr(s, '__class__')",
    "setattr(s, 'a', 1)",
    "delattr(s, 'a')",
    "hasattr(s, 'a')",
    "globals()",
    "locals()",
    "vars()",
    "dir()",
    "id(s)",
    "iter(s)",
    "next(s)",
    "map(len, s)",
    "filter(len, s)",
    "object()",
    "super()",
    "memoryview(s)",
    "bytearray(9)",
    "bytes(9)",
    "type(s)",
    "type('X', (), {})",
    "type(s).mro()",
    "isinstance(s, s)",
    "callable(len)",
    "classmethod(len)",
    "property(len)",
    "range(10 ** 9)",
    "chr(1)",
    "format(x, '9999999999d')",
    "len(s)(1)",
    "sorted(this)(1)",
    "(len)(len)(1)",
    "[len][0](s)",
    "{'a': len}['a'](s)",
    "(len if x else max)(s)",
    "(len or max)(s)",
    "x(1)",
    "this(1)",
    "this['x'](1)",
    "meta(1)",
    "'len'(s)",
    "f'len'(s)",
    "s.startswith('a')()",
]
METHODS_OF_OTHERS = [
    "s.format(x)",
    "'{0.__class__}'.format(s)",
    "'{0.__init__.__globals__}'.format(this)",
    "'{x[__class__]}'.format_map(this)",
    "s.format_map(this)",
    "s.encode()",
    "s.translate(this)",
    "s.maketrans(this)",
    "s.expandtabs(10 ** 9)",
    "list.append(1)",
    "list.extend(list)",
    "list.sort()",
    "list.pop()",
    "list.clear()",
    "this.update(this)",
    "this.pop('x')",
    "this.setdefault('x', 1)",
    "this.popitem()",
    "this.fromkeys(s)",
    "x.to_bytes(10 ** 9)",
    "x.from_bytes(s)",
    "x.gi_frame.f_globals()",
    "x.cr_frame.f_back()",
    "x.tb_frame.f_locals()",
    "x.func_globals()",
    "x.mro()",
    "meta.time.strftime('%Y')",
    "meta.time.now()",
]
SYNTAX = [
    "lambda: 1",
    "(lambda: 1)()",
    "(lambda: 1).__globals__",
    "[c for c in ()]",
    "[c for c in ().__class__.__bases__]",
    "{c: c for c in ()}",
    "{c for c in ()}",
    "(c for c in ())",
    "(c for c in ()).gi_frame",
    "[(x := c) for c in ()]",
    "any(c for c in s)",
    "(x := 1)",
    "len(x := s)",
    "f'{(x := 1)}'",
    "await x",
    "(yield)",
    "(yield from x)",
    "len(*this)",
    "dict(**this)",
    "dict(a=1)",
    "min(this, key=len)",
    "sorted(list, key=len)",
    "max(this, default=x)",
    "[*this]",
    "(*this,)",
    "{**this}",
    "x, *y",
    "...",
    "x[...]",
    "x[1:2, 3]()",
    "b'x'",
    "b'x'.decode()",
    "1j",
    "(1j).conjugate()",
    "x; y",
    "x\\\n; import os",
    "import os",
    "from os import *",
    "del x",
    "x = 1",
    "x += 1",
    "x: int",
    "assert x",
    "raise x",
    "return x",
    "global x",
    "def f(): pass",
    "class C: pass",
    "match x:\n case y: z",
    "@x",
    "x if y",
    "print 1",
    "`x`",
    "$x",
    "x?",
    "x # \x00",
    "x\x00y",
    ") or (",
    "x) + open('y'",
    "None) or __import__('os'",
]
TEXTS = [
    "f'{s.__class__}'",
    "f'{s.__class__!r:>10}'",
    "f'{s:{s.__class__}}'",
    "f'{s:{x}}'",
    "f'{s:>{10 ** 9}}'",
    "f'{s:>999999999}'",
    "f'{x:.999999999f}'",
    "f'{x:,.9999d}'",
    "f'{meta.time:%Y}'",
    "f'{eval(s)}'",
    "f'{(lambda: 1)}'",
    "f'{[c for c in s]}'",
    "f'{__import__}'",
    "f\"{f'{s.__class__}'}\"",
    "f'{s!x}'",
    "f'{x:" + "9" * 5000 + "}'",
    "f'{x:." + "9" * 5000 + "f}'",
    "f'{x:\uff19\uff19}'",
    "f'{x:٩٩٩٩٩}'",
]
ESCAPES = [*ATTRIBUTES, *NORMALISED, *CALLS, *METHODS_OF_OTHERS, *SYNTAX, *TEXTS]


@pytest.mark.parametrize("text", ESCAPES)
def test_it_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)
    assert caught.value.line >= 1
    assert 0 <= caught.value.column <= len(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("getattr", None),  # a field like any other
        ("eval", None),
        ("open.x", None),
        ("this['__class__']", None),
        ("this.get('__class__')", None),
        ("{}['__class__']", None),
        ("'__class__' in this", False),
        ("'{0.__class__}'", "{0.__class__}"),
        ("'{0.__class__}'.replace('0', s)", "{abc.__class__}"),
        ("'__class__'.join([s, s])", "abc__class__abc"),
        ("f'{s}' '{0.__class__}'", "abc{0.__class__}"),
        ("f'{{s.__class__}}'", "{s.__class__}"),
        (r"'\x5f\x5fclass\x5f\x5f'", "__class__"),
        (r"'\N{LOW LINE}'", "_"),
        ("\ufb01le", "mine"),  # a ligature is two letters in a name
        ("ｓ", "abc"),
        ("match", None),
        ("type", None),
        ("_", None),
        ("replace_all(s, 'b', r'\\g<0>')", "abc"),
        ("lookup('__class__', {}, 1)", 1),
        ("format_time(0, '__class__')", "__class__"),
        ("_rx_variable_0_", None),
        ("_rx_variable_" + "9" * 5000 + "_", None),
        ("'_rx_variable_" + "9" * 5000 + "_' == s", False),
    ],
)
def test_it_is_a_plain_value(text: str, wanted: Any) -> None:
    assert parse_expression(text)(event(PAYLOAD)) == wanted


HOSTILE = {"big": 2**4000, "text": "x" * 100_000, "digits": "9" * 100_000, "form": "%1000000000d", "x": 5, "s": "abc"}


@pytest.mark.parametrize(
    "text",
    [
        "9 ** 9 ** 9",
        "x ** x ** x ** x",
        "-9 ** 9 ** 9 ** 9",
        "2 ** -(9 ** 9 ** 9)",
        "big * big * big",
        "big ** 2",
        "1 << 10 ** 9",
        "x << big",
        "s * 10 ** 9",
        "10 ** 9 * s",
        "[1] * 10 ** 9",
        "(1,) * 10 ** 9",
        "[[1] * 10 ** 6] * 10 ** 9",
        "s.ljust(10 ** 9)",
        "s.rjust(10 ** 9)",
        "s.center(10 ** 9)",
        "s.zfill(10 ** 9)",
        "round(1, -10 ** 9)",
        "round(x, 10 ** 9)",
        "text.replace('', text).replace('', text)",
        "text.join(list(text)).join(list(text))",
        "replace_all(text, '', '" + "y" * 9000 + "')",
        "form % x",
        "int(digits)",
        "str(10 ** 1000 * 10 ** 1000)",
        "format_time(big)",
        "format_size(big)",
        "size(digits)",
        "duration(digits)",
    ],
)
def test_it_takes_no_memory_and_no_time(text: str) -> None:
    one = event(HOSTILE)
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises((ArithmeticError, TypeError, ValueError, ExpressionError)):
            parse_expression(text)(one)
        assert tracemalloc.get_traced_memory()[1] < 200 * 2**20
        assert time.process_time() - start < 2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        *("(" * 5000, "-" * 5000 + "1", "~" * 900 + "1", "[" * 200 + "]" * 200, "{" * 900, "a." * 3000 + "a"),
        *("not " * 900 + "a", "a[" * 900 + "0" + "]" * 900, "a if " * 900 + "a" + " else a" * 900, "a" + "()" * 900),
        *("a" + "+a" * 4000, "a" + " < a" * 2400, "f'{" * 100, "x" * 20_000, "9" * 5000, "1e" + "9" * 4000 + "+'a'"),
        *("len(" * 900 + "a" + ")" * 900, "a" + "**a" * 3000, '"' * 3001, "\\" * 999),
    ],
)
def test_depth_and_length_are_bounded(text: str) -> None:
    start = time.process_time()
    try:
        expression = parse_expression(text)
    except ExpressionError as error:
        assert 0 <= error.column <= len(text)
    else:  # a long row is no depth
        with pytest.raises(ORDINARY):
            expression(event({"a": object()}))
    assert time.process_time() - start < 2


def _harmless(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            expression = parse_expression(text, lambda inside: "value")
        except ExpressionError as error:
            assert error.line >= 1
            assert 0 <= error.column <= len(text)
            return
        warnings.simplefilter("ignore")  # of ~True
        payload = {**PAYLOAD, "list": [*PAYLOAD["list"]]}
        try:
            expression(event(payload))
        except ORDINARY:
            pass  # these reject an event
        assert payload == PAYLOAD


@pytest.mark.slow
@settings(deadline=2000, derandomize=True, max_examples=300)
@given(text=st.text(max_size=60))
def test_any_text_is_harmless(text: str) -> None:
    _harmless(text)


@pytest.mark.slow
@settings(deadline=2000, derandomize=True, max_examples=300, suppress_health_check=list(HealthCheck))
@given(text=EXPRESSIONS)
def test_any_expression_is_harmless(text: str) -> None:
    _harmless(text)


@pytest.mark.slow
@settings(deadline=2000, derandomize=True, max_examples=300)
@given(text=st.lists(st.sampled_from(ESCAPES), min_size=2, max_size=3), cut=st.integers(0, 40), data=st.data())
def test_pieces_of_escapes_are_harmless(text: list[str], cut: int, data: st.DataObject) -> None:
    glue = data.draw(st.sampled_from(["", " ", ".", "(", ") + (", "[0]", " and ", "\n"]))
    _harmless((text[0][:cut] + glue + glue.join(text[1:]))[:3000])
