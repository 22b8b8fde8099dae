"""The kinds of values that only a runner's description has: signals, commands, accounts, patterns, limits …"""

from __future__ import annotations

import codecs
import re
import signal
from collections.abc import Mapping
from typing import Any

from rx_collector.config.options import COUNT, INVALID, SIZE, TEXT, Kind, ListOf, Scope, did_you_mean, plainly
from rx_collector.units import format_duration, parse_count, parse_duration, parse_size

__all__ = [
    "AccountKind",
    "CommandKind",
    "EncodingKind",
    "EnvironmentKind",
    "ExitCodeKind",
    "NiceKind",
    "ResourceKind",
    "RestartsKind",
    "SignalKind",
    "UmaskKind",
]


class SignalKind(Kind):
    wanted = "a signal such as SIGINT"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, signal.Signals):
            return value
        names = [member.name for member in signal.Signals]
        if isinstance(value, str):
            name = value.upper() if value.upper().startswith("SIG") else f"SIG{value.upper()}"
            if name in names:
                return signal.Signals[name]
            return scope.wrong(f"unknown signal {value!r}{did_you_mean(name, names)}")
        if isinstance(value, int) and not isinstance(value, bool):
            try:
                return signal.Signals(value)
            except ValueError:
                return scope.wrong(f"there is no signal {value}")
        return self._wanted(value, scope)

    def schema(self) -> dict[str, Any]:
        # Names may also be written in lower case or without SIG, which a schema cannot say and still offer the names.
        names = [member.name for member in signal.Signals]
        return {"anyOf": [{"enum": names}, {"type": "string", "pattern": r"^(?!SIG)|\$\{"}, {"type": "integer"}]}


class RestartsKind(Kind):
    """How many in which time: ``5 in 1m``, or a pair of a count and a duration."""

    wanted = "a limit such as 5 in 1m"

    def convert(self, value: Any, scope: Scope) -> Any:
        match = re.fullmatch(r"(\S+)\s+in\s+(\S+)", value.strip()) if isinstance(value, str) else None
        parts = match.groups() if match is not None else value
        if not isinstance(parts, list | tuple) or len(parts) != 2:
            return self._wanted(value, scope)
        try:
            limit = parse_count(parts[0]), parse_duration(parts[1])
        except ValueError as error:
            return scope.wrong(f"{self.wanted} is wanted here: {error}")
        return limit if limit[1] > 0 else scope.wrong("the time of a limit must be longer than nothing")

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"\S+\s+in\s+\S+|\$\{"}

    def write(self, value: Any) -> str:
        return f"{value[0]} in {format_duration(value[1])}" if value is not None else super().write(value)


class CommandKind(Kind):
    """An argv; with ``shell: true`` a text."""

    wanted = "a list of arguments such as [bpftrace, -q, exec.bt]"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, list | tuple):
            items = ListOf(TEXT, least=1).convert(value, scope)
            if items is not INVALID:
                if any("\0" in item for item in items):
                    return scope.wrong("an argument cannot hold a NUL character")
                if not items[0]:
                    return scope.wrong("the command is empty")
            return items
        if isinstance(value, str):
            return value if value.strip() else scope.wrong("the command is empty")
        return self._wanted(value, scope)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [ListOf(TEXT, least=1).schema(), {"type": "string", "minLength": 1}]}


class EnvironmentKind(Kind):
    wanted = "a mapping of names to texts"

    def convert(self, value: Any, scope: Scope) -> Any:
        if not isinstance(value, Mapping):
            return scope.wrong(f"{self.wanted} is wanted here, not {plainly(value)}")
        made: dict[str, str | None] = {}
        for name, text in value.items():
            if not name or "=" in name or "\0" in name:
                scope.child(name).wrong(f"{name!r} cannot name a variable", on_key=True)
                return INVALID
            made[name] = None if text is None else TEXT.convert(text, scope.child(name))
            if made[name] is INVALID:
                return INVALID
        return made

    def schema(self) -> dict[str, Any]:
        values = {"type": ["string", "number", "boolean", "null"]}
        return {"type": "object", "additionalProperties": values, "propertyNames": {"pattern": "^[^=\\0]+$"}}


class ExitCodeKind(Kind):
    wanted = "an exit code from 0 to 255"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255:
            return value
        return self._wanted(value, scope)

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": 0, "maximum": 255}


class EncodingKind(Kind):
    """The name of a text encoding that Python knows."""

    wanted = "the name of a text encoding such as latin-1"

    def convert(self, value: Any, scope: Scope) -> Any:
        if not isinstance(value, str):
            return self._wanted(value, scope)
        try:
            "".encode(value)
            name = codecs.lookup(value).name
            decoder = codecs.getincrementaldecoder(name)(errors="replace")
            decoder.decode(codecs.BOM_UTF16 * 2 + codecs.BOM_UTF32 + bytes(range(256)) * 4, True)
        except (LookupError, ValueError):
            return scope.wrong(f"{value!r} is no encoding that any output can be read in")
        return name

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


class AccountKind(Kind):
    """A user or group, by name or number; whether it exists is known when the child is started."""

    wanted = "the name or number of an account"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        if isinstance(value, str) and value and not set(value) & set("\0:\n"):
            return int(value) if value.isdecimal() else value
        return self._wanted(value, scope)

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "integer"]}


class UmaskKind(Kind):
    """A umask, in octal."""

    wanted = 'a umask such as "027"'

    def convert(self, value: Any, scope: Scope) -> Any:
        text = value if isinstance(value, str) else (scope.expanded() or "") if scope.document is not None else ""
        if isinstance(value, int) and not isinstance(value, bool) and not text and 0 <= value <= 0o777:
            return value  # from Python, where 0o027 is a number
        if re.fullmatch(r"0?o?[0-7]{3}", text):
            return int(text.replace("o", ""), 8)
        return self._wanted(value, scope)

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "integer"]}


class NiceKind(Kind):
    """A scheduling priority, as nice(1) counts it."""

    wanted = "a number from -20 (most favoured) to 19 (least)"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and -20 <= value <= 19:
            return value
        return self._wanted(value, scope)

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": -20, "maximum": 19}


class ResourceKind(Kind):
    """An amount of some resource, or ``unlimited`` (given as -1)."""

    _READERS = {
        "size": (parse_size, "a size such as 64KiB", SIZE),
        "count": (parse_count, "a count such as 1_024", COUNT),
    }

    def __init__(self, sort: str) -> None:
        self._read, what, self._amount = self._READERS[sort]
        self.wanted = f"{what}, or unlimited"

    def convert(self, value: Any, scope: Scope) -> Any:
        if value in ("unlimited", -1):
            return -1
        try:
            return self._read(value)
        except ValueError:
            return self._wanted(value, scope)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"enum": ["unlimited", -1]}, self._amount.schema()]}
