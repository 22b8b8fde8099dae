"""Changes to JSON Schemas: of what is written in part, and of what parameters can stand in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = ["in_part", "with_references"]

_REFERENCE: Final = {"type": "string", "pattern": r"^\$\{\w+\}$"}


def in_part(schema: dict[str, Any]) -> dict[str, Any]:
    """Give the schema of what is laid over a value: no key has to be there, and null takes one away.

    A list takes the place of another one, so its items are whole.

    >>> in_part({"type": "object", "properties": {"cwd": {"type": "string"}}, "required": ["cwd"]})
    {'type': 'object', 'properties': {'cwd': {'anyOf': [{'type': 'string'}, {'type': 'null'}]}}}
    """
    if "$ref" in schema:
        return {"$ref": f"{schema['$ref']}_in_part"}

    def member(inner: dict[str, Any]) -> dict[str, Any]:
        return {"anyOf": [in_part(inner), {"type": "null"}]}

    changed = _changed(schema, member, in_part)
    return {key: value for key, value in changed.items() if key not in ("required", "minProperties")}


def with_references(schema: dict[str, Any]) -> dict[str, Any]:
    """Give the schema of the same where ``${parameter}`` can stand for every value within.

    >>> with_references({"type": "array", "items": {"type": "integer"}})["items"]["anyOf"]
    [{'type': 'integer'}, {'type': 'string', 'pattern': '^\\\\$\\\\{\\\\w+\\\\}$'}]

    What is referred to has another name, under which it is to be given with references, too.

    >>> with_references({"$ref": "#/$defs/operator"})
    {'$ref': '#/$defs/operator_of_a_template'}
    """
    if "$ref" in schema:
        return {"$ref": f"{schema['$ref']}_of_a_template"}

    def member(inner: dict[str, Any]) -> dict[str, Any]:
        return {"anyOf": [with_references(inner), _REFERENCE]}

    changed = _changed(schema, member, with_references)
    if isinstance(schema.get("items"), dict):
        changed["items"] = member(schema["items"])
    return changed


def _changed(
    schema: dict[str, Any],
    member: Callable[[dict[str, Any]], dict[str, Any]],
    form: Callable[[dict[str, Any]], dict[str, Any]],
) -> dict[str, Any]:
    changed = dict(schema)
    if "properties" in schema:
        changed["properties"] = {key: member(inner) for key, inner in schema["properties"].items()}
    if isinstance(schema.get("additionalProperties"), dict):
        changed["additionalProperties"] = member(schema["additionalProperties"])
    if "anyOf" in schema:
        changed["anyOf"] = [form(inner) for inner in schema["anyOf"]]
    return changed
