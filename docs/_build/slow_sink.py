"""A boundary before a slow sink, in virtual time: the real boundary, with a clock that is set instead of waited for."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from rx_collector.backpressure import Boundary
from rx_collector.backpressure.strategy import Strategy
from rx_collector.event import Event
from rx_collector.ledger import Node

__all__ = ["Moment", "Played", "play"]

_LONGEST = 20.0  # seconds that a thread may take to do what it has to at once


@dataclass(frozen=True)
class Moment:
    """An event and when it came, in seconds."""

    at: float
    event: Event


@dataclass
class Played:
    """What came of it: when the producer could go on after each event, what the sink got and when, and the counts."""

    node: Node
    taken: list[Moment] = field(default_factory=list)
    delivered: list[Moment] = field(default_factory=list)
    error: Exception | None = None


class _Room(threading.Condition):
    """Where a producer waits for room; it tells that somebody does."""

    def __init__(self, lock: threading.Lock, settled: threading.Event) -> None:
        super().__init__(lock)
        self._settled = settled
        self._waiting = 0

    def wait(self, timeout: float | None = None) -> bool:
        self._waiting += 1
        self._settled.set()
        woken = super().wait(timeout)
        self._waiting -= 1
        return woken

    def somebody_waits(self) -> bool:
        with self:
            return self._waiting > 0


class _Play:
    def __init__(self, strategy: Strategy, takes: float) -> None:
        self._now = 0.0
        self._takes = takes
        self._settled = threading.Event()
        self._boundary = Boundary(strategy, Node("backpressure"), clock=lambda: self._now)
        self._room = self._boundary._room = _Room(self._boundary._lock, self._settled)
        self._producer: threading.Thread | None = None
        self._busy_until: float | None = None
        self.played = Played(self._boundary.node)

    def run(self, offered: Sequence[Moment]) -> Played:
        waiting = list(offered)
        while waiting or self._busy_until is not None:
            blocked = self._producer is not None
            if self._busy_until is not None and (blocked or not waiting or self._busy_until <= waiting[0].at):
                self._now = max(self._now, self._busy_until)
                self._drain()
            else:
                moment = waiting.pop(0)
                self._now = max(self._now, moment.at)
                self._offer(moment.event)
            if self.played.error is not None:
                waiting.clear()
        self._boundary.close()
        while self._boundary.drain(0):
            pass
        self._boundary.release()
        return self.played

    def _offer(self, event: Event) -> None:
        def offer() -> None:
            try:
                self._boundary.offer([event])
            finally:
                self._settled.set()

        self._settled.clear()
        self._producer = threading.Thread(target=offer, name="producer")
        self._producer.start()
        self._event = event
        self._settle()
        if self._busy_until is None:
            self._drain()

    def _drain(self) -> None:
        """The sink is back for more."""
        if self._producer is not None:
            self._settled.clear()  # room is made for it, so it goes on, if only to wait for more
        batch = self._boundary.drain(0)
        self._busy_until = self._now + self._takes * len(batch) if batch else None
        for number, event in enumerate(batch or ()):
            self.played.delivered.append(Moment(self._now + number * self._takes, event))
        if batch is None:
            self.played.error = self._boundary.error
        if self._producer is not None:
            self._settle()

    def _settle(self) -> None:
        """Wait until the producer has done what it can at this moment."""
        assert self._producer is not None
        assert self._settled.wait(_LONGEST), "the producer neither goes on nor waits for room"
        if not self._room.somebody_waits():
            self._producer.join(_LONGEST)
            self._producer = None
            self.played.taken.append(Moment(self._now, self._event))


def play(strategy: Strategy, offered: Sequence[Moment], takes: float) -> Played:
    """Offer events at their times to a boundary of this strategy whose sink takes so many seconds for each."""
    return _Play(strategy, takes).run(offered)
