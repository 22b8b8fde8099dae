"""A segment: neighbouring stages compiled into one loop, and the observer that runs it.

The loop is ordinary Python. `Segment.source` is what `explain` prints. When a stage fails for an event, the traceback's
line number in that source tells which stage it was, so an event that goes well pays nothing for being watched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from time import perf_counter_ns, thread_time_ns
from types import CodeType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from rx_collector.clock import looked_at
from rx_collector.errors import ParseError
from rx_collector.event import Event, Lines, Origin, from_json, rejected
from rx_collector.frozen import frozen
from rx_collector.ledger import Node
from rx_collector.log import logger
from rx_collector.stream.code import PASSED, UNSPLICED, Kept, SegmentCode, State
from rx_collector.stream.edits import Edit, apply
from rx_collector.stream.flow import Absorber, Batch, BatchObserver, Context
from rx_collector.stream.operator import Operator, Stage
from rx_collector.stream.rejection import warn_once
from rx_collector.switches import is_on

if TYPE_CHECKING:
    from rx_collector.stream.meter import LoopMeter

__all__ = ["Compiled", "Segment", "SegmentObserver", "Step", "Taken", "compile_segment", "taken_of"]

#: What a loop is compiled for: lines, lines that still have their newline, some lines of a batch, events, or events that are
#: all JSON which nobody has decoded yet.
Taken: TypeAlias = Literal["lines", "ended", "numbered", "events", "encoded"]
#: That, and whether the loop ends in what follows the segment.
_Takes: TypeAlias = tuple[Taken, bool]
_JUDGED_BY: Final = 2_000  # lines, before it is judged by them how the following are read
#: Decoding a line of 250 bytes costs 0.6 us, the fields that a filter reads 0.23 us. So when more pass than these, all
#: are decoded at once; and when no more than those, no longer.
_MANY, _FEW = 0.7, 0.5
#: A look at the clock: what went by belongs to the stage that was on, and now the next one is.
_LOOK: Final = "now = tick(); spent[at] += now - then; then = now; at = {}"
#: What a stage has in its source that wants events to be counted.
_LINE: Final = re.compile(r"^[^#]*\bline\b")
_SEEN: Final = re.compile(r"^[^#]*\bseen\b")
_WARNINGS = {"time_unusable": "an event bears no usable time, the one at which it was read takes its place"}


@frozen
class Step:
    """An operator in its place: `label` as in the ledger (``operators[1] filter``), `place` in its file, if any."""

    operator: Operator
    label: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.label} ({self.place})" if self.place else self.label


#: The loops of a chain by where they begin and what they take. Chains of the same steps can share them.
Compiled: TypeAlias = "dict[tuple[int, _Takes], Segment]"
_Run: TypeAlias = Callable[[Any, Callable[[Exception, dict[str, Any]], bool]], tuple[list[Event], tuple[int, ...]]]


class Segment:
    """A compiled loop. ``run(batch, fail)`` gives the events that passed and the tuple of counts."""

    def __init__(
        self,
        steps: Sequence[Step],
        takes: Taken,
        source: str,
        stage_of_line: Sequence[int],
        counters: Sequence[tuple[int, str]],
        states: Sequence[State],
        code: SegmentCode,
    ) -> None:
        self.steps = tuple(steps)
        self.takes = takes
        self.source = source
        self.counters = tuple(counters)
        self.states = tuple(states)
        self._stage_of_line = self.stages_of_lines = tuple(stage_of_line)
        self._passing = code.passing if code.passing is None else code.passing + code.begins
        self.decodes_late = code.decodes_late
        self.read_ahead = code.read_ahead
        self.parts = tuple(code.parts)
        self._globals = code.names
        self._makers = code.makers
        self._compiled = compile(source, f"<segment: {', '.join(step.label for step in steps) or 'no stages'}>", "exec")
        self.run = self._loop(code.names)

    def _loop(self, names: dict[str, Any]) -> _Run:
        exec(self._compiled, names)
        return names["segment"]  # type: ignore[no-any-return]

    def renewed(self, kept: Kept) -> _Run:
        """Give the loop once more for another stream, with what `kept` has, and new state where it has none.

        This costs some microseconds, where compiling costs a thousand.
        """
        names = dict(self._globals)
        for name, (key, make) in self._makers.items():
            if key not in kept:
                kept[key] = make()
            names[name] = kept[key]
        return self._loop(names)

    def payload(self, values: dict[str, Any], payload: str, pending: Sequence[Edit]) -> Any:
        """Give the payload as a stage got it, from the local variables of the loop."""
        if pending:
            return apply(pending, self._globals["decode"](values["raw"]), values)
        return values["data"] if payload == "local" else values["event"].data

    def stage_of(self, error: BaseException) -> int:
        """Give the index of the stage in whose lines an error was raised."""
        return max(self._stage_of_line[self._line_of(error)], 0)

    def _line_of(self, error: BaseException) -> int:
        """Give the line of the source, from 0, in which an error was raised."""
        code: CodeType = self.run.__code__  # that of the renewed loops, too
        traceback = error.__traceback__
        while traceback is not None and traceback.tb_frame.f_code is not code:
            traceback = traceback.tb_next
        return 0 if traceback is None else traceback.tb_lineno - 1

    def had_passed(self, error: BaseException) -> bool:
        """Tell whether a stage failed for an event that it had counted as one which passes it."""
        if self._passing is None:
            return False
        line = self._line_of(error)
        return line > self._passing and self._stage_of_line[line] == self._stage_of_line[self._passing]


def compile_segment(
    steps: Sequence[Step],
    takes: Taken,
    kept: Kept | None = None,
    *,
    to_bytes: bool = False,
    selective: bool = True,
    spent: list[int] | None = None,
) -> Segment:
    """Compile the stages of some steps into one loop over batches of lines, `ended` ones or not, or of events.

    `kept` holds what the stages keep from event to event; the loops of one subscription share it. `to_bytes` says that
    what comes behind wants bytes more than fields, `selective` that many are expected to be lost: then what filters read
    is decoded ahead of the rest of a line, and those that pass are counted.
    With `spent` the loop adds to it the nanoseconds that each stage took.
    """
    source: Literal["lines", "events"] = "events" if takes in ("events", "encoded") else "lines"
    code = SegmentCode(
        source,
        kept,
        to_bytes=to_bytes,
        selective=selective,
        ended=takes == "ended",
        numbered=takes == "numbered",
        judged=takes != "events",
    )
    stages = [step.operator for step in steps]
    if takes == "encoded":
        code.stage = 0
        code.peek_into_events([stage for stage in stages if isinstance(stage, Stage)])
    for index, (step, stage) in enumerate(zip(steps, stages, strict=True)):
        if not isinstance(stage, Stage):
            raise TypeError(f"{step.label} is not a stage")
        code.begin(index)
        code.write(f"# {step}")
        if spent is not None and index:
            code.write(_LOOK.format(index))
        stage.emit(code, [following for following in stages[index + 1 :] if isinstance(following, Stage)])
    code.stage = len(steps)
    code.finish()

    head = ["def segment(batch, fail):", "    out = []", "    emit = out.append"]
    if spent is not None:
        code.names["tick"], code.names["spent"] = perf_counter_ns, spent
        head.append("    at, then = 0, tick()")
    if code.counters:
        head.append("    " + " = ".join(name for name, _, _ in code.counters) + " = 0")
    head += [f"    {line}" for line in code.prologue]
    if code.chosen:
        head += ["    origin = batch.origin", f"    for line, raw in {code.chosen}:"]
    elif takes == "numbered":
        head += ["    origin = batch.origin", "    for line, raw in zip(batch.numbers, batch.lines):"]
    elif source == "lines":
        counted = code.counted or any(_LINE.search(text) for text, _ in code.lines)
        head += ["    origin = batch.origin", f"    _rest = iter(batch.{takes})"]
        head += (
            ["    _left = _rest.__length_hint__", "    _end = batch.first + len(batch) - 1"] if code.asks_left else []
        )
        head += ["    line = batch.first - 1"] if counted else []
        head += ["    for raw in _rest:", *(["        line += 1"] if counted else [])]
    else:
        counted = code.counted or any(_SEEN.search(text) for text, _ in code.lines)
        head += ["    _rest = iter(batch)", *(["    seen = 0"] if counted else [])]
        head += ["    for event in _rest:", *(["        seen += 1"] if counted else [])]
    if spent is not None:
        head.append("        " + _LOOK.format(0))
    head.append("        try:")
    code.begins = len(head)
    tail = [
        "        except Exception as error:",
        "            if fail(error, locals()):",
        f"                return out, {code.counts()}",
        *(["    spent[at] += tick() - then"] if spent is not None else []),
        f"    return out, {code.counts()}",
    ]
    last = max(len(steps) - 1, 0)
    text = "\n".join([*head, *(line for line, _ in code.lines), *tail]) + "\n"
    stage_of_line = [0] * len(head) + [min(stage, last) for _, stage in code.lines] + [last] * len(tail)
    counters = [(stage, what) for _, stage, what in code.counters]
    return Segment(steps, takes, text, stage_of_line, counters, code.states, code)


class SegmentObserver:
    """Runs a segment on each batch, on the thread that brings it, and keeps the counts of its stages."""

    def __init__(
        self,
        steps: Sequence[Step],
        nodes: Sequence[Node],
        downstream: BatchObserver,
        context: Context,
        shared: tuple[Compiled, int] | None = None,
        *,
        to_bytes: bool = False,
    ) -> None:
        self._shared = shared
        self._absorber: Absorber | None = None
        self._absorbing: Stage | None = None
        if is_on("absorbing") and shared is None and isinstance(downstream, Absorber):
            self._absorbing = downstream.absorbing_stage()
            self._absorber = downstream if self._absorbing is not None else None
        self._to_bytes = to_bytes  # whether lines may be edited as bytes
        self._selective = True  # whether many are expected to be lost
        self._seen = self._passed = self._unspliced = 0
        self._judged_by = _JUDGED_BY
        self._late = 0  # events that the first filter counted as passing it, and failed for
        self._undone: dict[int, int] = {}  # parts that a stage made and nobody came to, when the stream failed
        self._steps = steps
        self._nodes = nodes
        self._downstream = downstream
        self._context = context
        self._segments: dict[_Takes, Segment] = {}
        self._loops: dict[_Takes, _Run] = {}
        self._meters: dict[_Takes, tuple[LoopMeter, Segment | None]] = {}
        self._kept: Kept = {}
        self._rejected = [0] * (len(steps) + 1)
        self._left = 0
        self._failure: Exception | None = None
        self._batch: Batch = []
        self._told: set[tuple[int, str]] = set()

    def on_batch(self, batch: Batch) -> None:
        if self._failure is not None:
            self._drop(len(batch))
            return
        if self._absorber is not None and self._absorber.begin_absorbing():
            self._absorb(batch, self._absorber)
            return
        if not self._steps:
            self._downstream.on_batch(batch.events() if isinstance(batch, Lines) else batch)
            return
        out = self._run(batch, (taken_of(batch), False))
        if isinstance(batch, Lines) and batch.repaired:
            _give_back_raw(out, batch.repaired)
        if isinstance(batch, Lines) and batch.broken:
            _put_on_one_line(out)
        if out:
            self._downstream.on_batch(out)
        # _fail may have set it during the run, which a type checker cannot see.
        if (failure := self._failure) is not None:
            self._downstream.on_error(failure)

    def _run(self, batch: Batch, takes: _Takes) -> list[Event]:
        segment = self._segments.get(takes)
        if segment is None:
            segment = self._compile(takes)
        self._batch, self._current = batch, segment
        self._unseen = 0
        if self._context.meter is None:
            out, counts = self._loops[takes](batch, self._fail)
        else:
            out, counts = self._metered(batch, takes)
        self._left = self._account(self._current, len(batch), counts)
        if takes[0] != "events":
            self._seen += len(batch)
            self._passed += self._left
            if self._seen >= self._judged_by:
                self._choose(segment)
        return out

    def _metered(self, batch: Batch, takes: _Takes) -> tuple[list[Event], tuple[int, ...]]:
        """Run the loop and take its time; every now and then the one that looks at the clock before each stage."""
        context = self._context
        assert context.meter is not None
        if takes not in self._meters:
            last = [self._absorber.node] if self._absorber is not None and takes[1] else []
            names = tuple(node.name for node in [*self._nodes, *last])
            meter = context.meter.loop((context.pipeline.name, names[0]), takes, names)
            # Loops that groups share are many and short: they have a time as a whole.
            clocked = None if self._shared is not None else self._compiled(takes, meter.spent)
            self._meters[takes] = meter, clocked
        meter, clocked = self._meters[takes]
        count = len(batch)
        if clocked is not None and meter.wants_clock():
            self._current, loop = clocked, clocked.run
        else:
            loop = self._loops[takes]
        wall, cpu = perf_counter_ns(), thread_time_ns()
        out, counts = loop(batch, self._fail)
        cpu, wall = thread_time_ns() - cpu, perf_counter_ns() - wall
        context.meter.passed(cpu, wall)
        if clocked is not None and self._current is clocked:
            entered = [count] * len(meter.labels)
            for (stage, what), gone in zip(clocked.counters, counts, strict=True):
                for later in range(stage + 1, len(entered)):
                    if what == PASSED:
                        entered[later] = gone
                    else:
                        entered[later] += gone if what == "made" else -gone if what in ("filtered", "merged") else 0
            meter.clocked(cpu, count, entered, context.meter.look)
        else:
            meter.took(cpu, count)
        return out, counts

    def _absorb(self, batch: Batch, absorber: Absorber) -> None:
        """Run the loop that ends in what follows: nothing is sent, for it has taken the events itself."""
        failed = 0
        try:
            self._run(batch, (taken_of(batch), True))
            failed, self._rejected[-1] = self._rejected[-1], 0
        finally:
            absorber.end_absorbing(self._left, failed)
        if (failure := self._failure) is not None:
            self._downstream.on_error(failure)

    def on_error(self, error: Exception) -> None:
        if self._failure is None:
            self._downstream.on_error(error)

    def on_completed(self) -> None:
        if self._failure is None:
            self._downstream.on_completed()

    def _choose(self, segment: Segment) -> None:
        """Choose the loop for the lines to come, by those that came: each way of it gives the same."""
        way = self._to_bytes, self._selective
        if self._to_bytes and self._unspliced * 2 > self._passed:
            self._to_bytes = False  # most of those that pass have to be decoded in spite of it
        elif segment.decodes_late or any(what == PASSED for _, what in segment.counters):
            self._selective = self._passed < self._seen * _MANY
        elif not self._selective:
            self._selective = self._passed < self._seen * _FEW
        self._seen = self._passed = self._unspliced = 0
        if way != (self._to_bytes, self._selective):
            for takes in [takes for takes in self._segments if takes[0] != "events"]:
                del self._segments[takes]
                self._meters.pop(takes, None)
            self._judged_by *= 2  # else one that comes now so and now so would be compiled again and again

    def _compile(self, takes: _Takes) -> Segment:
        compiled, row = self._shared if self._shared is not None else ({}, 0)
        segment = compiled.get((row, takes))
        if segment is None:
            look = self._context.look
            with looked_at(look) if look is not None else nullcontext():
                segment = self._compiled(takes)
            compiled[row, takes] = segment
            self._loops[takes] = segment.run
        else:
            self._loops[takes] = segment.renewed(self._kept)
        self._segments[takes] = segment
        return segment

    def _compiled(self, takes: _Takes, spent: list[int] | None = None) -> Segment:
        taken, absorbed = takes
        if not absorbed:
            return compile_segment(
                self._steps, taken, self._kept, to_bytes=self._to_bytes, selective=self._selective, spent=spent
            )
        absorber = self._absorber
        assert absorber is not None
        assert self._absorbing is not None
        last = Step(self._absorbing, absorber.node.name, absorber.node.place)
        return compile_segment([*self._steps, last], taken, self._kept, selective=self._selective, spent=spent)

    def _drop(self, count: int) -> None:
        node = self._nodes[0]
        with self._context.ledger.lock:
            node.taken += count
            node.dropped["stream failed"] += count

    def _account(self, segment: Segment, taken: int, counts: tuple[int, ...]) -> int:
        """Count what became of a batch at each stage. Gives how many events are left behind the last."""
        nodes, rejections = self._nodes, self._rejected
        noted: list[tuple[int, str]] = []
        passed: tuple[int, int] | None = None
        with self._context.ledger.lock:
            if self._unseen and nodes:
                nodes[0].dropped["stream failed"] += self._unseen
            for (stage, what), count in zip(segment.counters, counts, strict=True):
                if what == PASSED:
                    passed = stage, count
                elif count and what == UNSPLICED:
                    self._unspliced += count
                elif count:
                    node = nodes[stage]
                    if what == "filtered":
                        node.filtered += count
                    elif what == "made":
                        node.made += count
                    elif what == "merged":
                        node.merged += count
                    else:
                        node.notes[what] += count
                        noted.append((stage, what))
            for stage, node in enumerate(nodes):
                node.taken += taken
                if passed is not None and passed[0] == stage:
                    came = taken - (0 if stage else self._unseen) - (rejections[stage] - self._late)
                    node.filtered += came - passed[1]
                    self._late = 0
                if rejections[stage]:
                    node.rejected += rejections[stage]
                    rejections[stage] = 0
                if stage in self._undone:
                    node.dropped["stream failed"] += self._undone.pop(stage)
                # What is not lost here, and not held (by workers, of the first), is what the next stage takes in.
                gone = node.filtered + node.rejected + node.merged + node.dropped.total() + node.held()
                out = node.taken + node.made - gone
                taken = out - node.out
                node.out = out
        for stage, what in noted:
            self.warn_of_note(stage, what)
        return taken

    def warn_of_note(self, stage: int, what: str) -> None:
        """Log once that something happened at a stage that is noted there, where it is worth it."""
        if what in _WARNINGS and (stage, what) not in self._told:
            self._told.add((stage, what))
            name, step = self._context.pipeline.name, self._steps[stage]
            logger.warning("{}, {}: {} (more like this are counted, not logged)", name, step, _WARNINGS[what])

    def warn_of_rejection(self, record: Event, stage: int) -> None:
        """Log the first rejection at a stage."""
        warn_once(record, self._node_of(stage), self._context)

    def _node_of(self, stage: int) -> Node:
        return self._absorber.node if self._absorber is not None and stage == len(self._nodes) else self._nodes[stage]

    def _fail(self, error: Exception, values: dict[str, Any]) -> bool:
        """Take account of an event for which a stage failed. True ends the batch (``on_error: fail``)."""
        batch, segment = self._batch, self._current
        index = segment.stage_of(error)
        step = segment.steps[index]
        stage = step.operator
        assert isinstance(stage, Stage)
        self._rejected[index] += 1
        self._late += segment.had_passed(error)
        error.__traceback__ = None  # it holds this frame, and so the whole batch
        record = _record(error, values, step, segment, index, batch)
        self.warn_of_rejection(record, index)
        if stage.on_error == "dead_letter":
            self._context.reject(record)
        elif stage.on_error == "fail":
            self._unseen = len(batch) - _seen(batch, values)
            for maker, parts in segment.parts:
                if parts in values:
                    self._undone[maker] = self._undone.get(maker, 0) + values[parts].__length_hint__()
            self._failure = ParseError(
                f"{self._context.pipeline.name}, {step}: {record.data['error']} (line {record.line} of {record.runner})"
            )
            return True
        return False


def _seen(batch: Batch, values: dict[str, Any]) -> int:
    """Give how many of a batch have come, by the local variables of a loop over it."""
    if "_rest" in values:
        return len(batch) - values["_rest"].__length_hint__()  # type: ignore[no-any-return]
    assert isinstance(batch, Lines)
    return batch.index(values["line"]) + 1


def taken_of(batch: Batch) -> Taken:
    """Give what a loop for this batch is compiled for."""
    if not isinstance(batch, Lines):
        for event in batch:
            if event._data is not from_json:
                return "events"
        return "encoded"
    if batch.numbers is not None:
        return "numbered"
    return "lines" if batch.ended is None else "ended"


def _record(error: Exception, values: dict[str, Any], step: Step, segment: Segment, index: int, batch: Batch) -> Event:
    """Make the dead letter of an event from the local variables of the loop: the event as the stage got it."""
    envelope, payload, pristine, pending, has_time = segment.states[index]
    origin: Origin
    if envelope == "lines":
        assert isinstance(batch, Lines)
        origin, raw, part = batch.origin, values["raw"], ""
        line = batch.first + _seen(batch, values) - 1 if "_rest" in values else values["line"]
        if segment.takes == "ended":
            raw = raw[:-1]
        if batch.repaired:
            raw = batch.repaired.get(line, raw)
    else:
        event: Event = values["event"]
        origin, line, raw, part = event.origin, event.line, event.raw, event.part
    if not pristine:
        raw = None
    message = str(error) or type(error).__name__
    if not isinstance(error, ParseError):
        message = f"{type(error).__name__}: {message}"
    return rejected(
        origin=origin,
        line=line,
        part=part,
        raw=raw,
        data=None if raw is not None else segment.payload(values, payload, pending),
        operator=step.label,
        reason=step.operator.name,
        error=message,
        place=step.place,
        time_ns=values["time_ns"] if has_time else None if envelope == "lines" else values["event"]._time_ns,
    )


def _give_back_raw(events: list[Event], repaired: dict[int, bytes]) -> None:
    """Put the bytes as they came into events whose line had to be repaired."""
    for event in events:
        if event.raw is not None and event.line in repaired:
            event.raw = repaired[event.line]


def _put_on_one_line(events: list[Event]) -> None:
    """Keep what has newlines in it from being written as it came: a line of output is a line."""
    for event in events:
        if event.encoded is not None and b"\n" in event.encoded:
            event.data  # noqa: B018 - it may have to be decoded from what is taken away here
            event.encoded = None
