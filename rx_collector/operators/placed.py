"""An operator in its place: the item of a list of operators, in a pipeline or within another operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rx_collector.config.options import INVALID, Kind, Scope, did_you_mean, nearest
from rx_collector.config.place import place_of
from rx_collector.parsers import FORMATS
from rx_collector.stream.operator import OPERATORS, Operator

__all__ = ["OperatorItem", "PlacedOperator", "unknown"]


@dataclass(frozen=True)
class PlacedOperator:
    """An operator and where it stands (``exec.yaml:12``)."""

    operator: Operator
    place: str = ""


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
        known = self.known()
        strange = [key for key in value if key not in known]
        for key in strange:
            near = nearest(key, known)
            if key in FORMATS:
                hint, example = f"; write parse: {{format: {key}}}", FORMATS[key].example
            elif near is not None:
                hint, example = did_you_mean(key, known), OPERATORS[near].example
            else:
                hint, example = "; 'rx-collector list' shows what there is", ""
            unknown("operator", key, hint, scope, example)
        if strange:
            return INVALID
        if len(value) != 1:
            keys = ", ".join(value) or "none"
            return scope.wrong(f"one operator is wanted in each item, not {len(value)} ({keys}); begin each with '- '")
        ((name, options),) = value.items()
        made = OPERATORS[name].from_value(options, named.child(name, OPERATORS[name].example))
        return INVALID if made is INVALID else PlacedOperator(made, place_of(scope.child(name)))

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
        return {"anyOf": forms}
