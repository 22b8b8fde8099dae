"""An operator in its place: the item of a list of operators, in a pipeline or within another operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rx_collector.config.options import INVALID, Kind, Scope, did_you_mean, nearest
from rx_collector.config.place import place_of
from rx_collector.parsers import FORMATS
from rx_collector.stream.operator import OPERATORS, Operator
from rx_collector.stream.segment import Step

__all__ = ["USE", "OperatorItem", "PlacedOperator", "steps_of", "unknown"]

#: The item that stands for the operators of a template.
USE: Final = "use"


@dataclass(frozen=True)
class PlacedOperator:
    """An operator and where it stands (``exec.yaml:12``).

    `position` is its number where templates are used: ``[1] clean[0]`` is the first operator of the template ``clean``,
    which the second item uses. It is empty where that is the index.
    """

    operator: Operator
    place: str = ""
    position: str = ""


def steps_of(operators: Sequence[PlacedOperator], outer: str = "operators") -> list[Step]:
    """Give the steps of a list of operators, as the ledger names them: ``operators[2] filter``.

    Those of a template have the number of the item that uses it, and their own: ``operators[2] clean[0] filter``.
    """
    prefix = outer.replace(" ", ".")
    positions = [placed.position or f"[{index}]" for index, placed in enumerate(operators)]
    if len(set(positions)) < len(positions):  # the list was changed in Python
        positions = [f"[{index}]" for index in range(len(positions))]
    return [
        Step(placed.operator, f"{prefix}{position} {placed.operator.name}", placed.place)
        for placed, position in zip(operators, positions, strict=True)
    ]


_USED: Final = "use: {no_system: {below: 1000}}"
_USE_SCHEMA: Final = {
    "type": "object",
    "description": "Put the operators of a template in here: its name, or its name with the values of its parameters.",
    "properties": {
        USE: {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "additionalProperties": {"type": ["object", "null"]},
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ]
        }
    },
    "required": [USE],
    "additionalProperties": False,
}


def unknown(sort: str, key: str, hint: str, scope: Scope, example: str = "") -> None:
    """Report a name that no component of a sort has."""
    scope.child(key, example).wrong(f"unknown {sort} {key!r}{hint}", on_key=True)


class OperatorItem(Kind):
    """``{filter: uid > 0}``: one operator by its name."""

    wanted = "an operator such as {filter: uid > 0}"

    def example(self) -> str:
        return "filter: uid > 0"

    @staticmethod
    def known() -> set[str]:
        """Give the names of the operators that can stand in `operators`."""
        return {name for name in OPERATORS if OPERATORS[name].in_yaml}

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, PlacedOperator):
            return value
        if isinstance(value, Operator):
            return PlacedOperator(value)
        scope = scope.like(OPERATORS["filter"].example)
        if isinstance(value, str):
            value = {value: None}
            named = scope  # a bare name: a mistake in it is where the name is
        elif not isinstance(value, Mapping):
            return self._wanted(value, scope)
        else:
            named = scope
        known = self.known() | {USE}
        strange = [key for key in value if key not in known]
        for key in strange:
            near = nearest(key, known)
            if key in FORMATS:
                hint, example = f"; write parse: {{format: {key}}}", FORMATS[key].example
            elif near is not None:
                hint, example = did_you_mean(key, known), _USED if near == USE else OPERATORS[near].example
            else:
                hint, example = "; 'rx-collector list' shows what there is", ""
            unknown("operator", key, hint, scope, example)
        if strange:
            return INVALID
        if len(value) != 1:
            keys = ", ".join(value) or "none"
            return scope.wrong(f"one operator is wanted in each item, not {len(value)} ({keys}); begin each with '- '")
        ((name, options),) = value.items()
        if name == USE:
            return scope.wrong("a template can be used in a file only")
        made = OPERATORS[name].from_value(options, named.child(name, OPERATORS[name].example))
        if made is INVALID:
            return INVALID
        position = scope.document.position(scope.path) if scope.document is not None else ""
        return PlacedOperator(made, place_of(scope.child(name)), position)

    def schema(self) -> dict[str, Any]:
        forms: list[dict[str, Any]] = []
        for name in sorted(self.known()):
            component = OPERATORS[name]
            forms.append(
                {
                    "type": "object",
                    "description": component.summary,
                    "properties": {name: component.schema()},
                    "required": [name],
                    "additionalProperties": False,
                }
            )
        return {"anyOf": [*forms, _USE_SCHEMA]}
