"""A recording: the file that holds what the children of a run gave, and when. Its format, and how it is read.

It is a stream of MessagePack, as any library reads it: one binary value after the other, each of them a record, which is a
map in MessagePack itself. First a header, then a record for each thing that happened, in the order in which it was observed,
then one that says that nothing is missing. `docs/recording.md` describes the fields.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import msgspec

from rx_collector.errors import ConfigError, OutputError

__all__ = [
    "VERSION",
    "Clocks",
    "Closed",
    "Failure",
    "Header",
    "Lifecycle",
    "Lines",
    "Record",
    "Recording",
    "RefusedLine",
    "RunnerEnd",
    "Stderr",
    "Totals",
    "encode",
]

#: The version of the format that is written, and the only one that is read.
VERSION: Final = 1


class Header(msgspec.Struct, frozen=True, tag_field="record", tag="recording"):
    """The first line. `wall_ns` and `monotonic_ns` are the clocks when it began, the other two as in `Clocks`.

    `run` is the name of the run in the ids of its events, `began` the time as people read it.
    """

    version: int
    name: str
    run: str
    began: str
    wall_ns: int
    monotonic_ns: int
    boot_ns: int
    suspended_ns: int
    runners: list[str]


class Clocks(msgspec.Struct, frozen=True, tag_field="record", tag="clocks"):
    """A clock was set, or the machine had been suspended: how far CLOCK_BOOTTIME is behind wall time since, and
    CLOCK_MONOTONIC behind that. `tick` is always the nanoseconds of CLOCK_MONOTONIC since the recording began.
    """

    tick: int
    boot_ns: int
    suspended_ns: int


class RefusedLine(msgspec.Struct, frozen=True):
    """A frame that was no line: too long, or cut off. `head` is how it begins."""

    reason: str
    error: str
    head: bytes


class Lines(msgspec.Struct, frozen=True, tag_field="record", tag="lines"):
    """What one read of a child's output gave, after framing: rows, of which each travels as one batch.

    `first` is the number of the first line within the incarnation, `read` how many bytes the runner has printed so far.
    """

    tick: int
    wall_ns: int
    runner: str
    incarnation: int
    pid: int
    first: int
    read: int
    rows: list[list[bytes] | RefusedLine]


class Stderr(msgspec.Struct, frozen=True, tag_field="record", tag="stderr"):
    """Lines of standard error, of a runner that sends them as events."""

    tick: int
    wall_ns: int
    runner: str
    incarnation: int
    pid: int
    rows: list[list[bytes] | RefusedLine]


class Totals(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a runner's ledger held then, of what no record tells: see `rx_collector.ledger.RunnerLedger`."""

    read: int = 0
    stderr_lines: int = 0
    stderr_dropped: int = 0
    invalid_utf8: int = 0
    missed: str | None = None


class Lifecycle(msgspec.Struct, frozen=True, tag_field="record", tag="lifecycle", omit_defaults=True):
    """What became of a child: `what` and `facts` are those of lifecycle events."""

    tick: int
    wall_ns: int
    runner: str
    incarnation: int
    pid: int | None
    what: str
    facts: dict[str, Any]
    totals: Totals | None = None


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a runner ended with."""

    message: str
    code: int | None = None
    signal: int | None = None
    stderr: list[str] = []


class RunnerEnd(msgspec.Struct, frozen=True, tag_field="record", tag="end", omit_defaults=True):
    """A runner is over; there is no next child."""

    tick: int
    wall_ns: int
    runner: str
    totals: Totals
    error: Failure | None = None


class Closed(msgspec.Struct, frozen=True, tag_field="record", tag="closed"):
    """The last line: nothing is missing."""

    tick: int


Record = Clocks | Lines | Stderr | Lifecycle | RunnerEnd | Closed

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Record).decode
_decode_header: Final = msgspec.msgpack.Decoder(Header).decode
_FRAME: Final = struct.Struct(">BI")  # the beginning of a binary value: its kind (bin 32) and its length
_BINARY: Final = 0xC6


def encode(record: Header | Record) -> bytes:
    """Give a record as it stands in the file."""
    data = _encode(record)
    return _FRAME.pack(_BINARY, len(data)) + data


class _AnyHeader(msgspec.Struct):
    record: str
    version: int


class _CutOffError(Exception):
    """The file ends within a record, of which it has so many bytes."""

    def __init__(self, size: int) -> None:
        self.size = size


def _read(file: BinaryIO) -> bytes | None:
    """Read one record, still encoded; None at the end. Raises ValueError where none begins, and _CutOffError."""
    frame = file.read(_FRAME.size)
    if not frame:
        return None
    if frame[0] != _BINARY:
        raise ValueError(f"no record begins with the byte 0x{frame[0]:02x}")
    if len(frame) < _FRAME.size:
        raise _CutOffError(len(frame))
    size = _FRAME.unpack(frame)[1]
    left = os.fstat(file.fileno()).st_size - file.tell()
    if size > left:
        raise _CutOffError(len(frame) + left)
    return file.read(size)


class Recording:
    """A recording on disk. Its header is read at once, its records by `records`, one at a time.

    Raises ConfigError for a file that is no recording, or one of another version.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        try:
            with open(self.path, "rb") as file:
                if not file.seekable():
                    raise ConfigError(f"{self.path}: a recording is read twice, so not from a pipe; write it to a file")
                self.header = self._header(file)
        except OSError as error:
            raise ConfigError(f"{self.path}: {os.strerror(error.errno or 0).lower()}") from None
        #: What is wrong with its end, in words, as far as `records` has come; None for nothing.
        self.cut_off: str | None = None

    def _header(self, file: BinaryIO) -> Header:
        if not file.peek(1):  # type: ignore[attr-defined]
            raise ConfigError(f"{self.path}: the file is empty, and no recording")
        try:
            data = _read(file)
            known = msgspec.msgpack.decode(data or b"", type=_AnyHeader)
            if known.record != "recording":
                raise ValueError
        except (msgspec.MsgspecError, ValueError, _CutOffError):
            how = f"'rx-collector record FILE --to {self.path}' makes one"
            raise ConfigError(f"{self.path}: not a recording; {how}") from None
        if known.version != VERSION:
            raise ConfigError(f"{self.path}: a recording of version {known.version}; version {VERSION} is read here")
        try:
            return _decode_header(data or b"")
        except (msgspec.MsgspecError, ValueError) as error:
            raise ConfigError(f"{self.path}: not the header of a recording: {error}") from None

    def runners(self) -> list[str]:
        """Give the names of all runners in it, those first that the run began with. Reads the whole file, and blocks.

        Raises OutputError as `records` does.
        """
        names = dict.fromkeys(self.header.runners)
        for record in self.records():
            if not isinstance(record, Clocks | Closed):
                names[record.runner] = None
        return [*names]

    def records(self) -> Iterator[Record]:
        """Give the records in order. Afterwards `cut_off` tells whether some are missing at the end.

        Raises OutputError for one in the middle that is none, and for a file that cannot be read any more.
        """
        number = 0
        try:
            with open(self.path, "rb") as file:
                _read(file)
                while True:
                    at = file.tell()
                    try:
                        data = _read(file)
                        if data is None:
                            break
                        record = _decode(data)
                    except _CutOffError as error:
                        self.cut_off = (
                            f"it is cut off in record {number + 1}, whose first {error.size} bytes are left out"
                        )
                        return
                    except (msgspec.MsgspecError, ValueError) as error:
                        raise OutputError(f"{self.path}: byte {at}: not a record: {error}") from None
                    number += 1
                    yield record
                    if isinstance(record, Closed):
                        return
        except OSError as error:
            raise OutputError(f"cannot read {self.path}: {os.strerror(error.errno or 0).lower()}") from None
        self.cut_off = f"it is cut off after record {number}"
