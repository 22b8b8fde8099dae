"""The clock that moves only when it is told to."""

from __future__ import annotations

from datetime import datetime, timedelta

from rx_collector.stream.virtual_time import VirtualTime

BEGAN = datetime(2026, 1, 1)


def test_it_stops_at_the_moment_it_is_told_though_something_before_it_was_cancelled() -> None:
    clock = VirtualTime(BEGAN)
    seen: list[str] = []
    clock.schedule_relative(1.0, lambda *_: seen.append("cancelled")).dispose()
    clock.schedule_relative(3.0, lambda *_: seen.append("later"))
    clock.advance_to(BEGAN + timedelta(seconds=2))
    assert (seen, clock.now) == ([], BEGAN + timedelta(seconds=2))
    assert clock.next_due() == BEGAN + timedelta(seconds=3)
    assert clock.run_next()
    assert (seen, clock.now, clock.next_due()) == (["later"], BEGAN + timedelta(seconds=3), None)
    assert not clock.run_next()
