"""Functions for paths, URLs, digests and encoded texts."""

from __future__ import annotations

import os.path
from binascii import a2b_base64
from collections.abc import Callable
from typing import Any, Final

from rx_collector.event import encode_json
from rx_collector.expressions.function import Function
from rx_collector.expressions.kinds import Kinds
from rx_collector.later import later

__all__ = ["ENCODING_FUNCTIONS", "PATH_FUNCTIONS"]

_TEXT: Final = Kinds.TEXT | Kinds.NULL


def _basename(path: Any) -> Any:
    return None if path is None else os.path.basename(path)


def _dirname(path: Any) -> Any:
    return None if path is None else os.path.dirname(path)


def _of_text(function: Callable[[str], Any], name: str) -> Callable[[Any], Any]:
    def call(value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, str):
            raise TypeError(f"{name} takes a text, not a {type(value).__name__}")
        return function(value)

    return call


def _url_parts(text: str) -> dict[str, Any]:
    parts = later("urllib.parse", "urlsplit")(text)
    given = {"scheme": parts.scheme, "host": parts.hostname, "port": parts.port, "path": parts.path}
    return {**{name: value or None for name, value in given.items()}, "query": parts.query or None}


def _unquoted(text: str) -> str:
    unquoted: str = later("urllib.parse", "unquote")(text)
    return unquoted


def _of_base64(text: str) -> str:
    return a2b_base64(text, strict_mode=True).decode("utf-8", "replace")


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else encode_json(value)


def _hash(value: Any) -> Any:
    return None if value is None else later("hashlib", "blake2b")(_bytes(value), digest_size=8).hexdigest()


def _sha256(value: Any) -> Any:
    return None if value is None else later("hashlib", "sha256")(_bytes(value)).hexdigest()


def _json(value: Any) -> str:
    return encode_json(value).decode()


#: By name.
PATH_FUNCTIONS: Final[dict[str, Function]] = {
    "basename": Function(
        _basename,
        1,
        1,
        "the last part of a path",
        ('basename("/usr/bin/ls")', "ls"),
        takes=(_TEXT,),
    ),
    "dirname": Function(
        _dirname,
        1,
        1,
        "a path without its last part",
        ('dirname("/usr/bin/ls")', "/usr/bin"),
        takes=(_TEXT,),
    ),
    "url_parts": Function(
        _of_text(_url_parts, "url_parts"),
        1,
        1,
        "the scheme, host, port, path and query of a URL as an object",
        ('url_parts("https://example.org:8443/a?b=1").host', "example.org"),
        takes=(_TEXT,),
        gives=Kinds.OBJECT | Kinds.NULL,
    ),
}
#: By name.
ENCODING_FUNCTIONS: Final[dict[str, Function]] = {
    "json": Function(_json, 1, 1, "a value as JSON text", ("json([1, True])", "[1,true]"), gives=Kinds.TEXT),
    "hash": Function(
        _hash,
        1,
        1,
        "a text, or a value's JSON, as 16 hexadecimal digits that are the same on every host (BLAKE2b)",
        ('hash("x")', "4adf4367f96e584f"),
        gives=_TEXT,
    ),
    "sha256": Function(
        _sha256,
        1,
        1,
        "the SHA-256 of a text, or of a value's JSON, in 64 hexadecimal digits",
        ('sha256("x")[:8]', "2d711642"),
        gives=_TEXT,
    ),
    "decode_base64": Function(
        _of_text(_of_base64, "decode_base64"),
        1,
        1,
        "the text that is encoded in base64",
        ('decode_base64("aGVsbG8=")', "hello"),
        takes=(_TEXT,),
        gives=_TEXT,
    ),
    "decode_hex": Function(
        _of_text(lambda text: bytes.fromhex(text).decode("utf-8", "replace"), "decode_hex"),
        1,
        1,
        "the text that is encoded in pairs of hexadecimal digits",
        ('decode_hex("68656c6c6f")', "hello"),
        takes=(_TEXT,),
        gives=_TEXT,
    ),
    "decode_url": Function(
        _of_text(_unquoted, "decode_url"),
        1,
        1,
        "a text with what its %xx stand for",
        ('decode_url("a%20b")', "a b"),
        takes=(_TEXT,),
        gives=_TEXT,
    ),
}
