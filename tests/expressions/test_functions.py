"""The functions and methods: their examples, what they make of None, what they refuse, and that their cost is bounded."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from rx_collector import operators as op
from rx_collector.expressions import FUNCTIONS, METHODS, ExpressionError, parse_expression
from rx_collector.expressions.kinds import ANY, SOMETHING, Kinds
from tests.events import event, run
from tests.expressions.grammar import CONSTANTS

CALLABLE = {**FUNCTIONS, **METHODS}


def value(text: str, /, **fields: Any) -> Any:
    return parse_expression(text)(event(fields))


@pytest.mark.parametrize("name", CALLABLE)
def test_its_example_gives_what_it_says(name: str) -> None:
    text, wanted = CALLABLE[name].example
    assert f"{name}(" in text
    given = value(text)
    assert given == wanted
    assert type(given) is type(wanted)


@pytest.mark.parametrize("name", CALLABLE)
def test_its_declaration_fits(name: str) -> None:
    one = CALLABLE[name]
    assert one.least <= (one.least if one.most is None else one.most)
    assert one.gives in (ANY, SOMETHING) or Kinds.OTHER not in one.gives
    assert one.doc[0].islower()
    assert not one.doc.endswith(".")


TAKE_NONE = [name for name, one in FUNCTIONS.items() if one.takes[0] & Kinds.NULL and one.takes[0] != ANY]


@pytest.mark.parametrize("name", TAKE_NONE)
def test_of_a_missing_field_it_gives_none_or_false(name: str) -> None:
    function = FUNCTIONS[name]
    constants = [function.constant(index) for index in range(1, function.least)]
    arguments = ["missing", *("'a'" if constant is None else CONSTANTS[constant.name] for constant in constants)]
    given = value(f"{name}({', '.join(arguments)})")
    assert given is (False if function.gives is Kinds.BOOLEAN else None)


def test_those_that_take_none() -> None:
    assert {"matches", "find_all", "parse_time", "duration", "in_cidr", "glob", "basename", "decode_hex"} <= {
        *TAKE_NONE
    }


URL = {"scheme": "http", "host": "::1", "port": 80, "path": "/a%20b", "query": "c=d"}
CASES: list[tuple[str, Any]] = [
    (r'find_all(s, "(?P<k>\w)=(?P<v>\w)")', [{"k": "a", "v": "1"}, {"k": "b", "v": "2"}]),
    (r'find_all(s, "\w=\w")', ["a=1", "b=2"]),
    ('find_all(s, "z")', []),
    (r'replace_all(s, "(\\w)=(\\w)", "\\2=\\1")', "1=a 2=b"),
    (r'replace_all(s, "=", "\\\\")', "a\\1 b\\2"),
    ('replace_all(s, "", "-")', "-a-=-1- -b-=-2-"),
    ('glob(path, "/usr/*/bin/*")', True),
    ('glob(path, "/usr/*/*")', False),
    ('glob(path, "/usr/**")', True),
    ('glob(path, "**/bin/*")', True),
    ('glob(path, "**/bin")', False),
    ('glob(path, "/usr/**/local/bin/x.py")', True),
    ('glob(path, "/**/l*/**/x.*")', True),
    ('glob(path, "/**/b*/**/l*/**/x.*")', False),
    ('glob(path, "/**/bin/**/x.py/**")', True),
    ('glob(path, "**/bin/x.py/**/x.py")', False),
    ('glob(path, "/usr/local/bin/[a-z].p?")', True),
    ('glob(path, "/usr/local/bin/[!a-z].py")', False),
    ('glob(path, "/opt/*", "/usr/*/bin/[vwx].py")', True),
    ('glob("a[b", "a[b")', True),
    ('glob("a]", "a[]]")', True),
    ('glob("a-", "a[a-]")', True),
    ('glob("ab", "a[!^]")', True),
    ('glob("a^", "a[!^]")', False),
    ('glob("aXbXc", "a*X*c")', True),
    ('glob("x/aab/c", "*/*ab/c")', True),
    ('glob("x1/xy/z", "**/x*y/z")', True),
    ('glob("a\\nb", "a*b")', True),
    ('glob("a/b", "a[!x]b")', False),
    ('glob("/a", "/a/b/c/**")', False),
    ('glob("/a", "/a/**/a")', False),
    ('glob("a/b", "a?b")', False),
    ('in_cidr(ip, "10.0.0.0/8")', True),
    ('in_cidr(ip, "10.2.0.0/16", "192.168.0.0/16")', False),
    ('in_cidr("::ffff:10.1.2.3", "10.0.0.0/8")', True),
    ('in_cidr("::ffff:10.1.2.3", "::ffff:0:0/96")', True),
    ('in_cidr("fe80::1%eth0", "fe80::/10")', True),
    ('in_cidr("localhost", "10.0.0.0/8")', False),
    ('in_cidr("1" * 1000, "10.0.0.0/8")', False),
    ('in_cidr(ip, "10.1.2.3")', True),
    ('parse_time("2023-11-14T22:13:20Z")', 1700000000.0),
    ('parse_time("2023-11-14T22:13:20.5+01:00")', 1699996400.5),
    ('parse_time("2023-11-14 22:13:20.123456789")', 1700000000.123456),
    ('parse_time(f"{14}.11.2023", "%d.%m.%Y")', 1699920000.0),
    ('parse_time("2023-11-14 22:13:20 -0100", "%Y-%m-%d %H:%M:%S %z")', 1700003600.0),
    ("format_time(1700000000)", "2023-11-14T22:13:20.000000Z"),
    ("format_time(1700000000.5)", "2023-11-14T22:13:20.500000Z"),
    ("format_time(meta.time, '%H:%M:%S.%f')", "22:13:20.123456"),
    ("format_time(meta.time, '%H', 'Europe/Berlin')", "23"),
    ("format_time(meta.observed_time)", "2023-11-14T22:13:20.123456Z"),
    ("format_time(-1, '%Y%%')", "1969%"),
    ("parse_time(format_time(1.25)) == 1.25", True),
    ("duration(text)", 90.0),
    ("duration(5)", 5.0),
    ("size(text_size)", 1500),
    ("bytes > size('1MiB')", True),
    ("format_duration(-90)", "-1m30s"),
    ("format_size(-1536)", "-1.5KiB"),
    ("lookup(missing, {None: 1})", 1),
    ("lookup(missing, {'a': 1})", None),
    ("lookup(ip, {'a': 1}, ip)", "10.1.2.3"),
    ("lookup(ip, {ip: bytes})", 2**21),
    ("lookup('a', this.table, 0)", 7),
    ("lookup(ip, {'10.1.2.3': [1, -2]})", [1, -2]),
    ("url_parts('http://u:p@[::1]:80/a%20b?c=d#e')", URL),
    ("url_parts('/x').host", None),
    ("hash(this.table) == hash('{\"a\":7}')", True),
    ("sha256('abc')", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ("decode_base64('//8=')", "��"),
    ("decode_url('%41%zz')", "A%zz"),
]  # fmt: skip
FIELDS = {
    "s": "a=1 b=2", "path": "/usr/local/bin/x.py", "ip": "10.1.2.3", "text": "1m30s", "text_size": "1.5KB",
    "bytes": 2**21, "table": {"a": 7},
}  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), CASES)
def test_value(text: str, wanted: Any) -> None:
    given = value(text, **FIELDS)
    assert given == wanted
    assert type(given) is type(wanted)
    # The same within a segment.
    assert run(op.map(text), events=[{}, FIELDS]).data[-1:] == [wanted]


MISTAKES: list[tuple[str, int, str]] = [
    ('find_all(s, "(")', 12, "not a regular expression: missing ), unterminated subpattern"),
    ('find_all(s, s)', 12, "the pattern is a text that stands here, not a value"),
    (r'replace_all(s, "a", "\\1")', 20, "not a replacement: invalid group reference 1"),
    (r'replace_all(s, "a", "\\g<x>")', 20, "not a replacement: unknown group name 'x'"),
    ('replace_all(s, "a", s)', 20, "the replacement is a text that stands here, not a value"),
    ('in_cidr(s, "10.0.0.1/8")', 11, "not a network but an address in one; write 10.0.0.0/8"),
    ('in_cidr(s, "10.0.0.0/8", "x")', 25, "not a network; write 10.0.0.0/8 or fd00::/8"),
    ('in_cidr(s)', 0, "in_cidr takes at least 2 arguments, not 1"),
    ('glob(s, s)', 8, "the pattern is a text that stands here"),
    ('glob(s, "[z-a]")', 8, "not a pattern of paths: bad character range z-a"),
    ('parse_time(s, "%Y %Q")', 14, "the format has '%Q'; it can have %Y %y %m"),
    ('parse_time(s, "%Y %")', 14, "the format has '%'"),
    ('parse_time(s, "%d %d %Y")', 14, "the format has %d twice"),
    ('parse_time(s, "%H:%M")', 14, "the format has no year (%Y or %y)"),
    ('parse_time(s, "%Y' + "-" * 300 + '")', 14, "the format is longer than 200 characters"),
    ('parse_time(s, "%Y", "Mars/Base")', 20, "unknown time zone 'Mars/Base'; write a name such as Europe/Berlin"),
    ('format_time(s, "%s")', 15, "the format has '%s'"),
    ('format_time(s, "%99999999d")', 15, "the format has '%9'"),
    ('format_time(s, "%Y", "../../etc/passwd")', 21, "unknown time zone"),
    ('format_time(s, "%Y", "Europe")', 21, "unknown time zone"),
    ("lookup(s, [1])", 10, "lookup takes an object here, not a list"),
    ("lookup(s, {[1]: 2})", 11, "a list cannot be a key"),
    ('decode_hex("xy")', 0, "non-hexadecimal number found"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "column", "message"), MISTAKES)
def test_a_constant_is_checked_at_load(text: str, column: int, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)
    assert message in caught.value.message
    assert caught.value.column == column


@pytest.mark.parametrize(
    "text",
    [
        "duration(s)", "size(s)", "parse_time(s)", "parse_time(n)", "in_cidr(n, '10.0.0.0/8')", "find_all(n, 'a')",
        "format_time(s)", "format_time(n * 1e300)", "format_time(nan)", "format_time(n * 1e12)", "format_duration(nan)",
        "format_duration(inf)", "format_size(n * 1e301)", "duration(long)", "size(long)", "parse_time(long)",
        "url_parts(f'http://[{s}')", "url_parts(f'http://a:{s}/')", "decode_base64(s)",
        "decode_base64(star)", "format_time(n * 1e17)", "duration(often)", "decode_hex(s)", "glob(n, '*')",
        "lookup(s, n)", "lookup([s], {'a': 1})", "replace_all(n, 'a', 'b')", "duration(-n)",
    ],
)  # fmt: skip
def test_any_other_failure_is_of_the_event(text: str) -> None:
    fields = {
        "star": "aGVs*bG8=",
        "often": "1s" * 200,
        "s": "é?",
        "n": 5,
        "long": "1" * 100_000 + "s",
        "nan": float("nan"),
        "inf": float("inf"),
    }
    with pytest.raises((TypeError, ValueError, OverflowError)):
        value(text, **fields)


@pytest.mark.parametrize(
    "text",
    [
        r'replace_all(text, "(.+)", "' + r"\\1" * 2000 + '")',
        r'replace_all(text, "(?=(.+))", "\\1")',
        'replace_all(text, "a", "' + "b" * 5000 + '")',
    ],
)
def test_a_replacement_is_bounded(text: str) -> None:
    with pytest.raises(OverflowError, match="the text is too long"):
        value(text, text="a" * 100_000)


def test_a_replacement_of_a_long_text_is_the_same_as_of_a_short_one() -> None:
    long = "x1-" * 30_000
    assert value(r'replace_all(text, "([a-z])([0-9])", "\\2\\1")', text=long) == "1x-" * 30_000


def test_what_is_found_is_bounded() -> None:
    assert len(value('find_all(text, "a")', text="a" * 5000)) == 1000


@pytest.mark.parametrize(
    "pattern", ["*a*a*a*a*a*a*a*a*a*a*a*b", "**/*a*a*a*a*a*b/**", "/".join(["**", "a"] * 20) + "/b", "*" * 200 + "b"]
)
def test_a_pattern_of_paths_takes_no_time(pattern: str) -> None:
    start = time.process_time()
    assert value(f'glob(path, "{pattern}")', path="a" * 3000) is False
    assert value(f'glob(path, "{pattern}")', path="a/" * 1500) is False
    assert time.process_time() - start < 2


def test_constants_are_made_once() -> None:
    class Scope:
        this = "data"

        def __init__(self) -> None:
            self.bound: list[object] = []

        def field(self, name: str) -> str:
            return name

        meta = field

        def bind(self, value: object, hint: str) -> str:
            self.bound.append(value)
            return hint

        def temporary(self) -> str:
            return "t"

    scope = Scope()
    assert parse_expression('bytes > size("64KiB")').render(scope) == "((t := bytes) is not None and t > variable)"
    assert scope.bound == [65536]
    scope = Scope()
    assert parse_expression('lookup(signal, {9: "KILL"})').render(scope) == "lookup(signal, table)"
    assert scope.bound[0] == {9: "KILL"}
    assert parse_expression('lookup(code, {-1: "failed"}, 0)').render(scope) == "lookup(code, table, (0))"


@pytest.mark.parametrize("text", ["lookup(key, {1: [2]})", "lookup(1, {1: [2]})", "sorted([2])"])
def test_a_list_of_constants_is_made_anew_for_each_event(text: str) -> None:
    expression = parse_expression(text)
    first = expression(event({"key": 1}))
    first.append(3)
    assert expression(event({"key": 1})) == [2]


def test_hashes_do_not_change_from_process_to_process() -> None:
    script = "from rx_collector.expressions import parse_expression as p; print(p('hash({\"a\": 1})')(None))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", script.replace("(None)", "(type('E', (), {'data': {}})())")],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
