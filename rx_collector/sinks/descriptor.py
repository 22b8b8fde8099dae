"""Writing to a descriptor that may not take what it is given: a terminal, a pipe. It can be cancelled while it waits."""

from __future__ import annotations

import os
import select

from rx_collector.waker import Waker

__all__ = ["CancellableWriter", "Cancelled"]


class Cancelled(Exception):
    """Somebody asked the write to give up."""


class CancellableWriter:
    """Writes whole buffers to a descriptor. `write` blocks until all is taken; `cancel` ends that from any thread."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._waker = Waker()
        self._cancelled = False
        self.written = 0

    def write(self, data: bytes) -> None:
        """Write all of it; `written` says how much was taken. Raises OSError or Cancelled."""
        view = memoryview(data)
        self.written = 0
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        poll.register(self._waker, select.POLLIN)
        while self.written < len(data):
            poll.poll()
            if self._cancelled:
                raise Cancelled
            try:
                # A pipe that is not ours blocks for a large buffer although poll said it takes some: 4,096 bytes it
                # always takes at once.
                blocking = os.get_blocking(self.descriptor)
                size = select.PIPE_BUF if blocking else len(data)
                self.written += os.write(self.descriptor, view[self.written : self.written + size])
            except BlockingIOError:
                continue

    def cancel(self) -> None:
        """Make a write that waits raise Cancelled; so does every later one. Safe from any thread, also after `close`."""
        self._cancelled = True
        self._waker.set()

    def close(self) -> None:
        """Release what is ours; the descriptor is the caller's."""
        self._waker.close()
