"""Why a file is compiled as it is: what is read, and why something is not fused, not projected or not edited as bytes.

What was decided is asked of who decides: of the loop as it was compiled, of `plan`, of the window. A reason is found by
leaving stages out until it is decided otherwise, so none is given that does not hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any, Final

from rx_collector.config.options import described
from rx_collector.expressions import Expression
from rx_collector.expressions.option import fields_read
from rx_collector.operators.parse import Parse
from rx_collector.operators.window import Grouping
from rx_collector.stream.chain import shared_by
from rx_collector.stream.code import UNSPLICED, SegmentCode
from rx_collector.stream.edits import Edit, is_plain, plan
from rx_collector.stream.operator import Operator, Stage
from rx_collector.stream.segment import Segment, Step
from rx_collector.stream.sharing import Share, why_not_by_key
from rx_collector.stream.workers import FEW
from rx_collector.switches import is_on

__all__ = ["TakenIn", "not_absorbed", "not_fused", "of_grouping", "of_row", "of_stage", "of_workers"]

#: What those do that keep nothing between batches.
_APART: Final = {
    "merge": "other streams come in here",
    "limit": "it ends the stream, and stops what it comes from",
    "route": "each event goes on by one of several ways",
}
_DECODES: Final = re.compile(r"\bdata = decode\w*\(raw\)")


def not_fused(operator: Operator) -> str:
    """Say why an operator that is no stage stands between loops."""
    if operator.name in _APART:
        return _APART[operator.name]
    return "it keeps events between batches, or sends them at a time of its own"


@described
class TakenIn(Stage):
    """Stands for a window at the end of the loop before it, as far as it decides what is decoded there."""

    absorbs = True

    grouping: Grouping

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the operator."""
        return self.grouping.name

    def values(self) -> list[Any]:
        """Give the keys and what is aggregated."""
        arguments = [one.argument for one in self.grouping.aggregates().values() if one.argument is not None]
        return [*self.grouping.group_by().values(), *arguments]

    def needs(self) -> frozenset[str] | None:
        return fields_read(*self.values())

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        for evaluation in self.values():
            code.write(code.value(evaluation))
        code.absorbed = True


def not_absorbed(step: Step, *, in_group: bool = False, behind_workers: bool = False) -> str:
    """Say why a window takes no events in within the loop before it; empty where it does, or is none."""
    operator = step.operator
    if not isinstance(operator, Grouping):
        return ""
    if not is_on("absorbing"):
        return "RX_COLLECTOR_WITHOUT turns absorbing off"
    if in_group:
        return "the groups share their loops"
    if behind_workers:
        return "other processes run that"
    return operator.apart()


def of_grouping(grouping: Grouping) -> str:
    """Say what a window reads of each event."""
    needed = TakenIn(grouping).needs()
    if needed is None:
        return "reads more than fields"
    return f"reads {', '.join(sorted(needed))}" if needed else "reads no field"


def of_workers(steps: Sequence[Step], workers: int, *, measured: bool) -> Iterator[str]:
    """Say what several processes share and what not, and what it costs."""
    share = shared_by(steps, workers)
    if not is_on("workers"):
        yield "no workers: RX_COLLECTOR_WITHOUT turns them off"
        return
    if measured:
        yield f"no workers: what is measured is done in this process, not in {workers}"
        return
    if share is None:  # a file with such a number of workers is not even loaded
        return
    last = steps[share.count - 1].label
    what = f"{steps[0].label} to {last}" if share.count > 1 else last
    head = f"{workers} workers, processes of 15 MB each, share {what}"
    back = (
        "and 0.15 us (a line as it was), 0.3 us (edited on its bytes) or 0.6 us (made anew) for each event that comes"
    )
    if share.by is None:
        yield f"{head}: a batch of more than {FEW} lines goes to one of them"
        yield f"    it costs this process some 0.15 us a line to send it there, {back} back"
        yield "    what comes back goes on in the order of the lines; a batch whose worker dies is done again by another"
    else:
        key = ", ".join(value.text.strip() for value in share.by.key)
        readers = " and ".join(step.label for step in share.by.steps)
        made_by = f", which {readers} {'give' if len(share.by.steps) > 1 else 'gives'}" if readers else ""
        yield f"{head}: of each batch the lines with the same {key} go to the same one{made_by}"
        yield f"    it costs this process some 0.6 us a line to read that and send it there, {back} back"
        yield (
            "    what comes back goes on in the order of the lines; one that takes the place of a worker that dies is given "
            "what that one kept, and does again what came since"
        )
    if share.count < len(steps):
        yield f"    {steps[share.count].label} and what follows is done in this process: {_why_not_shared(steps, share)}"


def _why_not_shared(steps: Sequence[Step], share: Share) -> str:
    step = steps[share.count]
    operator = step.operator
    if not isinstance(operator, Stage):
        return not_fused(operator)
    if operator.keyed_by() is None:
        return "it keeps something from event to event, or does something besides"
    if share.by is not None:
        return "its key has nothing of that one"
    return why_not_by_key(steps, share.count)


# Stages


def of_stage(stage: Stage) -> str:
    """Say what a stage reads of the payload, and why that is all of it where it is."""
    edits = stage.edits()
    needed = stage.needs() if edits is None else stage.edits_read()
    if needed is not None:
        return f"reads {', '.join(sorted(needed))}" if needed else "reads no field"
    return f"reads the whole payload: {_why_all(stage)}"


def _why_all(stage: Stage) -> str:
    for evaluation in _evaluations(stage):
        if not isinstance(evaluation, Expression):
            return "a Python function gets the event"
        if evaluation.fields is None:
            return f"{evaluation.text.strip()!r} uses it as a whole"
        if metas := evaluation.metas - {"line", "runner", "source", "incarnation", "pid"}:
            return f"meta.{min(metas)} is known of an event only"
    if isinstance(stage, Parse):
        return "it makes it"
    return (
        f"{stage.name} makes another one of it"
        if stage.name in ("map", "flat_map")
        else f"{stage.name} takes all of it"
    )


def _evaluations(stage: Stage) -> Iterator[Any]:
    """Give the expressions and functions among the options of a stage."""
    waiting: list[Any] = [getattr(stage, field.name) for field in fields(stage)]
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, Expression) or (callable(value) and not isinstance(value, type | Stage)):
            yield value
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value


# Rows


def of_row(row: Sequence[Step], segment: Segment, *, to_bytes: bool) -> Iterator[str]:
    """Say what is decoded of a line, where, and why not less; and whether lines are edited as bytes, and why not."""
    if segment.takes == "encoded":
        yield from _of_events(row, segment, to_bytes=to_bytes)
    place = next((index for index, step in enumerate(row) if isinstance(step.operator, Parse)), None)
    if segment.takes != "lines" or place is None:
        return
    first, from_parse = row[place].operator, row[place:]
    assert isinstance(first, Parse)
    following = [step for step in from_parse[1:] if isinstance(step.operator, Stage)]
    stages = [step.operator for step in following if isinstance(step.operator, Stage)]
    reads = () if first.time is None else (first.time.field,)
    unspliced = "the edits want it whole" if isinstance(row[-1].operator, TakenIn) else "not edited on the bytes"
    ahead = any(line.strip().startswith("peek = ") for line in segment.source.splitlines())
    if not ahead:
        yield f"each line is decoded as a whole: {_why_not_ahead(first, from_parse)}"
        yield from _of_touched(first, from_parse, segment)
        if _may_be_ahead(first) and (why := _why_not_spliced(following, reads, to_bytes=to_bytes)):
            yield f"{unspliced}: {why}"
        return
    planned = plan(stages, reads, to_bytes=to_bytes)
    names = sorted(planned.reads)
    what = (
        f"of each line {', '.join(names)} is decoded" if names else "each line is checked, and no field of it decoded"
    )
    if first.time is not None:
        what += f" ({first.time.field} for the time of the event)"
    spliced = any(counted == UNSPLICED for _, counted in segment.counters)
    at = next(
        (
            stage
            for stage, line in zip(segment.stages_of_lines, segment.source.splitlines(), strict=True)
            if _DECODES.search(line)
        ),
        None,
    )
    if spliced:
        where = ", where its keys are those of lines before it; else it is decoded" if planned.learned else ""
        yield f"{what}; the edits are made on its bytes{where}"
    elif at is None:
        if isinstance(row[-1].operator, TakenIn):
            yield f"{what}, and no more of it"
        else:
            rest = "a sink of JSON gives it as it came" if to_bytes else "the rest where somebody behind reads it"
            yield f"{what}; {rest}"
    else:
        yield f"{what}; the rest at {row[at].label}, of those that come so far"
    yield from _of_touched(first, from_parse, segment)
    if not spliced and (why := _why_not_spliced(following, reads, to_bytes=to_bytes)):
        yield f"{unspliced}: {why}"


def _of_touched(parse: Parse, from_parse: Sequence[Step], segment: Segment) -> Iterator[str]:
    """Say which lines are not even checked, where that is allowed, or why none is left out."""
    if getattr(parse.format, "checked", "all") != "touched":
        return
    needle = (
        from_parse[1].operator.implies() if len(from_parse) > 1 and isinstance(from_parse[1].operator, Stage) else None
    )
    if needle is not None and f"raw.find({needle!r})" in segment.source:
        yield f"lines without {needle.decode(errors='replace')!r} are left out before that, and not checked"
    elif needle is None:
        yield "check: touched leaves out no line: what follows is no filter by a text that has to be in the line"
    else:
        why = _why_whole(parse) or "what comes before it has made another text of the line"
        yield f"check: touched leaves out no line: {why}"


def _of_events(row: Sequence[Step], segment: Segment, *, to_bytes: bool) -> Iterator[str]:
    """Say the same of events, which were lines of JSON, mostly."""
    spliced = any(counted == UNSPLICED for _, counted in segment.counters)
    if segment.read_ahead or spliced:
        what = f"of an event that is still its JSON {', '.join(sorted(segment.read_ahead)) or 'no field'} is decoded"
        yield f"{what}; the edits are made on its bytes" if spliced else f"{what}, the rest where something reads it"
    if not spliced and (why := _why_not_spliced(row, (), to_bytes=to_bytes)):
        yield f"not edited on the bytes: {why}"


def _may_be_ahead(parse: Parse) -> bool:
    """Whether the way in which a line is parsed leaves room for decoding less than all of it."""
    return not _why_whole(parse)


def _why_not_ahead(parse: Parse, row: Sequence[Step]) -> str:
    if why := _why_whole(parse):
        return why
    for step in row[1:]:
        stage = step.operator
        if isinstance(stage, Stage) and _needed(stage) is None:
            return f"{step.label} reads all of it ({_why_all(stage)})"
        if isinstance(stage, Stage) and stage.edits() is not None:
            return f"{step.label} edits it, and no filter before it reads fields"
    return "what follows reads all of it"


def _why_whole(parse: Parse) -> str:
    if parse.format.name != "json":
        return f"format {parse.format.name} is read as a whole"
    if parse.on_error == "keep_raw":
        return "'on_error: keep_raw' keeps the line as it is when it does not parse"
    if parse.field != "message":
        return f"the text is in field {parse.field}"
    given = [field.name for field in fields(parse.format) if getattr(parse.format, field.name) != field.default]
    if options := [name for name in given if name != "checked"]:
        return f"{' and '.join(options)} looks at all of it"
    if not is_on("projection"):
        return "RX_COLLECTOR_WITHOUT turns projection off"
    return ""


def _needed(stage: Stage) -> frozenset[str] | None:
    return stage.needs() if stage.edits() is None else stage.edits_read()


def _why_not_spliced(following: Sequence[Step], reads: Iterable[str], *, to_bytes: bool) -> str:
    """Find the stage for which edits are not pending to the end of a row, and what it does not go together with."""
    reads = tuple(reads)
    stages = [step.operator for step in following if isinstance(step.operator, Stage)]
    if not any(stage.edits() for stage in stages):
        return ""  # nothing is edited
    if not is_on("edits"):
        return "RX_COLLECTOR_WITHOUT turns edits off"
    absorbed = any(stage.absorbs for stage in stages)
    if not to_bytes and not absorbed:
        return "what follows the loop reads the fields"

    def splices(some: Sequence[Stage]) -> bool:
        return plan(some, reads, to_bytes=True, absorbed=absorbed).edits

    def stands(some: Sequence[Stage]) -> bool:
        return splices(some) or not any(stage.edits() for stage in some)

    for count, step in enumerate(following, 1):
        stage = stages[count - 1]
        if stands(stages[:count]) and _needed(stage) is not None:
            continue
        if _needed(stage) is None:
            return f"{step.label} reads the whole payload ({_why_all(stage)})"
        if not stands([stage]):
            return f"{step.label} {_alone(stage)}"
        for earlier, before in zip(following[: count - 1], stages, strict=False):
            if not stands([before, stage]):
                return f"{step.label} {_together(stage, before, earlier.label)}"
        return f"with {step.label} so much of a line is changed that decoding it is quicker"
    return ""


def _names(edits: Sequence[Edit] | None) -> set[str]:
    return {name for edit in edits or () for name in edit.names}


def _alone(stage: Stage) -> str:
    edits = stage.edits() or ()
    new = {edit.to or edit.name for edit in edits if edit.kind != "drop"}
    if not is_on("layouts") and (itself := new & (stage.edits_read() or frozenset())):
        return f"sets {min(itself)}, which it reads itself"
    if all(is_plain(name) for edit in edits for name in (*edit.names, *edit.fields)):
        return "changes so much of a line that decoding it is quicker"
    return "changes names that cannot be found in a line for sure"


def _together(stage: Stage, before: Stage, earlier: str) -> str:
    """Say what keeps two stages from being done on the bytes."""
    edits, changed = stage.edits(), _names(before.edits())
    if read := (_needed(stage) or frozenset()) & changed:
        return f"reads {min(read)}, which {earlier} changes"
    if both := _names(edits) & changed:
        return f"changes {min(both)}, as {earlier} does"
    if any(edit.kind == "keep" for edit in edits or ()):
        return f"stands behind an edit, {earlier}"
    if any(edit.kind == "keep" for edit in before.edits() or ()):
        return f"needs a field that {earlier} does not keep, or sets one that it keeps"
    if not is_on("layouts") and (both := _names(edits) & (_needed(before) or frozenset())):
        return f"changes {min(both)}, which {earlier} reads: whether a line has it has to be known"
    return f"and {earlier} change so much of a line that decoding it is quicker"
