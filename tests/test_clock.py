"""Clocks: boot and monotonic time through suspends and steps of the wall clock, zones, and texts without a date."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from rx_collector.clock import Distance, time_reader, zone_named

SECOND = 10**9
START = 1_700_000_000 * SECOND


class Machine:
    """A machine whose clocks are set by hand."""

    def __init__(self) -> None:
        self.wall, self.boot, self.monotonic = START, 500 * SECOND, 500 * SECOND

    def run(self, seconds: float) -> None:
        for clock in ("wall", "boot", "monotonic"):
            setattr(self, clock, getattr(self, clock) + round(seconds * SECOND))

    def suspend(self, seconds: float) -> None:
        for clock in ("wall", "boot"):
            setattr(self, clock, getattr(self, clock) + round(seconds * SECOND))

    def distance(self, clock: str) -> Distance:
        return Distance(clock, wall=lambda: self.wall, boot=lambda: self.boot, monotonic=lambda: self.monotonic)


def reader(machine: Machine, clock: str) -> Any:
    read, measure = time_reader("ns", clock, distance=machine.distance(clock))
    assert measure is not None
    return lambda value: read(value, measure(), 0)


def test_monotonic_times_from_before_a_suspend_are_told_right_after_it() -> None:
    machine = Machine()
    read = reader(machine, "monotonic")
    assert read(machine.monotonic) == machine.wall
    happened, then = machine.monotonic, machine.wall
    machine.run(1)
    assert read(happened) == then
    machine.suspend(3600)
    machine.run(5)
    assert read(happened) == then
    assert read(machine.monotonic) == machine.wall
    machine.suspend(60)
    machine.run(5)
    assert (read(happened), read(machine.monotonic)) == (then, machine.wall)


def test_boot_times_need_no_correction_for_a_suspend() -> None:
    machine = Machine()
    read = reader(machine, "boot")
    happened, then = machine.boot, machine.wall
    assert read(happened) == then
    machine.suspend(3600)
    machine.run(1)
    assert (read(happened), read(machine.boot)) == (then, machine.wall)


@pytest.mark.parametrize("clock", ["boot", "monotonic"])
def test_a_step_of_the_wall_clock_counts_from_the_next_measurement(clock: str) -> None:
    machine = Machine()
    read = reader(machine, clock)
    assert read(getattr(machine, clock)) == machine.wall
    machine.wall += 10 * SECOND
    assert read(getattr(machine, clock)) == machine.wall


def test_noise_between_two_measurements_does_not_reorder_events() -> None:
    machine = Machine()
    distance = machine.distance("boot")
    first = distance()
    machine.wall += 500
    assert distance() == first


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * SECOND


@pytest.mark.parametrize(
    ("text", "options", "observed", "expected"),
    [
        ("2026-01-02 03:04:05", {"unit": "iso"}, "2026-01-02T00:00:00Z", "2026-01-02T03:04:05Z"),
        (
            "2026-01-02 03:04:05",
            {"unit": "iso", "zone": "Europe/Berlin"},
            "2026-01-02T00:00:00Z",
            "2026-01-02T02:04:05Z",
        ),
        (
            "2026-01-02T03:04:05+05:00",
            {"unit": "iso", "zone": "Europe/Berlin"},
            "2026-01-02T00:00:00Z",
            "2026-01-01T22:04:05Z",
        ),
        # The clocks are set back at 01:00 UTC: the hour from two to three comes twice.
        (
            "2026-10-25 02:30:00",
            {"unit": "iso", "zone": "Europe/Berlin"},
            "2026-10-25T00:30:10Z",
            "2026-10-25T00:30:00Z",
        ),
        (
            "2026-10-25 02:30:00",
            {"unit": "iso", "zone": "Europe/Berlin"},
            "2026-10-25T01:30:10Z",
            "2026-10-25T01:30:00Z",
        ),
        (
            "10/Oct/2025:13:55:36 -0700",
            {"format": "%d/%b/%Y:%H:%M:%S %z"},
            "2026-01-01T00:00:00Z",
            "2025-10-10T20:55:36Z",
        ),
        ("Jan  1 00:00:05", {"format": "%b %d %H:%M:%S"}, "2025-12-31T23:59:59Z", "2026-01-01T00:00:05Z"),
        ("Dec 31 23:59:58", {"format": "%b %d %H:%M:%S"}, "2026-01-01T00:00:05Z", "2025-12-31T23:59:58Z"),
        ("23:59:58", {"format": "%H:%M:%S"}, "2026-03-01T00:00:05Z", "2026-02-28T23:59:58Z"),
        ("00:00:01", {"format": "%H:%M:%S", "zone": "Europe/Berlin"}, "2026-03-01T22:59:59Z", "2026-03-01T23:00:01Z"),
    ],
)
def test_a_text_becomes_a_time(text: str, options: dict[str, Any], observed: str, expected: str) -> None:
    zone = zone_named(options.pop("zone", "UTC"))
    read, offset = time_reader(options.pop("unit", "s"), "realtime", zone=zone, **options)
    assert offset is None
    assert read(text, 0, at(observed)) == at(expected)


def test_the_local_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        read, _ = time_reader("iso", "realtime", zone=zone_named("local"))
        assert read("2026-01-02 09:00:00", 0, 0) == at("2026-01-02T00:00:00Z")
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["Feb 30 00:00:00", "", "Feb 29 00:00:00 x", 7, None])
def test_what_is_no_time_is_none(text: Any) -> None:
    read, _ = time_reader("s", "realtime", format="%b %d %H:%M:%S")
    assert read(text, 0, START) is None


def test_the_29th_of_february_without_a_year() -> None:
    read, _ = time_reader("s", "realtime", format="%b %d %H:%M:%S")
    assert read("Feb 29 12:00:00", 0, at("2025-01-01T00:00:00Z")) == at("2024-02-29T12:00:00Z")


@pytest.mark.parametrize(
    ("value", "unit", "nanoseconds"),
    [
        ("1700000000.1234541", "s", 1_700_000_000_123_454_100),
        (1700000000.5, "s", 1_700_000_000_500_000_000),
        ("0x10", "s", None),
        ("nan", "s", None),
        ("1e400", "s", None),
        (True, "s", None),
        (-1, "s", None),
        (10**30, "ns", None),
    ],
)
def test_numbers_keep_their_digits(value: Any, unit: str, nanoseconds: int | None) -> None:
    read, _ = time_reader(unit, "realtime")
    assert read(value, 0, 0) == nanoseconds


def test_unknown_zone() -> None:
    with pytest.raises(ValueError, match="unknown time zone 'Europe/Berlim'"):
        zone_named("Europe/Berlim")
    assert zone_named("utc") is UTC
