"""Every strategy against a naive model that deals with one event at a time, under random interleavings."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from rx_collector.backpressure import STRATEGIES, Boundary
from rx_collector.backpressure.spill_file import LEAST_BYTES
from rx_collector.errors import BackpressureError
from rx_collector.event import Event
from tests.events import event


class Model:
    """What each strategy promises, written as simply as can be: lists of numbers, one event at a time."""

    def __init__(self, strategy: str, capacity: int, max_bytes: int | None, keys: int | None) -> None:
        self.strategy, self.capacity, self.max_bytes, self.keys = strategy, capacity, max_bytes, keys
        self.waiting: list[Any] = []
        self.hand: list[Any] = []
        self.dropped: Counter[str] = Counter()
        self.failed = False

    def key(self, number: int) -> int:
        return number % self.keys if self.keys else 0

    def fits(self, number: int, without: int = 0) -> bool:
        if len(self.waiting) - without + len(self.hand) >= self.capacity:
            return False
        if self.max_bytes is None or (len(self.waiting) == without and not self.hand):
            return True
        used = sum(size(one) for one in [*self.waiting, *self.hand])
        return used + size(number) <= self.max_bytes

    def offer(self, number: int) -> None:
        getattr(self, f"_{self.strategy}")(number)

    def _block(self, number: int) -> None:
        assert self.fits(number)
        self.waiting.append(number)

    def _drop_newest(self, number: int) -> None:
        if self.fits(number):
            self.waiting.append(number)
        else:
            self.dropped["drop_newest"] += 1

    def _drop_oldest(self, number: int) -> None:
        while not self.fits(number):
            self.dropped["drop_oldest"] += 1
            if not self.waiting:
                return
            self.waiting.pop(0)
        self.waiting.append(number)

    def _error(self, number: int) -> None:
        if not self.failed and self.fits(number):
            self.waiting.append(number)
        else:
            self.failed = True
            self.dropped["error"] += 1

    def _latest(self, number: int) -> None:
        for index, other in enumerate(self.waiting):
            if self.key(other) == self.key(number):
                self.waiting[index] = number
                self.dropped["latest"] += 1
                return
        while not self.fits(number):
            if not self.waiting:
                self.dropped["latest"] += 1
                return
            self.waiting.pop(0)
            self.dropped["evicted"] += 1
        self.waiting.append(number)

    def _conflate(self, number: int) -> None:
        for group in self.waiting:
            if self.key(group[0]) == self.key(number):
                group.append(number)
                return
        if len(self.waiting) + len(self.hand) < self.capacity:
            self.waiting.append([number])
        else:
            self.dropped["conflate"] += 1

    def drain(self) -> list[Any]:
        most, bytes_left = max(1, self.capacity // 2), (self.max_bytes or 1 << 60) // 2
        taken: list[Any] = []
        while self.waiting and len(taken) < most:
            if taken and sum(map(size, taken)) + size(self.waiting[0]) > bytes_left:
                break
            taken.append(self.waiting.pop(0))
        self.hand = taken
        return taken


def size(number: Any) -> int:
    return len(str(number)) if isinstance(number, int) else 0


class AgainstTheModel(RuleBasedStateMachine):
    strategy = "block"

    @initialize(
        capacity=st.integers(1, 6),
        max_bytes=st.none() | st.integers(1, 12),
        keys=st.none() | st.integers(1, 4),
    )
    def begin(self, capacity: int, max_bytes: int | None, keys: int | None) -> None:
        options: dict[str, Any] = {"capacity": capacity}
        if self.strategy in ("latest", "conflate"):
            by = (lambda one: one.data % keys) if keys else None
            options["key" if self.strategy == "latest" else "by"] = (
                by if self.strategy == "latest" or by is None else [by]
            )
        if self.strategy == "conflate":
            options["merge"] = lambda older, newer: (
                [*(older.data if isinstance(older.data, list) else [older.data]), newer.data]
            )
        elif self.strategy == "latest":
            max_bytes = None  # replacing frees bytes before it takes them: the model would say less than the code
            options["max_bytes"] = max_bytes
        else:
            options["max_bytes"] = max_bytes
        self.model = Model(self.strategy, capacity, options.get("max_bytes"), keys)
        self.boundary = Boundary(STRATEGIES[self.strategy](**options))
        self.count = 0

    def ready(self) -> bool:
        return hasattr(self, "boundary")

    @rule(count=st.integers(0, 8))
    def offer(self, count: int) -> None:
        batch = list(range(self.count, self.count + count))
        if self.strategy == "block":  # it would wait; that it does is shown elsewhere
            fitting = 0
            for number in batch:
                if not self.model.fits(number):
                    break
                self.model.offer(number)
                fitting += 1
            batch = batch[:fitting]
        else:
            for number in batch:
                self.model.offer(number)
        self.count += len(batch)
        self.boundary.offer([event(number) for number in batch])

    @precondition(lambda self: self.ready() and self.model.waiting)
    @rule()
    def drain(self) -> None:
        taken = self.model.drain()
        given = self.boundary.drain(0)
        assert given is not None
        wanted = [one if isinstance(one, int) or len(one) > 1 else one[0] for one in taken]
        assert [one.data for one in given] == wanted

    @invariant()
    def agrees(self) -> None:
        if not self.ready():
            return
        assert self.boundary.waiting == len(self.model.waiting)
        assert self.boundary.in_flight == len(self.model.waiting) + len(self.model.hand) <= self.model.capacity
        assert +self.boundary.dropped == +self.model.dropped
        assert self.boundary.node.missing() == 0
        assert self.boundary.node.taken == self.count
        assert isinstance(self.boundary.error, BackpressureError) is self.model.failed

    def teardown(self) -> None:
        if not self.ready():
            return
        self.boundary.close()
        rest: list[Event] = []
        while (batch := self.boundary.drain(0)) is not None:
            rest += batch
            assert batch
        assert len(rest) == len(self.model.waiting)
        self.boundary.release()
        assert self.boundary.node.held() == 0
        assert self.boundary.node.missing() == 0


class SpillAgainstAList(RuleBasedStateMachine):
    """spill loses nothing and keeps the order, over restarts with another capacity, and over deaths without a word."""

    @initialize(capacity=st.integers(1, 6))
    def begin(self, capacity: int) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.path = str(Path(self.directory.name) / "s")
        self.capacity = capacity
        self.count = 0
        self.left: list[int] = []  # offered and not acknowledged, in order
        self.given = 0  # how many of them the consumer has
        self.open()

    def open(self) -> None:
        spec = STRATEGIES["spill"](path=self.path, capacity=self.capacity, max_bytes=LEAST_BYTES)
        self.boundary = Boundary(spec)
        self.given = 0

    @rule(count=st.integers(0, 9))
    def offer(self, count: int) -> None:
        numbers = list(range(self.count, self.count + count))
        self.count += count
        self.left += numbers
        self.boundary.offer([event(number) for number in numbers])

    @precondition(lambda self: len(self.left) > self.given)
    @rule()
    def drain(self) -> None:
        batch = self.boundary.drain(0)
        assert batch
        assert [one.data for one in batch] == self.left[self.given : self.given + len(batch)]
        assert self.boundary.in_flight <= self.capacity
        self.given += len(batch)

    @precondition(lambda self: self.given)
    @rule(share=st.floats(0.1, 1))
    def acknowledge(self, share: float) -> None:
        count = max(1, round(self.given * share))
        self.boundary.acknowledge(count)
        del self.left[:count]
        self.given -= count

    @rule(capacity=st.integers(1, 6), fail=st.booleans())
    def end_and_begin_again(self, capacity: int, fail: bool) -> None:
        if fail and self.given:
            assert self.boundary.keep(self.given) == self.given
        self.boundary.cancel("cut short")
        assert self.boundary.node.held() == self.boundary.node.kept == len(self.left) - self.given
        assert not self.boundary.dropped.total()
        assert self.boundary.keep(self.given) == self.given
        self.capacity = capacity
        self.open()
        assert self.boundary.node.made == len(self.left)

    @invariant()
    def balances(self) -> None:
        if hasattr(self, "boundary"):
            assert self.boundary.node.missing() == 0

    def teardown(self) -> None:
        if not hasattr(self, "boundary"):
            return
        self.boundary.acknowledge(self.given)
        del self.left[: self.given]
        self.boundary.close()
        while (batch := self.boundary.drain(0)) is not None:
            assert [one.data for one in batch] == self.left[: len(batch)]
            del self.left[: len(batch)]
            self.boundary.acknowledge(len(batch))
        assert self.left == []
        self.boundary.release()
        assert list(Path(self.directory.name).iterdir()) == []
        self.directory.cleanup()


QUICK = settings(max_examples=60, stateful_step_count=30, deadline=None, derandomize=True)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "spill"])
def test_any_interleaving_against_a_naive_model(strategy: str) -> None:
    machine = type(f"Against_{strategy}", (AgainstTheModel,), {"strategy": strategy})
    run_state_machine_as_test(machine, settings=QUICK)


@pytest.mark.slow
def test_spill_over_restarts_against_a_list() -> None:
    run_state_machine_as_test(SpillAgainstAList, settings=settings(QUICK, max_examples=25))
