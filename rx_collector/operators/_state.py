"""What operators keep by key: never more keys than was declared, the one not used for longest gives way."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Bounded"]

V = TypeVar("V")


class Bounded(Generic[V]):
    """A value for each key, at most `most` of them.

    >>> counts = Bounded(2, int)
    >>> for key in "abac":
    ...     counts.put(key, counts.get(key) + 1)
    False
    False
    False
    True
    >>> counts.get("b")
    0
    """

    __slots__ = ("_make", "_values", "most")

    def __init__(self, most: int, make: Callable[[], V]) -> None:
        self.most = most
        self._make = make
        self._values: dict[Hashable, V] = {}  # the order is that of the last use

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> V:
        """Give the value of a key, a new one where there is none; nothing is kept by that."""
        value = self._values.get(key)
        return self._make() if value is None else value

    def put(self, key: Hashable, value: V) -> bool:
        """Keep a value. True when another key had to give way for it."""
        values = self._values
        if key in values:
            del values[key]
            values[key] = value
            return False
        values[key] = value
        if len(values) <= self.most:
            return False
        del values[next(iter(values))]
        return True
