"""A recording: the file that holds what the children of a run gave, and when. Its format, and how it is read.

One JSON object a line: a header, then a record for each thing that happened, in the order in which it was observed, then one
that says that nothing is missing. `docs/recording.md` describes the fields.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from rx_collector.errors import ConfigError, OutputError

__all__ = [
    "VERSION",
    "Base64",
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


class Base64(msgspec.Struct, frozen=True, tag_field="row", tag="base64"):
    """Lines of which one at least is no valid UTF-8."""

    lines: list[bytes]


class RefusedLine(msgspec.Struct, frozen=True, tag_field="row", tag="refused"):
    """A frame that was no line: too long, or cut off. `head` is how it begins, in base64."""

    reason: str
    error: str
    head: bytes


class Lines(msgspec.Struct, frozen=True, tag_field="record", tag="lines"):
    """What one read of a child's output gave, after framing: rows, of which each travels as one batch.

    `first` is the number of the first line within the incarnation, `bytes` what the runner has printed so far.
    """

    tick: int
    wall_ns: int
    runner: str
    incarnation: int
    pid: int
    first: int
    bytes: int
    rows: list[list[str] | Base64 | RefusedLine]


class Stderr(msgspec.Struct, frozen=True, tag_field="record", tag="stderr"):
    """Lines of standard error, of a runner that sends them as events."""

    tick: int
    wall_ns: int
    runner: str
    incarnation: int
    pid: int
    rows: list[list[str] | Base64 | RefusedLine]


class Totals(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a runner's ledger held then, of what no record tells: see `rx_collector.ledger.RunnerLedger`."""

    bytes: int = 0
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

encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Record).decode
_decode_header: Final = msgspec.json.Decoder(Header).decode


class _AnyHeader(msgspec.Struct):
    record: str
    version: int


class Recording:
    """A recording on disk. Its header is read at once, its records by `records`, one at a time.

    Raises ConfigError for a file that is no recording, or one of another version; OutputError never.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        try:
            with open(self.path, "rb") as file:
                line = file.readline()
        except OSError as error:
            raise ConfigError(f"{self.path}: {os.strerror(error.errno or 0).lower()}") from None
        self.header = _header(self.path, line)
        #: What is wrong with its end, in words, as far as `records` has come; None for nothing.
        self.cut_off: str | None = None

    def records(self) -> Iterator[Record]:
        """Give the records in order. Afterwards `cut_off` tells whether some are missing at the end.

        Raises OutputError for a line in the middle that is none, and for a file that cannot be read any more.
        """
        try:
            with open(self.path, "rb") as file:
                number = 1
                file.readline()
                for number, line in enumerate(file, 2):
                    if not line.endswith(b"\n"):
                        self.cut_off = f"it is cut off in line {number}; the {len(line)} bytes of that are not played"
                        return
                    try:
                        record = _decode(line)
                    except (msgspec.MsgspecError, ValueError) as error:
                        raise OutputError(f"{self.path}:{number}: not a record: {error}") from None
                    yield record
                    if isinstance(record, Closed):
                        return
        except OSError as error:
            raise OutputError(f"cannot read {self.path}: {os.strerror(error.errno or 0).lower()}") from None
        self.cut_off = f"it is cut off after line {number}"


def _header(path: str, line: bytes) -> Header:
    if not line:
        raise ConfigError(f"{path}: the file is empty, and no recording")
    try:
        known = msgspec.json.decode(line, type=_AnyHeader)
        if known.record != "recording":
            raise ValueError
    except (msgspec.MsgspecError, ValueError):
        raise ConfigError(f"{path}: not a recording; 'rx-collector record FILE --to {path}' makes one") from None
    if known.version != VERSION:
        raise ConfigError(f"{path}: a recording of version {known.version}; version {VERSION} is read here")
    try:
        if not line.endswith(b"\n"):
            raise ValueError("it is cut off")
        return _decode_header(line)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigError(f"{path}:1: not the header of a recording: {error}") from None
