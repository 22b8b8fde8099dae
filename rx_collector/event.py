"""Event, the record in its envelope, and the two forms in which records travel in batches.

A reader makes `Lines`, one object for all that one read gave. The first compiled segment (see `rx_collector.stream`)
turns what passes into `Event` objects, and from there on a batch is a plain list of events.
"""

from __future__ import annotations

import marshal
from binascii import b2a_base64
from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

import msgspec

from rx_collector.later import later

__all__ = [
    "Event",
    "Lines",
    "Origin",
    "Packed",
    "decode_beyond",
    "decode_payload",
    "encode_json",
    "format_time",
    "from_json",
    "from_message",
    "pack",
    "raw_in_record",
    "rejected",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_decode: Final = msgspec.json.Decoder(dict).decode


def decode_beyond(text: bytes | str, hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Decode what is known to be JSON, also where there is a number in it that is beyond a double, or that has more digits
    than Python reads: it is infinite. `hook` makes an object of its pairs. Raises RecursionError.

    >>> decode_beyond('[1e999, -1e999, 7]')
    [inf, -inf, 7]
    """
    return later("json", "loads")(text, parse_int=_whole_number, object_pairs_hook=hook)


def _whole_number(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:  # there are too many
        return float(digits)


def decode_payload(encoded: bytes) -> Any:
    """Decode what is known to be a JSON object; a number beyond a double in it is infinite, as `parse` has it."""
    try:
        return _decode(encoded)
    except msgspec.ValidationError:
        return decode_beyond(encoded)


class _Lazy:
    """Stands in `Event._data` for a payload that is still in its bytes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


#: The payload is ``{"message": <raw as text>}`` and was not needed yet.
from_message: Final = _Lazy("from_message")
#: The payload is the JSON object in `encoded` and was not needed yet.
from_json: Final = _Lazy("from_json")


class Packed(msgspec.Struct, eq=False, gc=False):
    """Stands in `Event._data` for an object that another process made, as `pack` gave it."""

    packed: bytes

    def unpack(self) -> Any:
        """Make the payload."""
        form, packed = self.packed[:1], memoryview(self.packed)[1:]
        if form == b"m":
            return marshal.loads(packed)
        value = later("pickle", "loads")(packed)
        return _nested(value) if form == b"f" else value


def pack(value: Any) -> bytes:
    """Give a value as bytes for another process of ours: what Python's own types can say as it is, in marshal's format.

    A line of JSON may be nested five times as deeply as marshal takes, and twice as deeply as pickle does.
    """
    try:
        return b"m" + marshal.dumps(value)
    except ValueError:
        dumps = later("pickle", "dumps")
    try:
        return b"p" + bytes(dumps(value))
    except RecursionError:
        return b"f" + bytes(dumps(_flat(value)))


def _flat(value: Any) -> list[tuple[Any, ...]]:
    """Give a value as a row of values that are not nested: of a list, a tuple or a dict its type, and where in the row the
    first of its items is, how many there are and their keys; of another value nothing but itself.

    >>> _flat([7, {"a": 1}])
    [(<class 'list'>, 1, 2, None), (7,), (<class 'dict'>, 3, 1, ['a']), (1,)]
    """
    values = [value]
    row: list[tuple[Any, ...]] = []
    for one in values:  # which becomes longer meanwhile
        kind = one.__class__
        if kind is dict:
            row.append((kind, len(values), len(one), [*one]))
            values += one.values()
        elif kind is list or kind is tuple:
            row.append((kind, len(values), len(one), None))
            values += one
        else:
            row.append((one,))
    return row


def _nested(row: list[tuple[Any, ...]]) -> Any:
    """Make the value of a row again.

    >>> _nested(_flat({"a": [1, (2, {})], "b": "c"}))
    {'a': [1, (2, {})], 'b': 'c'}
    """
    made: list[Any] = [None] * len(row)
    for index in reversed(range(len(row))):  # the items of a value are behind it
        if len(row[index]) == 1:
            made[index] = row[index][0]
            continue
        kind, first, count, keys = row[index]
        items = made[first : first + count]
        made[index] = kind(items) if keys is None else dict(zip(keys, items, strict=True))
    return made[0]


class _NotJson:
    """Stands in every `Origin`: msgspec would write an event within a payload with all its inner parts; here it stops."""

    def __repr__(self) -> str:
        return "not_json"


_not_json: Final = _NotJson()


class Origin(msgspec.Struct, frozen=True, eq=False):
    """What all lines of one batch share: who printed them, and when they were read.

    `observed_ns` is wall time in nanoseconds since 1970, taken once a read. `run` tells one start of the collector from
    the next, so that ids of different runs differ. `parsed` says that they have fields from the beginning, so that there is
    no line to parse: payloads given in a test.
    """

    run: str
    runner: str
    incarnation: int
    pid: int | None
    observed_ns: int
    type: str = "line"
    parsed: bool = False
    not_json: object = _not_json

    @property
    def source(self) -> str:
        """The CloudEvents source: the runner's name."""
        return self.runner


class Lines:
    """One batch as a reader gives it: lines without their end, all valid UTF-8, numbered from `first`.

    `repaired` maps the number of each line that was not valid UTF-8 to the bytes as they came. `broken` tells that some
    line has a newline within it, as other framings than lines allow. `ended` has the lines with the newline that each of
    them ends with, where they came so (see `of_ended`); a compiled loop cuts it off of those that it needs without.
    `numbers` has those of the lines, in order, where some between them are elsewhere (see `rx_collector.stream.workers`).
    """

    __slots__ = ("_lines", "block", "broken", "ended", "first", "numbers", "origin", "repaired")

    def __init__(
        self,
        lines: list[bytes] | None,
        first: int,
        origin: Origin,
        repaired: dict[int, bytes] | None = None,
        broken: bool = False,
    ) -> None:
        self._lines = lines
        self.ended: Sequence[bytes] | None = None
        #: Bytes in which all `ended` lines but the first stand one behind the other, and where the second begins.
        self.block: tuple[bytes, int] | None = None
        self.first = first
        self.origin = origin
        self.repaired = repaired
        self.broken = broken
        self.numbers: Sequence[int] | None = None

    @classmethod
    def of_ended(
        cls, ended: Sequence[bytes], first: int, origin: Origin, block: tuple[bytes, int] | None = None
    ) -> Lines:
        """Make a batch of lines that still have their newline, all of them valid UTF-8. There is at least one."""
        lines = cls(None, first, origin)
        lines.ended, lines.block = ended, block
        return lines

    @property
    def lines(self) -> list[bytes]:
        """The lines without their ends."""
        if self._lines is None:
            self._lines = [line[:-1] for line in self.ended or ()]
        return self._lines

    def __len__(self) -> int:
        return len(self.lines if self.ended is None else self.ended)

    def index(self, number: int) -> int:
        """Give where in `lines` the one of this number is."""
        return number - self.first if self.numbers is None else bisect_left(self.numbers, number)

    def events(self) -> list[Event]:
        """Give the lines as events whose payload is ``{"message": text}``, not decoded before it is read."""
        origin, repaired = self.origin, self.repaired
        numbers = count(self.first) if self.numbers is None else self.numbers
        events = [Event(from_message, raw, origin, number) for number, raw in zip(numbers, self.lines, strict=False)]
        if repaired:
            for event in events:
                if event.line in repaired:
                    event.data  # noqa: B018 - decode the text from the repaired bytes before the raw ones replace them
                    event.raw = repaired[event.line]
        return events


class Event(msgspec.Struct, eq=False, gc=False):
    """One record in its envelope. ``event["pid"]`` reads a field of the payload (None where it is missing).

    The payload is decoded when it is first read. `raw` holds the bytes as the child printed them until an operator
    changes the payload, then None. An event is shared by all branches that carry it, so treat the payload as read-only
    and make a new one instead: ``event.replace({**event.data, "host": "web"})``.
    """

    _data: Any
    raw: bytes | None
    origin: Origin
    line: int
    #: The payload as JSON, when it is known to be just that; a sink writes it as it is.
    encoded: bytes | None = None
    #: When it happened, in nanoseconds since 1970; None means when it was observed.
    _time_ns: int | None = None
    #: Tells apart several events that were made of one line; empty for the line's own.
    part: str = ""

    @property
    def data(self) -> Any:
        """The payload, mostly a dict."""
        data = self._data
        if data is from_message:
            data = self._data = {"message": (self.raw or b"").decode("utf-8", "replace")}
        elif data is from_json:
            data = self._data = decode_payload(self.encoded or b"{}")
        elif data.__class__ is Packed:
            data = self._data = data.unpack()
        return data

    def __getitem__(self, field: Any) -> Any:
        data = self.data
        if isinstance(data, dict):
            return data.get(field)
        return data[field]

    def __contains__(self, field: object) -> bool:
        return field in self.data

    def get(self, field: str, default: Any = None) -> Any:
        """Give a field of the payload, or `default` where it is missing."""
        return self.data.get(field, default)

    @property
    def id(self) -> str:
        """The same line of the same incarnation of the same run always has the same id."""
        origin = self.origin
        kind = "" if origin.type == "line" else f"{origin.type}-"
        part = f".{self.part}" if self.part else ""
        return f"{origin.run}/{origin.runner}/{origin.incarnation}/{kind}{self.line}{part}"

    @property
    def source(self) -> str:
        """The runner that printed it."""
        return self.origin.runner

    @property
    def runner(self) -> str:
        """The runner that printed it."""
        return self.origin.runner

    @property
    def type(self) -> str:
        """``line`` for one of standard output, ``stderr`` for one of standard error, ``lifecycle`` for what became of the
        child, ``rejected`` for a dead letter.
        """
        return self.origin.type

    @property
    def incarnation(self) -> int:
        """Which start of the runner's child printed it, from 1."""
        return self.origin.incarnation

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return self.origin.pid

    @property
    def time_ns(self) -> int:
        """When it happened: wall time in nanoseconds since 1970."""
        return self.origin.observed_ns if self._time_ns is None else self._time_ns

    @property
    def time(self) -> datetime:
        """When it happened, in UTC, to the microsecond; `time_ns` has the rest."""
        return _datetime(self.time_ns)

    @property
    def observed_time(self) -> datetime:
        """When its line was read, in UTC."""
        return _datetime(self.origin.observed_ns)

    def replace(self, data: Any, part: str | None = None) -> Event:
        """Give an event with this envelope and another payload. `raw` is gone then."""
        return Event(data, None, self.origin, self.line, None, self._time_ns, self.part if part is None else part)

    def json(self) -> bytes:
        """Give the payload as one line of JSON."""
        return self.encoded or encode_json(self.data)

    def envelope(self) -> dict[str, Any]:
        """Give the whole event as a dict of JSON values."""
        return {
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "time": format_time(self.time_ns),
            "observed_time": format_time(self.origin.observed_ns),
            "runner": self.runner,
            "incarnation": self.incarnation,
            "line": self.line,
            "pid": self.pid,
            "data": self.data,
        }

    def cloudevent(self) -> dict[str, Any]:
        """Give the event in the JSON format of CloudEvents 1.0 (extension names are lower case there)."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "time": format_time(self.time_ns),
            "datacontenttype": "application/json",
            "observedtime": format_time(self.origin.observed_ns),
            "runner": self.runner,
            "incarnation": self.incarnation,
            "line": self.line,
            **({} if self.pid is None else {"pid": self.pid}),
            "data": self.data,
        }

    def __repr__(self) -> str:
        return f"Event({self.id}, {self.data!r})"


def _datetime(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def format_time(nanoseconds: int) -> str:
    """Write nanoseconds since 1970 as RFC 3339 in UTC, with all nine digits.

    >>> format_time(1_000_000_001)
    '1970-01-01T00:00:01.000000001Z'
    """
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{(_EPOCH + timedelta(seconds=seconds)):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


class _EventWithinError(Exception):
    """There is an event within the value."""


def _to_json(value: Any) -> Any:
    """Encode what JSON has no form for: as its text, mostly."""
    if value is _not_json:
        raise _EventWithinError
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return str(value)


def _without_events(value: Any) -> Any:
    """Put payloads in the place of events."""
    if isinstance(value, Event):
        return _without_events(value.data)
    if isinstance(value, dict):
        return {key: _without_events(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_events(item) for item in value]
    return value


_encoder: Final = msgspec.json.Encoder(enc_hook=_to_json)


def encode_json(value: Any) -> bytes:
    """Give a value as one line of JSON, events within it as their payload.

    Raises ValueError or TypeError where it cannot be written as JSON.
    """
    try:
        return _encoder.encode(value)
    except _EventWithinError:
        return _encoder.encode(_without_events(value))


def raw_in_record(raw: bytes) -> dict[str, str]:
    """Give the field of a dead letter that has the line."""
    try:
        return {"raw": raw.decode("utf-8")}
    except UnicodeDecodeError:
        return {"raw_base64": b2a_base64(raw, newline=False).decode("ascii")}


def rejected(
    *,
    origin: Origin,
    line: int,
    part: str,
    raw: bytes | None,
    data: Any,
    operator: str,
    reason: str,
    error: str,
    place: str = "",
    time_ns: int | None = None,
) -> Event:
    """Make the record of an event that an operator could not take: what it was, why, and where it came from.

    The line goes into ``raw``, or ``raw_base64`` where it is not valid UTF-8; an event whose payload had been changed
    has ``data`` instead. ``place`` is where the operator stands in its file, ``time`` when the event happened, if that
    was known to be another time than that of the observation. `rx_collector.dead_letter` makes the event of it again.
    """
    source = Event(from_message, raw, origin, line, None, None, part)
    record: dict[str, Any] = {
        "reason": reason,
        "operator": operator,
        "error": error,
        **({"place": place} if place else {}),
        "id": source.id,
        "runner": origin.runner,
        "incarnation": origin.incarnation,
        "line": line,
        "pid": origin.pid,
        "observed_time": format_time(origin.observed_ns),
        **({} if time_ns is None else {"time": format_time(time_ns)}),
    }
    record |= {"data": data} if raw is None else raw_in_record(raw)
    return Event(
        record,
        None,
        Origin(origin.run, origin.runner, origin.incarnation, origin.pid, origin.observed_ns, "rejected"),
        line,
        None,
        None,
        part,
    )
