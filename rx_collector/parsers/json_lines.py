"""The ``json`` format: one JSON object a line.

>>> from rx_collector import operators as op, runner
>>> runner("echo", '$ {"pid": 7}').pipe(op.parse("json", skip_noise=True)).run().data
{'pid': 7}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from rx_collector.config.options import BOOLEAN, Choice, described, option
from rx_collector.errors import ParseError
from rx_collector.event import Origin, decode_beyond
from rx_collector.parsers.base import Format, OfIncarnation, TextParser, format
from rx_collector.stream.peeking import NOT_JSON

__all__ = ["Json", "decode", "decode_any", "decode_slowly", "has_each_key_once"]

#: Decodes a JSON object; raises msgspec.DecodeError or RecursionError, for which `decode_slowly` has the answer.
decode = msgspec.json.Decoder(dict[str, Any]).decode
#: Reads JSON to its end without making anything of it.
_check = msgspec.json.Decoder(msgspec.Raw).decode


def decode_slowly(raw: bytes | str, error: Exception) -> dict[str, Any]:
    """Decode what `decode` refused with `error`: numbers beyond a double become infinite, as in Python's own reader.

    Raises ParseError that says what is wrong.
    """
    if "out of range" in str(error):
        try:
            _check(raw)  # Python's own reader takes more than JSON: NaN, and half of a character
            value = decode_beyond(raw)
        except NOT_JSON as other:
            error = other
        else:
            if isinstance(value, dict):
                return value
            error = msgspec.ValidationError("Expected `object`, got `float`")  # only the number alone gets here
    if isinstance(error, RecursionError):
        raise ParseError("not JSON that can be read: nested too deeply") from None
    if not raw.strip():
        raise ParseError("not JSON: the line is empty")
    if isinstance(error, msgspec.ValidationError):
        raise ParseError(f"not a JSON object: {str(error)[0].lower()}{str(error)[1:]}") from None
    message = str(error).removeprefix("JSON is malformed: ")
    raise ParseError(f"not JSON: {message[0].lower()}{message[1:]}") from None


def _keys_and_colons(value: Any) -> int:
    """Count the keys of a decoded value, at every depth, and the colons within its texts."""
    count = 0
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if value.__class__ is dict:
            count += len(value)
            for key, item in value.items():
                if ":" in key:
                    count += key.count(":")
                if item.__class__ is str:
                    if ":" in item:
                        count += item.count(":")
                elif item.__class__ is dict or item.__class__ is list:
                    waiting.append(item)
        elif value.__class__ is list:
            waiting += value
        elif value.__class__ is str:
            count += value.count(":")
    return count


def has_each_key_once(text: str, value: Any) -> bool:
    """Tell whether a JSON text is sure to bear no key twice, at any depth, from what it was decoded to.

    Each pair takes one colon, so a text with as many colons as it has keys left, and colons in what is left of its
    texts, has lost none of its pairs. Only ``\\u003a`` is a colon that is none in the text; where an escape could be one
    the answer is no.

    >>> has_each_key_once('{"at": "12:30", "pid": 1}', {"at": "12:30", "pid": 1})
    True
    >>> has_each_key_once('{"pid": 7, "pid": 1}', {"pid": 1})
    False
    """
    return "\\u" not in text and text.count(":") == _keys_and_colons(value)


class _Twice(Exception):
    """A key that stands twice."""


def _first_counts(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        fields.update(reversed(pairs))
    return fields


def _none_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Twice(key)
            seen.add(key)
    return fields


def _read_with(hook: Callable[[list[tuple[str, Any]]], dict[str, Any]], text: str) -> dict[str, Any]:
    """Read a text that is known to be a JSON object again, with a say in what its keys are."""
    try:
        value: dict[str, Any] = decode_beyond(text, hook)
    except _Twice as error:
        raise ParseError(f"the key {str(error)[:80]!r} stands twice") from None
    except (ValueError, RecursionError) as error:
        raise ParseError(f"not JSON that can be read: {error}") from None
    return value


def decode_any(text: bytes | str) -> dict[str, Any]:
    """Decode a JSON object. Raises ParseError."""
    try:
        return decode(text)
    except NOT_JSON as error:
        return decode_slowly(text, error)


@format("json", summary="One JSON object a line.", example="parse: {format: json, duplicate_keys: reject}")
@described
class Json(Format):
    """One JSON object a line. Anything else, a JSON array or number too, does not parse.

    Where a key stands twice, the last one counts. A program that does not escape what it prints can be made to print a
    key twice, by a file with the name ``x","pid":1,"y":"``, say; ``duplicate_keys: reject`` rejects such a line, and
    ``first`` believes what stands first; both look into nested objects, too.

    With ``skip_noise`` what stands before the first ``{`` of a line, a prompt or the head of a log line, is left out, and
    so are empty lines; and a line without a ``{`` is counted as filtered, not rejected, until the incarnation has printed
    its first JSON object. What stands behind an object is not left out. Leave it off where others may choose what a
    program prints before the ``{``: a JSON object in there would be believed.

    With ``check: touched`` a line is not even looked into when the filter right behind compares a field with a text that
    is not in the line, as in ``event == "EXEC"``. It is counted as filtered then, also where it is no JSON. That is the
    fastest way to look for a few events among many.
    """

    duplicate_keys: str = option(
        Choice("last", "first", "reject"),
        "Which one counts where a key stands twice, or that the line is rejected.",
        "last",
    )
    skip_noise: bool = option(
        BOOLEAN, "Whether to leave out what is no JSON before the object and before the first.", False
    )

    checked: str = option(
        Choice("all", "touched"),
        "Whether every line has to be JSON, or only those that could pass the filter behind.",
        "all",
        key="check",
    )

    @property
    def independent(self) -> bool:  # type: ignore[override]
        """Whether it does not depend on what came before the first object."""
        return not self.skip_noise

    def parser(self) -> TextParser:
        read: Callable[[str], dict[str, Any]] = decode_any
        if self.duplicate_keys != "last":
            hook = _first_counts if self.duplicate_keys == "first" else _none_twice

            def read(text: str) -> dict[str, Any]:
                fields = decode_any(text)
                return fields if has_each_key_once(text, fields) else _read_with(hook, text)

        begun: OfIncarnation[list[bool]] = OfIncarnation(lambda: [False])

        def parse(text: str, origin: Origin) -> dict[str, Any]:
            return read(text)

        def parse_behind_noise(text: str, origin: Origin) -> dict[str, Any] | None:
            state = begun(origin)
            if not text.startswith("{"):
                start = text.find("{")
                if start < 0 and (not state[0] or not text.strip()):
                    return None
                text = text[max(start, 0) :]
            fields = read(text)
            state[0] = True
            return fields

        return parse_behind_noise if self.skip_noise else parse
