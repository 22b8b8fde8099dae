"""What operators that keep something share: values by key, and what becomes of an event that they cannot take."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from rx_collector.event import Event, rejected
from rx_collector.ledger import Node
from rx_collector.stream.flow import Context
from rx_collector.stream.rejection import warn_once

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["SET_BACK", "Bounded", "emit_verdict", "reject"]

#: Of events that were read at about the same time, one may be later here by some seconds, as they come from several
#: threads. One that seems to be earlier by more nanoseconds than this tells that the clock was set back.
SET_BACK: Final = 60_000_000_000

V = TypeVar("V")


class Bounded(Generic[V]):
    """A value for each key, at most `most` of them; the key not used for longest gives way. `empty` is that of a key of
    which there is none, and is never changed.

    >>> counts = Bounded(2, 0)
    >>> for key in "abac":
    ...     counts.put(key, counts.get(key) + 1)
    False
    False
    False
    True
    >>> counts.get("b")
    0
    """

    __slots__ = ("_empty", "_values", "most")

    def __init__(self, most: int, empty: V) -> None:
        self.most = most
        self._empty = empty
        self._values: dict[Hashable, V] = {}  # the order is that of the last use

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> V:
        """Give the value of a key; nothing is kept by that."""
        return self._values.get(key, self._empty)

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


def emit_verdict(code: SegmentCode, source: str) -> None:
    """Write what becomes of an event by a verdict: True lets it pass, False filters it, and None lets it pass, too, but a
    key was forgotten for it.
    """
    answer = code.temporary()
    code.write(f"{answer} = {source}")
    code.write(f"if {answer} is not True:")
    code.indent()
    code.write(f"if {answer} is False:")
    code.indent()
    code.lose()
    code.dedent()
    code.write(f"{code.counter('evicted')} += 1")
    code.dedent()


def reject(error: Exception, event: Event, node: Node, context: Context) -> None:
    """Make the dead letter of an event that an operator failed for. The operator has counted it already."""
    error.__traceback__ = None
    record = rejected(
        origin=event.origin,
        line=event.line,
        part=event.part,
        raw=event.raw,
        data=None if event.raw is not None else event.data,
        operator=node.name,
        reason=node.name.rpartition(" ")[2],
        error=f"{type(error).__name__}: {error}" if str(error) else type(error).__name__,
        place=node.place,
        time_ns=event._time_ns,
    )
    warn_once(record, node, context)
    context.reject(record)
