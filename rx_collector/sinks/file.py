"""The file sink: events appended to a file, a line each."""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import accumulate, repeat
from operator import add
from typing import Any, ClassVar, cast
from weakref import WeakValueDictionary

from rx_collector.config.options import (
    BOOLEAN,
    COUNT,
    DURATION,
    PATH,
    SIZE,
    Choice,
    Kind,
    Nested,
    Scope,
    Spec,
    described,
    option,
)
from rx_collector.errors import OutputError
from rx_collector.event import Event
from rx_collector.log import logger
from rx_collector.sinks.base import Sink, Writer, sink
from rx_collector.sinks.descriptor import CancellableWriter, Cancelled, TimedOut
from rx_collector.sinks.format import FORMATS, encoder, flatten, joined
from rx_collector.switches import is_on
from rx_collector.units import format_duration

__all__ = ["File", "Rotate"]

_BUFFER = 1 << 20
# Bytes of a line from which on the kernel gathers lines faster than we join them, and without a second copy.
_LONG = 4096
_MOST_GATHERED = 512  # lines in one writev(2), each with its end: the kernel takes 1,024 pieces
_MOST_JOINED = 1024  # lines in one write(2): what is joined stays in the processor's cache


class _Mode(Kind):
    wanted = 'a file mode such as "0600"'

    def convert(self, value: Any, scope: Scope) -> Any:
        text = value if isinstance(value, str) else (scope.expanded() or "") if scope.document is not None else ""
        if isinstance(value, int) and not isinstance(value, bool) and not text:
            return value  # from Python, where 0o600 is a number
        if re.fullmatch(r"0?o?[0-7]{3}", text):
            return int(text.replace("o", ""), 8)
        return self._wanted(value, scope)

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "integer"]}

    def write(self, value: Any) -> str:
        return f'"{value:04o}"'


@described
class Rotate(Spec):
    """When a file is closed and renamed to ``path.1``, and how many old ones are kept.

    A compressed file ``path.gz`` is renamed to ``path.1.gz``, and its size is that on the disk.
    """

    name: ClassVar[str] = "rotate"
    example: ClassVar[str] = "rotate: {size: 100MB, keep: 7}"
    shorthand: ClassVar[str | None] = "size"

    size: int | None = option(SIZE, "Before it would become larger than this.", None)
    every: float | None = option(DURATION, "When it has been open for this long (monotonic time).", None)
    keep: int = option(COUNT, "How many old files are kept; number 1 is the youngest.", 5)

    def check(self, scope: Scope) -> None:
        if self.size is None and self.every is None:
            scope.wrong("say 'size' or 'every' or both, for example {size: 100MB, keep: 7}")
        if self.size == 0 or self.every == 0:
            scope.wrong("the limit must be more than nothing")


@sink(
    "file",
    summary="Append events to a file, a line each.",
    guarantee="Delivered means handed to the kernel (with fsync: batch, to the disk), whole lines only; a line that is "
    "torn when the disk is full is taken back.",
    example="file: {path: exec.ndjson, rotate: {size: 100MB, keep: 7}}\n"
    "backpressure: {strategy: block, capacity: 10_000}",
)
@described
class File(Sink):
    """Append events to a file, a line each. Its directory is made when it is missing.

    After a failure the file is opened again before the next try, where the branch has a ``retry``; so a directory that
    was removed is made again. A FIFO whose reader takes nothing can be given up; a disk that hangs cannot.

    With ``compression: gzip`` each write is a whole gzip member, so that what is delivered can be read while the file
    grows, and a member that a crash has torn is taken off when the file is opened again. The sink's own thread compresses,
    beside those that read and parse, for zlib does not hold the interpreter's lock. At low rates a member is of few lines
    and hardly smaller than these; ``flush: 1s`` makes it one of all lines of a second.
    """

    shorthand: ClassVar[str | None] = "path"

    path: str = option(PATH, "The file.", example="exec.ndjson")
    format: str = option(FORMATS, "How an event is written.", "ndjson")
    envelope: bool = option(BOOLEAN, "Whether the whole event is written, not its payload alone.", False)
    append: bool = option(BOOLEAN, "Whether what is there already is kept.", True)
    rotate: Rotate | None = option(Nested(Rotate), "When a new file is begun.", None)
    compression: str = option(
        Choice("none", "gzip"),
        "Whether it is a gzip file. One sink alone can write it, and what is there must be its own.",
        "none",
    )
    mode: int = option(_Mode(), "The permissions of a new file.", 0o600)
    flush: float = option(DURATION, "How long lines may wait to be written together; each batch at once when 0.", 0.0)
    fsync: str = option(Choice("never", "batch", "close"), "When the file is synchronised with the disk.", "never")
    timeout: float | None = option(
        DURATION, "How long a write to a FIFO or terminal may make no progress before it fails; not for a disk.", None
    )

    @property
    def exclusive(self) -> bool:
        """Whether no other sink can write this file: it is renamed, emptied or compressed."""
        return self.rotate is not None or not self.append or self.compression != "none"

    def open(self) -> Writer:
        if self.compression == "gzip":
            from rx_collector.sinks._gzip import GzipWriter  # what few files need is imported when one does

            return GzipWriter(self)
        return FileWriter(self)


def _why(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)


class _Turn:
    """Keeps two sinks that write one file from seeing, and from taking back, a part of what the other one writes."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


_turns: WeakValueDictionary[tuple[int, int], _Turn] = WeakValueDictionary()
_turns_lock = threading.Lock()


def _turn_of(status: os.stat_result) -> _Turn:
    key = (status.st_dev, status.st_ino)
    with _turns_lock:
        turn = _turns.get(key)
        if turn is None:
            turn = _turns[key] = _Turn()
        return turn


class FileWriter(Writer):
    """Writes lines as they are. What a file of another form does otherwise are the methods that its class has anew."""

    #: Whether lines go through the buffer in any case.
    holds: ClassVar[bool] = False

    def __init__(self, spec: File) -> None:
        self._spec = spec
        self._encode = encoder(spec.format, spec.envelope)
        self._plain = spec.format == "ndjson" and not spec.envelope
        self.flush_interval = spec.flush or None
        self._buffer: list[bytes] = []  # lines with their ends, `_arrivals` events in all
        self._buffered = 0
        self._arrivals: list[int] = []  # how many events have arrived with each line
        self._descriptor = -1
        self._size = 0
        self._written = 0  # bytes of the last write that arrived
        self._error = ""  # why not all did
        self._special = False
        self._opened = 0.0
        self._out: CancellableWriter | None = (
            None  # for what is no regular file, and so may never take what it is given
        )
        self._cancelled = False
        self._open(truncate=not spec.append)
        for cannot, wanted in (("rotate", spec.rotate is not None), ("compress", spec.compression != "none")):
            if self._special and wanted:
                self._release()
                raise OutputError(f"cannot {cannot} {spec.path}: it is not a regular file")

    def _open(self, *, truncate: bool = False) -> None:
        path = self._spec.path
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            descriptor = os.open(path, flags, self._spec.mode)
        except FileExistsError:
            raise OutputError(f"cannot write {path}: a part of its path is not a directory") from None
        except OSError as error:
            raise OutputError(f"cannot write {path}: {_why(error)}") from None
        status = os.fstat(descriptor)
        self._descriptor, self._special = descriptor, not stat.S_ISREG(status.st_mode)
        self._opened, self._size = time.monotonic(), 0
        if self._special:
            self._out = CancellableWriter(descriptor, self._spec.timeout)
            if self._cancelled:
                self._out.cancel()
            return
        self._turn = _turn_of(status)
        os.set_blocking(descriptor, True)  # not blocking was for a FIFO that nobody reads
        try:
            self._size = self._begin(status.st_size, truncate)
        except OSError as error:
            self._release()
            raise OutputError(f"cannot write {path}: {_why(error)}") from None
        except OutputError:
            self._release()
            raise

    def _begin(self, size: int, truncate: bool) -> int:
        """Make the open file ready for what is appended; `size` bytes are in it. Gives how many there are then."""
        if truncate:
            os.ftruncate(self._descriptor, 0)
            return 0
        with self._turn.lock:
            return self._mend(size) if size else 0

    def _release(self) -> None:
        if self._out is not None:
            self._out.close()
            self._out = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def recover(self) -> None:
        self._forget()
        if self._out is None:  # what is no regular file knows of a line that it tore, so it stays open
            self._release()
            self._open()

    def cancel(self) -> None:
        self._cancelled = True
        if (out := self._out) is not None:
            out.cancel()

    def _forget(self) -> None:
        self._buffer, self._arrivals, self._buffered = [], [], 0

    def _mend(self, size: int) -> int:
        """End the line that a crash may have left without its end; it must not swallow the next one."""
        with open(self._spec.path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) == b"\n":
                return size
        os.write(self._descriptor, b"\n")
        return size + 1

    def write(self, events: list[Event]) -> int:
        lines = self._lines(events)
        if not self._spec.flush and not self.holds and self._has_room(lines):
            self._write(lines, lambda: _arrivals(events), 0)
            return len(events)
        self._buffer += lines
        self._arrivals += _arrivals(events)
        self._buffered += sum(map(len, lines)) + len(lines)
        if self._spec.flush and self._buffered < _BUFFER:
            return 0
        return self.flush()

    def _lines(self, events: list[Event]) -> list[bytes]:
        """Give the lines of events, without their ends."""
        encode = self._encode
        if not self._plain:
            return [encode(event) for event in flatten(events)]
        lines = [event.encoded for event in events]
        if all(lines):  # then none of them is a buffer either
            return cast("list[bytes]", lines)
        return [event.encoded or encode(event) for event in flatten(events)]

    def flush(self) -> int:
        arrived = 0
        while self._buffer:
            count = self._fitting()
            if count == 0:
                self._make_room(arrived)
                continue
            lines, arrivals = self._buffer[:count], self._arrivals[:count]
            del self._buffer[:count], self._arrivals[:count]
            self._write(lines, lambda arrivals=arrivals: arrivals, arrived)  # type: ignore[misc]
            arrived += sum(arrivals)
        self._buffered = 0
        return arrived

    def _has_room(self, lines: list[bytes]) -> bool:
        """Tell whether all of these lines go into the file as it is."""
        rotate = self._spec.rotate
        if rotate is None or self._is_old(rotate):
            return rotate is None
        return rotate.size is None or self._size + sum(map(len, lines)) + len(lines) <= rotate.size

    def _is_old(self, rotate: Rotate) -> bool:
        return rotate.every is not None and self._size > 0 and time.monotonic() - self._opened >= rotate.every

    def _fitting(self) -> int:
        """Give how many buffered lines go into the file as it is."""
        rotate = self._spec.rotate
        if rotate is None:
            return self._fitting_lines(None)
        return 0 if self._is_old(rotate) else self._fitting_lines(rotate.size)

    def _fitting_lines(self, most: int | None) -> int:
        """Give how many buffered lines are written together into a file of at most so many bytes."""
        if most is None:
            return len(self._buffer)
        count = within(self._buffer, most - self._size)
        return count or (0 if self._size else 1)

    def _make_room(self, arrived: int) -> None:
        try:
            self._rotate()
        except OutputError as error:
            self._forget()
            raise OutputError(str(error), delivered=arrived) from None

    def _numbered(self, number: int) -> str:
        """Give the name of the old file with this number."""
        return f"{self._spec.path}.{number}"

    def _rotate(self) -> None:
        path, keep = self._spec.path, self._spec.rotate.keep if self._spec.rotate else 0
        try:
            if self._spec.fsync != "never":
                os.fsync(self._descriptor)
            self._release()
            for number in range(keep - 1, 0, -1):
                if os.path.lexists(self._numbered(number)):
                    os.replace(self._numbered(number), self._numbered(number + 1))
            if keep:
                os.replace(path, self._numbered(1))
            else:
                os.unlink(path)
        except OSError as error:
            raise OutputError(f"cannot rotate {path}: {_why(error)}") from None
        self._open()

    def _write(self, lines: list[bytes], arrivals: Callable[[], list[int]], before: int) -> None:
        """Write lines, of which `arrivals` tells how many events have arrived with each, after `before` others.

        Raises OutputError with the number of events that are in the file.
        """
        gathers = self._out is None and len(lines[0]) >= _LONG and is_on("gathering")
        most = _MOST_GATHERED if gathers else _MOST_JOINED
        if self._out is not None or len(lines) <= most:
            self._write_group(lines, gathers, arrivals, 0, before)
            return
        for start in range(0, len(lines), most):
            self._write_group(lines[start : start + most], gathers, arrivals, start, before)

    def _write_group(
        self, lines: list[bytes], gathers: bool, arrivals: Callable[[], list[int]], start: int, before: int
    ) -> None:
        """Write the lines from number `start` on that go into one call."""
        if self._write_special(self._out, lines) if self._out is not None else self._write_regular(lines, gathers):
            return
        arrived = arrivals()
        count = start + self._lines_in(lines)
        self._forget()
        raise OutputError(self._error, delivered=before + sum(arrived[:count]))

    def _write_regular(self, lines: list[bytes], gathers: bool) -> bool:
        """Write all of them. False when it failed: then `_written` bytes arrived, and `_error` says why no more."""
        self._written = size = 0
        try:
            if os.fstat(self._descriptor).st_nlink == 0:
                # Whoever removed it did not ask us to write where nobody will ever read.
                logger.warning("{} was removed and is begun anew", self._spec.path)
                self._release()
                self._open()
            with self._turn.lock:
                try:
                    if gathers:
                        size = sum(map(len, lines)) + len(lines)
                        self._written = os.writev(self._descriptor, [part for line in lines for part in (line, b"\n")])
                    if not gathers or self._written < size:
                        data = self._bytes_of(lines)
                        size = len(data)
                        view = memoryview(data)
                        while self._written < size:
                            self._written += os.write(self._descriptor, view[self._written :])
                    if self._spec.fsync == "batch":
                        self._synchronise(size)
                except OSError:
                    self._take_back(self._bytes_of(lines))
                    raise
        except OSError as error:
            self._error = f"cannot write {self._spec.path}: {_why(error)}"
            return False
        except OutputError as error:  # it could not be begun anew
            self._error = str(error)
            return False
        self._size += size
        return True

    def _bytes_of(self, lines: list[bytes]) -> bytes:
        """Give what is written for lines."""
        return joined(lines)

    def _standing(self, data: bytes) -> int:
        """Give how many bytes of what has been written of `data` are whole."""
        return data.rfind(b"\n", 0, self._written) + 1

    def _lines_in(self, lines: list[bytes]) -> int:
        """Give how many of these lines are in what has been written."""
        return joined(lines).count(b"\n", 0, self._written)

    def _take_back(self, data: bytes) -> None:
        """Take back what was written in part: a line of `data`, or whatever is written as one."""
        torn = self._written - self._standing(data)
        if torn:
            try:
                os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - torn)
            except OSError:
                pass  # the disk is beyond help; what is torn is mended when the file is opened again

    def _synchronise(self, size: int) -> None:
        """Have the last `size` bytes on the disk; where that fails they are taken back, for they have not arrived."""
        try:
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - size)
            self._written = 0
            raise

    def _write_special(self, out: CancellableWriter, lines: list[bytes]) -> bool:
        try:
            out.write(joined(lines))
        except OSError as error:
            why = _why(error)
        except Cancelled:
            why = "it took nothing any more and was given up"
        except TimedOut:
            why = f"it took nothing for {format_duration(self._spec.timeout or 0.0)}"
        else:
            return True
        finally:
            self._written = out.written
        self._error = f"cannot write {self._spec.path}: {why}"
        return False

    def close(self) -> int:
        if self._descriptor < 0:
            return 0
        arrived = 0
        try:
            arrived = self.flush()
            if self._spec.fsync != "never" and not self._special:
                os.fsync(self._descriptor)
        except OSError as error:
            raise OutputError(f"cannot write {self._spec.path}: {_why(error)}", delivered=arrived) from None
        finally:
            self._forget()
            self._release()
        return arrived


def within(lines: Iterable[bytes], most: int) -> int:
    """Give how many lines, with their ends, are not more than so many bytes."""
    return bisect_right([*accumulate(map(add, map(len, lines), repeat(1)))], most)


def _arrivals(events: list[Event]) -> list[int]:
    """Give for each line how many events have arrived with it: a buffer has with the last of its members."""
    if flatten(events) is events:
        return [1] * len(events)
    arrivals: list[int] = []
    for event in events:
        arrivals += [0] * (len(flatten([event])) - 1) + [1]
    return arrivals
