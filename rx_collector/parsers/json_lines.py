"""The ``json`` format: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from rx_collector.errors import ParseError
from rx_collector.event import Origin
from rx_collector.parsers.base import Format, TextParser, format

__all__ = ["Json", "decode", "decode_slowly", "field_decoder"]

#: Decodes a JSON object; raises msgspec.DecodeError or RecursionError, for which `decode_slowly` has the answer.
decode = msgspec.json.Decoder(dict[str, Any]).decode


def decode_slowly(raw: bytes | str, error: Exception) -> dict[str, Any]:
    """Decode what `decode` refused with `error`: numbers beyond a double become infinite, as in Python's own reader.

    Raises ParseError that says what is wrong.
    """
    if isinstance(error, RecursionError):
        raise ParseError("not JSON that can be read: nested too deeply") from None
    if "out of range" in str(error):
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            return value
    if not raw.strip():
        raise ParseError("not JSON: the line is empty")
    if isinstance(error, msgspec.ValidationError):
        raise ParseError(f"not a JSON object: {str(error)[0].lower()}{str(error)[1:]}") from None
    message = str(error).removeprefix("JSON is malformed: ")
    raise ParseError(f"not JSON: {message[0].lower()}{message[1:]}") from None


def field_decoder(fields: Iterable[str]) -> tuple[Any, dict[str, str]]:
    """Make a decoder of some top-level fields alone, and name the attribute of its result for each.

    It refuses what `decode` refuses, but for numbers out of range in other fields; a missing field is None.
    """
    attributes = {field: f"f{index}" for index, field in enumerate(sorted(fields))}
    record = msgspec.defstruct(
        "Fields",
        [(attribute, Any, None) for attribute in attributes.values()],
        rename={attribute: field for field, attribute in attributes.items()},
        gc=False,
    )
    return msgspec.json.Decoder(record).decode, attributes


@format("json", summary="One JSON object a line.", example="parse: json")
@dataclass(frozen=True)
class Json(Format):
    """One JSON object a line. Anything else, a JSON array or number too, does not parse.

    Where a key stands twice, the last one counts.
    """

    def parser(self) -> TextParser:
        def parse(text: str, origin: Origin) -> dict[str, Any]:
            try:
                return decode(text)
            except (msgspec.DecodeError, RecursionError) as error:
                return decode_slowly(text, error)

        return parse
