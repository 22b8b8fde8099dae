"""Clocks: how the time that a tool prints becomes wall time.

eBPF tools print nanoseconds since boot (CLOCK_BOOTTIME) or of CLOCK_MONOTONIC, which stands still during suspend. The
distance to wall time is measured once a batch, so a step of the wall clock counts from the next batch on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

__all__ = ["CLOCKS", "UNITS", "time_reader"]

UNITS: Final = ("s", "ms", "us", "ns", "iso")
CLOCKS: Final = ("realtime", "boot", "monotonic")
_NANOSECONDS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_LATEST: Final = 253_402_300_799 * 10**9  # the end of the year 9999, the last that RFC 3339 can write
TimeReader = Callable[[Any, int], int | None]


def _distance(clock: int) -> Callable[[], int]:
    def offset() -> int:
        return time.time_ns() - time.clock_gettime_ns(clock)

    return offset


def _read_iso(value: Any, offset: int) -> int | None:
    try:
        moment = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = moment.replace(microsecond=0)
    try:
        nanoseconds = int(whole.timestamp()) * 10**9 + moment.microsecond * 1000
    except (OverflowError, ValueError):
        return None
    return nanoseconds if 0 <= nanoseconds <= _LATEST else None


def time_reader(unit: str, clock: str) -> tuple[TimeReader, Callable[[], int] | None]:
    """Give the function that turns a field's value and an offset into nanoseconds since 1970, and one for the offset.

    The first gives None for what is not a time: missing, no number, negative, beyond the year 9999. A text of digits is
    a number too. The second is None for the wall clock, whose offset is 0.
    """
    offset = {
        "realtime": None,
        "boot": _distance(time.CLOCK_BOOTTIME),
        "monotonic": _distance(time.CLOCK_MONOTONIC),
    }[clock]
    if unit == "iso":
        return _read_iso, None
    scale = _NANOSECONDS[unit]

    def read(value: Any, offset: int) -> int | None:
        if value.__class__ is not int:
            if isinstance(value, str):
                try:
                    value = int(value) if value.isdigit() else float(value)
                except ValueError:
                    return None
            if isinstance(value, bool) or not isinstance(value, int | float):
                return None
            if isinstance(value, float):
                if not 0 <= value < 1e18:
                    return None
                nanoseconds = round(value * scale) + offset
                return nanoseconds if 0 <= nanoseconds <= _LATEST else None
        if value < 0:
            return None
        nanoseconds = value * scale + offset
        return nanoseconds if 0 <= nanoseconds <= _LATEST else None

    return read, offset
