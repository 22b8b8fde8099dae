"""Standard error of the command: written by a thread of its own, so that a terminal that was stopped stops nothing else.

The supervisor logs, among others, and it has to obey a stop whatever becomes of the log.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque

__all__ = ["StandardError"]

_MOST_WAITING = 10_000


class StandardError:
    """A queue of texts and the thread ``rx-stderr`` that writes them, in order. `write` never blocks.

    When standard error takes nothing for long, texts beyond ten thousand are dropped, and a line says how many.
    """

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._dropped = 0
        self._closed = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="rx-stderr", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Take a text, as it is. Safe from any thread."""
        with self._news:
            if len(self._waiting) >= _MOST_WAITING:
                self._dropped += 1
            else:
                self._waiting.append(text)
            self._news.notify()

    def close(self, timeout: float = 1.0) -> None:
        """Write what waits, but wait for that no longer than so many seconds."""
        with self._news:
            self._closed = True
            self._news.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                text = "".join(self._waiting)
                self._waiting.clear()
                if self._dropped:
                    text += f"{self._dropped:,} lines of the log were dropped: standard error did not take them\n"
                    self._dropped = 0
            try:
                sys.stderr.write(text)
                sys.stderr.flush()
            except (OSError, ValueError):
                pass  # its reader has gone; there is nobody left to tell


def columns() -> int:
    """Give the width of the terminal that standard error is, 80 where it is none."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return 80
