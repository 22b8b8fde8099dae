"""What a format is: a frozen description of how a text becomes the fields of a payload."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from rx_collector.config.options import Choice, Spec
from rx_collector.config.registry import Registry
from rx_collector.errors import ParseError
from rx_collector.event import Origin

__all__ = ["FORMATS", "TYPES", "Format", "TextParser", "convert_types", "format"]

#: Turns one text into fields. None means that the text is no record (a header line). Raises ParseError.
TextParser = Callable[[str, Origin], dict[str, Any] | None]


@dataclass(frozen=True)
class Format(Spec, ABC):
    """The description of a format. `parser` is called once for each subscription, so it may keep state."""

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    #: A whole example for `describe`, in YAML: one item of `operators`.
    example: ClassVar[str] = ""

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


def convert_types(fields: dict[str, Any], types: dict[str, str]) -> dict[str, Any]:
    """Turn the named fields from text into their type, in place. A field that is missing stays missing.

    Raises ParseError for a text that is not of its type.
    """
    for field, kind in types.items():
        text = fields.get(field)
        if text is not None:
            try:
                fields[field] = _CONVERTERS[kind](text)
            except ValueError:
                raise ParseError(f"field {field!r} is not of type {kind}: {text[:80]!r}") from None
    return fields
