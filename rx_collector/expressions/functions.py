"""What an expression may call, and the operations that need a guard.

The author of a pipeline is trusted with its text, but the values come from anywhere: no value, and no slip of the author,
may make one evaluation take gigabytes or minutes. So what multiplies, pads, joins or raises to a power goes through
functions that refuse a result beyond `MOST_TEXT` characters or `MOST_BITS` bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rx_collector.event import Event
from rx_collector.expressions.encodings import ENCODING_FUNCTIONS, PATH_FUNCTIONS
from rx_collector.expressions.function import MOST_TEXT, Function
from rx_collector.expressions.kinds import ANY, ITERABLE, NUMBER, POSITION, SOMETHING, WHOLE, Kinds
from rx_collector.expressions.patterns import PATTERN_FUNCTIONS
from rx_collector.expressions.times import TIME_FUNCTIONS

__all__ = ["FUNCTIONS", "GROUPS", "GUARDED_METHODS", "METHODS", "Function", "Method", "item", "member", "slice_of"]

MOST_ITEMS: Final = 10_000_000
MOST_BITS: Final = 4096


# Operators


def multiply(left: Any, right: Any) -> Any:
    """``left * right``, bounded."""
    if left.__class__ is int and right.__class__ is int:
        if left.bit_length() + right.bit_length() > MOST_BITS:
            raise OverflowError("the number is too large")
        return left * right
    for value, times in ((left, right), (right, left)):
        if isinstance(value, str | list | tuple) and isinstance(times, int) and len(value) * times > MOST_ITEMS:
            raise OverflowError("the repeated text or list is too long")
    return left * right


def modulo(left: Any, right: Any) -> Any:
    """``left % right`` of numbers; a text is no format here."""
    if isinstance(left, str):
        raise TypeError("% takes numbers; an f-string puts values into a text")
    return left % right


def power(left: Any, right: Any) -> Any:
    """``left ** right``, bounded."""
    if isinstance(left, int) and isinstance(right, int) and right > 0 and left.bit_length() * right > MOST_BITS:
        raise OverflowError("the number is too large")
    return left**right


def shift_left(left: Any, right: Any) -> Any:
    """``left << right``, bounded."""
    if isinstance(left, int) and isinstance(right, int) and right + left.bit_length() > MOST_BITS:
        raise OverflowError("the number is too large")
    return left << right


# Navigation


def member(value: Any, name: str) -> Any:
    """``value.name``: a field of an object, None where there is none."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return value.get(name)
    if isinstance(value, Event):
        return value[name]
    raise TypeError(f"no field {name!r}: the value is not an object but a {type(value).__name__}")


def item(value: Any, key: Any) -> Any:
    """``value[key]``: None where there is none."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return value.get(key)
    if isinstance(value, Event):
        return value[key]
    if isinstance(value, list | tuple | str):
        try:
            return value[key]
        except IndexError:
            return None
    raise TypeError(f"a {type(value).__name__} has no items")


def slice_of(value: Any, start: Any, stop: Any, step: Any) -> Any:
    """``value[start:stop:step]``, None for None."""
    return None if value is None else value[start:stop:step]


# Functions


def _round(number: Any, digits: Any = None) -> Any:
    if digits is not None and not -100 <= digits <= 100:
        raise OverflowError("that many digits cannot be rounded to")
    return round(number, digits)


def _type_of(value: Any) -> str:
    for types, name in ((bool, "boolean"), ((int, float), "number"), (str, "string"), (Mapping, "object")):
        if isinstance(value, types):
            return name
    if value is None:
        return "null"
    return "list" if isinstance(value, list | tuple) else type(value).__name__


def _default(value: Any, other: Any) -> Any:
    return other if value is None else value


def _coalesce(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _integer(value: Any, base: Any = None) -> int:
    return int(value) if base is None else int(value, base)


def _lookup(key: Any, table: Any, other: Any = None) -> Any:
    if not isinstance(table, Mapping):
        raise TypeError(f"lookup looks into an object, not into a {type(table).__name__}")
    return table.get(key, other)


_TRUTH: Final = Kinds.BOOLEAN
_CONVERTED: Final = NUMBER | Kinds.TEXT

#: By name, in groups that belong together.
GROUPS: Final[Mapping[str, Mapping[str, Function]]] = {
    "Values that may be missing": {
        "default": Function(_default, 2, 2, "a value, or another where it is missing", ("default(None, 7)", 7)),
        "coalesce": Function(_coalesce, 1, None, "the first value that is there", ('coalesce(None, "a", "b")', "a")),
        "exists": Function(
            lambda value: value is not None, 1, 1, "whether a value is there", ("exists(0)", True), gives=_TRUTH
        ),
        "lookup": Function(
            _lookup,
            2,
            3,
            "what an object has for a key, or another value (None) where it has nothing",
            ('lookup(9, {9: "KILL", 15: "TERM"}, "other")', "KILL"),
            takes=(ANY, Kinds.OBJECT, ANY),
        ),
        "type_of": Function(
            _type_of,
            1,
            1,
            "string, number, boolean, null, list or object",
            ("type_of(1.5)", "number"),
            gives=Kinds.TEXT,
        ),
        "bool": Function(bool, 1, 1, "whether a value is true", ('bool("")', False), gives=_TRUTH),
    },
    "Numbers": {
        "int": Function(
            _integer,
            1,
            2,
            "a text or number as a whole number, with an optional base",
            ('int("ff", 16)', 255),
            takes=(_CONVERTED, POSITION),
            gives=Kinds.INTEGER,
        ),
        "float": Function(
            float,
            1,
            1,
            "a text or number as a number",
            ('float("1.5")', 1.5),
            takes=(_CONVERTED,),
            gives=Kinds.FLOAT,
        ),
        "abs": Function(abs, 1, 1, "a number without its sign", ("abs(-3)", 3), takes=(NUMBER,), gives=SOMETHING),
        "round": Function(
            _round,
            1,
            2,
            "a number rounded to so many digits",
            ("round(2.345, 1)", 2.3),
            takes=(NUMBER, POSITION),
            gives=SOMETHING,
        ),
        "min": Function(min, 1, None, "the least of some values or of a list", ("min(3, 1, 2)", 1), gives=SOMETHING),
        "max": Function(
            max, 1, None, "the greatest of some values or of a list", ("max([3, 1, 2])", 3), gives=SOMETHING
        ),
        "sum": Function(
            sum,
            1,
            1,
            "the sum of a list of numbers",
            ("sum([1, 2, 3])", 6),
            takes=(ITERABLE,),
            gives=SOMETHING,
        ),
        "hex": Function(hex, 1, 1, "a whole number in base 16", ("hex(255)", "0xff"), takes=(WHOLE,), gives=Kinds.TEXT),
    },
    "Texts, lists and objects": {
        "str": Function(str, 1, 1, "a value as a text", ("str(5)", "5"), gives=Kinds.TEXT),
        "len": Function(
            len,
            1,
            1,
            "the length of a text, list or object",
            ('len("abc")', 3),
            takes=(ITERABLE,),
            gives=Kinds.INTEGER,
        ),
        "contains": Function(
            lambda whole, part: whole is not None and part in whole,
            2,
            2,
            "whether a part is in a whole; in None there is nothing",
            ('contains("abc", "b")', True),
            takes=(ITERABLE | Kinds.NULL, ANY),
            gives=_TRUTH,
        ),
        "sorted": Function(
            sorted, 1, 1, "a list in order", ("sorted([3, 1, 2])", [1, 2, 3]), takes=(ITERABLE,), gives=Kinds.LIST
        ),
        "any": Function(
            any, 1, 1, "whether any item of a list is true", ("any([0, 1])", True), takes=(ITERABLE,), gives=_TRUTH
        ),
        "all": Function(
            all, 1, 1, "whether all items of a list are true", ("all([0, 1])", False), takes=(ITERABLE,), gives=_TRUTH
        ),
        "list": Function(
            list,
            0,
            1,
            "the items of a value as a list",
            ('list("ab")', ["a", "b"]),
            takes=(ITERABLE,),
            gives=Kinds.LIST,
        ),
        "dict": Function(
            dict,
            0,
            1,
            "an object, or a copy of one",
            ('dict([["a", 1]])', {"a": 1}),
            takes=(ITERABLE,),
            gives=Kinds.OBJECT,
        ),
    },
    "Patterns": PATTERN_FUNCTIONS,
    "Times, durations and sizes": TIME_FUNCTIONS,
    "Paths and URLs": PATH_FUNCTIONS,
    "Digests and encoded texts": ENCODING_FUNCTIONS,
}
#: What may be called, by name.
FUNCTIONS: Final[Mapping[str, Function]] = {name: one for group in GROUPS.values() for name, one in group.items()}


# Methods


@dataclass(frozen=True)
class Method:
    """A method that may be called on values `of` some kinds, with `least` to `most` arguments.

    `takes` says what each argument is when it is called on a text. `example` is a call and what it gives.
    """

    least: int
    most: int
    doc: str
    example: tuple[str, Any]
    takes: tuple[Kinds, ...] = ()
    gives: Kinds = Kinds.TEXT
    of: Kinds = Kinds.TEXT

    @property
    def gives_none(self) -> bool:
        """Whether it can give None."""
        return Kinds.NULL in self.gives


_PLACED: Final = (Kinds.TEXT, POSITION, POSITION)
_ENDS: Final = (Kinds.TEXT | Kinds.TUPLE, POSITION, POSITION)
_STRIPPED: Final = (Kinds.TEXT | Kinds.NULL,)
_SPLIT: Final = (Kinds.TEXT | Kinds.NULL, WHOLE)
_PADDED: Final = (WHOLE, Kinds.TEXT)
_ANY_SEQUENCE: Final = Kinds.TEXT | Kinds.LIST | Kinds.TUPLE


def _in_case(doc: str, example: str, given: str) -> Method:
    return Method(0, 0, doc, (example, given))


def _is(doc: str, example: str) -> Method:
    return Method(0, 0, f"whether a text is not empty and has only {doc}", (example, True), gives=Kinds.BOOLEAN)


METHODS: Final[Mapping[str, Method]] = {
    "startswith": Method(
        1, 3, "whether a text begins with another", ('"eth0".startswith("eth")', True), _ENDS, Kinds.BOOLEAN
    ),
    "endswith": Method(
        1, 3, "whether a text ends with another", ('"a.py".endswith((".py", ".c"))', True), _ENDS, Kinds.BOOLEAN
    ),
    "find": Method(1, 3, "where a text has another first, or -1", ('"abc".find("c")', 2), _PLACED, Kinds.INTEGER),
    "rfind": Method(1, 3, "where a text has another last, or -1", ('"aba".rfind("a")', 2), _PLACED, Kinds.INTEGER),
    "index": Method(
        1,
        3,
        "where a value has a part first; it must have it",
        ("[5, 6].index(6)", 1),
        _PLACED,
        Kinds.INTEGER,
        _ANY_SEQUENCE,
    ),
    "count": Method(
        1, 3, "how often a value has a part", ('"abab".count("a")', 2), _PLACED, Kinds.INTEGER, _ANY_SEQUENCE
    ),
    "lower": _in_case("a text in small letters", '"Ab".lower()', "ab"),
    "upper": _in_case("a text in capital letters", '"Ab".upper()', "AB"),
    "casefold": _in_case("a text for comparing without case", '"Straße".casefold()', "strasse"),
    "title": _in_case("a text with a capital letter in each word", '"a bc".title()', "A Bc"),
    "capitalize": _in_case("a text with one capital letter", '"aBC".capitalize()', "Abc"),
    "isdigit": _is("digits", '"12".isdigit()'),
    "isalpha": _is("letters", '"ab".isalpha()'),
    "isalnum": _is("letters and digits", '"a1".isalnum()'),
    "isnumeric": _is("numeric characters", '"½".isnumeric()'),
    "isspace": _is("white space", '" ".isspace()'),
    "isupper": _is("capitals as letters", '"A1".isupper()'),
    "islower": _is("small letters as letters", '"a1".islower()'),
    "isascii": Method(0, 0, "whether a text is plain ASCII", ('"é".isascii()', False), gives=Kinds.BOOLEAN),
    "strip": Method(
        0, 1, "a text without white space, or some characters, at its ends", ('" a ".strip()', "a"), _STRIPPED
    ),
    "lstrip": Method(0, 1, "the same at the beginning", ('"xxa".lstrip("x")', "a"), _STRIPPED),
    "rstrip": Method(0, 1, "the same at the end", ('"axx".rstrip("x")', "a"), _STRIPPED),
    "removeprefix": Method(
        1, 1, "a text without what it begins with", ('"v1.2".removeprefix("v")', "1.2"), (Kinds.TEXT,)
    ),
    "removesuffix": Method(
        1, 1, "a text without what it ends with", ('"a.py".removesuffix(".py")', "a"), (Kinds.TEXT,)
    ),
    "replace": Method(
        2,
        3,
        "a text with another for each part that is the same, at most so often",
        ('"a-b".replace("-", "+")', "a+b"),
        (Kinds.TEXT, Kinds.TEXT, WHOLE),
    ),
    "split": Method(
        0,
        2,
        "the parts between separators (white space), cut at most so often",
        ('"a,b".split(",")', ["a", "b"]),
        _SPLIT,
        Kinds.LIST,
    ),
    "rsplit": Method(0, 2, "the same from the end", ('"a,b,c".rsplit(",", 1)', ["a,b", "c"]), _SPLIT, Kinds.LIST),
    "splitlines": Method(0, 1, "the lines of a text", (r'"a\nb".splitlines()', ["a", "b"]), gives=Kinds.LIST),
    "partition": Method(
        1, 1, "before, the first separator, after", ('"a=b".partition("=")[2]', "b"), (Kinds.TEXT,), Kinds.TUPLE
    ),
    "rpartition": Method(
        1, 1, "before, the last separator, after", ('"/a/b".rpartition("/")[0]', "/a"), (Kinds.TEXT,), Kinds.TUPLE
    ),
    "join": Method(1, 1, "texts in one, with this one between them", ('"-".join(["a", "b"])', "a-b"), (ITERABLE,)),
    "zfill": Method(1, 1, "a text of digits with zeros before it", ('"7".zfill(3)', "007"), (WHOLE,)),
    "ljust": Method(1, 2, "a text filled up to a width", ('"a".ljust(3, ".")', "a.."), _PADDED),
    "rjust": Method(1, 2, "a text filled up in front of it", ('"a".rjust(3, ".")', "..a"), _PADDED),
    "center": Method(1, 2, "a text filled up on both sides", ('"a".center(3, ".")', ".a."), _PADDED),
    "keys": Method(0, 0, "the keys of an object", ('{"a": 1}.keys()', ["a"]), gives=Kinds.LIST, of=Kinds.OBJECT),
    "values": Method(0, 0, "the values of an object", ('{"a": 1}.values()', [1]), gives=Kinds.LIST, of=Kinds.OBJECT),
    "items": Method(
        0, 0, "the keys and values of an object", ('{"a": 1}.items()', [["a", 1]]), gives=Kinds.LIST, of=Kinds.OBJECT
    ),
    "get": Method(
        1,
        2,
        "what an object has for a key, or another value (None)",
        ('{"a": 1}.get("b", 0)', 0),
        gives=ANY,
        of=Kinds.OBJECT,
    ),
}


def _text(value: Any, method: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{method} is for texts, not for a {type(value).__name__}")
    return value


def _join(separator: Any, parts: Any) -> str:
    parts = list(parts)
    text = _text(separator, "join")
    if len(text) * len(parts) + sum(map(len, parts)) > MOST_TEXT:
        raise OverflowError("the joined text is too long")
    return text.join(parts)


def _replace(value: Any, old: Any, new: Any, count: int = -1) -> str:
    text = _text(value, "replace")
    found = text.count(old)
    if len(text) + found * max(0, len(new) - len(old)) > MOST_TEXT:
        raise OverflowError("the text is too long")
    return text.replace(old, new, count)


def _padded(name: str) -> Callable[..., str]:
    def pad(value: Any, width: int, *fill: str) -> str:
        if width > MOST_TEXT // 64:
            raise OverflowError("the text is too long")
        return getattr(_text(value, name), name)(width, *fill)  # type: ignore[no-any-return]

    pad.__name__ = name
    return pad


def _listed(name: str) -> Callable[[Any], list[Any]]:
    def give(value: Any) -> list[Any]:
        if not isinstance(value, Mapping):
            raise TypeError(f"{name} is for objects, not for a {type(value).__name__}")
        return [list(pair) if name == "items" else pair for pair in getattr(value, name)()]

    give.__name__ = name
    return give


def _get(value: Any, key: Any, default: Any = None) -> Any:
    if not isinstance(value, Mapping):
        raise TypeError(f"get is for objects, not for a {type(value).__name__}")
    return value.get(key, default)


#: Methods that are called through a function of ours.
GUARDED_METHODS: Final[Mapping[str, Callable[..., Any]]] = {
    "join": _join,
    "replace": _replace,
    "get": _get,
    **{name: _padded(name) for name in ("ljust", "rjust", "center", "zfill")},
    **{name: _listed(name) for name in ("keys", "values", "items")},
}
