"""limit, when it is disposed of in the middle of a batch."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from rx_collector import operators as op
from rx_collector.stream.eventstream import new_context
from tests.events import Result, event


class _Meanwhile:
    """A lock before which another thread is quicker: it disposes of the operator."""

    def __init__(self, dispose: Any) -> None:
        self._lock = threading.Lock()
        self._dispose = dispose

    def __enter__(self) -> None:
        self._dispose()
        self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()


@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_batch_that_is_on_its_way_when_it_is_disposed_of_is_counted_once(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, result = new_context("test"), Result()
    node = context.pipeline.node("limit")
    limiter: Any = op.limit(count).attach(result, context, node)
    monkeypatch.setattr(context.ledger, "lock", _Meanwhile(limiter.dispose))
    limiter.on_batch([event({}, number) for number in range(3)])
    assert node.missing() == 0
    assert node.out == len(result.events) == min(count, 3)
    limiter.on_batch([event({}, 4)])
    assert (node.missing(), node.dropped["disposed"]) == (0, 1)
