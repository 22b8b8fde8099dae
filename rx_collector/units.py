"""Durations, sizes and counts as people write them: ``250ms``, ``64KiB``, ``10_000``.

Inside the program a duration is a float of seconds, a size an int of bytes, a count an int.
"""

from __future__ import annotations

from rx_collector.later import pattern

__all__ = ["format_count", "format_duration", "format_size", "parse_count", "parse_duration", "parse_size"]

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_PART = r"(\d[\d_]*(?:\.\d+)?)\s*"
_DURATION = pattern(rf"(?:{_PART}(ns|us|µs|ms|s|m|h|d)\s*)+")
_DURATION_PART = pattern(rf"{_PART}(ns|us|µs|ms|s|m|h|d)")
_SIZE = pattern(rf"{_PART}({'|'.join(_BYTES)})")
_COUNT = pattern(r"\d+(?:_\d+)*")


_LONGEST = 100 * 365.25 * 86_400
_LARGEST = 2**63


def parse_duration(value: object) -> float:
    """Give the seconds of ``250ms``, ``5s``, ``1m``, ``1h30m``; a plain number is seconds already.

    >>> parse_duration("1m30s"), parse_duration("250ms"), parse_duration(2)
    (90.0, 0.25, 2.0)

    Raises ValueError for anything else, for a negative number, and for one longer than a hundred years.
    """
    if isinstance(value, bool):
        raise ValueError("a duration such as 5s is wanted here")
    seconds: float | None = None
    text = str(value).strip()
    if isinstance(value, int | float):
        if not 0 <= value < float("inf"):
            raise ValueError("a duration cannot be negative or infinite")
        seconds = value
    elif isinstance(value, str) and _DURATION.fullmatch(text):
        parts = _DURATION_PART.findall(text)
        seconds = sum(float(number.replace("_", "")) * _SECONDS[unit] for number, unit in parts)
    if seconds is not None:
        if seconds > _LONGEST:
            raise ValueError("a duration cannot be longer than a hundred years")
        return float(seconds)
    raise ValueError(f"{text!r} is not a duration; write 250ms, 5s, 1m or 1h30m")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"an integer of {len(text):,} digits is too long") from None


def parse_size(value: object) -> int:
    """Give the bytes of ``64KiB`` (1,024 each) or ``100MB`` (1,000,000 each); a plain int is bytes already.

    >>> parse_size("64KiB"), parse_size("1.5MB"), parse_size(512)
    (65536, 1500000, 512)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError("a size cannot be negative")
        return value
    if isinstance(value, str):
        if match := _SIZE.fullmatch(value.strip()):
            size = float(match[1].replace("_", "")) * _BYTES[match[2]]
            if size > _LARGEST:
                raise ValueError("a size cannot be larger than 8 EiB")
            return round(size)
        if _COUNT.fullmatch(value.strip()):
            return _whole(value)
    raise ValueError(f"{str(value)!r} is not a size; write 64KiB or 100MB")


def parse_count(value: object) -> int:
    """Give the int of ``10_000``; an int that is not negative is taken as it is.

    >>> parse_count("10_000")
    10000
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError("a count cannot be negative")
        return value
    if isinstance(value, str) and _COUNT.fullmatch(value.strip()):
        return _whole(value)
    raise ValueError(f"{str(value)!r} is not a count; write a whole number such as 10_000")


def format_duration(seconds: float) -> str:
    """Write seconds the way `parse_duration` reads them.

    >>> format_duration(90), format_duration(0.25), format_duration(3600)
    ('1m30s', '250ms', '1h')
    """
    if seconds == 0:
        return "0s"
    if seconds < 1:
        for unit in ("ms", "us", "ns"):
            amount = seconds / _SECONDS[unit]
            if amount >= 1:
                return f"{amount:.6g}{unit}"
        return f"{seconds / 1e-9:.6g}ns"
    parts = []
    whole, rest = divmod(seconds, 60)
    days, whole = divmod(int(whole), 24 * 60)
    hours, minutes = divmod(whole, 60)
    for amount, unit in ((days, "d"), (hours, "h"), (minutes, "m")):
        if amount:
            parts.append(f"{amount}{unit}")
    if rest:
        parts.append(f"{rest:.6g}s")
    return "".join(parts)


def format_size(size: float) -> str:
    """Write bytes for people, in binary units.

    >>> format_size(1536), format_size(12)
    ('1.5KiB', '12B')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g}{unit}"
        size /= 1024
    return f"{size:.4g}TiB"


def format_count(count: int) -> str:
    """Write a count with the thousands marked.

    >>> format_count(1234567)
    '1,234,567'
    """
    return f"{count:,}"
