"""The ``logfmt`` format: ``level=info msg="it is up" pid=7``."""

from __future__ import annotations

import re
from typing import Any

from rx_collector.config.options import MappingOf, described, option
from rx_collector.errors import ParseError
from rx_collector.event import Origin
from rx_collector.parsers.base import TYPES, Format, TextParser, convert_types, format, null_texts

__all__ = ["Logfmt"]

_PAIR = re.compile(r'\s*([^\s="]+)(?:=(?:"((?:[^"\\]|\\.)*)"(?=\s|$)|([^\s"]*)(?=\s|$)))?(?=\s|$)', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}


@format(
    "logfmt",
    summary='Pairs such as level=info msg="it is up".',
    example="parse: {format: logfmt, types: {pid: int}}",
)
@described
class Logfmt(Format):
    """Pairs of ``key=value`` between blanks; a value with blanks stands in double quotes, a key alone is true."""

    independent = True

    types: dict[str, str] = option(MappingOf(TYPES), "What type a field has; text unless named here.", None)
    nulls: tuple[str, ...] = null_texts()

    def parser(self) -> TextParser:
        types, nulls = self.types or {}, frozenset(self.nulls)

        def parse(text: str, origin: Origin) -> dict[str, Any]:
            fields: dict[str, Any] = {}
            text = text.rstrip()
            position = 0
            while position < len(text):
                match = _PAIR.match(text, position)
                if match is None:
                    raise ParseError(f"not logfmt at column {position + 1}: {text[position : position + 40]!r}")
                key, quoted, plain = match.groups()
                if quoted is not None:
                    if "\\" in quoted:
                        quoted = _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), quoted)
                    fields[key] = quoted
                else:
                    fields[key] = True if plain is None else plain
                position = match.end()
            if not any(value is not True for value in fields.values()):
                raise ParseError("not logfmt: there is no key=value in it")
            return convert_types(fields, types, nulls)

        return parse
