"""What an expression may call, and the operations that need a guard.

The author of a pipeline is trusted with its text, but the values come from anywhere: no value, and no slip of the author,
may make one evaluation take gigabytes or minutes. So what multiplies, pads, joins or raises to a power goes through
functions that refuse a result beyond `MOST_TEXT` characters or `MOST_BITS` bits.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rx_collector.event import Event, encode_json

__all__ = ["FUNCTIONS", "GUARDED_METHODS", "METHODS", "Function", "Method", "item", "member", "slice_of"]

MOST_TEXT: Final = 64 * 2**20
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
    if isinstance(right, int) and right + left.bit_length() > MOST_BITS:
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


@dataclass(frozen=True)
class Function:
    """A function that may be called: how many arguments it takes, and whether it can give None."""

    call: Callable[..., Any]
    least: int
    most: int | None
    doc: str
    gives_none: bool = False


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


def _matches(text: Any, pattern: re.Pattern[str]) -> bool:
    return text is not None and pattern.search(text) is not None


def _extract(text: Any, pattern: re.Pattern[str]) -> Any:
    match = None if text is None else pattern.search(text)
    if match is None:
        return None
    return match.groupdict() or (match[1] if pattern.groups else match[0])


def _basename(path: Any) -> Any:
    return None if path is None else os.path.basename(path)


def _dirname(path: Any) -> Any:
    return None if path is None else os.path.dirname(path)


def _json(value: Any) -> str:
    return encode_json(value).decode()


def _integer(value: Any, base: Any = None) -> int:
    return int(value) if base is None else int(value, base)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "len": Function(len, 1, 1, "the length of a text, list or object"),
    "str": Function(str, 1, 1, "a value as a text"),
    "int": Function(_integer, 1, 2, "a text or number as a whole number, with an optional base"),
    "float": Function(float, 1, 1, "a text or number as a number"),
    "bool": Function(bool, 1, 1, "whether a value is true"),
    "abs": Function(abs, 1, 1, "a number without its sign"),
    "min": Function(min, 1, None, "the least of some values or of a list"),
    "max": Function(max, 1, None, "the greatest of some values or of a list"),
    "round": Function(_round, 1, 2, "a number rounded to so many digits"),
    "sum": Function(sum, 1, 1, "the sum of a list of numbers"),
    "sorted": Function(sorted, 1, 1, "a list in order"),
    "any": Function(any, 1, 1, "whether any item of a list is true"),
    "all": Function(all, 1, 1, "whether all items of a list are true"),
    "list": Function(list, 0, 1, "the items of a value as a list"),
    "dict": Function(dict, 0, 1, "an object, or a copy of one"),
    "hex": Function(hex, 1, 1, "a whole number in base 16"),
    "type_of": Function(_type_of, 1, 1, "string, number, boolean, null, list or object"),
    "exists": Function(lambda value: value is not None, 1, 1, "whether a value is there"),
    "default": Function(_default, 2, 2, "a value, or another where it is missing", True),
    "coalesce": Function(_coalesce, 1, None, "the first value that is there", True),
    "matches": Function(_matches, 2, 2, "whether a regular expression is found in a text"),
    "extract": Function(_extract, 2, 2, "the groups of a regular expression found in a text", True),
    "basename": Function(_basename, 1, 1, "the last part of a path", True),
    "dirname": Function(_dirname, 1, 1, "a path without its last part", True),
    "json": Function(_json, 1, 1, "a value as JSON text"),
    "contains": Function(lambda whole, part: whole is not None and part in whole, 2, 2, "whether a part is in a whole"),
}

#: Functions whose second argument is a constant regular expression.
PATTERN_FUNCTIONS: Final = frozenset({"matches", "extract"})


# Methods


@dataclass(frozen=True)
class Method:
    """A method that may be called: how many arguments it takes, and whether it can give None."""

    least: int
    most: int
    gives_none: bool = False


METHODS: Final[Mapping[str, Method]] = {
    **{name: Method(1, 3) for name in ("startswith", "endswith", "find", "rfind", "index", "count")},
    **{
        name: Method(0, 0)
        for name in (
            *("lower", "upper", "casefold", "title", "capitalize", "isdigit", "isalpha", "isalnum", "isnumeric"),
            *("isspace", "isupper", "islower", "isascii", "keys", "values", "items"),
        )
    },
    **{name: Method(0, 1) for name in ("strip", "lstrip", "rstrip", "splitlines")},
    **{name: Method(0, 2) for name in ("split", "rsplit")},
    **{name: Method(1, 1) for name in ("partition", "rpartition", "removeprefix", "removesuffix", "join", "zfill")},
    **{name: Method(1, 2) for name in ("ljust", "rjust", "center")},
    "replace": Method(2, 3),
    "get": Method(1, 2, True),
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
