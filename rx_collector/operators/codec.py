"""encode and decode: base64, hex and URL forms of texts."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, unquote_to_bytes

from rx_collector.config.options import Choice, MappingOf, described, option
from rx_collector.event import encode_json
from rx_collector.operators.fields import emit_conversion
from rx_collector.stream.operator import Stage, operator

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["Decode", "Encode"]

_Codes = Mapping[str, Callable[[str], Any]]


def _base64(text: str) -> bytes:
    """Both alphabets, with or without padding and line ends."""
    text = "".join(text.split()).translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _hex(text: str) -> bytes:
    return bytes.fromhex(text.strip().removeprefix("0x").replace(":", ""))


def _text(read: Callable[[str], bytes]) -> Callable[[str], str]:
    return lambda text: read(text).decode("utf-8", "replace")


_ENCODERS: _Codes = {
    "base64": lambda text: base64.b64encode(text.encode("utf-8", "surrogatepass")).decode(),
    "hex": lambda text: text.encode("utf-8", "surrogatepass").hex(),
    "url": lambda text: quote(text, safe="", errors="surrogatepass"),
}
_DECODERS: _Codes = {
    "base64": _text(_base64),
    "hex": _text(_hex),
    "url": lambda text: unquote_to_bytes(text.replace("+", " ")).decode("utf-8", "replace"),
}


@described
class _Codec(Stage):
    independent = True

    codes: ClassVar[_Codes] = {}
    shorthand: ClassVar[str | None] = "fields"
    shorthand_only: ClassVar[bool] = True

    fields: Mapping[str, str] = option(
        MappingOf(Choice("base64", "hex", "url"), least=1), "The fields and the form of each."
    )

    def value(self, value: Any) -> str:
        """Give the text of a value that is to be changed, or refuse it."""
        raise NotImplementedError

    def leaves(self, fields: frozenset[str]) -> bool:
        return fields.isdisjoint(self.fields)

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        conversions = {name: self._conversion(self.codes[form]) for name, form in self.fields.items()}
        emit_conversion(code, conversions, {name: f"field {name!r}, {form}" for name, form in self.fields.items()})

    def _conversion(self, change: Callable[[str], Any]) -> Callable[[Any], Any]:
        return lambda value: change(self.value(value))


@operator("encode", summary="Write fields as base64, hex or URL text.", example="encode: {payload: base64}")
@described
class Encode(_Codec):
    """Write the bytes (UTF-8) of fields as ``base64``, ``hex`` or percent-encoded ``url`` text.

    A value that is no text is written as JSON first; one that is missing or null stays as it is.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> rx.runner("echo", "a b").pipe(op.encode({"message": "url"})).run().data
    {'message': 'a%20b'}
    """

    codes: ClassVar[_Codes] = _ENCODERS

    def value(self, value: Any) -> str:
        return value if isinstance(value, str) else encode_json(value).decode()


@operator("decode", summary="Read fields that are base64, hex or URL text.", example="decode: {payload: base64}")
@described
class Decode(_Codec):
    """Read fields that hold ``base64`` (either alphabet), ``hex`` or percent-encoded ``url`` text.

    Bytes that are not UTF-8 are repaired (U+FFFD). What does not have the form rejects the event; a field that is missing or
    null stays as it is.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> rx.runner("echo", "aGVsbG8").pipe(op.decode({"message": "base64"})).run().data
    {'message': 'hello'}
    """

    codes: ClassVar[_Codes] = _DECODERS

    def value(self, value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError(f"a text is wanted, not a {type(value).__name__}")
        return value
