"""Writing to a descriptor that may not take what it is given: a terminal, a pipe. It can be cancelled while it waits."""

from __future__ import annotations

import os
import select
import time

from rx_collector.waker import Waker

__all__ = ["CancellableWriter", "Cancelled", "TimedOut"]


class Cancelled(Exception):
    """Somebody asked the write to give up."""


class TimedOut(Exception):
    """Nothing was taken for too long."""


class CancellableWriter:
    """Writes whole buffers to a descriptor. `write` blocks until all is taken; `cancel` ends that from any thread.

    With `timeout`, a write that makes no progress for so many seconds raises TimedOut. When a write has failed in the
    middle of a line, the next one ends that line first, so that what follows can be read.
    """

    def __init__(self, descriptor: int, timeout: float | None = None) -> None:
        self.descriptor = descriptor
        self._timeout = timeout
        self._waker = Waker()
        self._cancelled = False
        self._torn = False
        self.written = 0

    def write(self, data: bytes) -> None:
        """Write all of it, lines with their ends; `written` says how much was taken. Raises OSError, Cancelled, TimedOut."""
        self.written = 0
        if self._torn:
            self._write(b"\n")
            self._torn = False
            self.written = 0
        try:
            self._write(data)
        finally:
            self._torn = self.written > 0 and data[self.written - 1] != 10

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        poll.register(self._waker, select.POLLIN)
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while self.written < len(data):
            ready = poll.poll(None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000)
            if self._cancelled:
                raise Cancelled
            if not ready:
                raise TimedOut
            try:
                # A pipe that is not ours blocks for a large buffer although poll said it takes some: 4,096 bytes it
                # always takes at once.
                blocking = os.get_blocking(self.descriptor)
                size = select.PIPE_BUF if blocking else len(data)
                self.written += os.write(self.descriptor, view[self.written : self.written + size])
            except BlockingIOError:
                continue
            if self._timeout is not None:
                deadline = time.monotonic() + self._timeout

    def cancel(self) -> None:
        """Make a write that waits raise Cancelled; so does every later one. Safe from any thread, also after `close`."""
        self._cancelled = True
        self._waker.set()

    def close(self) -> None:
        """Release what is ours; the descriptor is the caller's."""
        self._waker.close()
