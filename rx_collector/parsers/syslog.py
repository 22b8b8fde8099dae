"""The ``syslog`` format: RFC 5424, RFC 3164 and what syslog daemons write to files.

>>> from rx_collector import operators as op, runner
>>> event = runner("echo", "<38>Oct 11 22:14:15 web sshd[612]: session opened").pipe(op.parse("syslog")).run()
>>> event["facility"], event["severity"], event["host"], event["program"], event["pid"], event["message"]
('auth', 'info', 'web', 'sshd', 612, 'session opened')
"""

from __future__ import annotations

import re
from typing import Any, Final

from rx_collector.config.options import Choice, described, option
from rx_collector.errors import ParseError
from rx_collector.event import Origin
from rx_collector.parsers.base import Format, TextParser, format

__all__ = ["Syslog"]

_FACILITIES: Final = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"),
)
_SEVERITIES: Final = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_PRIORITIES: Final = tuple((facility, severity) for facility in _FACILITIES for severity in _SEVERITIES)

_PRIORITY = re.compile(r"<(0|[1-9][0-9]{0,2})>")
_ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
_OLD = re.compile(
    rf"([A-Z][a-z]{{2}} [ 0-9][0-9] (?:[0-9]{{4}} )?[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(?:\.[0-9]{{1,9}})?|{_ISO}) "
    r"(?:([^\s\[]{0,255}[^\s\[:]) (?=\S))?(?:([^\s:\[]{1,256})(?:\[([^\]\s]{0,256})\])?:(?: |$))?(.*)",
    re.DOTALL,
)
_NEW = re.compile(
    rf"([1-9][0-9]{{0,2}}) (-|{_ISO}) (\S{{1,255}}) (\S{{1,255}}) (\S{{1,255}}) (\S{{1,255}}) (?=[-\[])", re.DOTALL
)
_ELEMENT = re.compile(r'\[([^ =\]"\[]{1,255})((?: +[^ =\]"]{1,255}="(?:[^"\\]|\\.)*")*) *\]', re.DOTALL)
_PARAMETER = re.compile(r' +([^ =\]"]{1,255})="((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r'\\(["\\\]])')


@format(
    "syslog",
    summary="Lines of syslog, RFC 5424 and RFC 3164.",
    example="parse: {format: syslog, time: {field: timestamp, unit: iso}}",
)
@described
class Syslog(Format):
    """Lines of syslog: RFC 5424, RFC 3164, and what daemons write to files, without a priority.

    The fields are ``facility`` and ``severity`` by name (where there is a priority), ``timestamp``, ``host``,
    ``program``, ``pid`` (a number if it is one) and ``message``; RFC 5424 has ``message_id`` and ``structured``, too: the
    parameters of each element of structured data by its id, a list of values where a parameter stands there twice. What a
    line leaves open is null.

    The time of an event is in ``timestamp`` as it was written: ``time: {field: timestamp, unit: iso}`` reads that of
    RFC 5424 and of newer files, ``time: {field: timestamp, format: '%b %d %H:%M:%S', zone: local}`` that of RFC 3164.
    """

    independent = True

    standard: str = option(
        Choice("any", "rfc3164", "rfc5424"), "Which form the lines have; any tells by their beginning.", "any"
    )

    def parser(self) -> TextParser:
        standard = self.standard

        def parse(text: str, origin: Origin) -> dict[str, Any]:
            fields: dict[str, Any] = {}
            position = 0
            if (priority := _PRIORITY.match(text)) is not None:
                number = int(priority[1])
                if number >= len(_PRIORITIES):
                    raise ParseError(f"not syslog: a priority is at most {len(_PRIORITIES) - 1}, not {number}")
                fields["facility"], fields["severity"] = _PRIORITIES[number]
                position = priority.end()
                if standard != "rfc3164" and (head := _NEW.match(text, position)) is not None:
                    return _rfc5424(text, head, fields)
            if standard == "rfc5424":
                raise ParseError("not syslog: the head of RFC 5424 is not there")
            line = _OLD.match(text, position)
            if line is None:
                raise ParseError("not syslog: there is no timestamp where one should be")
            fields["timestamp"], fields["host"], fields["program"], pid, fields["message"] = line.groups()
            fields["pid"] = _number(pid)
            fields["message"] = fields.pop("message")
            return fields

        return parse


def _rfc5424(text: str, head: re.Match[str], fields: dict[str, Any]) -> dict[str, Any]:
    _, timestamp, host, program, pid, message_id = (None if part == "-" else part for part in head.groups())
    fields.update(timestamp=timestamp, host=host, program=program, pid=_number(pid), message_id=message_id)
    position = head.end()
    structured: dict[str, dict[str, Any]] | None = None
    if text[position] == "-":
        position += 1
    else:
        structured = {}
        while text.startswith("[", position):
            element = _ELEMENT.match(text, position)
            if element is None:
                raise ParseError(f"not syslog: the structured data at column {position + 1} has no right form")
            if element[1] in structured:
                raise ParseError(f"not syslog: two elements of structured data bear the id {element[1]!r}")
            structured[element[1]] = _parameters(element[2])
            position = element.end()
    fields["structured"] = structured
    if position < len(text) and text[position] != " ":
        raise ParseError(f"not syslog: column {position + 1}: a blank is wanted behind the structured data")
    fields["message"] = text[position + 1 :].removeprefix("\ufeff") or None
    return fields


def _parameters(text: str) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for name, value in _PARAMETER.findall(text):
        if "\\" in value:
            value = _ESCAPE.sub(r"\1", value)
        if name not in parameters:
            parameters[name] = value
        elif isinstance(parameters[name], list):
            parameters[name].append(value)
        else:
            parameters[name] = [parameters[name], value]
    return parameters


def _number(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 20 else text
