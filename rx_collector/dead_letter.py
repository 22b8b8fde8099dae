"""Dead letters: the record of an event that could not be taken, and the event made of its record again.

A record says why (``reason``, ``operator``, ``error``, ``place``), where the event came from (``id``, ``runner``,
``incarnation``, ``line``, ``pid``, ``observed_time``, ``time``), and what it was: ``raw``, or ``raw_base64`` where the
bytes are not text, or ``data``, its payload, where that had been changed. A sink's record has both.
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rx_collector.event import Event, Origin, from_message, rejected

__all__ = ["dead_letter", "members", "restore"]


def members(event: Event) -> Iterator[Event]:
    """Give the events of a buffer, and of buffers in it; else the event itself."""
    data = event._data
    if data.__class__ is list and data and all(isinstance(member, Event) for member in data):
        for member in data:
            yield from members(member)
    else:
        yield event


def dead_letter(event: Event, *, operator: str, reason: str, error: str, place: str = "") -> Event:
    """Make the record of a whole event: one that a sink did not take, say. It has the payload as the sink was to get it."""
    record = rejected(
        origin=event.origin,
        line=event.line,
        part=event.part,
        raw=event.raw,
        data=None,
        operator=operator,
        reason=reason,
        error=error,
        place=place,
        time_ns=event._time_ns,
    )
    if event._data is not from_message:
        record.data["data"] = event.data
    return record


def restore(record: Any) -> Event:
    """Make the event again that a record tells of, with its own id and provenance.

    Its payload is the record's ``data``, else the line in ``message``. Raises ValueError for what is no such record.
    """
    if not isinstance(record, Mapping):
        raise ValueError("a dead letter is an object")
    raw = _raw(record)
    if raw is None and "data" not in record:
        raise ValueError("the record has neither 'raw', 'raw_base64' nor 'data'")
    runner, incarnation, line, pid = (record.get(name) for name in ("runner", "incarnation", "line", "pid"))
    if not isinstance(runner, str) or not isinstance(incarnation, int) or not isinstance(line, int):
        raise ValueError("the record does not say where the event came from: runner, incarnation, line")
    run, kind, part = _parts(str(record.get("id", "")), f"/{runner}/{incarnation}/", line)
    observed = _nanoseconds(record.get("observed_time"))
    if observed is None:
        raise ValueError("the record has no 'observed_time'")
    origin = Origin(run, runner, incarnation, pid if isinstance(pid, int) else None, observed, kind)
    data = record.get("data", from_message)
    return Event(data, raw, origin, line, None, _nanoseconds(record.get("time")), part)


def _raw(record: Mapping[str, Any]) -> bytes | None:
    if isinstance(text := record.get("raw"), str):
        return text.encode("utf-8", "surrogatepass")
    if isinstance(encoded := record.get("raw_base64"), str):
        return a2b_base64(encoded, strict_mode=True)
    return None


def _parts(identity: str, middle: str, line: int) -> tuple[str, str, str]:
    """Take an id apart: the run, the type of the event, and what of its line it is."""
    run, found, rest = identity.partition(middle)
    kind, dash, number = rest.rpartition("-") if not rest.split(".")[0].isdigit() else ("", "", rest)
    head, _, part = number.partition(".")
    if not found or head != str(line):
        raise ValueError(f"the id {identity!r} does not fit the rest of the record")
    return run, kind if dash else "line", part


def _nanoseconds(text: Any) -> int | None:
    """Read what `rx_collector.event.format_time` writes, to the nanosecond."""
    if not isinstance(text, str) or not text.endswith("Z"):
        return None
    seconds, _, fraction = text[:-1].partition(".")
    moment = int(datetime.fromisoformat(f"{seconds}+00:00").timestamp())
    return moment * 10**9 + int(fraction.ljust(9, "0")[:9] or 0)
