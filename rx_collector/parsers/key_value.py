"""The ``key_value`` format: pairs with the separators and quotes that are declared.

>>> from rx_collector import operators as op, runner
>>> parse = op.parse("key_value", pair_separator=";", value_separator=":")
>>> runner("echo", "host: web; up: '3 days; 2 h'").pipe(parse).run().data
{'host': 'web', 'up': '3 days; 2 h'}
"""

from __future__ import annotations

import re
from typing import Any

from rx_collector.config.options import TEXT, MappingOf, Scope, described, option
from rx_collector.errors import ParseError
from rx_collector.event import Origin
from rx_collector.parsers.base import TYPES, Format, TextParser, convert_types, format, null_texts

__all__ = ["KeyValue"]

_BLANKS = re.compile(r"\s+")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@format(
    "key_value",
    summary="Pairs such as key=value, with separators and quotes of your own.",
    example="parse: {format: key_value, pair_separator: ';', value_separator: ':', types: {pid: int}}",
)
@described
class KeyValue(Format):
    """Pairs of a key and a value, between separators. A key alone is true, blanks around keys and values are left out.

    A value that begins with one of the quotes goes to the same quote; the separators in it are part of it, and a
    backslash takes the next character as it is. Where a key stands twice, the last one counts. `logfmt` is the stricter
    format for lines that follow it.
    """

    independent = True

    pair_separator: str | None = option(TEXT, "What stands between two pairs; blanks unless it is given.", None)
    value_separator: str = option(TEXT, "What stands between a key and its value.", "=")
    quotes: str = option(TEXT, "The characters that can stand around a value; an empty text for none.", "\"'")
    types: dict[str, str] = option(MappingOf(TYPES), "What type a field has; text unless named here.", None)
    nulls: tuple[str, ...] = null_texts()

    def check(self, scope: Scope) -> None:
        if self.pair_separator is not None and not self.pair_separator.strip():
            scope.child("pair_separator").wrong("pairs are between blanks when no 'pair_separator' is given")
        if not self.value_separator.strip():
            scope.child("value_separator").wrong("a key and its value cannot have only blanks between them")
        if self.value_separator == self.pair_separator:
            scope.child("value_separator").wrong("it is the 'pair_separator', too")
        for quote in self.quotes:
            if quote.isspace() or quote == "\\" or quote in self.value_separator + (self.pair_separator or ""):
                scope.child("quotes").wrong(f"{quote!r} cannot be a quote")

    def parser(self) -> TextParser:
        types, nulls = self.types or {}, frozenset(self.nulls)
        between, assigns = self.pair_separator, self.value_separator
        separator = _BLANKS if between is None else re.compile(re.escape(between))
        quotes = frozenset(self.quotes)
        has_quote = re.compile(f"[{re.escape(self.quotes)}]").search if quotes else lambda text: None
        quoted = {quote: re.compile(rf"{quote}((?:[^{quote}\\]|\\.)*){quote}\s*", re.DOTALL) for quote in quotes}
        width = len(assigns)

        def pairs_without_quotes(text: str) -> tuple[dict[str, Any], bool]:
            fields: dict[str, Any] = {}
            assigned = False  # a key that stands twice may be alone the last time
            for pair in text.split(between):
                key, found, value = pair.partition(assigns)
                if key := key.strip():
                    if found:
                        fields[key], assigned = value.strip(), True
                    else:
                        fields[key] = True
                elif found:
                    raise ParseError(f"there is no key before {pair.strip()[:40]!r}")
            return fields, assigned

        def pairs(text: str, quote: int) -> tuple[dict[str, Any], bool]:
            # What ends before the first quote is read the fast way. A longer separator may overlap itself.
            last = text.rfind(between or " ", 0, quote) if between is None or len(between) == 1 else -1
            fields, any_assigned = pairs_without_quotes(text[: max(last, 0)])
            position, end = last + 1, len(text)
            while position < end:
                match = separator.search(text, position)
                stop, after = match.span() if match is not None else (end, end)
                assigned = text.find(assigns, position, stop)
                if assigned < 0:
                    if key := text[position:stop].strip():
                        fields[key] = True
                    position = after
                    continue
                key = text[position:assigned].strip()
                if not key:
                    raise ParseError(f"there is no key before {text[position:stop].strip()[:40]!r}")
                any_assigned = True
                begin = assigned + width
                if between is not None and (blanks := _BLANKS.match(text, begin)) is not None:
                    begin = blanks.end()
                pattern = quoted.get(text[begin : begin + 1])
                if pattern is None:
                    fields[key] = text[assigned + width : stop].strip()
                    position = after
                    continue
                value = pattern.match(text, begin)
                if value is None:
                    raise ParseError(f"the quote at column {begin + 1} is not closed")
                content = value[1]
                fields[key] = _ESCAPE.sub(r"\1", content) if "\\" in content else content
                position = value.end()
                if position < end:
                    next_pair = separator.match(text, position)
                    if between is None:
                        if not text[position - 1].isspace():
                            raise ParseError(f"column {position + 1}: a blank is wanted behind the quote")
                    elif next_pair is None:
                        raise ParseError(f"column {position + 1}: {between!r} is wanted behind the quote")
                    else:
                        position = next_pair.end()
            return fields, any_assigned

        def parse(text: str, origin: Origin) -> dict[str, Any]:
            quote = has_quote(text)
            fields, assigned = pairs_without_quotes(text) if quote is None else pairs(text, quote.start())
            if not assigned:
                raise ParseError(f"there is no {assigns!r} in it")
            return convert_types(fields, types, nulls)

        return parse
