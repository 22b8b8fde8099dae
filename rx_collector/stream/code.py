"""The source of one segment while it is written: the loop over a batch that neighbouring stages share.

Each stage adds its lines through a `SegmentCode`, which knows at every point what holds true of the event in hand: what
its payload is made of, whether it was changed, whether an `Event` exists for it. So an event that no stage looks into is
never decoded, and no `Event` is made for one that is filtered out. These are the local variables of the loop:

    raw        the line (segments that begin at a runner), in some loops with its newline
    line       its number, where some stage has it in its source; `SegmentCode.line` may find it without counting
    _rest      what of the batch is still to come, in loops over all of it
    _left      what tells how much that is
    _end       the number of the batch's last line
    origin     the batch's Origin
    text       the line as it was edited, when the loop splices
    edited     what edits it, where the layout of lines is learned
    event      the Event, when there is one
    data       the payload, once somebody asked for it
    time_ns    set when a stage found the time of the event
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from rx_collector.event import Event, decode_payload, from_json, from_message
from rx_collector.expressions import Expression
from rx_collector.expressions.keys import hashable
from rx_collector.expressions.option import Evaluation
from rx_collector.stream.edits import Edit, Plan, plan, write_dict_edits, write_splice
from rx_collector.stream.layout import write_learned
from rx_collector.stream.peeking import NOT_JSON, field_decoder, fields_from
from rx_collector.switches import is_on

if TYPE_CHECKING:
    from rx_collector.stream.operator import Stage

__all__ = ["PASSED", "UNSPLICED", "Kept", "SegmentCode", "State"]

#: Which thing a stage keeps from event to event: the stage, what it is, and the number of it where there are several.
_Place: TypeAlias = tuple[int, str, int]
#: What the stages of one stream keep.
Kept: TypeAlias = dict[_Place, Any]
#: Where a stage begins: what the envelope and the payload are read from, whether the line still says what the payload
#: does, the edits that are pending, and whether the time of the event was found.
State: TypeAlias = tuple[str, str, bool, tuple[Edit, ...], bool]
#: What the loop counts of lines that had to be decoded for an edit.
UNSPLICED: Final = "unspliced"
#: What it counts of events that the first filter lets pass, where those are fewer than the others: a whole number that is
#: counted up costs 10 ns.
PASSED: Final = "passed"

_INDENT = "    "
_DEPTH: Final = 3  # of what is written for each event of a batch
_LEAVES: Final = re.compile(r"\s*(continue|break|return|for|while)\b|[^#]*:\s*(continue|break|return)\b")
#: The local variables of the loop, beside temporaries and counters.
_LOCALS = frozenset(
    [
        "batch",
        "fail",
        "out",
        "emit",
        "seen",
        "raw",
        "text",
        "edited",
        "chosen",
        "line",
        "_rest",
        "_left",
        "_end",
        "origin",
        "event",
        "data",
        "peek",
        "time_ns",
        "error",
        "now",
        "then",
        "at",
    ]
)
_META_OF_LINES = {
    "line": "",
    "runner": "origin.runner",
    "source": "origin.runner",
    "incarnation": "origin.incarnation",
    "pid": "origin.pid",
    "type": "origin.type",
    "run": "origin.run",
}


def field_of(data: Any, name: str) -> Any:
    """Read a field of a payload that may be anything: None where there is none."""
    return data.get(name) if isinstance(data, dict) else None


def with_fields(data: Any) -> dict[str, Any]:
    """Give a payload that has fields. Raises TypeError for one that has none."""
    if not isinstance(data, dict):
        raise TypeError(f"the payload is not an object with fields but a {type(data).__name__}")
    return data


def copy_of(data: Any) -> dict[str, Any]:
    """Copy a payload before it is edited."""
    return dict(with_fields(data))


class SegmentCode:
    """Writes the loop of one segment. See the module's text for the local variables.

    It is also what expressions are rendered with (`rx_collector.expressions.Rendering`).
    """

    #: The local variable that holds the payload, for expressions.
    this = "data"

    def __init__(
        self,
        source: Literal["lines", "events"],
        kept: Kept | None = None,
        *,
        to_bytes: bool = False,
        selective: bool = True,
        ended: bool = False,
        numbered: bool = False,
        judged: bool = True,
    ) -> None:
        self.ended = ended  # `raw` still has the newline that ends the line
        self.chosen = ""  # the variable with the lines that the loop goes over, and their numbers, when it is not all
        self.to_bytes = to_bytes  # what comes behind the loop writes bytes, so lines may be edited as such
        self.selective = selective  # many are expected to be lost: what filters read may be decoded ahead of the rest
        self.decodes_late = False  # ... and then the rest is, for those that pass
        self._judged = judged  # whether the loop is chosen by how many are lost
        self.counted = numbered  # `line` or `seen` is there at each turn of the loop
        self.asks_left = False  # `_left` and `_end` are wanted
        self._loses = False  # events may have been lost before what is being written now
        self.passing: int | None = None  # the line, from 0, that counts those which the first filter lets pass
        self.absorbed = False  # the last stage has taken the event, and nothing is sent on
        self.splices = False  # ... and they are: the edits are pending to the end of the loop
        self.learns = False  # ... those whose layout is learned
        self.learn = ""  # what learns from the line in hand
        self.pending: list[Edit] = []
        self.read_ahead: frozenset[str] = (
            frozenset()
        )  # the fields in `peek` that were decoded, others are in their bytes
        self._kept: Kept = {} if kept is None else kept
        self.makers: dict[str, tuple[_Place, Callable[[], Any]]] = {}  # of what is kept, by global
        self.names: dict[str, Any] = {"Event": Event, "from_message": from_message, "from_json": from_json}
        self.states: list[State] = []  # what held true where each stage begins, for its dead letters
        self.lines: list[tuple[str, int]] = []  # with the index of the stage that wrote them
        self.stage = -1
        self.counters: list[tuple[str, int, str]] = []  # variable, stage, what it counts
        self.prologue: list[str] = []
        self.begins = 0  # lines of the source before those that are written here
        self.parts: list[
            tuple[int, str]
        ] = []  # the stages that make several events of one, and what of these is to come
        self.nested = 0  # loops within the loop, each with a try of its own
        self._asked: list[tuple[int, str]] = []  # what was kept so far, by stage
        self._depth = _DEPTH
        self._temporaries = 0
        self._source = source
        # What holds true of the event in hand:
        self.envelope: Literal["lines", "events"] = source  # where line, origin and time are read from
        self.payload: Literal["message", "json", "event", "local"] = "message" if source == "lines" else "event"
        self.is_dict = source == "lines"
        self.owned = False  # `data` is a dict of our own that nobody else has seen: edited in place
        self.pristine = True  # the payload still says what the line (or the event at hand) said: its raw bytes are kept
        self.encoded = source == "events"  # ... and so is what is known of its JSON
        self.is_line = source == "lines"  # the payload is the line as it was read, in `message`
        self.has_event = source == "events"  # `event` says what the other variables say
        self.has_time = False
        self.part: str | None = None  # the source of the part, where a stage made several events of one
        self.peek: dict[str, str] | None = None  # fields that were decoded ahead of the payload
        self.assigned: dict[str, str] = {}  # fields that pending edits set, and the source of what to
        self.held: dict[str, str] = {}  # fields that are in a variable as well, since they are read again

    # Writing

    def begin(self, stage: int) -> None:
        """Begin the next stage."""
        self.stage = stage
        self.states.append((self.envelope, self.payload, self.pristine, tuple(self.pending), self.has_time))

    def write(self, text: str) -> None:
        """Add a line, indented for where we are."""
        self.lines.append((_INDENT * self._depth + text, self.stage))

    def indent(self) -> None:
        """Go one level deeper; what follows belongs to the line before, to the end of the loop's body."""
        self._depth += 1

    def dedent(self) -> None:
        """Come back one level."""
        self._depth -= 1

    def bind(self, value: object, hint: str) -> str:
        """Give the name of a global that holds `value`."""
        for name, bound in self.names.items():
            if bound is value and name.startswith(hint):
                return name
        name, number = hint, 2
        while name in self.names or name in _LOCALS:
            name, number = f"{hint}_{number}", number + 1
        self.names[name] = value
        return name

    def state(self, make: Callable[[], Any], hint: str) -> str:
        """Give the name of what this stage keeps from event to event, made once for each subscription.

        A stage that keeps anything has to get it here: lines and events have a loop each, and both must see the same.
        The `hint` tells apart what one of these keeps and the other does not.
        """
        number = self._asked.count((self.stage, hint))
        self._asked.append((self.stage, hint))
        key = (self.stage, hint, number)
        if key not in self._kept:
            self._kept[key] = make()
        name = self.bind(self._kept[key], hint)
        self.makers[name] = (key, make)
        return name

    def line_read(self) -> str:
        """Give the source of the line as it was read, without its end."""
        return "raw[:-1]" if self.ended else "raw"

    def number(self) -> str:
        """Give the source of a number that is larger for each event of a batch."""
        if not self.nested:
            self.counted = True
            return "line" if self._source == "lines" else "seen"
        number = self.temporary()
        self.prologue.append(f"{number} = 0")
        self.write(f"{number} += 1")
        return number

    def line(self) -> str:
        """Give the source of the number of the line that is in hand, in a loop over lines."""
        if not self.counted and not self.chosen and self.selective and self._loses and is_on("counting"):
            self.asks_left = True
            return "_end - _left()"  # those that are lost are not counted
        self.counted = True
        return "line"

    def observed(self) -> str:
        """Give the source of when the event was read: the clock of stages, which differs from read to read only."""
        return "origin.observed_ns" if self.envelope == "lines" else "event.origin.observed_ns"

    def time(self) -> str:
        """Give the source of when the event happened, in nanoseconds since 1970."""
        if self.has_time:
            return f"({self.observed()} if time_ns is None else time_ns)"
        return self.observed() if self.envelope == "lines" else "event.time_ns"

    def key(self, evaluations: Sequence[Evaluation]) -> str:
        """Give the source of a value that tells events apart by some expressions; it can be the key of a dict."""
        return self.key_of([self.value(evaluation) for evaluation in evaluations])

    def key_of(self, values: Sequence[str]) -> str:
        """Give the source of the same for values that have a source."""
        freeze = self.bind(hashable, "hashable")
        parts = []
        for value in values:
            part = self.temporary()  # a text or a whole number, mostly, which is its own key
            kind = f"({part} := {value}).__class__"
            parts.append(f"({part} if {kind} is str or {part}.__class__ is int else {freeze}({part}))")
        return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"

    def temporary(self) -> str:
        """Give a fresh local variable."""
        self._temporaries += 1
        return f"t{self._temporaries}"

    def counter(self, what: str, stage: int | None = None) -> str:
        """Give the local variable that counts `what` for the stage that is being written, 0 before each batch."""
        stage = self.stage if stage is None else stage
        for name, counting, counted in self.counters:
            if counting == stage and counted == what:
                return name
        name = f"n{stage}_{''.join(c if c.isalnum() else '_' for c in what)}"
        self.counters.append((name, stage, what))
        return name

    def lose(self, what: str = "filtered") -> None:
        """End with the event in hand, counted as `what`: ``filtered``, or ``merged`` when another stands for it."""
        self.write(f"{self.counter(what)} += 1")
        self.write("continue")
        self._loses = True

    def pass_if(self, condition: str) -> None:
        """Go on with the event in hand where this is true, else end with it, counted as filtered."""
        self.write(f"if not ({condition}):")
        if self.selective and self._judged and self._all_come() and is_on("counting"):
            # Counted are those that pass; the others are all that came but these and those that failed before.
            self.write(_INDENT + "continue")
            self._loses = True
            self.passing = len(self.lines)
            self.write(f"{self.counter(PASSED)} += 1")
        else:
            self.indent()
            self.lose()
            self.dedent()

    def _all_come(self) -> bool:
        """Whether what is written now is done for each event of the batch, unless something fails for it before: nothing
        leaves the turn of the loop so far, or goes round more often. So a filter here is told of each event.
        """
        return self._depth == _DEPTH and not self.chosen and not any(_LEAVES.match(text) for text, _ in self.lines)

    # Reading

    def data(self) -> str:
        """Make sure that the payload is in `data`."""
        if self.payload == "message":
            self.write(f'data = {{"message": {self.line_read()}.decode()}}')
            self.owned = True
        elif self.payload == "json":
            self.write(f"data = {self.bind(self.names['decode'], 'decode')}(raw)")
            self.decodes_late = not self.splices
            self.owned = True
            self.peek = None
            write_dict_edits(self, self.pending)
            self.pending, self.assigned = [], {}
        elif self.payload == "event":
            self.write("data = event._data")
            self.write("if data.__class__ is not dict: data = event.data")
            self.decodes_late = self.decodes_late or self.peek is not None
            self.peek = None
        self.payload = "local"
        return "data"

    def peek_into(self, planned: Plan, text: str, whole: str) -> None:
        """Read the fields that are planned from JSON in `text`; where that is refused, from a payload of which `whole` is
        the source.
        """
        decode_fields, attributes = field_decoder(planned.reads, planned.pieces, planned.absent)
        again = fields_from(decode_fields, planned.reads, attributes)
        self.write("try:")
        self.write(f"    peek = {self.bind(decode_fields, 'decode_fields')}({text})")
        self.write(f"except {self.bind(NOT_JSON, 'not_json')}:")
        self.write(f"    peek = {self.bind(again, 'fields_of')}({whole})")
        self.peek = {field: f"peek.{attribute}" for field, attribute in attributes.items()}
        self.read_ahead, self.splices, self.learns = planned.reads, planned.edits, planned.learned

    def peek_into_events(self, stages: Sequence[Stage]) -> None:
        """Read what these stages want of events that are all still their JSON from that, and edit it where lines are."""
        planned = plan(stages, (), to_bytes=self.to_bytes)
        if not (self.selective or planned.unread):
            return
        self.is_dict = True
        if planned.edits:
            self.names["decode"] = decode_payload
            self.write("raw, origin, line, time_ns = event.encoded, event.origin, event.line, event._time_ns")
            self.payload, self.part = "json", "event.part"
        if planned.edits or planned.reads:
            self.peek_into(planned, "raw" if planned.edits else "event.encoded", "event.data")

    def event(self) -> str:
        """Make sure that `event` says what the other variables say, for a user's function."""
        if not self.has_event:
            self.write(f"event = {self.event_source()}")
            self.has_event = True
        self.owned = False  # from here on somebody else may have kept the payload
        self.held = {}  # ... and changed it, which nobody should
        return "event"

    def event_source(self) -> str:
        """Give the source that makes the Event of what is in hand."""
        if self.envelope == "lines":
            where, time, part = ["origin", self.line()], "time_ns" if self.has_time else "None", self.part
        else:
            where = ["event.origin", "event.line"]
            time, part = "time_ns" if self.has_time else "event._time_ns", self.part or "event.part"
        payload = {"message": "from_message", "json": "from_json", "local": "data", "event": "event._data"}[
            self.payload
        ]
        raw, encoded = ("raw", "raw") if self.envelope == "lines" else ("event.raw", "event.encoded")
        if self.ended and self.envelope == "lines" and self.pristine:
            encoded = self.temporary()
            raw = f"({encoded} := raw[:-1])"
        arguments = [payload, raw if self.pristine else "None", *where]
        tail = [encoded if self.pristine and self.encoded else "None", time, part or '""']
        while tail and tail[-1] in ("None", '""'):
            tail.pop()
        return f"Event({', '.join([*arguments, *tail])})"

    def field(self, name: str) -> str:
        """Give the source that reads a field of the payload (for expressions)."""
        if name in self.assigned:
            return self.assigned[name]
        if self.peek is not None and name in self.peek:
            return self.peek[name]
        if name in self.held:
            return self.held[name]
        if self.is_dict:
            return f"data.get({name!r})"
        helper = self.bind(field_of, "field_of")
        return f"(data.get({name!r}) if data.__class__ is dict else {helper}(data, {name!r}))"

    def hold(self, name: str) -> None:
        """Put a field into a variable, where that is quicker than to read it again from a dict."""
        if self.payload == "local" and self.is_dict and self.peek is None and name not in self.held:
            variable = self.temporary()
            self.write(f"{variable} = data.get({name!r})")
            self.held[name] = variable

    def meta(self, name: str) -> str:
        """Give the source that reads a value of the envelope (for expressions)."""
        if self.envelope == "lines" and name in _META_OF_LINES:
            return f"({self.line()})" if name == "line" else _META_OF_LINES[name]
        return f"event.{name}"

    def value(self, evaluation: Evaluation) -> str:
        """Give the source of an expression's value, or of the call of a user's function with the event."""
        if not isinstance(evaluation, Expression):
            function = self.bind(evaluation, "call_" + _identifier(getattr(evaluation, "__name__", "")))
            return f"{function}({self.event()})"
        self._prepare(evaluation)
        return evaluation.render(self)

    def _prepare(self, expression: Expression) -> None:
        known = self.assigned.keys() | (self.peek or {}).keys()
        peeked = self.peek is not None and expression.fields is not None and expression.fields <= known
        if not peeked and (expression.fields is None or expression.fields):
            self.data()
        needs_event = self.envelope == "lines" and not expression.metas <= _META_OF_LINES.keys()
        if needs_event and not self.has_event:
            owned = self.owned
            self.event()
            self.owned = owned  # an expression keeps nothing

    # Changing

    def own(self) -> str:
        """Make sure that `data` is a dict that may be edited in place; the event is changed by that."""
        self.data()
        if not self.owned:
            self.write(f"data = {self.bind(copy_of, 'copy_of')}(data)")
        self.owned = self.is_dict = True
        self.changed()
        return "data"

    def assign(self, source: str, *, is_dict: bool = False, owned: bool = False) -> None:
        """Replace the payload."""
        self.write(f"data = {source}")
        self.payload, self.is_dict, self.owned = "local", is_dict, owned
        self.changed()

    def changed(self) -> None:
        """Note that `data` no longer says what `raw` and `event` say. Call it after the last read of the old."""
        self.pristine = self.encoded = self.is_line = False
        self.peek = None
        self.held = {}
        if self.envelope == "lines":
            self.has_event = False
        else:
            self.has_event = self.payload == "event"

    def pend(self, edits: Sequence[Edit]) -> None:
        """Note what is to be changed in the line at the end of the loop (where it `splices`). The plan sees to it that
        what is changed otherwise than set is not read.
        """
        self.pending += edits
        for edit in edits:
            if edit.kind == "set":
                self.assigned[edit.name] = edit.variable or self.bind(edit.value, "constant")
        self.pristine = self.encoded = self.is_line = self.has_event = False

    def take_event(self, source: str) -> None:
        """Replace the whole event by another."""
        self.write(f"event = {source}")
        self.envelope, self.payload = "events", "event"
        self.is_dict = self.owned = self.has_time = self.is_line = False
        self.has_event = self.pristine = self.encoded = True
        self.part = self.peek = None
        self.held = {}

    def nest(self, source: str) -> None:
        """Open a loop over a list of events that were made of the one in hand; the rest of the segment is within it."""
        parts = self.temporary()
        self.parts.append((self.stage, parts))
        self.write(f"{parts} = iter({source})")
        self.write(f"for event in {parts}:")
        self.indent()
        self.take_event("event")
        self.write("try:")
        self.indent()
        self.nested += 1

    def finish(self) -> None:
        """Write the end of the loop's body: what passed is collected, and what fails in it is accounted for."""
        if self.absorbed:
            pass
        elif self.pending and self.peek is not None:
            self._finish_spliced(self.pending, self.peek)
        else:
            self.write("emit(event)" if self.has_event else f"emit({self.event_source()})")
        for _ in range(self.nested):
            self.dedent()
            self.write("except Exception as error:")
            self.write("    if fail(error, locals()):")
            self.write(f"        return out, {self.counts()}")
            self.dedent()

    def _finish_spliced(self, edits: Sequence[Edit], peek: Mapping[str, str]) -> None:
        """Write the end of a loop that edits lines; those of which it is not proven to be the same are decoded."""
        line = self.line() if self.envelope == "lines" else "line"
        time = ", time_ns" if self.has_time or self.envelope == "events" else ""
        part = ", event.part" if self.envelope == "events" else ""
        if self.learns:
            write_learned(self, edits)
        else:
            write_splice(self, edits, peek, self.read_ahead)
        self.write("if text is not None:")
        self.write(f"    emit(Event(from_json, None, origin, {line}, text{time}{part}))")
        self.write("else:")
        self.indent()
        if self.learn:
            self.write(self.learn)
        self.write(f"{self.counter(UNSPLICED)} += 1")
        self.data()
        self.write(f"emit({self.event_source()})")
        self.dedent()

    def counts(self) -> str:
        """Give the source of the tuple of all counters."""
        return f"({''.join(f'{name}, ' for name, _, _ in self.counters)})"


def _identifier(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name) or "function"


def reads(stages: Sequence[Stage]) -> frozenset[str] | None:
    """Give all fields that a row of stages reads, None when one of them needs more than fields."""
    fields: set[str] = set()
    for stage in stages:
        needed = stage.needs()
        if needed is None:
            return None
        fields |= needed
    return frozenset(fields)
