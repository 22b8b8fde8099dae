"""The thread behind a boundary: what follows it must not raise, and when it does, that is told and the branch ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

import rx_collector as rx
from rx_collector import operators as op
from rx_collector.ledger import Node
from rx_collector.stream.flow import Batch, BatchObserver, Context
from rx_collector.stream.operator import BatchOperator
from tests.conftest import wait_until
from tests.events import event, run_batches


@dataclass(frozen=True)
class Buggy(BatchOperator):
    """An operator with a bug: it raises in the middle of a batch, and perhaps once more when it is told of the error."""

    name: ClassVar[str] = "buggy"
    again: bool = False

    def attach(self, downstream: BatchObserver, context: Context, node: Node) -> BatchObserver:
        return _Buggy(self.again, downstream, context, node)


class _Buggy:
    def __init__(self, again: bool, downstream: BatchObserver, context: Context, node: Node) -> None:
        self._again = again
        self._downstream = downstream
        self._context = context
        self._node = node

    def on_batch(self, batch: Batch) -> None:
        with self._context.ledger.lock:
            self._node.taken += len(batch)
            self._node.dropped["bug"] += len(batch)
        raise ZeroDivisionError("a bug")

    def on_error(self, error: Exception) -> None:
        self._downstream.on_error(error)
        if self._again:
            raise KeyError("another")

    def on_completed(self) -> None:
        self._downstream.on_completed()


@pytest.mark.parametrize("again", [False, True])
def test_an_exception_is_reported_once_and_ends_the_branch(log: list[str], again: bool) -> None:
    batches: list[Batch] = [[event(number)] for number in range(100)]
    result = run_batches(batches, op.backpressure("block", capacity=1), Buggy(again), wait=True)
    assert isinstance(result.error, ZeroDivisionError)
    boundary, buggy = result.report.pipelines["test"].nodes
    assert (boundary.taken, boundary.held) == (100, 0)
    assert boundary.out + boundary.dropped == 100
    assert boundary.dropped >= 98  # a producer that waits is woken, and what it still has is counted
    assert buggy.taken >= 1
    told = ["ERROR rx-test-consumer failed"]
    if again:
        told.append("ERROR rx-test-consumer failed again, while it was told so")
    wait_until(lambda: len(log) >= len(told), "all is told")  # the last of it comes after the end of the stream
    assert [entry.partition("\n")[0] for entry in log] == told
    assert "ZeroDivisionError: a bug" in log[0]
    assert "in on_batch" in log[0]  # a bug shows where it is
    assert all("KeyError: 'another'" in entry for entry in log[1:])


def test_the_child_before_it_is_stopped(log: list[str]) -> None:
    """That no child is left is what every test checks at its end."""
    stream = rx.runner("sh", "-c", "while :; do echo x; done").pipe(op.backpressure("block", capacity=10), Buggy())
    with pytest.raises(ZeroDivisionError):
        rx.run(stream)
    assert len([entry for entry in log if entry.startswith("ERROR")]) == 1
