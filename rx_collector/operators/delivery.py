"""Delivery: how batches get into an open sink, what is tried again, and what becomes of what did not arrive."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rx_collector.dead_letter import dead_letter, members
from rx_collector.errors import OutputError
from rx_collector.event import Event
from rx_collector.ledger import Node
from rx_collector.log import logger
from rx_collector.sinks.base import Writer
from rx_collector.sinks.retry import Retry
from rx_collector.stream.flow import Acknowledgement, Batch, BatchObserver, Connection, Context

if TYPE_CHECKING:
    from reactivex.abc import DisposableBase

__all__ = ["Delivery"]


class Delivery(Connection):
    """Writes batches into an open sink and keeps its counts.

    All on the thread that brings the batches, but for the flushing of what a sink buffers, on the timer's; one lock keeps
    them apart, and nobody else waits for it. An event is pending from when it is handed over until the writer says that
    it arrived, so after a failure exactly the rest is written again. `cancel`, `abandon` and `dispose` never block.
    """

    def __init__(
        self,
        writer: Writer,
        downstream: BatchObserver,
        context: Context,
        node: Node,
        retry: Retry | None = None,
        on_failure: str = "fail",
        place: str = "",
    ) -> None:
        self.writer = writer
        self._downstream = downstream
        self._context = context
        self._node = node
        self._retry = retry if retry is not None else Retry(0)
        self._on_failure = on_failure
        self._place = place
        self._boundary: Acknowledgement | None = None
        self._lock = threading.Lock()
        self._pending: deque[Event] = deque()
        self._held = 0  # len(self._pending), but 0 once they are abandoned
        self._failure: Exception | None = None
        self._order = threading.RLock()  # downstream hears one signal after the other, also one of the timer's thread
        self._ended = False  # downstream has heard of an end
        node.passed = 0
        self._broken = False  # the writer has raised and was not made ready since
        self._closed = False
        self._abandoned = False
        self._given_up = threading.Event()
        self._timer: DisposableBase | None = None
        node.held = lambda: self._held

    def acknowledge_to(self, acknowledgement: Acknowledgement) -> None:
        """Tell the boundary before this what arrived."""
        self._boundary = acknowledgement

    # From any thread

    def cancel(self) -> None:
        """Try nothing again, and make a write that blocks give up soon."""
        self._given_up.set()
        self.writer.cancel()

    def abandon(self) -> None:
        """Leave a write behind that cannot be interrupted: what is pending is counted now, and no more when it returns."""
        with self._context.ledger.lock:
            self._abandoned = True
            held = self._held
        if held:
            self._book_lost(held, self._keep(held))

    def stop(self) -> None:
        """Nothing: it ends when what comes before it does."""

    def dispose(self) -> None:
        """Give up, and have the sink closed as soon as a write that is being done has returned."""
        if not self._closed:
            self.cancel()
            name = f"rx-{self._context.pipeline.name}-closing"  # a sink may take its time for it, and this must not
            threading.Thread(target=self._close_disposed, name=name, daemon=True).start()

    def _close_disposed(self) -> None:
        with self._lock:
            self._close()

    # From the thread that brings the batches

    def on_batch(self, batch: Batch) -> None:
        assert isinstance(batch, list)
        with self._lock:
            with self._context.ledger.lock:
                self._node.taken += len(batch)
                if self._abandoned:
                    self._node.failed += len(batch)
                    return
                self._held += len(batch)
            self._pending.extend(batch)
            if self._failure is not None or self._closed:
                self._lose(len(batch), self._keep(len(batch)))
                return
            self._deliver(lambda: self.writer.write(batch), writes=True)
            failed = self._failure is not None
            if not failed and self._pending and self.writer.flush_interval and self._timer is None:
                self._timer = self._context.clock().schedule_relative(self.writer.flush_interval, self._on_time)
        if failed:
            self._end(self._failure)
        else:
            self._pass_on(batch)

    def on_error(self, error: Exception) -> None:
        with self._lock:
            first = self._failure or error
            self._close()
        self._end(first)

    def on_completed(self) -> None:
        with self._lock:
            self._close()
        self._end(self._failure)

    def _on_time(self, scheduler: object, state: object = None) -> None:
        """On the timer's thread: flush."""
        with self._lock:
            self._timer = None
            if self._failure is not None or self._closed:
                return
            self._deliver(self.writer.flush)
        if self._failure is not None:
            self._end(self._failure)

    def _pass_on(self, batch: list[Event]) -> None:
        with self._order:
            if not self._ended:
                with self._context.ledger.lock:
                    self._node.passed = (self._node.passed or 0) + len(batch)
                self._downstream.on_batch(batch)

    def _end(self, error: Exception | None) -> None:
        """Tell what follows of the end, once."""
        with self._order:
            if self._ended:
                return
            self._ended = True
            if error is not None:
                self._downstream.on_error(error)
            else:
                self._downstream.on_completed()

    # Under the lock

    def _deliver(self, call: Callable[[], int], *, writes: bool = False) -> None:
        """Make a call of the writer, again and again as declared, until nothing is left to be done for what is pending."""
        waits: Iterator[float] | None = None
        deadline = 0.0
        while self._failure is None:
            try:
                if self._broken:
                    self.writer.recover()
                    self._broken = False
                    if self._pending:
                        self._arrived(self.writer.write(list(self._pending)))
                    if writes:
                        return
                self._arrived(call())
                return
            except OutputError as failure:
                error = failure
            except Exception as failure:
                error = OutputError(f"the sink failed: {type(failure).__name__}: {failure}")
                error.__cause__ = failure
            self._broken = True
            if error.delivered:
                self._arrived(error.delivered)
            if waits is None or error.delivered:
                waits = self._retry.waits(self._node.name)
                deadline = time.monotonic() + (self._retry.within if self._retry.within is not None else float("inf"))
            if self._again(waits, deadline, error):
                continue
            waits = None
            self._give_up(error)
            if not self._pending:
                return

    def _again(self, waits: Iterator[float], deadline: float, error: OutputError) -> bool:
        """Wait for the next try. False when there is none: they are used up, time is, or the branch is cut short."""
        wait = next(waits, None)
        if wait is None or not self._pending or time.monotonic() + wait > deadline or self._given_up.wait(wait):
            return False
        logger.debug("{}, {}: {}; tried again", self._context.pipeline.name, self._node.name, error)
        with self._context.ledger.lock:
            self._node.notes["retried"] += len(self._pending)
        return True

    def _give_up(self, error: OutputError) -> None:
        """Do with what did not arrive what the branch declares."""
        if self._on_failure == "fail" or self._given_up.is_set() or not self._pending:
            self._failure = error
            self._lose(len(self._pending), self._keep(len(self._pending)))
            return
        count = 1 if error.of_event else len(self._pending)
        lost = [self._pending[index] for index in range(count)]
        logger.warning(
            "{}, {}: {}; {} event{} {}",
            self._context.pipeline.name,
            self._node.name,
            error,
            count,
            "" if count == 1 else "s",
            "dropped" if self._on_failure == "drop" else "sent to the dead letter",
        )
        self._lose(count, 0)
        if self._on_failure == "dead_letter":
            for event in lost:
                for member in members(event):
                    self._context.reject(
                        dead_letter(
                            member, operator=self._node.name, reason="sink", error=str(error), place=self._place
                        )
                    )
        if self._boundary is not None:
            self._boundary.acknowledge(count)

    def _arrived(self, count: int) -> None:
        count = min(count, len(self._pending))  # a sink that counts wrongly must not make the ledger do so
        if count == len(self._pending):
            self._pending.clear()
        else:
            for _ in range(count):
                self._pending.popleft()
        with self._context.ledger.lock:
            if not self._abandoned:
                self._node.out += count
                self._held -= count
        if self._boundary is not None and count:
            self._boundary.acknowledge(count)

    def _keep(self, count: int) -> int:
        """Ask the boundary to keep what is left; gives how many events it does."""
        return self._boundary.keep(count) if self._boundary is not None else 0

    def _lose(self, count: int, kept: int) -> None:
        """Account for the first events that are pending: those not kept have failed."""
        for _ in range(count):
            self._pending.popleft()
        if not self._abandoned:
            self._book_lost(count, kept)

    def _book_lost(self, count: int, kept: int) -> None:
        with self._context.ledger.lock:
            self._node.failed += count - kept
            self._node.kept += kept
            self._held -= count - kept

    def _close(self) -> None:
        """Close the sink, once. What it then holds has failed."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.dispose()
        if self._failure is None and (self._pending or not self._broken):
            self._deliver(self._close_writer)
        if self._failure is not None or self._broken:
            try:
                self.writer.close()
            except Exception as error:
                logger.debug("{}, {}: when it was closed: {}", self._context.pipeline.name, self._node.name, error)
        if self._pending:
            self._failure = self._failure or OutputError(
                f"the sink was closed with {len(self._pending)} events that it did not deliver"
            )
            self._lose(len(self._pending), self._keep(len(self._pending)))

    def _close_writer(self) -> int:
        self._arrived(self.writer.flush())  # it has, whatever comes of the closing
        return self.writer.close()
