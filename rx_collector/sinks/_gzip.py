"""Files of gzip members: what the file sink writes with ``compression: gzip``.

Each write is a whole member (RFC 1952, 2.2: a file is a series of members), so that what has been written can be read at
any time, by any tool, and nothing waits for more to be compressed with. In its header, in an extra field ``RX`` (2.3.1.1),
stands how long the member is in bytes. So whoever opens the file again walks from member to member without decompressing
them, and finds the one that a crash has torn.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import BinaryIO, Final

from rx_collector.errors import OutputError
from rx_collector.log import logger
from rx_collector.sinks.file import FileWriter, within
from rx_collector.sinks.format import joined

__all__ = ["GzipWriter", "member", "whole"]

# Bytes and lines in a member. Not for the sake of its size, for deflate looks back 32 KB: between members the thread waits
# for the interpreter's lock, and with a quarter of this a pipeline that keeps two processors busy took a third longer.
_MOST: Final = 1 << 20
_LINES: Final = 4096
# Of lines as tools print them, a tenth more bytes than at level 6, in less than half of the time.
_LEVEL: Final = 3
# Magic, deflate, there is an extra field; no time, no flags, Unix; eight bytes of it: RX, four bytes, the member's size.
_START: Final = b"\x1f\x8b\x08\x04" + bytes(4) + b"\x00\x03" + b"\x08\x00RX\x04\x00"
_SIZE: Final = struct.Struct("<I")
_END: Final = struct.Struct("<II")  # the checksum and the size of what is compressed
_HEADER: Final = len(_START) + _SIZE.size
_LEAST: Final = _HEADER + 2 + _END.size  # of an empty text
# What deflate may add to bytes that it cannot make smaller: five for each block that it stores, and they are 16 KB.
_MORE: Final = _LEAST + 5 * (_MOST // (1 << 14) + 1)


def member(data: bytes) -> bytes:
    """Give bytes as one gzip member that knows its size. Compresses without the interpreter's lock."""
    body = zlib.compress(data, _LEVEL, wbits=-zlib.MAX_WBITS)
    end = _END.pack(zlib.crc32(data), len(data) & 0xFFFFFFFF)
    return b"".join((_START, _SIZE.pack(_HEADER + len(body) + len(end)), body, end))


def whole(file: BinaryIO) -> int:
    """Give how many bytes of a file are whole members; what follows is a member that was torn while it was written.

    A member is torn when the file ends within it, when nothing but zeros follow (so does a file look that had its size
    when the machine stopped, and not yet its bytes), or when it is the last one and its bytes are not those of its
    checksum. The others are not decompressed. Raises ValueError with the number of the byte at which something stands
    that is no such member.
    """
    size = os.fstat(file.fileno()).st_size
    start = before = 0
    while start < size:
        file.seek(start)
        header = file.read(_HEADER)
        length = _SIZE.unpack_from(header, len(_START))[0] if len(header) == _HEADER else _LEAST
        if not header.startswith(_START[: len(header)]) or length < _LEAST:
            if not _zeros(file, start):
                raise ValueError(start)
            break
        if start + length > size:
            break
        before, start = start, start + length
    return start if _sound(file, before, start) else before


def _zeros(file: BinaryIO, start: int) -> bool:
    file.seek(start)
    return all(not any(piece) for piece in iter(lambda: file.read(1 << 16), b""))


def _sound(file: BinaryIO, start: int, end: int) -> bool:
    file.seek(start)
    try:
        zlib.decompress(file.read(end - start), wbits=zlib.MAX_WBITS | 16) if end > start else b""
    except zlib.error:
        return False
    return True


class GzipWriter(FileWriter):
    """Writes lines as gzip members. Each is in the file with all of its lines, or not at all."""

    holds = True
    _data = b""  # the member that is being written

    def _begin(self, size: int, truncate: bool) -> int:
        try:
            # Whoever comes later would see a member of which a part is written, and take it for a torn one.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                f"cannot write {self._spec.path}: it is open already, and a compressed file has one writer"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise  # a file system without locks is used without
        return super()._begin(size, truncate)

    def _release(self) -> None:
        if self._descriptor >= 0:
            with suppress(OSError):
                # A child that is just being started has the descriptor, too, until it has become its program.
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        super()._release()

    def _mend(self, size: int) -> int:
        path = self._spec.path
        with open(path, "rb") as file:
            try:
                end = whole(file)
            except ValueError as error:
                raise OutputError(
                    f"cannot append to {path}: from byte {error} on it is not what this sink writes with compression: "
                    "gzip; move it away, or say append: false"
                ) from None
        if end < size:
            os.ftruncate(self._descriptor, end)
            logger.warning("{}: its last {} bytes, of a gzip member that was torn, were taken off", path, size - end)
        return end

    def _fitting_lines(self, most: int | None) -> int:
        return within(islice(self._buffer, _LINES), _MOST if most is None else min(_MOST, most - _MORE)) or 1

    def _write(self, lines: list[bytes], arrivals: Callable[[], list[int]], before: int) -> None:
        self._data = member(joined(lines))
        most = self._spec.rotate.size if self._spec.rotate else None
        if most is not None and self._size and self._size + len(self._data) > most:
            self._make_room(before)
        self._write_group(lines, False, arrivals, 0, before)

    def _bytes_of(self, lines: list[bytes]) -> bytes:
        return self._data

    def _standing(self, data: bytes) -> int:
        return self._written if self._written == len(data) else 0

    def _lines_in(self, lines: list[bytes]) -> int:
        return len(lines) if self._standing(self._data) else 0

    def _numbered(self, number: int) -> str:
        path = self._spec.path
        return f"{path[:-3]}.{number}.gz" if path.endswith(".gz") else super()._numbered(number)
