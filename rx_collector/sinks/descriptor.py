"""Writing to a descriptor that may not take what it is given: a terminal, a pipe. It can be cancelled while it waits."""

from __future__ import annotations

import os
import select
import threading
import time

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
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = (
            threading.Lock()
        )  # keeps `cancel` from a descriptor that `close` gave back and somebody else has got
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
        poll.register(self._wake, select.POLLIN)
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while self.written < len(data):
            ready = poll.poll(None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000)
            if not ready:
                raise TimedOut
            if any(descriptor == self._wake for descriptor, _ in ready):
                raise Cancelled
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
        """Make a write that waits raise Cancelled; so does every later one."""
        with self._lock:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Release what is ours; the descriptor is the caller's."""
        with self._lock:
            if self._wake >= 0:
                os.close(self._wake)
                self._wake = -1
