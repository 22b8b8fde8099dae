"""The kinds of values: what is known of a value before there is one, and what the operators do with each.

A field is of any kind, so that nothing is said of it. What is refused fails for every event.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from enum import Flag, auto
from typing import Any, Final

__all__ = [
    "ANY",
    "ITERABLE",
    "NUMBER",
    "OPERATORS",
    "POSITION",
    "SOMETHING",
    "WHOLE",
    "Kinds",
    "can_be_in",
    "can_be_key",
    "can_be_ordered",
    "in_words",
    "kind_of",
    "pairs",
]


class Kinds(Flag):
    """A set of kinds that a value may be of. `OTHER` is whatever a user's own function may have put into a payload."""

    NULL = auto()
    BOOLEAN = auto()
    INTEGER = auto()
    FLOAT = auto()
    TEXT = auto()
    LIST = auto()
    TUPLE = auto()
    SET = auto()
    OBJECT = auto()
    TIME = auto()
    OTHER = auto()


NONE: Final = Kinds(0)
WHOLE: Final = Kinds.BOOLEAN | Kinds.INTEGER
NUMBER: Final = WHOLE | Kinds.FLOAT
#: Where to begin or to end in a text: a whole number or None.
POSITION: Final = WHOLE | Kinds.NULL
_SEQUENCE: Final = Kinds.TEXT | Kinds.LIST | Kinds.TUPLE
ITERABLE: Final = _SEQUENCE | Kinds.SET | Kinds.OBJECT
ANY: Final = ~NONE
SOMETHING: Final = ANY & ~Kinds.NULL
_UNHASHABLE: Final = Kinds.LIST | Kinds.OBJECT

_WORDS: Final = {
    Kinds.BOOLEAN: "a boolean",
    Kinds.INTEGER: "a number",
    Kinds.FLOAT: "a number",
    Kinds.TEXT: "a text",
    Kinds.LIST: "a list",
    Kinds.TUPLE: "a tuple",
    Kinds.SET: "a set",
    Kinds.OBJECT: "an object",
    Kinds.TIME: "a time",
    Kinds.NULL: "None",
}


def in_words(kinds: Kinds, *, only: bool = False) -> str:
    """Name some kinds, with `only` as what can be taken: numbers stand for the booleans that can be used as one.

    >>> in_words(Kinds.TEXT | Kinds.NULL)
    'a text or None'
    """
    if only and kinds & NUMBER == WHOLE:
        kinds &= ~Kinds.BOOLEAN
        whole = "a whole number"
    else:
        whole = "a number"
    if only and Kinds.INTEGER in kinds:
        kinds &= ~Kinds.BOOLEAN
    words = dict.fromkeys(whole if kind is Kinds.INTEGER else word for kind, word in _WORDS.items() if kind in kinds)
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def kind_of(value: Any) -> Kinds:
    """Give the kind of a value."""
    types: tuple[tuple[Any, Kinds], ...] = (
        (bool, Kinds.BOOLEAN),
        (int, Kinds.INTEGER),
        (float, Kinds.FLOAT),
        (str, Kinds.TEXT),
        (list, Kinds.LIST),
        (tuple, Kinds.TUPLE),
        (set, Kinds.SET),
        (Mapping, Kinds.OBJECT),
        (datetime, Kinds.TIME),
    )
    if value is None:
        return Kinds.NULL
    return next((kind for sort, kind in types if isinstance(value, sort)), Kinds.OTHER)


def pairs(left: Kinds, right: Kinds) -> Iterator[tuple[Kinds, Kinds]]:
    """Give each pair of one kind of each."""
    return ((one, other) for one in left for other in right)


Rule = Callable[[Kinds, Kinds], Kinds]


def _numbers(left: Kinds, right: Kinds) -> Kinds:
    if left in NUMBER and right in NUMBER:
        return Kinds.FLOAT if Kinds.FLOAT in (left, right) else Kinds.INTEGER
    return NONE


def _added(left: Kinds, right: Kinds) -> Kinds:
    return left if left is right and left in _SEQUENCE else _numbers(left, right)


def _subtracted(left: Kinds, right: Kinds) -> Kinds:
    if left is right is Kinds.TIME:
        return Kinds.OTHER
    return Kinds.SET if left is right is Kinds.SET else _numbers(left, right)


def _multiplied(left: Kinds, right: Kinds) -> Kinds:
    if left in _SEQUENCE and right in WHOLE:
        return left
    return right if left in WHOLE and right in _SEQUENCE else _numbers(left, right)


def _divided(left: Kinds, right: Kinds) -> Kinds:
    return Kinds.FLOAT if _numbers(left, right) else NONE


def _raised(left: Kinds, right: Kinds) -> Kinds:
    return ANY if _numbers(left, right) else NONE  # of a negative one it can be complex


def _shifted(left: Kinds, right: Kinds) -> Kinds:
    return Kinds.INTEGER if left in WHOLE and right in WHOLE else NONE


def _bits(left: Kinds, right: Kinds) -> Kinds:
    if left is right and left in Kinds.SET | Kinds.BOOLEAN:
        return left
    return _shifted(left, right)


def _either(left: Kinds, right: Kinds) -> Kinds:
    return left if left is right is Kinds.OBJECT else _bits(left, right)


_TWO_NUMBERS, _TWO_WHOLE = "two numbers", "two whole numbers"
#: By operator: how it is written, what two kinds give (none where it fails), what it takes.
OPERATORS: Final[Mapping[type[ast.AST], tuple[str, Rule, str]]] = {
    ast.Add: ("+", _added, "two numbers, two texts or two lists"),
    ast.Sub: ("-", _subtracted, "two numbers, two times or two sets"),
    ast.Mult: ("*", _multiplied, "two numbers, or a text or list and a whole number"),
    ast.Div: ("/", _divided, _TWO_NUMBERS),
    ast.FloorDiv: ("//", _numbers, _TWO_NUMBERS),
    ast.Mod: ("%", _numbers, _TWO_NUMBERS),
    ast.Pow: ("**", _raised, _TWO_NUMBERS),
    ast.LShift: ("<<", _shifted, _TWO_WHOLE),
    ast.RShift: (">>", _shifted, _TWO_WHOLE),
    ast.BitAnd: ("&", _bits, f"{_TWO_WHOLE} or two sets"),
    ast.BitOr: ("|", _either, f"{_TWO_WHOLE}, two sets or two objects"),
    ast.BitXor: ("^", _bits, f"{_TWO_WHOLE} or two sets"),
}
_ORDERED: Final = _SEQUENCE | Kinds.SET | Kinds.TIME


def can_be_ordered(left: Kinds, right: Kinds) -> bool:
    """Tell whether ``<`` between two of these can succeed; with None it is false, which is no failure."""
    if (left | right) & (Kinds.NULL | Kinds.OTHER):
        return True
    return bool(left & right & _ORDERED) or bool(left & NUMBER and right & NUMBER)


def can_be_in(left: Kinds, right: Kinds) -> bool:
    """Tell whether ``left in right`` can succeed."""
    if right & (Kinds.LIST | Kinds.TUPLE | Kinds.OTHER):
        return True
    if Kinds.TEXT in right and left & (Kinds.TEXT | Kinds.OTHER):
        return True
    if Kinds.SET in right and left & ~_UNHASHABLE:
        return True
    return Kinds.OBJECT in right and bool(left & ~(_UNHASHABLE | Kinds.SET))


def can_be_key(kinds: Kinds) -> bool:
    """Tell whether it can be a key of an object or in a set."""
    return bool(kinds & ~(_UNHASHABLE | Kinds.SET))
