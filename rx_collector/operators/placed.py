"""An operator in its place: the item of a list of operators, in a pipeline or within another operator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rx_collector.config.options import INVALID, REQUIRED, Kind, Scope, did_you_mean, nearest
from rx_collector.config.place import place_of
from rx_collector.config.schemas import with_references
from rx_collector.parsers import FORMATS
from rx_collector.stream.operator import OPERATORS, Operator, PlacedOperator
from rx_collector.stream.segment import Step

__all__ = ["USE", "OperatorItem", "PlacedOperator", "all_steps_of", "definitions", "steps_of", "unknown"]

#: The item that stands for the operators of a template.
USE: Final = "use"


def steps_of(operators: Sequence[PlacedOperator], outer: str = "operators") -> list[Step]:
    """Give the steps of a list of operators, as the ledger names them: ``operators[2] group_by``.

    Those within an operator, whose own name is `outer`, are named ``operators[2].group_by[0] limit``. Those of a template
    have the number of the item that uses it, and their own: ``operators[2] clean[0] filter``.
    """
    prefix = outer.replace(" ", ".")
    positions = [placed.position or f"[{index}]" for index, placed in enumerate(operators)]
    if len(set(positions)) < len(positions):  # the list was changed in Python
        positions = [f"[{index}]" for index in range(len(positions))]
    return [
        Step(placed.operator, f"{prefix}{position} {placed.operator.name}", placed.place)
        for placed, position in zip(operators, positions, strict=True)
    ]


def all_steps_of(operators: Sequence[PlacedOperator], outer: str = "operators") -> Iterator[tuple[Step, int]]:
    """Give the same with all operators within others, each behind its own and with its depth: the order of the ledger."""
    for step in steps_of(operators, outer):
        yield step, 0
        for inner, depth in all_steps_of(step.operator.within, step.label):
            yield inner, depth + 1


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

    def __init__(self, *, within: str = "") -> None:
        """`within` is the operator that has it for each of its groups."""
        self._within = within

    def example(self) -> str:
        return "filter: uid > 0"

    @staticmethod
    def known() -> set[str]:
        """Give the names of the operators that can stand in `operators`."""
        return {name for name in OPERATORS if OPERATORS[name].in_yaml}

    @staticmethod
    def _is_known(name: str) -> bool:
        component = OPERATORS.get(name)
        return component is not None and component.in_yaml

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, PlacedOperator):
            return value
        if isinstance(value, Operator):
            return PlacedOperator(value) if self._fits(type(value), scope) else INVALID
        scope = scope.like(OPERATORS["filter"].example)
        if isinstance(value, str):
            value = {value: None}
            named = scope  # a bare name: a mistake in it is where the name is
        elif not isinstance(value, Mapping):
            return self._wanted(value, scope)
        else:
            named = scope
        strange = [key for key in value if key != USE and not self._is_known(key)]
        for key in strange:
            known = self.known() | {USE}
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
        if not self._fits(OPERATORS[name], scope.child(name)):
            return INVALID
        made = OPERATORS[name].from_value(options, named.child(name, OPERATORS[name].example))
        if made is INVALID:
            return INVALID
        position = scope.document.position(scope.path) if scope.document is not None else ""
        return PlacedOperator(made, place_of(scope.child(name)), position)

    def _fits(self, component: type[Operator], scope: Scope) -> bool:
        if not self._within or component.in_groups:
            return True
        scope.wrong(f"{component.name!r} cannot stand in a {self._within}; put it before or behind", on_key=True)
        return False

    def schema(self) -> dict[str, Any]:
        return {"$ref": f"#/$defs/{self._definition}"}

    @property
    def _definition(self) -> str:
        return f"operator_in_{self._within}" if self._within else "operator"

    def definition(self) -> dict[str, Any]:
        """Give the JSON Schema that `schema` refers to."""
        names = [name for name in sorted(self.known()) if OPERATORS[name].in_groups or not self._within]
        bare = [
            name for name in names if all(field.default is not REQUIRED for field in OPERATORS[name].options().values())
        ]
        forms: list[dict[str, Any]] = [{"enum": bare, "description": "An operator that needs no options, by its name."}]
        for name in names:
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


def definitions() -> dict[str, Any]:
    """Give the ``$defs`` of a JSON Schema in which operators stand."""
    kinds = [OperatorItem(), OperatorItem(within="group_by")]
    found = {}
    for kind in kinds:
        for schema, definition in (
            (kind.schema(), kind.definition()),
            (with_references(kind.schema()), with_references(kind.definition())),
        ):
            found[schema["$ref"].rpartition("/")[2]] = definition
    return found
