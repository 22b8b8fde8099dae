"""The ``text`` format: the line as it is."""

from __future__ import annotations

from typing import Any

from rx_collector.config.options import TEXT, described, option
from rx_collector.event import Origin
from rx_collector.parsers.base import Format, TextParser, format

__all__ = ["Text"]


@format("text", summary="The line as it is, in one field.", example="parse: {format: text, into: line}")
@described
class Text(Format):
    """The line as it is, in one field."""

    independent = True

    into: str = option(TEXT, "The field that takes the text.", "message")

    def parser(self) -> TextParser:
        into = self.into

        def parse(text: str, origin: Origin) -> dict[str, Any]:
            return {into: text}

        return parse
