"""Keys: what events are told apart by."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from rx_collector.event import Event, encode_json
from rx_collector.expressions.option import Evaluation

__all__ = ["hashable", "keys_of"]


def hashable(value: Any) -> Hashable:
    """Give a value by which a list or a mapping can be told from others as well."""
    try:
        hash(value)
    except TypeError:
        return encode_json(value)
    return value  # type: ignore[no-any-return]


def keys_of(evaluations: Sequence[Evaluation], event: Event) -> tuple[Any, ...]:
    """Give the values of some expressions or functions for an event. Raises what they raise."""
    return tuple([evaluation(event) for evaluation in evaluations])
