"""The chart and the table of the README, from what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.chart import chart

__all__ = ["CHART", "README", "between", "update"]

_ROOT = Path(__file__).parent.parent
README = _ROOT / "README.md"
CHART = _ROOT / "docs" / "speed.svg"
BEGIN, END = "<!-- speed: written by `tox -e bench -- --readme` -->", "<!-- speed: end -->"
_TYPED, _OURS = "by hand, typed Struct", "rx_collector"
_LOOKED_AT = ("J1", "J2", "J3", "keep 1 %")


@dataclass(frozen=True)
class _Goal:
    """A figure that is aimed at: `at_least` and `aim` are the most that it may be. `obstacle` is what keeps it from there."""

    what: str
    unit: str
    decimals: int
    at_least: float
    aim: float
    measured: Callable[[Mapping[str, Any]], float | None]
    obstacle: str = ""
    needs: str = "this part was not run"


def _ratio(job: str) -> Callable[[Mapping[str, Any]], float | None]:
    def measured(parts: Mapping[str, Any]) -> float | None:
        results = parts.get("jobs", {}).get("results", {}).get(job)
        return None if results is None else results[_OURS]["cpu_ratio"]

    return measured


def _value(part: str, key: str, *names: str) -> Callable[[Mapping[str, Any]], float | None]:
    """Give what finds the largest of some values of a part."""

    def measured(parts: Mapping[str, Any]) -> float | None:
        results = parts.get(part, {}).get("results", {})
        values = [results[name][key] for name in names if name in results]
        return max(values, default=None)

    return measured


def _memory(parts: Mapping[str, Any]) -> float | None:
    results = parts.get("jobs", {}).get("results", {})
    return max((contenders[_OURS]["memory_mb"] for contenders in results.values()), default=None)


def _against(tool: str, job: str) -> Callable[[Mapping[str, Any]], float | None]:
    def measured(parts: Mapping[str, Any]) -> float | None:
        results = parts.get("jobs", {}).get("results", {}).get(job, {})
        return results[_OURS]["cpu_us"] / results[tool]["cpu_us"] if tool in results else None

    return measured


_GOALS = [
    _Goal(
        "J1: parse, keep 30 %, add, rename and drop a field, write",
        "of the typed loop",
        2,
        1.0,
        0.7,
        _ratio("J1"),
        "of each event reading and framing take 0.2 to 0.25 µs, the check of its line with the field that is looked at 0.2 to "
        "0.25 µs; of one that passes the match of its layout takes 0.35 µs, and joining its pieces and making the event 0.4 µs; "
        "starting takes 0.11 s",
    ),
    _Goal(
        "J2: parse, add a field, write all",
        "of the typed loop",
        2,
        0.6,
        0.45,
        _ratio("J2"),
        "of each event reading and framing take 0.2 to 0.3 µs, the check of its line 0.2 µs, splicing it into an event 0.3 µs, the "
        "boundary and writing 0.2 µs; starting takes 0.11 s",
    ),
    _Goal(
        "J3: count by a key",
        "of the typed loop",
        2,
        1.0,
        0.7,
        _ratio("J3"),
        "of each event reading and framing take 0.2 to 0.25 µs, the check of its line with the key 0.2 to 0.25 µs, the window 0.2 to "
        "0.3 µs; starting takes 0.11 s",
    ),
    _Goal(
        "a filter that keeps 1 %",
        "of the typed loop",
        2,
        0.8,
        0.3,
        _ratio("keep 1 %"),
        "of each event reading and framing take 0.2 µs and the check of its line with the field 0.2 µs, also of those that do not "
        "pass (where a text is compared, `check: touched` leaves the check out: 0.2 to 0.35 µs an event in all); starting takes 0.11 s",
    ),
    *(
        _Goal(
            f"{job}, beside Fluent Bit",
            "of its CPU time",
            2,
            0.2 if job != "J3" else 0.4,
            0.1,
            _against("fluent-bit", job),
            needs="it was not on this machine",
        )
        for job in ("J1", "J2", "J3")
    ),
    _Goal(
        "one more fused `set` or `filter`",
        "ns an event",
        0,
        80,
        40,
        _value("stage", "ns", "set to a constant", "set from a field", "filter"),
        "that is a `set` whose value is made from a field: adding takes 20 ns and storing it in the dict 26; to a constant, and a "
        "`filter`, it is within 40 ns",
    ),
    _Goal(
        "boundary + sink",
        "ns an event",
        0,
        200,
        100,
        _value("boundary", "ns", "boundary + file sink"),
        "60 ns of it are the kernel's copy of the line into the file, 25 the gathering and joining of lines before it, 35 the boundary "
        "and the account of what is pending, so that what a failure leaves is known event by event",
    ),
    _Goal(
        "peak memory of any of these jobs",
        "MB",
        0,
        60,
        40,
        _memory,
        "22 MB are there before the first event: the interpreter with its libraries",
    ),
    _Goal(
        "`rx-collector run` to the first event",
        "ms",
        0,
        250,
        150,
        _value("start", "wall_ms", _OURS),
        "the interpreter imports some 260 modules",
    ),
    _Goal(
        "a child's write to the file at 1,000 events/s, p99",
        "ms",
        2,
        1.0,
        1.0,
        _value("latency", "p99_ms", _OURS),
        "a child, a reader and a writer share two processors, also with what else runs on the machine",
    ),
    _Goal("idle", "% of a processor", 3, 0.1, 0.1, _value("idle", "cpu_percent", _OURS)),
]


def between(text: str, new: str) -> str:
    """Put a text between the two markers. Raises ValueError when they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the markers {BEGIN!r} and {END!r} are missing")
    return f"{before}{BEGIN}\n{new}\n{END}{after}"


def update(found: Mapping[str, Any], readme: Path = README, picture: Path = CHART) -> None:
    """Write the chart, and rewrite the README between its markers."""
    readme.write_text(between(readme.read_text(), "\n".join(text(found))))
    picture.write_text(chart(found))


def text(found: Mapping[str, Any]) -> Iterator[str]:
    """Give what stands between the markers."""
    machine, parts = found["machine"], found["parts"]
    yield (
        f"Measured on {found['date']} on a machine with {machine['processors']} processors ({machine['model']}; load "
        f"{machine['load_before']} at the beginning, {machine['load_after']} at the end), with Python {machine['python']}: CPU "
        "time with all children, the contenders in turns, medians and ratios of pairs. What stands in the way was found with "
        "`explain --analyze`, once, and is not measured again with the rest."
    )
    if "jobs" in parts:
        yield ""
        yield "![CPU time for each event, beside loops written by hand](docs/speed.svg)"
        yield ""
        yield from _contenders(parts["jobs"])
        yield ""
        yield _beside_tuned(parts["jobs"]["results"])
    if "compression" in parts:
        ours = parts["compression"]["results"][_OURS]
        yield ""
        yield (
            f"J2 into a gzip file, which another thread compresses: {ours['cpu_us']:.2f} µs of CPU an event, {ours['cpu_ratio']:.2f} "
            f"of what the typed loop takes with a gzip file, and {ours['wall_ratio']:.2f} of its wall time."
        )
    if "steady" in parts:
        measured = parts["steady"]
        ours = measured["results"][_OURS]
        yield ""
        yield (
            f"{measured['per_second']:,} lines a second that a child writes one by one: {ours['cpu_percent']:.1f} % of a processor, "
            f"where a loop that takes each line takes {measured['results']['by hand, a line at a time']['cpu_percent']:.1f} %; they "
            f"are in the file after {ours['p50_ms']:.1f} ms (median) and {ours['p99_ms']:.1f} ms (p99), some of them at once."
        )
    yield ""
    yield from _goals(parts)


def _contenders(measured: Mapping[str, Any]) -> Iterator[str]:
    results = {job: measured["results"][job] for job in _LOOKED_AT if job in measured["results"]}
    names = list(dict.fromkeys(name for contenders in results.values() for name in contenders))
    yield f"| CPU µs an event, {measured['lines']:,} lines of 250 bytes | {' | '.join(results)} | peak MB |"
    yield f"| --- |{' ---: |' * (len(results) + 1)}"
    for name in names:
        cells = [f"{contenders[name]['cpu_us']:.2f}" if name in contenders else "–" for contenders in results.values()]
        memory = max(contenders[name]["memory_mb"] for contenders in results.values() if name in contenders)
        shown = f"**{name}**" if name == _OURS else name
        yield f"| {shown} | {' | '.join(cells)} | {memory:.0f} |"


def _beside_tuned(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    shares = [
        f"{contenders['by hand, tuned']['cpu_us'] / contenders[_OURS]['cpu_us']:.2f} ({job})"
        for job, contenders in results.items()
    ]
    return (
        f"The goals below are by the loop with a typed Struct. The tuned one takes {', '.join(shares)} of what rx_collector takes: "
        "without a ledger, backpressure or restarts, and for these fields alone."
    )


def _goals(parts: Mapping[str, Any]) -> Iterator[str]:
    yield "| goal | at most | aim | measured | |"
    yield "| --- | ---: | ---: | ---: | --- |"
    for goal in _GOALS:
        value = goal.measured(parts)
        if value is None:
            yield f"| {goal.what} ({goal.unit}) | {goal.at_least:g} | {goal.aim:g} | – | not measured: {goal.needs} |"
            continue
        shown = f"{value:.{goal.decimals}f}"
        if float(shown) <= goal.aim:
            verdict = "reached"
        elif float(shown) <= goal.at_least:
            verdict = "reached, the aim is not" + (f": {goal.obstacle}" if goal.obstacle else "")
        else:
            verdict = "**not reached**" + (f": {goal.obstacle}" if goal.obstacle else "")
        yield f"| {goal.what} ({goal.unit}) | {goal.at_least:g} | {goal.aim:g} | {shown} | {verdict} |"
