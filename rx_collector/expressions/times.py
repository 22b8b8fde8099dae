"""Functions for times, durations and sizes."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from rx_collector.expressions.function import Constant, Function
from rx_collector.expressions.kinds import NUMBER, Kinds
from rx_collector.later import pattern
from rx_collector.units import format_duration, format_size, parse_duration, parse_size

__all__ = ["TIME_FUNCTIONS"]

_LONGEST: Final = 200
_DIRECTIVES: Final = "YymbBdjHIMSfpzaA"
_DIRECTIVE: Final = pattern(r"%(.?)", re.DOTALL)
_SECONDS: Final = 86_400 * 366 * 10_000  # more than there are until the last year


def _written(text: str) -> str:
    """Check a format for writing a time."""
    for match in _DIRECTIVE.finditer(text):
        if match[1] not in (*_DIRECTIVES, "%"):
            known = " ".join(f"%{letter}" for letter in _DIRECTIVES)
            raise ValueError(f"the format has {match[0]!r}; it can have {known} %%")
    return text


def _read(text: str) -> str:
    """Check a format for reading a time."""
    used = [match[1] for match in _DIRECTIVE.finditer(_written(text)) if match[1] != "%"]
    if twice := [letter for letter in used if used.count(letter) > 1]:
        raise ValueError(f"the format has %{twice[0]} twice")
    if not {"Y", "y"} & set(used):
        raise ValueError("the format has no year (%Y or %y), so that a text would not say when")
    if len(text) > _LONGEST:
        raise ValueError(f"the format is longer than {_LONGEST} characters")
    return text


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name!r}; write a name such as Europe/Berlin") from None


def _text(value: Any, function: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{function} takes a text, not a {type(value).__name__}")
    if len(value) > _LONGEST:
        raise ValueError(f"{function} takes no text of more than {_LONGEST} characters")
    return value


def _parse_time(value: Any, form: str | None = None, zone: tzinfo = UTC) -> Any:
    if value is None:
        return None
    text = _text(value, "parse_time")
    time = datetime.fromisoformat(text) if form is None else datetime.strptime(text, form)
    return (time if time.tzinfo is not None else time.replace(tzinfo=zone)).timestamp()


def _format_time(value: Any, form: str | None = None, zone: tzinfo = UTC) -> Any:
    if value is None:
        return None
    if isinstance(value, datetime):
        time = value.astimezone(zone)
    elif isinstance(value, int | float) and not -_SECONDS < value < _SECONDS:
        raise OverflowError("no year is as far away as that")
    else:
        time = datetime.fromtimestamp(value, zone)
    return f"{time.replace(tzinfo=None).isoformat(timespec='microseconds')}Z" if form is None else time.strftime(form)


def _parsed(function: Callable[[object], float], name: str) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        return None if value is None else function(_text(value, name) if isinstance(value, str) else value)

    return parse


def _formatted(function: Callable[[float], str]) -> Callable[[Any], Any]:
    def write(value: Any) -> Any:
        if value is None:
            return None
        if not -1e300 < value < 1e300:
            raise OverflowError("the number is too large")
        return f"-{function(-value)}" if value < 0 else function(value)

    return write


_TEXT: Final = Kinds.TEXT | Kinds.NULL
#: By name.
TIME_FUNCTIONS: Final[dict[str, Function]] = {
    "parse_time": Function(
        _parse_time,
        1,
        3,
        "the seconds since 1970 of a text: as ISO 8601 has it, or by a format; in a time zone (UTC) where it names none",
        ('parse_time("14/Nov/2023 22:13:20", "%d/%b/%Y %H:%M:%S", "Europe/Berlin")', 1699996400.0),
        takes=(_TEXT, Kinds.TEXT, Kinds.TEXT),
        gives=Kinds.FLOAT | Kinds.NULL,
        constants=(None, Constant("format", _read), Constant("zone", _zone)),
        literal=True,
    ),
    "format_time": Function(
        _format_time,
        1,
        3,
        "seconds since 1970, or a time such as meta.time, as a text: as ISO 8601, or by a format, in a time zone (UTC)",
        ('format_time(1700000000, "%Y-%m-%d %H:%M", "Europe/Berlin")', "2023-11-14 23:13"),
        takes=(NUMBER | Kinds.TIME | Kinds.NULL, Kinds.TEXT, Kinds.TEXT),
        gives=_TEXT,
        constants=(None, Constant("format", _written), Constant("zone", _zone)),
    ),
    "duration": Function(
        _parsed(parse_duration, "duration"),
        1,
        1,
        "the seconds of a duration such as 250ms, 5s, 1m, 1h30m",
        ('duration("1m30s")', 90.0),
        takes=(Kinds.TEXT | Kinds.INTEGER | Kinds.FLOAT | Kinds.NULL,),
        gives=Kinds.FLOAT | Kinds.NULL,
        literal=True,
    ),
    "size": Function(
        _parsed(parse_size, "size"),
        1,
        1,
        "the bytes of a size such as 64KiB or 100MB",
        ('size("64KiB")', 65536),
        takes=(Kinds.TEXT | Kinds.INTEGER | Kinds.NULL,),
        gives=Kinds.INTEGER | Kinds.NULL,
        literal=True,
    ),
    "format_duration": Function(
        _formatted(format_duration),
        1,
        1,
        "seconds as a duration",
        ("format_duration(5400)", "1h30m"),
        takes=(NUMBER | Kinds.NULL,),
        gives=_TEXT,
    ),
    "format_size": Function(
        _formatted(format_size),
        1,
        1,
        "bytes as a size",
        ("format_size(65536)", "64KiB"),
        takes=(NUMBER | Kinds.NULL,),
        gives=_TEXT,
    ),
}
