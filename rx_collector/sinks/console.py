"""The console sink: events for eyes on a terminal, ndjson in a pipe."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any, ClassVar, Final

from rx_collector.config.options import BOOLEAN, DURATION, Choice, described, option
from rx_collector.errors import OutputError
from rx_collector.event import Event
from rx_collector.later import pattern
from rx_collector.sinks.base import Sink, Writer, sink
from rx_collector.sinks.descriptor import CancellableWriter, Cancelled, TimedOut
from rx_collector.sinks.format import encoder, flatten
from rx_collector.units import format_duration

__all__ = ["Console"]

_DIM, _CYAN, _GREEN, _YELLOW, _RED, _OFF = "\x1b[2m", "\x1b[36m", "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"
#: What would drive a terminal instead of standing on it: C0, DEL, C1, and the marks that turn the direction of text.
_CONTROL: Final = pattern("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_PLAIN: Final = pattern(r"[^\s=\"'{}\[\],]+")


@sink(
    "console",
    summary="Show events on standard output: for eyes on a terminal, ndjson in a pipe.",
    guarantee="Delivered means taken by the terminal or pipe, in order.",
    example="console: {format: pretty}\nbackpressure: {strategy: drop_oldest, capacity: 1_000}",
)
@described
class Console(Sink):
    """Show events on standard output. Characters in the data that would drive the terminal are shown as escapes."""

    shorthand: ClassVar[str | None] = "format"

    format: str = option(
        Choice("auto", "pretty", "ndjson", "text", "cloudevents"),
        "How an event is shown; auto is pretty on a terminal and ndjson elsewhere.",
        "auto",
    )
    envelope: bool = option(BOOLEAN, "Whether ndjson holds the whole event, not its payload alone.", False)
    color: str = option(Choice("auto", "always", "never"), "Whether pretty has colours (NO_COLOR is heeded).", "auto")
    stream: str = option(Choice("stdout", "stderr"), "Where to.", "stdout")
    timeout: float | None = option(DURATION, "How long a write may make no progress before it fails.", None)

    def open(self) -> Writer:
        return _ConsoleWriter(self)


class _ConsoleWriter(Writer):
    def __init__(self, spec: Console) -> None:
        stream = sys.stdout if spec.stream == "stdout" else sys.stderr
        self._stream_name = spec.stream
        self._timeout = spec.timeout or 0.0
        try:
            stream.flush()
            descriptor = os.dup(1 if spec.stream == "stdout" else 2)
        except (OSError, ValueError) as error:
            raise OutputError(f"cannot write {spec.stream}: {error}") from None
        terminal = os.isatty(descriptor)
        name = spec.format if spec.format != "auto" else "pretty" if terminal else "ndjson"
        self._encode: Callable[[Event], bytes]
        if name == "pretty":
            color = spec.color == "always" or (
                spec.color == "auto"
                and not os.environ.get("NO_COLOR")
                and (terminal or bool(os.environ.get("FORCE_COLOR")))
            )
            width = 0
            if terminal:
                from shutil import get_terminal_size

                width = get_terminal_size().columns
            self._encode = _Pretty(color, width)
        else:
            encode = encoder(name, spec.envelope)
            # A terminal is protected whatever the format; JSON escapes C0 by itself, but not C1 and the rest.
            self._encode = (lambda event: _neutral(encode(event).decode()).encode()) if terminal else encode
        self._out = CancellableWriter(descriptor, spec.timeout)

    def write(self, events: list[Event]) -> int:
        lines = list(map(self._encode, flatten(events)))
        data = b"\n".join(lines) + b"\n"
        try:
            self._out.write(data)
        except (OSError, Cancelled, TimedOut) as error:
            delivered = 0
            if len(lines) == len(events):
                delivered = data.count(b"\n", 0, self._out.written)
            if isinstance(error, BrokenPipeError):
                what = f"{self._stream_name} was closed by its reader"
            elif isinstance(error, Cancelled):
                what = f"{self._stream_name} took nothing any more and was given up"
            elif isinstance(error, TimedOut):
                what = f"{self._stream_name} took nothing for {format_duration(self._timeout)}"
            else:
                what = f"cannot write {self._stream_name}: {os.strerror(error.errno or 0).lower()}"
            raise OutputError(what, delivered=delivered) from None
        return len(events)

    def cancel(self) -> None:
        self._out.cancel()

    def close(self) -> int:
        if self._out.descriptor >= 0:
            os.close(self._out.descriptor)
            self._out.descriptor = -1
            self._out.close()
        return 0


def _neutral(text: str) -> str:
    """Show control characters as escapes."""
    return _CONTROL.sub(
        lambda found: f"\\x{ord(found[0]):02x}" if ord(found[0]) < 256 else f"\\u{ord(found[0]):04x}", text
    )


class _Pretty:
    """One line an event: local time, then ``key=value``."""

    def __init__(self, color: bool, width: int) -> None:
        self._color = color
        self._width = width
        self._second = -1
        self._clock = ""

    def __call__(self, event: Event) -> bytes:
        nanoseconds = event.time_ns
        second, rest = divmod(nanoseconds, 10**9)
        if second != self._second:
            self._second, self._clock = second, time.strftime("%H:%M:%S", time.localtime(second))
        clock = f"{self._clock}.{rest // 10**6:03d}"
        source = _neutral(event.runner)
        room = self._width - len(clock) - len(source) - 3 if self._width else 1 << 30
        pieces = [f"{_DIM}{clock}{_OFF} {_CYAN}{source}{_OFF}"] if self._color else [f"{clock} {source}"]
        data = event.data
        fields = data.items() if isinstance(data, dict) else [("", data)]
        for key, value in fields:
            text, colour = _shown(value)
            key = _neutral(str(key))
            label = f"{key}=" if key and not (key == "message" and len(fields) == 1) else ""
            size = _cells(label) + _cells(text) + 1
            if size > room:
                if room > _cells(label) + 8:
                    text = _cut(text, room - _cells(label) - 2) + "…"
                    pieces.append(self._painted(label, text, colour))
                else:
                    pieces.append("…")
                break
            room -= size
            pieces.append(self._painted(label, text, colour))
        return " ".join(pieces).encode("utf-8", "replace")

    def _painted(self, label: str, text: str, colour: str) -> str:
        if not self._color:
            return label + text
        return f"{_DIM}{label}{_OFF}{colour}{text}{_OFF}" if colour else f"{_DIM}{label}{_OFF}{text}"


def _cells(text: str) -> int:
    """Give how many columns a text takes on a terminal: characters of East Asia take two, combining ones none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # needed by those who have such text on a terminal

    return cell_len(text)


def _cut(text: str, room: int) -> str:
    """Cut a text to so many columns."""
    if text.isascii():
        return text[:room]
    from rich.cells import set_cell_size

    return set_cell_size(text, room).rstrip() if _cells(text) > room else text


def _shown(value: Any) -> tuple[str, str]:
    if isinstance(value, str):
        text = _neutral(value)
        return (text if _PLAIN.fullmatch(text) or "=" not in text else f'"{text}"', "")
    if value is None:
        return "null", _DIM
    if isinstance(value, bool):
        return ("true", _GREEN) if value else ("false", _RED)
    if isinstance(value, int | float):
        return str(value), _YELLOW
    from rx_collector.event import encode_json

    return _neutral(encode_json(value).decode()), ""
