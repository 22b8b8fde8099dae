"""The ``strace`` format: system calls, signals and exits.

>>> from rx_collector import operators as op, runner
>>> line = 'openat(AT_FDCWD, "/etc/motd", O_RDONLY) = -1 ENOENT (No such file or directory)'
>>> event = runner("echo", line).pipe(op.parse("strace")).run()
>>> event["call"], event["arguments"], event["result"], event["errno"]
('openat', ['AT_FDCWD', '"/etc/motd"', 'O_RDONLY'], -1, 'ENOENT')
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

from rx_collector.config.options import COUNT, SIZE, Scope, described, option
from rx_collector.errors import ParseError
from rx_collector.event import Origin
from rx_collector.parsers.base import Format, OfIncarnation, TextParser, format

__all__ = ["Strace"]

#: Process, its command (--decode-pids=comm), time of day or since 1970 or since the line before.
_HEAD = re.compile(
    r"(?:(?:\[pid +)?([0-9]{1,10})(?:<([^<>]*)>)?(?:\] +| +))?"
    r" *(?:([0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?|[0-9]{1,20}\.[0-9]{1,9}) +)?"
    r"(?:\(\+ +([0-9]{1,20}\.[0-9]{1,9})\) +)?"
)
_CALL = re.compile(r"([\w?]{1,64})\(")
_RESUMED = re.compile(r"<\.\.\. ([\w?]{1,64}) resumed> ?")
_UNFINISHED = re.compile(r" ?<unfinished \.\.\.>(\) += \?)?$")
_SIGNAL = re.compile(r"--- (SIG\w{1,16}|stopped by SIG\w{1,16})(?: (\{.*\}))? ---$", re.DOTALL)
_EXIT = re.compile(
    r"\+\+\+ (?:exited with (\d{1,10})|killed by (SIG\w{1,16})( \(core dumped\))?|(superseded by .*)) \+\+\+$"
)
_PLAIN = re.compile(r'([^"<(\[{/)\]}]*)\)')
#: What the arguments are split at: a comma, brackets. Texts, paths of descriptors (-y) and comments are skipped whole.
_TOKEN = re.compile(
    r"""[^",(\[{)\]}/<]*(?:(,\ )|([(\[{])|([)\]}])|"[^"\\]*(?:\\.[^"\\]*)*("?)"""
    r"""|(?<=[0-9DF])<(?:->|[^<>])*>|/\*(?:[^*]|\*(?!/))*(?:\*/)?|.)""",
    re.DOTALL,
)
_COMMA, _OPEN, _CLOSE, _TEXT = 1, 2, 3, 4
_RESULT = re.compile(
    r"\) *= (-?[0-9]{1,20}(?![0-9a-fx])|0x[0-9a-f]{1,16}|\?)"
    r"(?:<((?:->|[^<>])*)>)?"
    r"(?: (E[A-Z0-9_]{1,32}))?"
    r"(?: \((.*)\))?"
    r"(?: <([0-9]{1,12}\.[0-9]{1,9}|unavailable)>)?$",
    re.DOTALL,
)


class _Unfinished:
    """The beginnings of calls whose end is still to come, by process. The oldest make room for new ones."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._begun: OrderedDict[int | None, tuple[dict[str, Any], str, str]] = OrderedDict()
        self._size = 0

    def put(self, pid: int | None, fields: dict[str, Any], call: str, text: str) -> list[dict[str, Any]]:
        """Keep a beginning; give those that are kept no longer."""
        gone = self.lost(pid)
        self._begun[pid] = (fields, call, text)
        self._size += len(text)
        while len(self._begun) > self._most or self._size > self._most_bytes:
            gone += self.lost(next(iter(self._begun)))
        return gone

    def take(self, pid: int | None, call: str) -> tuple[dict[str, Any], str] | None:
        """Give the beginning of a call that goes on now, None where it is not kept.

        When only one process is left strace says no longer which one goes on.
        """
        if pid is None and None not in self._begun:
            of_call = [process for process, begun in self._begun.items() if begun[1] == call]
            pid = of_call[0] if len(of_call) == 1 else None
        begun = self._begun.get(pid)
        if begun is None or begun[1] != call:
            return None
        del self._begun[pid]
        self._size -= len(begun[2])
        return begun[0], begun[2]

    def lost(self, pid: int | None) -> list[dict[str, Any]]:
        """Let go the beginning of a call whose end will not come: give it as a record."""
        begun = self._begun.pop(pid, None)
        if begun is None:
            return []
        fields, call, text = begun
        self._size -= len(text)
        arguments, _ = _arguments(text)
        return [{**fields, "type": "call", "call": call, "arguments": arguments, "unfinished": True}]


@format("strace", summary="System calls, signals and exits as strace prints them.", example="parse: strace")
@described
class Strace(Format):
    """Lines of strace, with the options -f, -t, -tt, -ttt, -r, -T, -y and ``--decode-pids=comm``.

    ``type`` is ``call`` (with ``call``, ``arguments``, a list of texts, and ``result``, a number if it is a decimal one;
    where they are there, ``errno``, ``detail`` for what stands in parentheses, ``path`` for that of a descriptor and
    ``seconds`` for the time it took), ``signal`` (``signal``, ``detail``) or ``exit`` (``code`` or ``signal``; or
    ``detail`` where another thread took its place). ``pid``, ``comm``, ``time`` (a text for a time of day, a number of
    seconds since 1970) and ``since`` (seconds since the line before) stand there when they are printed.

    A call that others interrupt is one record, made when its end is read; its ``time`` is that of its beginning. Of each
    runner as many beginnings are kept as ``unfinished`` says, and no more than ``max_bytes`` of them. The oldest that has
    to make room, and the one of a process that ends, becomes a record of its own with ``unfinished: true``; an end without
    its beginning bears ``resumed: true``. Lines that are kept count as filtered, also those still kept at the end of the
    stream. Let strace write to a pipe of its own (``-o /dev/stdout``), or what it says about a new process breaks lines
    in two.
    """

    several = True

    unfinished: int = option(COUNT, "The most calls whose end is waited for.", 1_000)
    max_bytes: int = option(SIZE, "How much of their beginnings is kept.", 2**20)

    def check(self, scope: Scope) -> None:
        if self.unfinished == 0:
            scope.child("unfinished").wrong("at least one call has to be kept")
        if self.max_bytes == 0:
            scope.child("max_bytes").wrong("at least one byte has to be kept")

    def parser(self) -> TextParser:
        kept: OfIncarnation[_Unfinished] = OfIncarnation(lambda: _Unfinished(self.unfinished, self.max_bytes))
        match_head, match_call = _HEAD.match, _CALL.match

        def parse(text: str, origin: Origin) -> list[dict[str, Any]]:
            head = match_head(text)
            assert head is not None  # all of it is optional
            position = head.end()
            fields: dict[str, Any] = {}
            pid_text, comm, time, since = head.groups()
            pid = None
            if pid_text is not None:
                fields["pid"] = pid = int(pid_text)
            if comm is not None:
                fields["comm"] = comm
            if time is not None:
                if ":" in time:
                    fields["time"] = time
                else:
                    seconds = float(time)
                    fields["time" if seconds >= 1e8 else "since"] = seconds
            if since is not None:
                fields["since"] = float(since)
            call = match_call(text, position)
            if call is not None:
                if text.endswith((">", "?")):
                    unfinished = _UNFINISHED.search(text, max(call.end(), len(text) - 60))
                    if unfinished is not None:
                        rest = text[call.end() : unfinished.start()]
                        if unfinished[1] is None:
                            return kept(origin).put(pid, fields, call[1], rest)
                        return [_call(fields, call[1], rest + unfinished[1])]
                return [_call(fields, call[1], text[call.end() :])]
            if text.startswith("<", position) and (resumed := _RESUMED.match(text, position)) is not None:
                state = kept(origin)
                rest = text[resumed.end() :]
                if (begun := state.take(pid, resumed[1])) is not None:
                    return [_call(begun[0], resumed[1], begun[1] + rest)]
                return [*state.lost(pid), {**_call(fields, resumed[1], rest), "resumed": True}]
            if (signal := _SIGNAL.match(text, position)) is not None:
                fields["type"] = "signal"
                fields["signal"] = signal[1].removeprefix("stopped by ")
                if signal[2] is not None:
                    fields["detail"] = signal[2]
                return [fields]
            if (ended := _EXIT.match(text, position)) is not None:
                fields["type"] = "exit"
                if ended[1] is not None:
                    fields["code"] = int(ended[1])
                elif ended[2] is not None:
                    fields["signal"] = ended[2]
                else:
                    fields["detail"] = ended[4]
                return [*kept(origin).lost(pid), fields]
            raise ParseError("not strace: neither a call nor a signal nor an exit")

        return parse


def _call(fields: dict[str, Any], call: str, rest: str) -> dict[str, Any]:
    """Make the record of a call from what stands behind its parenthesis."""
    arguments, end = _arguments(rest)
    result = _RESULT.match(rest, end) if end >= 0 else None
    if result is None:
        raise ParseError(f"not strace: there is no result of {call}")
    value, path, errno, detail, seconds = result.groups()
    fields["type"] = "call"
    fields["call"] = call
    fields["arguments"] = arguments
    fields["result"] = value if value[0] == "?" or value[1:2] == "x" else int(value)
    if path is not None:
        fields["path"] = path
    if errno is not None:
        fields["errno"] = errno
    if detail is not None:
        fields["detail"] = detail
    if seconds is not None and seconds != "unavailable":
        fields["seconds"] = float(seconds)
    return fields


def _arguments(text: str) -> tuple[list[str], int]:
    """Split the arguments of a call, and give where the parenthesis behind them is; -1 where there is none.

    >>> _arguments('3, "a, (b", {st_size=1, ...}) = 0')
    (['3', '"a, (b"', '{st_size=1, ...}'], 28)
    """
    plain = _PLAIN.match(text)
    if plain is not None:
        return [part.strip() for part in plain[1].split(", ")] if plain.end() > 1 else [], plain.end() - 1
    arguments: list[str] = []
    begin = depth = 0
    end = -1
    for token in _TOKEN.finditer(text):
        kind = token.lastindex
        if kind == _COMMA:
            if depth == 0:
                arguments.append(text[begin : token.start(_COMMA)].strip())
                begin = token.end()
        elif kind == _OPEN:
            depth += 1
        elif kind == _CLOSE:
            depth -= 1
            if depth < 0:
                end = token.start(_CLOSE)
                break
        elif kind == _TEXT and not token[_TEXT]:
            raise ParseError("not strace: a text is not closed")
    last = text[begin : end if end >= 0 else None].strip()
    if last or arguments:
        arguments.append(last)
    return arguments, end
