"""The feed: the standard input of a runner's child, for the events of a pipeline.

The reader attaches each incarnation's pipe, the writer of the sink ``stdin`` writes to whichever is there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from rx_collector.errors import OutputError
from rx_collector.sinks.descriptor import CancellableWriter, Cancelled, TimedOut
from rx_collector.units import format_duration

__all__ = ["Feed"]


class Feed:
    """What is written between two incarnations waits for the next one. Safe from any thread.

    A line counts as written when the pipe has taken it; what a child did not read before it ended is gone with it.
    """

    def __init__(self, name: str, on_finish: Callable[[], None] = lambda: None, timeout: float | None = None) -> None:
        self.name = name
        self._on_finish = on_finish
        self._timeout = timeout
        self._changed = threading.Condition()
        self._out: CancellableWriter | None = None
        self._writing: CancellableWriter | None = None  # what a write is busy with at this moment
        self._finished = False  # no more will be written: children see the end of their input
        self._over = False  # no more children
        self._cancelled = False

    @property
    def finished(self) -> bool:
        """Whether no more will be written."""
        return self._finished

    def attach(self, descriptor: int) -> None:
        """A child has started; the descriptor is ours to close."""
        with self._changed:
            if self._finished or self._cancelled:
                os.close(descriptor)
                return
            self._out = CancellableWriter(descriptor, self._timeout)
            self._changed.notify_all()

    def detach(self) -> None:
        """The child is gone."""
        with self._changed:
            out, self._out = self._out, None
            if out is not None:
                out.cancel()
                self._changed.wait_for(lambda: self._writing is not out)
                _close(out)

    def end(self) -> None:
        """There will be no child any more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def write(self, data: bytes) -> None:
        """Write whole lines. Blocks until a pipe has taken all of them; raises OutputError with how many it took.

        With a `timeout`, a child that takes nothing for so long is a failure; waiting for the next child is not.
        """
        done = 0
        while done < len(data):
            with self._changed:
                self._changed.wait_for(lambda: self._out is not None or self._over or self._cancelled)
                out = self._out
                if out is None or self._cancelled:
                    why = "was given up" if self._cancelled else "has ended"
                    raise OutputError(f"{self.name} {why}", delivered=data.count(b"\n", 0, done))
                self._writing = out
            try:
                out.write(data[done:])
                done = len(data)
            except TimedOut:
                why = f"took nothing for {format_duration(self._timeout or 0.0)}"
                whole = data.count(b"\n", 0, done + out.written)
                raise OutputError(f"{self.name} {why}", delivered=whole) from None
            except (OSError, Cancelled):
                # A child that is gone leaves the line it had half of to the next one, whole.
                done = max(done, data.rfind(b"\n", done, done + out.written) + 1)
                with self._changed:
                    if self._out is out:
                        self._out = None
                        _close(out)
            finally:
                with self._changed:
                    self._writing = None
                    self._changed.notify_all()

    def finish(self) -> None:
        """No more will be written: the child sees the end of its input."""
        with self._changed:
            self._finished = True
            out, self._out = self._out, None
            if out is not None:
                _close(out)
        self._on_finish()

    def cancel(self) -> None:
        """Make a write that waits give up."""
        with self._changed:
            self._cancelled = True
            if self._out is not None:
                self._out.cancel()
            self._changed.notify_all()


def _close(out: CancellableWriter) -> None:
    os.close(out.descriptor)
    out.close()
