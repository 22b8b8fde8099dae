"""Framing: how a stream of bytes becomes lines.

A framer takes chunks as they were read and gives rows: lists of lines, with each frame that cannot be one (too long, cut
off) in its place between them. It holds about `max_line` bytes at the most, whatever comes, and goes on with the next
frame. What it cannot tell the end of yet is given by `flush` when the reader has waited long enough for more.
"""

from __future__ import annotations

import codecs
import re
from abc import ABC, abstractmethod
from io import BytesIO
from operator import itemgetter
from typing import Any, Final

from rx_collector.frozen import frozen
from rx_collector.runners.spec import FramingSpec
from rx_collector.switches import is_on

__all__ = ["Framer", "LineFramer", "Refused", "Row", "Transcoder", "framer", "repair"]

_MOST_KEPT = 64 * 1024  # of a frame that is refused, for its dead letter
# Bytes of a line, on average: bytes.split looks at each byte, BytesIO finds the next newline eight times faster.
_LONG = 80 if is_on("splitting") else 1 << 62
_ENDINGS: Final = is_on("endings") and is_on("splitting")
_without_end = itemgetter(slice(None, -1))


@frozen
class Refused:
    """A frame that is no line: why (a word for the ledger, a text for people) and how it begins."""

    reason: str
    error: str
    head: bytes


Row = list[bytes] | Refused


class Framer(ABC):
    """Splits chunks into lines."""

    #: Seconds after which `flush` wants to be called when nothing more has come; None when nothing waits for that.
    flush_after: float | None = None
    #: Whether a line may have a newline in it.
    multiline = False
    #: Whether all lines that the last `feed` gave are known to be ASCII, so that nothing of them needs `repair`.
    ascii = False
    #: Where in its chunk the second of the lines begins that the last `ended` gave.
    begin = 0

    def __init__(self, max_line: int, *, truncate: bool = False) -> None:
        self._max_line = max_line
        self._truncate = truncate

    @abstractmethod
    def feed(self, chunk: bytes) -> list[Row]:
        """Take a chunk, which is never empty."""

    @abstractmethod
    def end(self) -> list[Row]:
        """The stream has ended: give what is left."""

    def flush(self) -> list[Row]:
        """Give what was held back because more of it might have come."""
        return []

    def ended(self, chunk: bytes) -> list[bytes] | None:
        """Take a chunk as `feed` does and give the lines, all valid UTF-8, with their newline; None, and nothing is taken,
        where that is not all there is to it: then `feed` wants it.
        """
        return None

    def _overlong(self, length: int, head: bytes) -> Row:
        """Give what becomes of a frame that is longer than allowed, of which `head` is the beginning."""
        if self._truncate:
            return [_whole(head[: self._max_line])]
        error = f"the line has {length} bytes, {self._max_line} are allowed; raw holds its beginning"
        return Refused("line_too_long", error, head[:_MOST_KEPT])

    def _fitted(self, lines: list[bytes]) -> list[Row]:
        """Give rows of lines, those that are too long as what becomes of them."""
        most = self._max_line
        if not lines or max(map(len, lines)) <= most:
            return [lines] if lines else []
        rows: list[Row] = []
        row: list[bytes] = []
        for line in lines:
            made: Row = [line] if len(line) <= most else self._overlong(len(line), line)
            if isinstance(made, Refused):
                if row:
                    rows.append(row)
                    row = []
                rows.append(made)
            else:
                row += made
        if row:
            rows.append(row)
        return rows


class LineFramer(Framer):
    """Lines that end with a delimiter of one byte, or at the end of the stream; ``\\r\\n`` ends a line like ``\\n``."""

    def __init__(self, max_line: int, *, truncate: bool = False, delimiter: bytes = b"\n") -> None:
        super().__init__(max_line, truncate=truncate)
        self._delimiter = delimiter
        self._newline = delimiter == b"\n"
        self.multiline = not self._newline
        self._parts: list[bytes] = []  # of the line that has no end yet
        self._size = 0
        self._skipped: int | None = None  # the length so far of an overlong line that has no end yet
        self._last = b""  # its last byte so far
        self._ascii_rest = True  # the parts are known to be ASCII
        self._long: bool | None = None  # lines were long the last time

    @property
    def rest(self) -> bytes:
        """The last bytes that came, when they are the beginning of a line that has no end yet."""
        return self._parts[-1] if self._parts and self._skipped is None else b""

    def feed(self, chunk: bytes) -> list[Row]:
        out: list[Row] = []
        ascii = chunk.isascii()
        self.ascii = ascii and self._ascii_rest and self._skipped is None
        if self._skipped is not None:
            end = chunk.find(self._delimiter)
            self._last = (self._last + chunk[: end if end >= 0 else None])[-1:]
            if len(head := self._parts[0]) < _MOST_KEPT:  # how it begins does not depend on how much was read at once
                self._parts = [(head + chunk[: end if end >= 0 else None])[:_MOST_KEPT]]
            if end < 0:
                self._skipped += len(chunk)
                return out
            out.append(self._end_overlong(self._skipped + end))
            chunk = chunk[end + 1 :]
        end = chunk.rfind(self._delimiter)
        if end >= 0:
            out += self._split_long(chunk, end) if self._long else self._split(self._joined(chunk[:end]))
            chunk = chunk[end + 1 :]
            self._parts, self._size, self._ascii_rest = [], 0, True
        if chunk:
            self._ascii_rest = ascii and self._ascii_rest
            self._parts.append(chunk)
            self._size += len(chunk)
            if len(self._parts) > 1024:  # a child that writes byte by byte
                self._parts = [b"".join(self._parts)]
            if self._size > self._max_line + 1:  # one more for a carriage return
                self._skipped, self._last = self._size, chunk[-1:]
                self._parts = [b"".join(self._parts)[: max(self._max_line if self._truncate else 0, _MOST_KEPT)]]
        return out

    def ended(self, chunk: bytes) -> list[bytes] | None:
        if self._long is None and (first := chunk.find(b"\n")) >= 0:
            self._long = self._newline and self._size + first > _LONG
        if not self._long or self._skipped is not None or not _ENDINGS:
            return None
        end = chunk.rfind(b"\n") + 1
        size = self._size + end
        parts = self._parts
        if not end or size > self._max_line or b"\r" in chunk or (parts and parts[-1].endswith(b"\r")):
            return None
        begin = chunk.find(b"\n") + 1
        if not (ascii := chunk.isascii()) or not self._ascii_rest:
            try:
                b"".join([*parts, chunk[:begin]]).decode()
                str(memoryview(chunk)[begin:end], "utf-8")
            except UnicodeDecodeError:
                return None  # some line has to be repaired
        self.begin = begin
        if parts:
            # What waits is put before the chunk's first line alone, not before all of it, which would be a copy.
            stream = BytesIO(chunk)  # it shares the bytes
            lines = [b"".join([*parts, stream.readline()])]
            lines += stream
        else:
            lines = BytesIO(chunk).readlines()
        if end < len(chunk):
            rest = lines.pop()  # what has no end yet
            self._parts, self._size, self._ascii_rest = [rest], len(rest), ascii or rest.isascii()
        else:
            self._parts, self._size, self._ascii_rest = [], 0, True
        self._long = size > _LONG * len(lines)
        return lines

    def end(self) -> list[Row]:
        self.ascii = False
        if self._skipped is not None:
            return [self._end_overlong(self._skipped)]
        if not self._parts:
            return []
        block = b"".join(self._parts)
        self._parts, self._size, self._ascii_rest = [], 0, True
        return self._split(block)

    def _end_overlong(self, length: int) -> Row:
        head = self._parts[0] if self._parts else b""
        if self._newline and self._last == b"\r":
            length -= 1
            head = head[:length]
        self._parts, self._size, self._skipped, self._ascii_rest = [], 0, None, True
        return self._overlong(length, head)

    def _joined(self, head: bytes) -> bytes:
        """Give what waits for its end and `head` behind it."""
        return b"".join([*self._parts, head]) if self._parts else head

    def _split(self, block: bytes) -> list[Row]:
        lines = block.split(self._delimiter)
        self._long = self._newline and len(block) > _LONG * len(lines)
        if self._newline and b"\r" in block:
            lines = [line[:-1] if line.endswith(b"\r") else line for line in lines]
        return [lines] if len(block) <= self._max_line else self._fitted(lines)

    def _split_long(self, chunk: bytes, end: int) -> list[Row]:
        """Split a chunk whose last newline is at `end`, what waits before it. Does what `_split` does, without a copy of
        the chunk, and faster where lines are long.
        """
        stream = BytesIO(chunk)  # it shares the bytes
        lines = [self._joined(stream.readline()[:-1])]
        lines += map(_without_end, stream)
        if end + 1 < len(chunk):
            lines.pop()  # what has no end yet
        self._long = self._size + end > _LONG * len(lines)
        if lines[0].endswith(b"\r") or b"\r" in chunk:
            lines = [line[:-1] if line.endswith(b"\r") else line for line in lines]
        return [lines] if self._size + end <= self._max_line else self._fitted(lines)


class LengthFramer(Framer):
    """Records with a binary number of bytes before each. One that the stream's end cuts off is refused as torn."""

    multiline = True

    def __init__(self, max_line: int, *, truncate: bool, size: int, order: Any) -> None:
        super().__init__(max_line, truncate=truncate)
        self._size = size
        self._order = order
        self._buffer = bytearray()
        self._skip = 0  # bytes of a record that is too long which are still to come
        self._long: tuple[int, bytearray] | None = None  # such a record: its length and how it begins

    def feed(self, chunk: bytes) -> list[Row]:
        rows: list[Row] = []
        row: list[bytes] = []
        buffer, position = self._buffer, 0
        buffer += chunk
        while True:
            if self._long is not None:
                length, head = self._long
                part = min(self._skip, len(buffer) - position)
                wanted = max(self._max_line if self._truncate else 0, _MOST_KEPT) - len(head)
                head += buffer[position : position + min(part, max(0, wanted))]
                position += part
                self._skip -= part
                if self._skip:
                    break
                self._long = None
                rows += [row] if row else []
                row = []
                rows.append(self._overlong(length, bytes(head)))
            if len(buffer) - position < self._size:
                break
            length = int.from_bytes(buffer[position : position + self._size], self._order)
            if length > self._max_line:
                position += self._size
                self._long, self._skip = (length, bytearray()), length
                continue
            end = position + self._size + length
            if len(buffer) < end:
                break
            row.append(bytes(buffer[position + self._size : end]))
            position = end
        del buffer[:position]
        return [*rows, row] if row else rows

    def end(self) -> list[Row]:
        torn, self._buffer = bytes(self._buffer), bytearray()
        if self._long is not None:
            length, head = self._long
            torn, self._long = bytes(head), None
            return [Refused("torn_frame", f"the stream ended in a record of {length} bytes", torn[:_MOST_KEPT])]
        if torn:
            return [Refused("torn_frame", f"the stream ended after {len(torn)} bytes of a record", torn[:_MOST_KEPT])]
        return []


class MultilineFramer(Framer):
    """Records of several lines: one that matches `start` begins a record, the lines after it belong to it.

    A record ends where the next one begins, so the last one waits for that, or for `flush`.
    """

    multiline = True

    def __init__(
        self, max_line: int, *, truncate: bool, start: re.Pattern[str], most_lines: int, flush_after: float
    ) -> None:
        super().__init__(max_line, truncate=truncate)
        self._lines = LineFramer(max_line, truncate=truncate)
        self._start = start.search
        self._most_lines = most_lines
        self._flush = flush_after
        self._record: list[bytes] = []
        self._count = 0  # of its lines
        self._length = 0

    @property
    def flush_after(self) -> float | None:  # type: ignore[override]
        return self._flush if self._count else None

    def feed(self, chunk: bytes) -> list[Row]:
        return self._join(self._lines.feed(chunk))

    def flush(self) -> list[Row]:
        return self._take()

    def end(self) -> list[Row]:
        return _joined(self._join(self._lines.end()) + self._take())

    def _join(self, rows: list[Row]) -> list[Row]:
        out: list[Row] = []
        for row in rows:
            if isinstance(row, Refused):
                out += [*self._take(), row]
                continue
            for line in row:
                if self._count >= self._most_lines or (self._count and self._start(line.decode("utf-8", "replace"))):
                    out += self._take()
                self._gather(line)
        return _joined(out)

    def _gather(self, line: bytes) -> None:
        """Add a line to the record; of a record that is too long only the beginning is kept."""
        if self._length <= max(self._max_line, _MOST_KEPT):
            self._record.append(line)
        self._length += len(line) + (1 if self._count else 0)
        self._count += 1

    def _take(self) -> list[Row]:
        """Give the record that was gathered, if there is one."""
        if not self._count:
            return []
        record, length = b"\n".join(self._record), self._length
        self._record, self._count, self._length = [], 0, 0
        return [self._overlong(length, record)] if length > self._max_line else [[record]]


class JsonSequenceFramer(Framer):
    """JSON text sequences (RFC 7464): a record separator before each record, a newline after it."""

    multiline = True
    _SEPARATOR: Final = b"\x1e"

    def __init__(self, max_line: int, *, truncate: bool, flush_after: float) -> None:
        super().__init__(max_line, truncate=truncate)
        self._flush = flush_after
        # Two more for what ends a record, which is no part of it.
        self._records = LineFramer(max_line + 2, truncate=truncate, delimiter=self._SEPARATOR)

    @property
    def flush_after(self) -> float | None:  # type: ignore[override]
        return self._flush if self._records.rest.endswith(b"\n") else None

    def feed(self, chunk: bytes) -> list[Row]:
        return self._cleaned(self._records.feed(chunk))

    def flush(self) -> list[Row]:
        """Give a record whose newline has come; without one it is not whole."""
        return self._cleaned(self._records.end()) if self._records.rest.endswith(b"\n") else []

    def end(self) -> list[Row]:
        return self._cleaned(self._records.end())

    def _cleaned(self, rows: list[Row]) -> list[Row]:
        out: list[Row] = []
        for row in rows:
            if isinstance(row, Refused):
                out.append(row)
            else:
                out += self._fitted([text for text in (line.strip(b"\r\n") for line in row) if text])
        return _joined(out)


def _joined(rows: list[Row]) -> list[Row]:
    """Put neighbouring lists of lines into one."""
    out: list[Row] = []
    for row in rows:
        if isinstance(row, list) and out and isinstance(out[-1], list):
            out[-1] += row
        else:
            out.append(row)
    return out


def framer(spec: FramingSpec, max_line: int, *, truncate: bool) -> Framer:
    """Make the framer of a description."""
    if spec.by == "length":
        return LengthFramer(max_line, truncate=truncate, size=spec.size, order=spec.order)
    if spec.by == "multiline":
        assert spec.start is not None
        return MultilineFramer(
            max_line, truncate=truncate, start=spec.start, most_lines=spec.most_lines, flush_after=spec.flush
        )
    if spec.by == "json_seq":
        return JsonSequenceFramer(max_line, truncate=truncate, flush_after=spec.flush)
    return LineFramer(max_line, truncate=truncate, delimiter=b"\0" if spec.by == "nul" else b"\n")


class Transcoder:
    """Turns output in another encoding into UTF-8, chunk by chunk. What cannot be decoded becomes U+FFFD, counted."""

    def __init__(self, encoding: str) -> None:
        self.replaced = 0
        self._encoding = encoding
        self._decode = codecs.getincrementaldecoder(encoding)(errors="replace").decode

    def feed(self, chunk: bytes, *, final: bool = False) -> bytes:
        """Give the chunk in UTF-8, but for a character that it does not end."""
        try:
            text = self._decode(chunk, final)
        except UnicodeError:  # UTF-16 or UTF-32 without a mark that says the order of its bytes
            self._decode = codecs.getincrementaldecoder(f"{self._encoding}-le")(errors="replace").decode
            text = self._decode(chunk, final)
        self.replaced += text.count("\ufffd")
        return text.encode("utf-8", "replace")


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
