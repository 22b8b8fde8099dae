"""The ``jc`` format: the parsers of jc, which know what some hundred programs print."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from rx_collector.config.options import TEXT, Scope, described, did_you_mean, option
from rx_collector.errors import ParseError
from rx_collector.event import Origin
from rx_collector.parsers.base import Format, TextParser, format

__all__ = ["Jc"]


@format("jc", summary="The parsers of jc, an extra.", example="parse: {format: jc, parser: ps}")
@described
class Jc(Format):
    """The parsers of jc (https://github.com/kellyjonbrazil/jc): ``pip install 'rx_collector[jc]'``.

    A parser of jc reads all that a program printed at once, so let the runner make one record of it, by ``framing: nul``;
    what is not cut by zero bytes is one record at its end. Each row is an event. The streaming parsers (``syslog_s``,
    ``clf_s``, ``cef_s`` …) read a line at a time, for programs that go on; those among them that need a header
    (``vmstat_s``) read a whole record, too. No line changes how the next record is read.
    """

    independent = True

    several = True

    parser_name: str = option(TEXT, "The name of the parser in jc.", example="ps", key="parser")

    def check(self, scope: Scope) -> None:
        if importlib.util.find_spec("jc") is None:
            scope.wrong("jc is not installed: pip install 'rx_collector[jc]'")
            return
        known = importlib.import_module("jc").parser_mod_list()
        if self.parser_name not in known:
            scope.child("parser").wrong(f"jc has no parser {self.parser_name!r}{did_you_mean(self.parser_name, known)}")

    def parser(self) -> TextParser:
        jc = importlib.import_module("jc")
        name = self.parser_name
        streams = name in jc.streaming_parser_mod_list()

        def parse(text: str, origin: Origin) -> list[dict[str, Any]]:
            try:
                result = (
                    [*jc.parse(name, text.splitlines(), quiet=True)] if streams else jc.parse(name, text, quiet=True)
                )
            except Exception as error:  # a parser of jc may raise anything for a text that is not what it knows
                raise ParseError(f"not {name}: {type(error).__name__}: {str(error).strip()[:200]}") from None
            records = result if isinstance(result, list) else [result]
            if not all(isinstance(record, dict) for record in records):
                raise ParseError(f"not {name}: jc made no records of it")
            return records

        return parse
