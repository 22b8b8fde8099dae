"""Framing: how a stream of bytes becomes lines."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LineFramer", "Overlong", "repair"]

_MOST_KEPT = 64 * 1024  # of an overlong line, for its dead letter


@dataclass(frozen=True, slots=True)
class Overlong:
    """A line that was longer than allowed: its length in bytes and how it begins."""

    length: int
    head: bytes


class LineFramer:
    """Splits chunks into lines, holding at most about `max_line` bytes whatever comes.

    A line ends with a newline, with or without a carriage return before it, or at the end of the stream. One that is
    longer than `max_line` becomes an `Overlong`, or with `truncate` its first `max_line` bytes, and what follows its
    newline is read as usual.
    """

    def __init__(self, max_line: int, *, truncate: bool = False) -> None:
        self._max_line = max_line
        self._truncate = truncate
        self._parts: list[bytes] = []  # of the line that has no end yet
        self._size = 0
        self._skipped: int | None = None  # the length so far of an overlong line that has no end yet

    def feed(self, chunk: bytes) -> list[list[bytes] | Overlong]:
        """Take a chunk; give rows of lines, with each overlong line in its place between them."""
        out: list[list[bytes] | Overlong] = []
        if self._skipped is not None:
            end = chunk.find(b"\n")
            if end < 0:
                self._skipped += len(chunk)
                return out
            out.append(self._end_overlong(self._skipped + end))
            chunk = chunk[end + 1 :]
        end = chunk.rfind(b"\n")
        if end >= 0:
            block = b"".join([*self._parts, chunk[:end]]) if self._parts else chunk[:end]
            self._split(block, out)
            chunk = chunk[end + 1 :]
            self._parts, self._size = [], 0
        if chunk:
            self._parts.append(chunk)
            self._size += len(chunk)
            if len(self._parts) > 1024:  # a child that writes byte by byte
                self._parts = [b"".join(self._parts)]
            if self._size > self._max_line + 1:  # one more for a carriage return
                self._skipped = self._size
                self._parts = [b"".join(self._parts)[: max(self._max_line if self._truncate else 0, _MOST_KEPT)]]
        return out

    def end(self) -> list[list[bytes] | Overlong]:
        """The stream has ended: give its last line, if it had no newline."""
        out: list[list[bytes] | Overlong] = []
        if self._skipped is not None:
            out.append(self._end_overlong(self._skipped))
        elif self._parts:
            self._split(b"".join(self._parts), out)
            self._parts, self._size = [], 0
        return out

    def _end_overlong(self, length: int) -> list[bytes] | Overlong:
        head = self._parts[0] if self._parts else b""
        self._parts, self._size, self._skipped = [], 0, None
        return [_whole(head[: self._max_line])] if self._truncate else Overlong(length, head[:_MOST_KEPT])

    def _split(self, block: bytes, out: list[list[bytes] | Overlong]) -> None:
        lines = block.split(b"\n")
        if b"\r" in block:
            lines = [line[:-1] if line.endswith(b"\r") else line for line in lines]
        if len(block) <= self._max_line or max(map(len, lines)) <= self._max_line:
            out.append(lines)
            return
        row: list[bytes] = []
        for line in lines:
            if len(line) <= self._max_line:
                row.append(line)
            elif self._truncate:
                row.append(_whole(line[: self._max_line]))
            else:
                if row:
                    out.append(row)
                    row = []
                out.append(Overlong(len(line), line[:_MOST_KEPT]))
        if row:
            out.append(row)


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


def repair(lines: list[bytes], first: int) -> tuple[list[bytes], dict[int, bytes] | None]:
    """Replace what is not UTF-8 by U+FFFD. Gives the lines and, by line number, those that were changed, as they came."""
    block = b"\n".join(lines)
    if block.isascii():
        return lines, None
    try:
        block.decode()
    except UnicodeDecodeError:
        pass
    else:
        return lines, None
    repaired: dict[int, bytes] = {}
    mended = []
    for number, line in enumerate(lines, first):
        try:
            line.decode()
        except UnicodeDecodeError:
            repaired[number] = line
            line = line.decode("utf-8", "replace").encode()
        mended.append(line)
    return mended, repaired or None
