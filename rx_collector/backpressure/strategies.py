"""What a boundary does with events for which it has no room."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import ClassVar, TypeVar

from rx_collector.event import Event

__all__ = ["STRATEGIES", "Strategy"]


class Strategy(ABC):
    """One way to be full. `admit` is called under the boundary's lock and must not block."""

    name: ClassVar[str]
    summary: ClassVar[str]
    guarantee: ClassVar[str]

    @abstractmethod
    def admit(self, waiting: deque[Event], batch: list[Event], room: int) -> tuple[list[Event], int]:
        """Put what fits of `batch` into `waiting`, where `room` more events may be.

        Gives the rest for which the producer has to wait (empty when nobody waits), and how many events were dropped.
        """


STRATEGIES: dict[str, type[Strategy]] = {}
S = TypeVar("S", bound=Strategy)


def _strategy(name: str, *, summary: str, guarantee: str) -> Callable[[type[S]], type[S]]:
    def register(component: type[S]) -> type[S]:
        if name in STRATEGIES:
            raise RuntimeError(f"two strategies are named {name!r}: {STRATEGIES[name]} and {component}")
        component.name, component.summary, component.guarantee = name, summary, guarantee
        STRATEGIES[name] = component
        return component

    return register


@_strategy(
    "block",
    summary="The producer waits: the runner stops reading, the pipe fills, the child waits.",
    guarantee="Nothing is lost here; the child is slowed down to the speed of the sink.",
)
class Block(Strategy):
    """The producer waits until there is room."""

    def admit(self, waiting: deque[Event], batch: list[Event], room: int) -> tuple[list[Event], int]:
        if len(batch) <= room:
            waiting.extend(batch)
            return [], 0
        waiting.extend(batch[:room])
        return batch[room:], 0


@_strategy(
    "drop_oldest",
    summary="The oldest waiting events make room.",
    guarantee="The newest events arrive, in order; each dropped one is counted.",
)
class DropOldest(Strategy):
    """The oldest waiting event makes room. Where none waits (all are in the consumer's hands), the arriving one goes."""

    def admit(self, waiting: deque[Event], batch: list[Event], room: int) -> tuple[list[Event], int]:
        limit = len(waiting) + room
        excess = len(waiting) + len(batch) - limit
        if excess <= 0:
            waiting.extend(batch)
        elif len(batch) >= limit:
            waiting.clear()
            waiting.extend(batch[len(batch) - limit :])
        else:
            for _ in range(excess):
                waiting.popleft()
            waiting.extend(batch)
        return [], max(0, excess)


@_strategy(
    "drop_newest",
    summary="Arriving events are refused.",
    guarantee="The events that were there first arrive, in order; each refused one is counted.",
)
class DropNewest(Strategy):
    """The arriving event is refused."""

    def admit(self, waiting: deque[Event], batch: list[Event], room: int) -> tuple[list[Event], int]:
        waiting.extend(batch if len(batch) <= room else batch[:room])
        return [], max(0, len(batch) - room)
