"""Events as bytes, and back, with their whole envelope: what a spill file holds.

The payload travels as JSON and is not decoded before somebody looks into it, so an event comes back about as fast as it
can be read. What JSON has no form for comes back as its text, as a sink would have written it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from rx_collector.event import Event, Origin, Packed, from_json, from_message
from rx_collector.sinks.format import payload

__all__ = ["decode", "encode"]

# What a record's payload is:
_MESSAGE, _OBJECT, _LINE_IS_OBJECT, _VALUE, _BUFFER = range(5)
_Record = tuple[int, Any, bytes | None, int, int, int | None, str]


class _Body(msgspec.Struct, array_like=True, gc=False):
    """Some events: the origins they share, and for each what it is, its payload, its line, and the rest of its envelope."""

    origins: list[tuple[str, str, int, int | None, int, str]]
    records: list[tuple[int, Any, bytes | None, int, int, int | None, str]]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Body)
_decode_json: Final = msgspec.json.decode


def encode(events: list[Event]) -> bytes:
    """Give some events as bytes."""
    origins: dict[int, int] = {}  # by identity: the events of one read share theirs
    shared: list[tuple[str, str, int, int | None, int, str]] = []

    def number_of(origin: Origin) -> int:
        number = origins.get(id(origin))
        if number is None:
            number = origins[id(origin)] = len(shared)
            shared.append((origin.run, origin.runner, origin.incarnation, origin.pid, origin.observed_ns, origin.type))
        return number

    def record_of(event: Event) -> _Record:
        data, raw, encoded = event._data, event.raw, event.encoded
        rest = (number_of(event.origin), event.line, event._time_ns, event.part)
        if data is from_message:
            return (_MESSAGE, None, raw, *rest)
        if encoded is not None and encoded is raw and raw[:1] == b"{":
            return (_LINE_IS_OBJECT, None, raw, *rest)
        if data.__class__ is dict or data is from_json or data.__class__ is Packed:
            return (_OBJECT, encoded or payload(event), raw, *rest)
        if data.__class__ is list and data and all(isinstance(member, Event) for member in data):
            return (_BUFFER, [record_of(member) for member in data], raw, *rest)
        return (_VALUE, payload(event), raw, *rest)

    records = [record_of(event) for event in events]
    return _encoder.encode(_Body(shared, records))


def decode(body: bytes) -> list[Event]:
    """Give the events again. Raises ValueError for bytes that `encode` did not make."""
    content = _decoder.decode(body)
    origins = [Origin(*origin) for origin in content.origins]
    return [_event(record, origins) for record in content.records]


def _event(record: Any, origins: list[Origin]) -> Event:
    kind, value, raw, number, line, time_ns, part = record
    if kind == _LINE_IS_OBJECT:
        return Event(from_json, raw, origins[number], line, raw, time_ns, part)
    if kind == _OBJECT:
        return Event(from_json, raw, origins[number], line, value, time_ns, part)
    if kind == _MESSAGE:
        return Event(from_message, raw, origins[number], line, None, time_ns, part)
    data = [_event(member, origins) for member in value] if kind == _BUFFER else _decode_json(value)
    return Event(data, raw, origins[number], line, None, time_ns, part)
