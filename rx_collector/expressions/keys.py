"""Keys: what events are told apart by."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence, Set
from typing import Any, Final

from rx_collector.event import Event, encode_json
from rx_collector.expressions.option import Evaluation

__all__ = ["canonical", "hashable", "keys_of"]


class _Named:
    """Stands in a key for a value that Python takes for another one, true for 1, or not even for itself, NaN."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name

    def __reduce__(self) -> str:
        """Pickle the name, so that in another process it is the one that is there."""
        return self._name


_TRUE: Final = _Named("_TRUE")
_FALSE: Final = _Named("_FALSE")
_NO_NUMBER: Final = _Named("_NO_NUMBER")


def hashable(value: Any) -> Hashable:
    """Give what stands for a value where events are told apart by it: the same for values that are equal in JSON.

    So 1 and 1.0 are one key, true is another; objects with the same fields are one, whatever the order of these; lists are
    told apart by their items. It can be the key of a dict. Raises TypeError or ValueError for what is no value of JSON.

    >>> hashable({"a": 1, "b": [True]}) == hashable({"b": [True], "a": 1.0})
    True
    >>> hashable(1) == hashable(True)
    False
    """
    kind = value.__class__
    if kind is str or kind is int or value is None:
        return value  # type: ignore[no-any-return]
    if kind is tuple:
        for part in value:
            if part.__class__ is not str and part.__class__ is not int:
                return tuple(map(hashable, value))
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return _TRUE if value else _FALSE
    if kind is float:
        return value if value == value else _NO_NUMBER
    if kind is list:
        return tuple(map(hashable, value))
    if kind is dict or isinstance(value, Mapping):
        return frozenset([(name, hashable(item)) for name, item in value.items()])
    if isinstance(value, Set):
        return frozenset(map(hashable, value))
    try:
        hash(value)
    except TypeError:
        return encode_json(value)
    return value  # type: ignore[no-any-return]


def canonical(value: Any) -> bytes:
    """Give the JSON of a value, the same for values that `hashable` takes for the same. Raises what `encode_json` does.

    >>> canonical({"b": 1.0, "a": [True]})
    b'{"a":[true],"b":1}'
    """
    if value.__class__ is str or value.__class__ is int:
        return encode_json(value)
    return encode_json(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(value[name]) for name in sorted(value, key=str)}
    return value


def keys_of(evaluations: Sequence[Evaluation], event: Event) -> tuple[Any, ...]:
    """Give the values of some expressions or functions for an event. Raises what they raise."""
    return tuple([evaluation(event) for evaluation in evaluations])
