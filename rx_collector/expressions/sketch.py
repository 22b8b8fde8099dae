"""Sketches: quantiles, distinct values and most frequent values of a stream, in bounded memory."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable
from typing import Any, Final

from rx_collector.expressions.keys import canonical, hashable

__all__ = ["Distinct", "Frequent", "Quantiles"]


class Quantiles:
    """Quantiles of numbers within 1 % of the true value (DDSketch: Masson, Rim, Lee, VLDB 2019).

    Each bucket is 2 % wide. There are at most `MOST` of them for each sign; when there are more, the two next to zero become
    one, so that only the quantiles nearest to zero become less exact.

    >>> quantiles = Quantiles()
    >>> for number in range(1, 1001):
    ...     quantiles.add(number)
    >>> round(quantiles.at(0.99))
    993
    """

    MOST: Final = 2048
    _GAMMA: Final = 1.02
    _LOG: Final = math.log(_GAMMA)

    __slots__ = ("_count", "_least", "_most", "_negative", "_positive", "_zeros")

    def __init__(self) -> None:
        self._positive: dict[int, int] = {}
        self._negative: dict[int, int] = {}
        self._zeros = 0
        self._count = 0
        self._least = math.inf
        self._most = -math.inf

    def add(self, value: float) -> None:
        """Take a finite number in."""
        if value == 0:
            self._zeros += 1
        else:
            side = self._positive if value > 0 else self._negative
            index = math.ceil(math.log(abs(value)) / self._LOG)
            side[index] = side.get(index, 0) + 1
            if len(side) > self.MOST:
                self._narrow(side)
        self._count += 1
        self._least = min(self._least, value)
        self._most = max(self._most, value)

    def _narrow(self, side: dict[int, int]) -> None:
        low, next_low = sorted(side)[:2]
        side[next_low] += side.pop(low)

    def merge(self, other: Quantiles) -> None:
        """Take in what another one has."""
        for side, more in ((self._positive, other._positive), (self._negative, other._negative)):
            for index, count in more.items():
                side[index] = side.get(index, 0) + count
            while len(side) > self.MOST:
                self._narrow(side)
        self._zeros += other._zeros
        self._count += other._count
        self._least, self._most = min(self._least, other._least), max(self._most, other._most)

    def at(self, part: float) -> float | None:
        """Give the value below which `part` (from 0 to 1) of the numbers are; None where there are none."""
        if not self._count:
            return None
        rank = part * (self._count - 1)
        if rank <= 0 or part >= 1:
            return self._least if rank <= 0 else self._most
        seen = 0
        buckets = [(-self._value(index), self._negative[index]) for index in sorted(self._negative, reverse=True)]
        buckets += [(0.0, self._zeros)]
        buckets += [(self._value(index), self._positive[index]) for index in sorted(self._positive)]
        for value, count in buckets:
            seen += count
            if seen > rank:
                return min(max(value, self._least), self._most)
        return self._most

    def _value(self, index: int) -> float:
        return 2 * self._GAMMA**index / (self._GAMMA + 1)


class Distinct:
    """How many different values there were: exact up to `EXACT`, then within about 2 % (HyperLogLog with 4096 registers:
    Flajolet, Fusy, Gandouet, Meunier, 2007).

    >>> distinct = Distinct()
    >>> for value in ["a", "b", "a", 1, [1], [1]]:
    ...     distinct.add(value)
    >>> distinct.count()
    4
    """

    EXACT: Final = 1024
    _BITS: Final = 12
    _SIZE: Final = 1 << _BITS

    __slots__ = ("_registers", "_values")

    def __init__(self) -> None:
        self._values: set[int] | None = set()
        self._registers = bytearray()

    def add(self, value: Any) -> None:
        """Take a value in. Raises TypeError for what has no JSON."""
        digest = hashlib.blake2b(canonical(value), digest_size=8).digest()
        self._add(int.from_bytes(digest, "big"))

    def _add(self, number: int) -> None:
        if self._values is not None:
            self._values.add(number)
            if len(self._values) > self.EXACT:
                self._registers = bytearray(self._SIZE)
                values, self._values = self._values, None
                for one in values:
                    self._register(one)
            return
        self._register(number)

    def _register(self, number: int) -> None:
        index = number >> (64 - self._BITS)
        rest = number & ((1 << (64 - self._BITS)) - 1)
        rank = 64 - self._BITS - rest.bit_length() + 1
        if rank > self._registers[index]:
            self._registers[index] = rank

    def merge(self, other: Distinct) -> None:
        """Take in what another one has."""
        if other._values is not None:
            for number in other._values:
                self._add(number)
            return
        if self._values is not None:
            self._registers = bytearray(self._SIZE)
            values, self._values = self._values, None
            for number in values:
                self._register(number)
        self._registers = bytearray(map(max, self._registers, other._registers))

    def count(self) -> int:
        """Give how many there were."""
        if self._values is not None:
            return len(self._values)
        size = self._SIZE
        raw = 0.7213 / (1 + 1.079 / size) * size * size / sum(2.0**-register for register in self._registers)
        zeros = self._registers.count(0)
        if raw <= 2.5 * size and zeros:
            raw = size * math.log(size / zeros)
        return round(raw)


class Frequent:
    """The most frequent values: exact while there are no more than twice `capacity` different ones; then a count may be
    too high, by at most the number of values divided by `capacity`.

    It is Space-Saving (Metwally, Agrawal, El Abbadi, 2005) that makes room for many at once: the rarer half goes, and what
    comes anew begins with the greatest count that went, which `capacity` others have reached.

    >>> frequent = Frequent(10)
    >>> for value in "abracadabra":
    ...     frequent.add(value)
    >>> frequent.top(2)
    [{'value': 'a', 'count': 5}, {'value': 'b', 'count': 2}]
    """

    __slots__ = ("_capacity", "_counts", "_floor", "_values")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._counts: dict[Hashable, int] = {}
        self._values: dict[Hashable, Any] = {}
        self._floor = 0

    def add(self, value: Any, times: int = 1) -> None:
        """Take a value in."""
        key = hashable(value)
        count = self._counts.get(key)
        if count is not None:
            self._counts[key] = count + times
            return
        self._values[key] = value
        self._counts[key] = self._floor + times
        if len(self._counts) > 2 * self._capacity:
            ordered = sorted(self._counts.items(), key=lambda pair: pair[1], reverse=True)
            self._floor = ordered[self._capacity][1]
            self._counts = dict(ordered[: self._capacity])
            self._values = {kept: self._values[kept] for kept in self._counts}

    def merge(self, other: Frequent) -> None:
        """Take in what another one has."""
        for key, count in other._counts.items():
            self.add(other._values[key], count)

    def top(self, count: int) -> list[dict[str, Any]]:
        """Give the most frequent ones, the most frequent first; of equals, the one that came first."""
        first = sorted(self._counts, key=self._counts.__getitem__, reverse=True)[:count]
        return [{"value": self._values[key], "count": self._counts[key]} for key in first]
