"""Writing to a descriptor that may not take what it is given: a terminal, a pipe. It can be cancelled while it waits."""

from __future__ import annotations

import os
import select

__all__ = ["CancellableWriter", "Cancelled"]


class Cancelled(Exception):
    """Somebody asked the write to give up."""


class CancellableWriter:
    """Writes whole buffers to a descriptor. `write` blocks until all is taken; `cancel` ends that from any thread."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.written = 0

    def write(self, data: bytes) -> None:
        """Write all of it; `written` says how much was taken. Raises OSError or Cancelled."""
        view = memoryview(data)
        self.written = 0
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        poll.register(self._wake, select.POLLIN)
        while self.written < len(data):
            ready = poll.poll()
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

    def cancel(self) -> None:
        """Make a write that waits raise Cancelled; so does every later one."""
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Release what is ours; the descriptor is the caller's."""
        if self._wake >= 0:
            os.close(self._wake)
            self._wake = -1
