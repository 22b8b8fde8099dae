"""The cases of the components, tests/cases/<sort>/<name>.yaml, and what comes of them as marble pictures.

A picture is made by running its case, so it shows what the component does: operators and parsers in the virtual time of
`tests:`, strategies at a boundary before a sink that is slow in virtual time, sinks with real children and files.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from loguru import logger

from docs._build.picture import Lane, Marble, Picture
from docs._build.slow_sink import Moment, play
from rx_collector.backpressure.spill import Spill
from rx_collector.event import Event
from rx_collector.ledger import PipelineReport
from rx_collector.pipeline.project import Project, load
from rx_collector.pipeline.rehearsal import BEGAN, Outcome, _Rehearsal
from rx_collector.pipeline.spec import PipelineSpec
from rx_collector.stream.operator import OPERATORS
from rx_collector.units import parse_duration

__all__ = ["CASES", "SORTS", "Case", "case_of"]

CASES: Final = Path(__file__).parent.parent.parent / "tests" / "cases"
#: What `list` calls them, and the directory of their cases.
SORTS: Final = {"operators": "operators", "formats": "parsers", "strategies": "strategies", "sinks": "sinks"}
_TOGETHER: Final = 52  # characters of fields that stand on one line where time does not matter
_SLOW: Final = re.compile(r"^# A sink that takes (\S+) an event gets (.*)\.$", re.MULTILINE)
_LEAVES: Final = re.compile(r"^# It leaves (?:nothing\.$|in (\S+):$|on standard output:$)((?:\n#   .*)*)", re.MULTILINE)
_CLOCK: Final = re.compile(r"^[0-9:.]+ (?=\S)", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """The case of one component. `about` is the sentence at its top, `text` the whole file, `yaml` what its box shows."""

    sort: str
    name: str
    path: Path

    @property
    def text(self) -> str:
        """The file as it is."""
        return self.path.read_text()

    @property
    def about(self) -> str:
        """What it is good for, in a sentence or two."""
        return self.text.partition("\n")[0].removeprefix("# ")

    @property
    def example(self) -> str:
        """The file without the comments at its top."""
        return re.sub(r"\A(#.*\n)+", "", self.text)

    @property
    def slow(self) -> tuple[float, str] | None:
        """How many seconds a sink takes for an event, and what it gets then; of a strategy alone."""
        found = _SLOW.search(self.text)
        return (parse_duration(found[1]), found[2]) if found else None

    @property
    def leaves(self) -> tuple[str, list[str]] | None:
        """The file that a sink leaves behind (empty: standard output), and its lines; of a sink alone."""
        found = _LEAVES.search(self.text)
        return (found[1] or "", [line[4:] for line in found[2].splitlines() if line]) if found else None

    def project(self) -> Project:
        """Give what the file describes. Raises ConfigError where it is wrong."""
        return load(self.path, {})

    def yaml(self, pipeline: str) -> tuple[str, ...]:
        """Give the lines of the part that the component is in."""
        key = "sinks" if self.sort in ("strategies", "sinks") else "operators"
        found = re.search(rf"^  {re.escape(pipeline)}:\n(?:    .*\n)*?    {key}:\n((?:      .*\n)+)", self.text, re.MULTILINE)
        assert found is not None, f"{self.path}: the pipeline {pipeline!r} has no {key}"
        lines = [line[6:] for line in found[1].splitlines()]
        if self.name != "parse" and len(lines) > 1:
            lines = [line for line in lines if line != "- parse: json"]
        return tuple(lines)

    def picture(self) -> Picture:
        """Run it, and give the picture of what came of it. Blocks while it runs; sinks start children."""
        return _PICTURES[self.sort](self)


def case_of(sort: str, name: str) -> Case:
    """Give the case of a component, whether it is there or not."""
    return Case(sort, name, CASES / SORTS[sort] / f"{name}.yaml")


# What is written on a marble


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _plain(payload: Any) -> Any:
    """Give a payload without events in it."""
    if isinstance(payload, list):
        return [_plain(one.data if isinstance(one, Event) else one) for one in payload]
    return payload


@dataclass(frozen=True)
class _Shown:
    """What is to be written of one event: its fields, or those of each member of a list."""

    at: float
    payload: Any
    event: Event

    @property
    def key(self) -> tuple[str, int, int]:
        """The line that it was made of."""
        return (self.event.runner, self.event.incarnation, self.event.line)


def _only(payload: Any, wanted: Any) -> Any:
    """Give the fields of a payload that a test names."""
    if isinstance(payload, list) and isinstance(wanted, list):
        return [_only(one, other) for one, other in zip(payload, wanted, strict=False)]
    if isinstance(payload, Mapping) and isinstance(wanted, Mapping):
        return {key: payload[key] for key in wanted if key in payload}
    return payload


class _Writer:
    """Writes marbles: without the name of the field where there is just one, on one line where time does not matter."""

    def __init__(self, lanes: Iterable[Sequence[_Shown]]) -> None:
        shown = [one for lane in lanes for one in lane]
        self._names = {key for one in shown for key in self._keys(one.payload)}
        self._timeless = len({one.at for one in shown}) < 2

    def _keys(self, payload: Any) -> Iterator[str]:
        if isinstance(payload, list):
            for one in payload:
                yield from self._keys(one)
        elif isinstance(payload, Mapping):
            yield from payload

    def lines(self, payload: Any) -> tuple[str, ...]:
        if isinstance(payload, list):
            return (f"[{', '.join(' '.join(self.lines(one)) for one in payload)}]",)
        if not isinstance(payload, Mapping):
            return (_value(payload),)
        if len(self._names) == 1 or set(payload) == {"message"}:
            return tuple(map(_value, payload.values()))
        fields = [f"{key}: {_value(value)}" for key, value in payload.items()]
        if not self._timeless:
            return tuple(fields) or ("{}",)
        lines: list[str] = []
        for one in fields:
            if lines and len(lines[-1]) + 2 + len(one) <= _TOGETHER:
                lines[-1] += f"  {one}"
            else:
                lines.append(one)
        return tuple(lines) or ("{}",)


class _Colors:
    """The colours of lines, in the order in which they came; what is not of a line that came has the next one."""

    def __init__(self, came: Iterable[_Shown]) -> None:
        self._numbers: dict[tuple[str, int, int], int] = {}
        for one in sorted(came, key=lambda one: one.at):
            self._numbers.setdefault(one.key, len(self._numbers))

    def of(self, one: _Shown) -> int:
        return self._numbers.setdefault(one.key, len(self._numbers))


def _counts(pipeline: PipelineReport) -> str:
    counts = {
        "in": pipeline.taken,
        "filtered": pipeline.filtered,
        "merged": pipeline.merged,
        "made": pipeline.made,
        "rejected": sum(pipeline.rejected.values()),
        "dropped": sum(pipeline.dropped.values()),
    }
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _members(one: _Shown) -> Iterator[tuple[str, int, int]]:
    data = one.event._data
    if isinstance(data, list):
        for member in data:
            if isinstance(member, Event):
                yield (member.runner, member.incarnation, member.line)
    yield one.key


# Operators and parsers


@contextmanager
def _logged(component: str, write: Callable[[str], None]) -> Iterator[None]:
    """Hand on what this operator itself logs."""
    module = OPERATORS[component].__module__ if component in OPERATORS else ""
    number = logger.add(lambda message: write(message.record["message"]), level="DEBUG", filter=module, format="{message}")
    if module:
        logger.enable(module)
    try:
        yield
    finally:
        logger.disable("rx_collector")
        logger.remove(number)


def _rehearsed(case: Case, project: Project) -> tuple[dict[str, list[_Shown]], Outcome, list[tuple[float, str]]]:
    """Play the first test, and give what each runner printed, what came of it, and what was logged when."""
    test = project.tests[0]
    read = [name for name in project.runners if test.given.get(name)]
    more = {_input(name): PipelineSpec(sources=(name,)) for name in read}
    rehearsal = _Rehearsal(replace(project, pipelines={**project.pipelines, **more}))
    said: list[tuple[float, str]] = []
    with _logged(case.name, lambda text: said.append(((rehearsal._clock.now - BEGAN).total_seconds(), text))):
        outcome = rehearsal.run(test.given)
    return {name: _shown(outcome, _input(name)) for name in read}, outcome, said


def _input(runner: str) -> str:
    return f"what {runner} prints"


def _shown(outcome: Outcome, pipeline: str) -> list[_Shown]:
    pairs = zip(outcome.times[pipeline], outcome.events[pipeline], strict=True)
    return [_Shown(round(at, 6), _plain(event.data), event) for at, event in pairs]


def _played(case: Case) -> Picture:
    project = case.project()
    came, outcome, said = _rehearsed(case, project)
    test = project.tests[0]
    out: dict[str, list[_Shown]] = {}
    for name, expectation in test.expect.events.items():
        wanted = [one.payload for one in expectation.events]
        given = _shown(outcome, name)
        out[name] = [
            replace(one, payload=_only(one.payload, payload)) for one, payload in zip(given, wanted, strict=True)
        ]
    main = next(iter(out))
    letters = [_letter(record) for _, record in outcome.dead_letters]
    counted = outcome.report.pipelines[main]
    merged = counted.merged > 0 and counted.made > 0  # what comes out is made of several, and none is gone
    writer = _Writer([*came.values(), *out.values()])
    colors = _Colors(one for lane in came.values() for one in lane)
    kept = {key for lane in [*out.values(), letters] for one in lane for key in _members(one)}
    joined = {one for one in project.pipelines[main].reads} - set(project.pipelines[main].sources)

    def gone(name: str, one: _Shown) -> bool:
        return not merged and name not in joined and bool(kept & set(map(_key, came[name]))) and one.key not in kept

    above = [
        Lane(name, tuple(Marble(one.at, writer.lines(one.payload), colors.of(one), gone(name, one)) for one in lane))
        for name, lane in came.items()
    ]
    below = [
        Lane(name, tuple(Marble(one.at, writer.lines(one.payload), colors.of(one)) for one in lane))
        for name, lane in out.items()
    ]
    if letters:
        # When a record came is not kept; it came when its event did.
        times = {one.key: one.at for lane in came.values() for one in lane}
        marbles = (Marble(times[one.key], one.payload, colors.of(one)) for one in letters)
        below.append(Lane("dead letter", tuple(marbles)))
    if said and not outcome.errors:
        below.append(Lane("log", tuple(Marble(at, (text,), number) for number, (at, text) in enumerate(said))))
    if outcome.errors:
        below[-1] = replace(below[-1], note=f"✗ {outcome.errors[0]}", failed=True)
    counts = _counts(outcome.report.pipelines[main])
    return Picture(_title(case), _description(above, below), tuple(above), case.yaml(main), tuple(below), counts)


def _key(one: _Shown) -> tuple[str, int, int]:
    return one.key


def _letter(record: Event) -> _Shown:
    data = record.data
    return _Shown(0.0, (f"reason: {data['reason']}", _value(data.get("raw", data.get("data")))), record)


def _title(case: Case) -> str:
    return f"{case.name}: {case.about}"


def _description(above: Sequence[Lane], below: Sequence[Lane]) -> str:
    """Tell the picture in words, for those who do not see it."""

    def told(lane: Lane) -> str:
        marbles = "; ".join(f"at {marble.at:g}s {' '.join(marble.lines)}" for marble in lane.marbles)
        return f"{lane.label}: {marbles or 'nothing'}{'; ' + lane.note if lane.note else ''}."

    return f"In comes {' '.join(map(told, above))} Out comes {' '.join(map(told, below))}"


# Strategies


def _slowed(case: Case) -> Picture:
    project = case.project()
    (main,) = project.pipelines
    came, outcome, _ = _rehearsed(case, project)
    ((runner, lane),) = came.items()
    (branch,) = project.pipelines[main].sinks
    slow = case.slow
    assert slow is not None, f"{case.path}: it does not say what a slow sink gets"
    strategy = branch.backpressure.strategy
    with tempfile.TemporaryDirectory() as directory:
        if isinstance(strategy, Spill):
            strategy = replace(strategy, path=os.path.join(directory, "waiting"))
        offered = [Moment(at, event) for at, event in zip(outcome.times[main], outcome.events[main], strict=True)]
        played = play(strategy, offered, slow[0])
    got = [_Shown(moment.at, moment.event.data, moment.event) for moment in played.delivered]
    writer, colors = _Writer([lane, got]), _Colors(lane)
    kept = {one.key for one in got}
    merged = played.node.made > 0

    def marbles(shown: Sequence[_Shown], *, lose: bool = False) -> tuple[Marble, ...]:
        return tuple(
            Marble(one.at, writer.lines(one.payload), colors.of(one), lose and not merged and one.key not in kept)
            for one in shown
        )

    above = [Lane(f"{runner} writes", marbles(lane, lose=True))]
    written = [_Shown(moment.at, moment.event.data, moment.event) for moment in played.taken]
    if [one.at for one in written] != [one.at for one in lane]:
        above = [Lane(f"{runner} wants to write", marbles(lane)), Lane("and can go on after", marbles(written))]
    note = f"✗ {played.error}" if played.error is not None else ""
    below = [Lane(f"what a sink gets that takes {slow[0]:g}s an event", marbles(got), note, bool(note))]
    node = played.node
    counts = {"in": node.taken, "merged": node.merged, "made": node.made} | dict(node.dropped)
    text = ", ".join(f"{count} {'dropped: ' if name in node.dropped else ''}{name}" for name, count in counts.items() if count)
    return Picture(_title(case), _description(above, below), tuple(above), case.yaml(main), tuple(below), text)


# Sinks


def run_sink(case: Case) -> list[str]:
    """Run the case of a sink as `run` does, in a directory of its own, and give the lines that it leaves behind."""
    leaves = case.leaves
    assert leaves is not None, f"{case.path}: it does not say what the sink leaves behind"
    file, _ = leaves
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "x.yaml").write_text(case.text)
        result = subprocess.run(
            [sys.executable, "-m", "rx_collector", "run", "x.yaml"],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert result.returncode == 0, result.stderr
        printed = Path(directory, file).read_text() if file else _CLOCK.sub("", result.stdout)
    return printed.splitlines()


def _ran(case: Case) -> Picture:
    project = case.project()
    main = next(iter(project.pipelines))
    _, outcome, _ = _rehearsed(case, project)
    lane = _shown(outcome, main)
    lines = run_sink(case)
    file = case.leaves[0] if case.leaves else ""
    writer, colors = _Writer([lane]), _Colors(lane)
    above = [Lane(main, tuple(Marble(0.0, writer.lines(one.payload), colors.of(one)) for one in lane))]
    texts = [event.json().decode() for event in outcome.events[main]]
    below = [
        Lane(
            file or ("standard output" if lines else "nothing"),
            tuple(
                Marble(0.0, (line,), texts.index(line) if line in texts else number) for number, line in enumerate(lines)
            ),
            "" if lines else "nothing is written; it is counted as delivered",
        )
    ]
    counts = f"{len(lane)} in, {outcome.report.pipelines[main].sinks[project.pipelines[main].sinks[0].name].delivered} delivered"
    return Picture(_title(case), _description(above, below), tuple(above), case.yaml(main), tuple(below), counts)


_PICTURES: Final[dict[str, Callable[[Case], Picture]]] = {
    "operators": _played,
    "formats": _played,
    "strategies": _slowed,
    "sinks": _ran,
}
