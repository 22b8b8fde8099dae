"""Clocks: how the time that a tool prints becomes wall time.

eBPF tools print nanoseconds of CLOCK_BOOTTIME, which goes on while the machine is suspended, or of CLOCK_MONOTONIC, which
stands still then. Their distance to wall time is measured once a batch, so a step of the wall clock counts from the next
batch on, and times printed before a suspend are still told right after it. Text without a zone is local time of a zone
that can be named; a text without a date, or without a year, is taken to be the moment nearest to when it was observed.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, NamedTuple

from rx_collector.later import later

__all__ = [
    "CLOCKS",
    "UNITS",
    "Distance",
    "Look",
    "SteadyLook",
    "TimeReader",
    "looked_at",
    "started_at",
    "text_reader",
    "time_reader",
    "zone_named",
]

UNITS: Final = ("s", "ms", "us", "ns", "iso")
CLOCKS: Final = ("realtime", "boot", "monotonic")
_NANOSECONDS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_LATEST: Final = 253_402_300_799 * 10**9  # the end of the year 9999, the last that RFC 3339 can write
_NOISE: Final = 20_000  # ns; two measurements of one distance differ by so much, and a real step is larger
_MOST_SUSPENDS: Final = 64
#: Turns a field's value, an offset in nanoseconds and the observed time into nanoseconds since 1970; None for no time.
TimeReader = Callable[[Any, int, int], int | None]
Now = Callable[[], int]


def _boot() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Look(NamedTuple):
    """How the clocks stood to each other at one moment, in nanoseconds: what CLOCK_BOOTTIME was behind wall time, how long
    the machine had been suspended (what CLOCK_MONOTONIC was behind CLOCK_BOOTTIME), and CLOCK_MONOTONIC itself.
    """

    boot: int
    suspended: int
    monotonic: int


class Distance:
    """How far a clock is behind wall time, in nanoseconds.

    Calling it measures; the sum of a clock's value and what it gives is wall time. For CLOCK_MONOTONIC the suspends that
    were seen are kept, so that `correction` can tell what a value from before one of them needs.
    """

    def __init__(
        self,
        clock: str,
        *,
        wall: Now = time.time_ns,
        boot: Now = _boot,
        monotonic: Now = time.monotonic_ns,
        look: Callable[[], Look] | None = None,
    ) -> None:
        self._monotonic = clock == "monotonic"
        self._wall = wall
        self._boot = boot
        self._running = monotonic
        self._look = look  # measures instead of this
        self._distance: int | None = None
        self._suspended: int | None = None  # how long in all, when it was last measured
        self._last = 0  # the monotonic clock then
        # The monotonic times at which a suspend was noticed, and by how much later ones are closer to wall time.
        self._noticed: list[int] = []
        self._amounts: list[int] = []

    def __call__(self) -> int:
        """Measure. Costs about a microsecond."""
        if self._look is not None:
            distance, suspended, now = self._look()
        else:
            distance, suspended, now = _between(self._boot, self._wall), 0, 0
            if self._monotonic:
                suspended, now = _between(self._running, self._boot), self._running()
        if self._monotonic:
            self._note(suspended, now)
            distance += suspended
        if self._distance is None or abs(distance - self._distance) > _NOISE:
            self._distance = distance
        return self._distance

    def correction(self, value: int) -> int:
        """Give what a value of the monotonic clock needs beside the distance: the suspends that came after it, negative."""
        if not self._noticed or value > self._noticed[-1]:
            return 0
        return -sum(self._amounts[bisect_right(self._noticed, value - 1) :])

    def _note(self, suspended: int, now: int) -> None:
        if self._suspended is not None and suspended - self._suspended > _NOISE:
            # It happened after the last measurement: what is not younger than that is from before.
            self._noticed.append(self._last)
            self._amounts.append(suspended - self._suspended)
            del self._noticed[:-_MOST_SUSPENDS], self._amounts[:-_MOST_SUSPENDS]
        if self._suspended is None or abs(suspended - self._suspended) > _NOISE:
            self._suspended = suspended
        self._last = now


def _between(behind: Now, ahead: Now) -> int:
    """Measure how far one clock is behind another, from the closest of three looks."""
    best: tuple[int, int] | None = None
    for _ in range(3):
        before = behind()
        there = ahead()
        after = behind()
        look = (after - before, there - (before + after) // 2)
        if best is None or look < best:
            best = look
        if look[0] < _NOISE:
            break
    assert best is not None
    return best[1]


class SteadyLook:
    """Looks at the clocks of this machine; what differs from the look before by no more than noise is left as it was.

    Not safe from several threads at once.
    """

    def __init__(self) -> None:
        self._boot = self._suspended = 0
        self()

    def __call__(self) -> Look:
        """Measure. Costs about two microseconds."""
        boot, suspended = _between(_boot, time.time_ns), _between(time.monotonic_ns, _boot)
        if abs(boot - self._boot) > _NOISE:
            self._boot = boot
        if abs(suspended - self._suspended) > _NOISE:
            self._suspended = suspended
        return Look(self._boot, self._suspended, time.monotonic_ns())


_distance: ContextVar[Callable[[str], Distance]] = ContextVar("rx_collector_distance", default=Distance)


@contextmanager
def started_at(began: int, now: Now) -> Iterator[None]:
    """Let the readers that are made here take `now` for the wall clock, and a machine that was started at `began`."""

    def since() -> int:
        return now() - began

    token = _distance.set(lambda clock: Distance(clock, wall=now, boot=since, monotonic=since))
    try:
        yield
    finally:
        _distance.reset(token)


@contextmanager
def looked_at(look: Callable[[], Look]) -> Iterator[None]:
    """Let the readers that are made here take what `look` gives for what they would measure."""
    token = _distance.set(lambda clock: Distance(clock, look=look))
    try:
        yield
    finally:
        _distance.reset(token)


def zone_named(name: str) -> tzinfo | None:
    """Give a time zone: ``UTC``, ``local`` (None, the machine's own), or a name such as Europe/Berlin.

    Raises ValueError for one that is not known here.
    """
    if name == "local":
        return None
    if name.upper() in ("UTC", "Z"):
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name!r}") from None


def _since_1970(moment: datetime, zone: tzinfo | None, observed: int) -> int | None:
    """Give the nanoseconds of a moment. Without a zone of its own it is in `zone`; an hour that comes twice when the
    clocks are set back is the one nearer to the observed time.
    """
    try:
        if moment.tzinfo is None:
            moments = [moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
            stamps = [_whole_seconds(one) for one in moments]
            seconds = min(stamps, key=lambda stamp: abs(stamp * 10**9 - observed))
        else:
            seconds = _whole_seconds(moment)
    except (OverflowError, ValueError, OSError):
        return None
    nanoseconds = seconds * 10**9 + moment.microsecond * 1000
    return nanoseconds if 0 <= nanoseconds <= _LATEST else None


def _whole_seconds(moment: datetime) -> int:
    return int(moment.replace(microsecond=0).timestamp())


def text_reader(format: str | None, zone: tzinfo | None) -> TimeReader:
    """Give the reader of a text: ISO 8601, or a format of strptime(3).

    A format without a date, or without a year, gives the moment nearest to when the line was observed.
    """
    if format is None:

        def read_iso(value: Any, offset: int, observed: int) -> int | None:
            try:
                moment = datetime.fromisoformat(value)
            except (ValueError, TypeError):
                return None
            return _since_1970(moment, zone, observed)

        return read_iso

    fields = _fields_of(format)
    has_year = bool(fields & set("YyGcxs"))
    has_date = has_year or bool(fields & set("mbBdj"))
    pattern = format if has_year else f"%Y {format}"

    def parsed(value: str, near: datetime) -> datetime | None:
        try:
            moment = datetime.strptime(value if has_year else f"{near.year} {value}", pattern)
        except ValueError:
            return None  # the 29th of February, in another year than this
        return moment if has_date else moment.replace(year=near.year, month=near.month, day=near.day)

    step = timedelta(days=1) if not has_date else timedelta(days=365)

    def read(value: Any, offset: int, observed: int) -> int | None:
        if not isinstance(value, str):
            return None
        seen = datetime.fromtimestamp(observed // 10**9, UTC).astimezone(zone)
        around = (seen,) if has_year else (seen - step, seen, seen + step)
        found = [_since_1970(moment, zone, observed) for near in around if (moment := parsed(value, near)) is not None]
        times = [one for one in found if one is not None]
        return min(times, key=lambda one: abs(one - observed)) if times else None

    return read


def _fields_of(format: str) -> set[str]:
    """Give the letters of the fields in a format of strptime."""
    pieces = format.replace("%%", "").split("%")[1:]
    return {piece[0] for piece in pieces if piece}


def _nanoseconds(value: Any, scale: int) -> int | None:
    """Read a number, or a text that is one, without losing digits to binary fractions."""
    if value.__class__ is int:
        return int(value) * scale
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        exact = later("decimal", "Decimal")(str(value) if isinstance(value, float) else value)
        return int((exact * scale).to_integral_value()) if exact.is_finite() and abs(exact) < 10**20 else None
    except ArithmeticError:  # decimal.InvalidOperation
        return None


def time_reader(
    unit: str, clock: str, *, format: str | None = None, zone: tzinfo | None = UTC, distance: Distance | None = None
) -> tuple[TimeReader, Callable[[], int] | None]:
    """Give the function that turns a field's value into nanoseconds since 1970, and the one that gives its offset.

    The first gives None for what is not a time: missing, no number, negative, beyond the year 9999. A text of digits is a
    number too. The second is to be called once a batch; it is None where there is no offset.
    """
    if unit == "iso" or format is not None:
        return text_reader(format, zone), None
    scale = _NANOSECONDS[unit]
    if clock == "realtime":

        def read_wall(value: Any, offset: int, observed: int) -> int | None:
            nanoseconds = _nanoseconds(value, scale)
            return nanoseconds if nanoseconds is not None and 0 <= nanoseconds <= _LATEST else None

        return read_wall, None
    measured = distance or _distance.get()(clock)
    correction = measured.correction

    def read(value: Any, offset: int, observed: int) -> int | None:
        nanoseconds = _nanoseconds(value, scale)
        if nanoseconds is None or nanoseconds < 0:
            return None
        nanoseconds += offset + correction(nanoseconds)
        return nanoseconds if 0 <= nanoseconds <= _LATEST else None

    return read, measured
