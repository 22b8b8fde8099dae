"""Reading some top-level fields of an object ahead of the rest of it: of a line of JSON, or of an event's payload."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

__all__ = ["field_decoder", "fields_from", "payload_reader"]


def field_decoder(
    fields: Iterable[str], pieces: Iterable[str] = (), others: Iterable[str] = ()
) -> tuple[Callable[[bytes], Any], dict[str, str]]:
    """Make a decoder of some top-level fields alone, and name the attribute of its result for each.

    A missing one of `fields` is None. Of `pieces` it gives the bytes of the value (msgspec.Raw), and of `others` only
    whether they are there counts; both are msgspec.UNSET where they are missing. It refuses what `decode` refuses, but for
    numbers out of range in other fields.
    """
    record, attributes = _record(fields, pieces, others)
    return msgspec.json.Decoder(record).decode, attributes


def _record(
    fields: Iterable[str], pieces: Iterable[str] = (), others: Iterable[str] = ()
) -> tuple[type[msgspec.Struct], dict[str, str]]:
    wanted: dict[str, tuple[Any, Any]] = dict.fromkeys(others, (Any, msgspec.UNSET))
    wanted |= dict.fromkeys(pieces, (msgspec.Raw, msgspec.UNSET))
    wanted |= dict.fromkeys(fields, (Any, None))
    attributes = {field: f"f{index}" for index, field in enumerate(sorted(wanted))}
    record = msgspec.defstruct(
        "Fields",
        [(attribute, *wanted[field]) for field, attribute in attributes.items()],
        rename={attribute: field for field, attribute in attributes.items()},
        gc=False,
    )
    return record, attributes


def fields_from(
    decode_fields: Callable[[bytes], Any], fields: Iterable[str], attributes: Mapping[str, str]
) -> Callable[[dict[str, Any]], Any]:
    """Give what makes of a whole payload what `decode_fields` (see `field_decoder`) makes of a line, for one that it
    refused. A number beyond a double is infinite in it, and would be null in the JSON of the payload.
    """
    read = [(field, attributes[field]) for field in fields]

    def fields_of(data: dict[str, Any]) -> Any:
        found = decode_fields(msgspec.json.encode(data))
        for field, attribute in read:
            setattr(found, attribute, data.get(field))
        return found

    return fields_of


def payload_reader(fields: Iterable[str]) -> tuple[Callable[[bytes], Any], Callable[[Any], Any], dict[str, str]]:
    """Make what reads some fields of a payload alike, of its JSON and of what was decoded of it, and name the attributes.

    >>> decode_fields, fields_of, attributes = payload_reader(["pid"])
    >>> decode_fields(b'{"pid": 7, "comm": "sh"}') == fields_of({"pid": 7}) != fields_of([7])
    True
    """
    record, attributes = _record(fields)
    none = record()

    def fields_of(data: Any) -> Any:
        return record(*map(data.get, attributes)) if isinstance(data, dict) else none

    return msgspec.json.Decoder(record).decode, fields_of, attributes
