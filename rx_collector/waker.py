"""Waking a thread that sleeps in poll(2), also from a signal handler that runs on that very thread."""

from __future__ import annotations

import os
import select
import threading

__all__ = ["LONGEST_WAIT", "Waker"]

#: The longest sleep at once, in seconds: poll(2) counts milliseconds in 32 bits. Who waits for longer sleeps again.
LONGEST_WAIT = 86_400.0


class Waker:
    """An event that may be set from a signal handler.

    `threading.Event` may not: its lock is held for moments of `wait`, and a handler that runs in one of them, on the same
    thread, waits for that lock for ever.
    """

    def __init__(self) -> None:
        self._descriptor = -1
        self._signals = (-1, -1)
        # It keeps `set` from writing to a descriptor that `close` has given back and somebody else has got. A handler may
        # run while its own thread holds it, so it is a reentrant one.
        self._lock = threading.RLock()
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def set(self) -> None:
        """Wake who waits, or who will wait next. Never blocks; nothing after `close`."""
        with self._lock:
            if self._descriptor >= 0:
                os.eventfd_write(self._descriptor, 1)

    def wait(self, timeout: float | None) -> None:
        """Sleep until `set` was called, at most `timeout` seconds and at most a day. For one thread."""
        if self._poll.poll(None if timeout is None else min(max(0.0, timeout), LONGEST_WAIT) * 1000):
            self.clear()

    def for_signals(self) -> int:
        """Give a descriptor for `signal.set_wakeup_fd`: a signal then ends a `wait`, whenever it comes.

        Without it one that arrives just before the thread goes to sleep is handled when something else wakes it up.
        """
        if self._signals == (-1, -1):
            self._signals = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            self._poll.register(self._signals[0], select.POLLIN)
        return self._signals[1]

    def fileno(self) -> int:
        """Give the descriptor, for a poll that waits for more than this."""
        return self._descriptor

    def clear(self) -> None:
        """Forget that `set` was called, if it was. For the thread that waits."""
        try:
            os.eventfd_read(self._descriptor)
        except BlockingIOError:
            pass
        if self._signals[0] >= 0:
            try:
                os.read(self._signals[0], 4096)
            except BlockingIOError:
                pass

    def forked(self) -> None:
        """Close it in a process that was forked off, where another thread's lock is held for ever."""
        self._lock = threading.RLock()
        self.close()

    def close(self) -> None:
        """Release it, but for what `for_signals` gave; once is enough."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)

    def __del__(self) -> None:
        """Release all; what signals write to only now, for they may be told to write there until the very end."""
        self.close()
        for descriptor in self._signals:
            if descriptor >= 0:
                os.close(descriptor)
