"""key_value: separators, quotes, types and nulls."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rx_collector.errors import ParseError
from rx_collector.parsers.key_value import KeyValue
from tests.events import ORIGIN
from tests.parsers.reading import errors, parsed

AUDIT = 'type=EXECVE msg=audit(1364481363.243:24287): argc=2 comm="my cat" exe="/bin/cat" key=(null) DF'
CASES: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    (
        {"types": {"argc": "int"}, "nulls": ["(null)"]},
        AUDIT,
        {
            "type": "EXECVE",
            "msg": "audit(1364481363.243:24287):",
            "argc": 2,
            "comm": "my cat",
            "exe": "/bin/cat",
            "key": None,
            "DF": True,
        },
    ),
    ({}, "  a=1\tb=  c=x=y ", {"a": "1", "b": "", "c": "x=y"}),
    ({}, "a=1 a=2", {"a": "2"}),
    (
        {},
        'a=\'it is "up"\' b="don\'t \\"stop\\"\\\\" c=un"quoted"',
        {"a": 'it is "up"', "b": 'don\'t "stop"\\', "c": 'un"quoted"'},
    ),
    (
        {"pair_separator": ";", "value_separator": ":"},
        "a: 1; b : 'x; y:z' ;; c; d:",
        {"a": "1", "b": "x; y:z", "c": True, "d": ""},
    ),
    ({"pair_separator": ", ", "value_separator": " -> "}, "a -> 1, b c -> d e", {"a": "1", "b c": "d e"}),
    ({"pair_separator": "|", "quotes": ""}, "a='1|b=2'", {"a": "'1", "b": "2'"}),
    ({"pair_separator": ";;"}, "a=1;;;b='2;;'", {"a": "1", ";b": "2;;"}),
    ({"quotes": "`"}, "a=`x y` b='z", {"a": "x y", "b": "'z"}),
    ({"types": {"on": "boolean"}}, "on a=1", {"on": True, "a": "1"}),
]
BAD: list[tuple[dict[str, Any], str, str]] = [
    ({}, "", "there is no '=' in it"),
    ({}, "only words", "there is no '=' in it"),
    ({}, "a=1 =2", "there is no key before '=2'"),
    ({}, "a='1' =2", "there is no key before '=2'"),
    ({}, 'a="open b=1', "the quote at column 3 is not closed"),
    ({}, "a='x'y", "column 6: a blank is wanted behind the quote"),
    ({"pair_separator": ","}, "a='x' y, b=1", "column 7: ',' is wanted behind the quote"),
    ({"types": {"a": "int"}}, "a=x", "field 'a' is not of type int: 'x'"),
    ({"types": {"a": "int"}}, "a b=1", "field 'a' has no value"),
]


@pytest.mark.parametrize(("options", "line", "data"), CASES)
def test_good(options: dict[str, Any], line: str, data: Any) -> None:
    assert parsed("key_value", [line], **options).data == [data]


@pytest.mark.parametrize(("options", "line", "error"), BAD)
def test_bad(options: dict[str, Any], line: str, error: str) -> None:
    assert errors(parsed("key_value", [line], **options)) == [error]


@example("a= a", None, "=")
@given(st.text(st.sampled_from("ab=: ;\t\\,")), st.sampled_from([None, ";", ", "]), st.sampled_from(["=", ":"]))
def test_a_quote_elsewhere_changes_nothing(text: str, pair_separator: str | None, value_separator: str) -> None:
    """Lines without quotes are read in another way, which is faster; both must agree."""
    parser = KeyValue(pair_separator=pair_separator, value_separator=value_separator).parser()

    def read(line: str) -> Any:
        try:
            return parser(line, ORIGIN)
        except ParseError as error:
            return "no key" if "no key" in str(error) else "no pair"

    plain = read(text)
    quoted = read(f"{text}{pair_separator or ' '}z{value_separator}''")
    if plain == "no pair":
        assert set(quoted) - {"z"} == {key.strip() for key in text.split(pair_separator) if key.strip()}
    else:
        assert quoted == (plain if isinstance(plain, str) else {**plain, "z": ""})
