"""Reading some top-level fields of an object ahead of the rest of it: of a line of JSON, or of an event's payload."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

__all__ = ["NOT_JSON", "field_decoder", "fields_from"]

#: What a decoder raises for what is no JSON, or none that it can take.
NOT_JSON: Final = (msgspec.DecodeError, RecursionError)


def field_decoder(
    fields: Iterable[str], pieces: Iterable[str] = (), others: Iterable[str] = ()
) -> tuple[Callable[[bytes], Any], dict[str, str]]:
    """Make a decoder of some top-level fields alone, and name the attribute of its result for each.

    A missing one of `fields` is None. Of `pieces` it gives the bytes of the value (msgspec.Raw), and of `others` only
    whether they are there counts; both are msgspec.UNSET where they are missing. It refuses what `decode` refuses, but for
    numbers out of range in other fields.
    """
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
    return msgspec.json.Decoder(record).decode, attributes


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
