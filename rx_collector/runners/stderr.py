"""What children write to standard error, on its way to the log or into the stream.

The supervisor's thread takes it from the pipes and must never wait for a reader, nor for a log that is slow, so both ways
begin with a bounded queue.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from dataclasses import dataclass
from typing import Final

from loguru import logger

from rx_collector.ledger import Ledger, RunnerLedger

__all__ = ["StderrLog", "StderrQueue", "stderr_log"]

_MOST_LINES: Final = 10_000
_MOST_BYTES: Final = 16 << 20  # 10,000 lines of the longest kind would be 10 GB


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines that follow each other on the standard error of one incarnation, the first of them numbered `first`."""

    first: int
    lines: list[bytes]


class StderrQueue:
    """Lines on their way from the supervisor's thread to the reader's. Safe from any thread; never waits.

    What does not fit is dropped and counted. A line is counted in `stderr_events` when it leaves, not when it enters, so
    that the runner balances at any moment.
    """

    def __init__(self, ledger: Ledger, counts: RunnerLedger) -> None:
        self._ledger = ledger
        self._counts = counts
        self._pieces: deque[Piece] = deque()
        self._lines = 0
        self._bytes = 0
        self._closed = False

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def put(self, first: int, lines: list[bytes]) -> None:
        """Add lines, as many as fit."""
        with self._ledger.lock:
            if self._closed:
                self._drop("disposed", len(lines))
                return
            fitting, size = 0, self._bytes
            for line in lines[: _MOST_LINES - self._lines]:
                if size + len(line) > _MOST_BYTES:
                    break
                size += len(line)
                fitting += 1
            if fitting < len(lines):
                self._drop("stderr queue full", len(lines) - fitting)
            if fitting:
                self._pieces.append(Piece(first, lines[:fitting]))
                self._lines += fitting
                self._bytes = size

    def take(self) -> list[Piece]:
        """Take all that waits, as rows without a gap, and count it as sent on."""
        taken: list[Piece] = []
        with self._ledger.lock:
            while self._pieces:
                piece = self._pieces.popleft()
                if taken and piece.first == taken[-1].first + len(taken[-1].lines):
                    taken[-1].lines.extend(piece.lines)
                else:
                    taken.append(piece)
            self._counts.stderr_events += self._lines
            self._counts.out += self._lines
            self._lines = self._bytes = 0
        return taken

    def close(self) -> None:
        """Nobody takes any more: what waits and what still comes is dropped and counted."""
        with self._ledger.lock:
            self._closed = True
            if self._lines:
                self._drop("disposed", self._lines)
            self._pieces.clear()
            self._lines = self._bytes = 0

    def _drop(self, reason: str, count: int) -> None:
        self._counts.stderr_events += count
        self._counts.dropped[reason] += count


class StderrLog:
    """The thread ``rx-stderr-log``, which writes children's lines to the log while there are any, and ends by itself.

    The log may be slow, or stand still: a terminal that was paused, a full disk. Only this thread waits for it. What does
    not fit into the queue is not logged, and the log says how many lines that were.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str, list[bytes]]] = deque()
        self._lines = 0
        self._bytes = 0
        self._lost = 0
        self._thread: threading.Thread | None = None

    def put(self, name: str, lines: list[bytes]) -> None:
        """Log lines of the runner `name` soon. Safe from any thread; never waits."""
        size = sum(map(len, lines))
        with self._lock:
            if self._lines + len(lines) > _MOST_LINES or (self._lines and self._bytes + size > _MOST_BYTES):
                self._lost += len(lines)
                return
            self._waiting.append((name, lines))
            self._lines += len(lines)
            self._bytes += size
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rx-stderr-log", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # the interpreter is ending, or there are too many threads
                    self._thread = None

    def wait_idle(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for all to be logged. True when it is."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return self._thread is None

    def _run(self) -> None:
        while True:
            with self._lock:
                lost, self._lost = self._lost, 0
                if not self._waiting and not lost:
                    self._thread = None
                    return
                name, lines = self._waiting.popleft() if self._waiting else ("", [])
                self._lines -= len(lines)
                self._bytes -= sum(map(len, lines))
            try:
                log = logger.bind(runner=name)
                for line in lines:
                    log.info("{} stderr: {}", name, line.decode("utf-8", "replace"))
                if lost:
                    logger.warning("{} lines of stderr were not logged: the log cannot keep up", lost)
            except Exception:  # noqa: BLE001, S110 - a log that fails has no place where that could be said
                pass


#: The one log of this process.
stderr_log = StderrLog()

# Registered before the supervisor's own hook, so run after it: the last words of the children are logged.
atexit.register(stderr_log.wait_idle, 1.0)
os.register_at_fork(after_in_child=stderr_log._reset)
