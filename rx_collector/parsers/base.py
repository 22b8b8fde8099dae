"""What a format is: a frozen description of how a text becomes the fields of a payload."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from rx_collector.config.options import TEXT, Choice, ListOf, Spec, described, option
from rx_collector.config.registry import Registry
from rx_collector.errors import ParseError
from rx_collector.event import Origin

__all__ = [
    "FORMATS",
    "TYPES",
    "Format",
    "OfIncarnation",
    "TextParser",
    "convert_types",
    "each_once",
    "format",
    "null_texts",
    "wrong_number",
]

#: Turns one text into fields. None means that the text is no record (a header line). Where the format says `several`, it
#: gives a list of records, which may be empty. Raises ParseError.
TextParser = Callable[[str, Origin], dict[str, Any] | list[dict[str, Any]] | None]


@described
class Format(Spec, ABC):
    """The description of a format. `parser` is called once for each subscription, so it may keep state.

    What it keeps must have a bound: by what is declared, or by an option with a default.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    #: A whole example for `describe`, in YAML: one item of `operators`.
    example: ClassVar[str] = ""
    #: True where one text can hold several records: the parser gives a list of them then, an empty one for no record.
    several: ClassVar[bool] = False
    #: Whether its parser makes of a text what it makes of it, whatever came before. It may depend on the options.
    independent = False

    @abstractmethod
    def parser(self) -> TextParser:
        """Make a new parser."""


FORMATS: Registry[Format] = Registry("format")
F = TypeVar("F", bound=Format)


def format(name: str, *, summary: str, example: str) -> Callable[[type[F]], type[F]]:
    """Register a format under its name."""

    def register(component: type[F]) -> type[F]:
        component.name, component.summary, component.example = name, summary, example
        FORMATS.add(name, component)
        return component

    return register


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "yes", "1", "on"):
        return True
    if text.lower() in ("false", "no", "0", "off"):
        return False
    raise ValueError(f"{text!r} is not a boolean")


_CONVERTERS: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "boolean": _boolean, "text": str}
#: What a field of a text format can be turned into.
TYPES = Choice(*_CONVERTERS)


def null_texts() -> Any:
    """Declare the option ``nulls``."""
    return option(ListOf(TEXT), "The texts that mean that there is no value; a field that holds one is null.", ())


def convert_types(fields: dict[str, Any], types: dict[str, str], nulls: Collection[str] = ()) -> dict[str, Any]:
    """Turn the named fields from text into their type, in place. A field that is missing stays missing.

    Where a text is one of `nulls` its field becomes None before that. Raises ParseError for a text that is not of its
    type.

    >>> convert_types({"pid": "7", "tty": "-"}, {"pid": "int"}, ["-"])
    {'pid': 7, 'tty': None}
    """
    if nulls:
        for field, text in fields.items():
            if text in nulls:
                fields[field] = None
    for field, kind in types.items():
        text = fields.get(field)
        if text is True and kind == "boolean":  # a key that stands alone
            continue
        if text is not None:
            try:
                fields[field] = _CONVERTERS[kind](text) if text is not True else _valueless(field)
            except ValueError:
                raise ParseError(f"field {field!r} is not of type {kind}: {text[:80]!r}") from None
    return fields


def _valueless(field: str) -> Any:
    raise ParseError(f"field {field!r} has no value")


def wrong_number(wanted: int, found: int) -> ParseError:
    """Give the error of a line that has not as many columns as there are names."""
    return ParseError(f"{wanted} {'columns are' if wanted != 1 else 'column is'} wanted, the line has {found}")


def each_once(names: Sequence[str]) -> list[str]:
    """Number the names that stand there again, so that each is the name of one field.

    >>> each_once(["a", "b", "a"])
    ['a', 'b', 'a_2']
    """
    numbers: dict[str, int] = {}
    once: dict[str, None] = {}
    for name in names:
        new = name
        while new in once:
            numbers[name] = numbers.get(name, 1) + 1
            new = f"{name}_{numbers[name]}"
        once[new] = None
    return [*once]


S = TypeVar("S")


class OfIncarnation(Generic[S]):
    """What a parser keeps for the incarnation of each runner whose lines it gets: nothing outlives its incarnation."""

    def __init__(self, make: Callable[[], S]) -> None:
        self._make = make
        self._states: dict[str, tuple[int, S]] = {}

    def __call__(self, origin: Origin) -> S:
        """Give what is kept for the incarnation that printed a line."""
        number, state = self._states.get(origin.runner) or (0, None)
        if number != origin.incarnation or state is None:
            state = self._make()
            self._states[origin.runner] = (origin.incarnation, state)
        return state
