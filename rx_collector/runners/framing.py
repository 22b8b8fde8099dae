"""Framing: how a stream of bytes becomes lines.

No Python code runs for a single line on the common path: a block of lines is split, checked and cleaned as a whole, and
only a block that holds something odd is looked at line by line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["LineFramer", "Overlong", "Row", "repair"]

_MOST_KEPT: Final = 64 * 1024  # of an overlong line, for its rejected record


@dataclass(frozen=True, slots=True)
class Row:
    """Lines that follow each other, without their ends. `valid` means: all of them are valid UTF-8."""

    lines: list[bytes]
    valid: bool


@dataclass(frozen=True, slots=True)
class Overlong:
    """A line that was longer than allowed: its length in bytes, and how it begins (at most 64 KiB)."""

    length: int
    head: bytes


class LineFramer:
    """Splits chunks into lines, and holds at most about `max_line` bytes whatever comes.

    A line ends with a newline or with the stream; a carriage return at its end is taken off, and empty lines are lines.
    One longer than `max_line` bytes becomes an `Overlong`, or with `truncate` a line of its first `max_line` bytes (less
    what would be half a character); what follows its newline is read as usual. Not safe to share between threads.
    """

    def __init__(self, max_line: int, *, truncate: bool = False) -> None:
        self._max_line = max_line
        self._truncate = truncate
        self._kept = max_line if truncate else min(max_line, _MOST_KEPT)
        self._rest = bytearray()  # of the line that has no end yet
        self._skipped = 0  # the length so far of an overlong line that has no end yet

    def feed(self, chunk: bytes) -> list[Row | Overlong]:
        """Take a chunk; give the lines that ended in it, in order, each overlong one in its place between the rows."""
        out: list[Row | Overlong] = []
        start = 0
        if self._skipped:
            end = chunk.find(b"\n")
            if end < 0:
                self._skipped += len(chunk)
                return out
            self._skipped += end
            self._end_overlong(out)
            start = end + 1
        end = chunk.rfind(b"\n", start)
        if end >= 0:
            block = memoryview(chunk)[start:end]
            self._split(b"".join((self._rest, block)) if self._rest else bytes(block), out)
            self._rest.clear()
            start = end + 1
        if start < len(chunk):
            self._rest += memoryview(chunk)[start:]
            if len(self._rest) > self._max_line + 1:  # one more, which may be a carriage return
                self._skipped = len(self._rest)
                del self._rest[self._kept :]
        return out

    def end(self) -> list[Row | Overlong]:
        """The stream has ended: give its last line, if it had no newline."""
        out: list[Row | Overlong] = []
        if self._skipped:
            self._end_overlong(out)
        elif self._rest:
            self._split(bytes(self._rest), out)
            self._rest.clear()
        return out

    def _end_overlong(self, out: list[Row | Overlong]) -> None:
        head = bytes(self._rest)
        self._add_overlong(self._skipped, head, out)
        self._rest.clear()
        self._skipped = 0

    def _add_overlong(self, length: int, line: bytes, out: list[Row | Overlong]) -> None:
        if self._truncate:
            head = _whole(line[: self._max_line])
            out.append(Row([head], _is_utf8(head)))
        else:
            out.append(Overlong(length, line[: self._kept]))

    def _split(self, block: bytes, out: list[Row | Overlong]) -> None:
        """Split what stands before a newline, or before the end of the stream."""
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n")
            if block.endswith(b"\r"):
                block = block[:-1]
        valid = _is_utf8(block)
        lines = block.split(b"\n")
        if len(block) <= self._max_line or max(map(len, lines)) <= self._max_line:
            out.append(Row(lines, valid))
            return
        row: list[bytes] = []
        for line in lines:
            if len(line) <= self._max_line:
                row.append(line)
                continue
            if row:
                out.append(Row(row, valid))
                row = []
            self._add_overlong(len(line), line, out)
        if row:
            out.append(Row(row, valid))


def _is_utf8(block: bytes) -> bool:
    if block.isascii():
        return True
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def _whole(line: bytes) -> bytes:
    """Take off the part of a character that a cut left at the end."""
    for size in range(1, min(4, len(line) + 1)):
        last = line[-size]
        if last < 0x80:
            return line
        if last >= 0xC0:
            wanted = 2 if last < 0xE0 else 3 if last < 0xF0 else 4
            return line if size >= wanted else line[:-size]
    return line


def repair(lines: list[bytes], first: int) -> tuple[list[bytes], dict[int, bytes]]:
    """Put U+FFFD where a line is not UTF-8.

    Gives the lines, all valid, and by line number (that of the first is `first`) those that were changed, as they came.
    """
    repaired: dict[int, bytes] = {}
    mended = []
    for number, line in enumerate(lines, first):
        if not _is_utf8(line):
            repaired[number] = line
            line = line.decode("utf-8", "replace").encode()
        mended.append(line)
    return mended, repaired
