"""How events become bytes: the formats that file, console and exec share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from rx_collector.config.options import Choice
from rx_collector.event import Event, encode_json

__all__ = ["FORMATS", "Encoder", "encoder", "flatten", "joined", "payload"]

#: The names of the formats; ndjson is the payload as one line of JSON.
FORMATS: Final = Choice("ndjson", "cloudevents", "text")
#: Gives a line, without its end.
Encoder = Callable[[Event], bytes]


def flatten(events: list[Event]) -> list[Event]:
    """Put the events of buffers in the place of the buffers. Gives the list itself where there is none."""
    if not any(event._data.__class__ is list for event in events):
        return events
    flat: list[Event] = []
    for event in events:
        data = event._data
        if data.__class__ is list and data and all(isinstance(member, Event) for member in data):
            flat.extend(flatten(data))
        else:
            flat.append(event)
    return flat


def joined(lines: list[bytes]) -> bytes:
    r"""Give lines with their ends. The list is used for that, and is as it was before.

    >>> joined([b"one", b"two"])
    b'one\ntwo\n'
    """
    lines.append(b"")  # one copy, not two: they may be large
    data = b"\n".join(lines)
    lines.pop()
    return data


def _json(value: Any) -> bytes:
    try:
        return encode_json(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return encode_json(_mended(value, 0))


def _mended(value: Any, depth: int) -> Any:
    """Make JSON of what is none: keys become texts, and so does whatever has no form in JSON."""
    if depth > 50:
        return str(type(value))
    if isinstance(value, Event):
        return _mended(value.data, depth)
    if isinstance(value, dict):
        return {str(key): _mended(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_mended(item, depth + 1) for item in value]
    if value is None or isinstance(value, bool | float | str):
        return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
    if isinstance(value, int) and value.bit_length() <= 64:
        return value
    return str(value)


def payload(event: Event) -> bytes:
    """Give the payload as one line of JSON, whatever it is made of."""
    return event.encoded or _json(event.data)


def _text(event: Event) -> bytes:
    data = event.data
    if isinstance(data, dict) and data.keys() == {"message"}:
        return str(data["message"]).replace("\n", "\\n").encode("utf-8", "replace")
    if isinstance(data, str):
        return data.replace("\n", "\\n").encode("utf-8", "replace")
    return payload(event)


def encoder(name: str, envelope: bool) -> Encoder:
    """Give the function that writes one event in a format; `envelope` asks for the whole event."""
    if name == "cloudevents":
        return lambda event: _json(event.cloudevent())
    if envelope:
        return lambda event: _json(event.envelope())
    return _text if name == "text" else payload
