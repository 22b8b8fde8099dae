"""parse: turn the text of an event into fields."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from rx_collector.clock import CLOCKS, UNITS, time_reader, zone_named
from rx_collector.config.options import (
    INVALID,
    TEXT,
    Choice,
    Kind,
    Nested,
    Scope,
    Spec,
    described,
    did_you_mean,
    example_of,
    nearest,
    option,
    plainly,
    schema_of,
)
from rx_collector.errors import ParseError
from rx_collector.event import Event
from rx_collector.parsers import FORMATS, Format
from rx_collector.parsers.json_lines import Json, decode, decode_any
from rx_collector.stream.edits import BACKSLASH, Plan, plan
from rx_collector.stream.operator import Stage, operator
from rx_collector.stream.peeking import NOT_JSON
from rx_collector.stream.skipping import Skipper
from rx_collector.switches import is_on

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["Parse", "TimeOf"]


class _ZoneKind(Kind):
    wanted = "a time zone: UTC, local, or a name such as Europe/Berlin"

    def convert(self, value: Any, scope: Scope) -> Any:
        if not isinstance(value, str):
            return self._wanted(value, scope)
        try:
            zone_named(value)
        except ValueError as error:
            return scope.wrong(str(error))
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


class _FormatOfTimeKind(Kind):
    wanted = "a format of strptime such as '%d/%b/%Y:%H:%M:%S %z'"

    def convert(self, value: Any, scope: Scope) -> Any:
        if not isinstance(value, str) or "%" not in value:
            return self._wanted(value, scope)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # one without a year is the moment nearest to now
                datetime.strptime("", value)
        except ValueError as error:
            if "does not match" not in str(error):
                return scope.wrong(f"not a format of strptime: {error}")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


@described
class TimeOf(Spec):
    """Where an event says when it happened. A missing or unusable field leaves the time it was observed, counted."""

    name: ClassVar[str] = "time"
    example: ClassVar[str] = "time: {field: timestamp_ns, unit: ns, clock: boot}"
    shorthand: ClassVar[str | None] = "field"

    field: str = option(TEXT, "The field that holds the time.", example="timestamp_ns")
    unit: str = option(Choice(*UNITS), "The unit of a number, or iso for a text such as 2026-01-02T03:04:05Z.", "s")
    clock: str = option(
        Choice(*CLOCKS), "The clock it was read from; boot and monotonic are mapped to wall time.", "realtime"
    )
    format: str | None = option(
        _FormatOfTimeKind(),
        "The format of a text, as strptime has it; without a date or a year it is the moment nearest to now.",
        None,
    )
    zone: str = option(_ZoneKind(), "The time zone of a text that names none: UTC, local, or a name.", "UTC")

    def check(self, scope: Scope) -> None:
        text = self.unit == "iso" or self.format is not None
        if text and self.clock != "realtime":
            scope.child("clock").wrong("a clock goes with a number, not with a text")
        if not text and self.zone != "UTC":
            scope.child("zone").wrong("a time zone goes with a text: say 'unit: iso' or a 'format'")


class _FormatKind(Kind):
    """A format in Python: its name, or one made by its class."""

    @property
    def wanted(self) -> str:  # type: ignore[override]
        return f"one of {', '.join(FORMATS)}"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, Format):
            return value
        if not isinstance(value, str):
            return scope.wrong(f"{self.wanted} is wanted here, not {plainly(value)}")
        if (component := FORMATS.get(value)) is None:
            near = nearest(value, FORMATS)
            example = FORMATS[near].example if near is not None else ""
            return scope.wrong(f"unknown format {value!r}{did_you_mean(value, FORMATS)}", example=example)
        return component.from_value({}, scope)

    def schema(self) -> dict[str, Any]:
        return {"enum": list(FORMATS)}


@operator(
    "parse",
    summary="Turn the text of an event into fields.",
    example="parse: {format: json, on_error: dead_letter, time: {field: ts, unit: ns, clock: boot}}",
)
@described
class Parse(Stage):
    """Turn the text of an event into the fields of a new payload.

    It reads the line, or with ``field`` a text in one field of a payload. A text that does not parse is rejected, and
    ``on_error`` says what becomes of it: ``dead_letter``, ``drop`` (counted as rejected too), ``keep_raw`` (the event
    goes on as ``{message: text}``) or ``fail`` (the stream ends with ParseError). Lifecycle events of a runner, which
    have fields from the beginning, pass as they are, and so does a payload given in a test. A text that is no record, such
    as a line of headings, is counted as filtered; where a format finds several records in one text, those beyond the first
    count as made, and their ids end in ``.0``, ``.1`` and so on.
    """

    shorthand: ClassVar[str | None] = "format"

    format: Format = option(_FormatKind(), "The format; its own options stand beside it.", example="json")
    on_error: str = option(
        Choice("dead_letter", "drop", "keep_raw", "fail"), "What becomes of a text that does not parse.", "dead_letter"
    )
    time: TimeOf | None = option(Nested(TimeOf), "The field that says when it happened.", None)
    field: str = option(TEXT, "The field whose text is parsed; a line not parsed yet is in 'message'.", "message")

    @classmethod
    def from_value(cls, value: Any, scope: Scope) -> Any:
        if not isinstance(value, Mapping):
            return super().from_value(value, scope)
        if "format" not in value:
            known = ", ".join(FORMATS)
            return scope.wrong(f"'format' is missing: one of {known}", on_key=True)
        name = value["format"]
        component = FORMATS.get(name) if isinstance(name, str) else None
        if component is None:
            return _FormatKind().convert(name, scope.child("format"))
        general = cls.options()
        own = component.options()
        mine: dict[str, Any] = {}
        theirs: dict[str, Any] = {}
        unknown = False
        for key, item in value.items():
            if key == "format":
                continue
            if key in own:
                theirs[key] = item
            elif key in general:
                mine[key] = general[key].metadata["kind"].convert(item, scope.child(key, example_of(key, general[key])))
            else:
                hint = did_you_mean(key, [*general, *own])
                scope.child(key, component.example).wrong(f"unknown key {key!r} of format {name}{hint}", on_key=True)
                unknown = True
        made = component.from_value(theirs, scope)
        if unknown or made is INVALID or any(item is INVALID for item in mine.values()):
            return INVALID
        return cls(format=made, **mine)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        general = {name: schema_of(field) for name, field in cls.options().items() if name != "format"}
        forms: list[dict[str, Any]] = [{"enum": [name for name in FORMATS if not _required(FORMATS[name])]}]
        for name in FORMATS:
            own = {key: schema_of(field) for key, field in FORMATS[name].options().items()}
            forms.append(
                {
                    "type": "object",
                    "properties": {"format": {"const": name}, **general, **own},
                    "required": ["format", *_required(FORMATS[name])],
                    "additionalProperties": False,
                }
            )
        return {"anyOf": forms}

    @property
    def independent(self) -> bool:  # type: ignore[override]
        """Whether its format keeps nothing from line to line."""
        return self.format.independent

    @property
    def nests(self) -> bool:  # type: ignore[override]
        """Whether it loops over the records of a text."""
        return self.format.several

    def needs(self) -> frozenset[str] | None:
        return None

    def key_reader(self) -> tuple[Stage, frozenset[str]] | None:
        """Single fields of JSON cost a part of it."""
        cheap = self.format in (Json(), Json(checked="touched")) and self.field == "message"
        return (Parse(format=Json()), frozenset({"message"})) if cheap and self.on_error != "keep_raw" else None

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        of_line = code.is_line and self.field == "message"
        code.is_line = False
        if self.format in (Json(), Json(checked="touched")) and of_line and self.on_error != "keep_raw":
            if self.format != Json() and following:
                self._emit_skipping(code, following)
            self._emit_json(code, following)
        else:
            self._emit_text(code, of_line)
        if self.time is not None:
            self._emit_time(code, self.time)

    def _emit_skipping(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        """Leave out lines that the next stage would filter. They count as filtered there."""
        needle = following[0].implies()
        if needle is None:
            return
        counter = code.counter("filtered", code.stage + 1)
        # One that ends the stream counts what it has not come to, so then nothing may be left out behind it.
        ends = any(stage.on_error == "fail" for stage in (self, *following))
        # Nor behind a stage that has seen it, counts it, say, or fails for it.
        if code.ended and is_on("skipping") and not ends and not code.stage:
            skipper = code.state(lambda: Skipper(needle), "skipper")
            code.prologue += [f"chosen = {skipper}.chosen(batch)", f"{counter} = len(batch) - len(chosen)"]
            code.chosen = "chosen"
        else:
            # `find`, since `in` takes the bytes for a number first, which costs more than the search.
            code.write(f"if raw.find({needle!r}) < 0 and {BACKSLASH} not in raw:")
            code.indent()
            code.write(f"{counter} += 1")
            code.write("continue")
            code.dedent()

    def _emit_json(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        """The line is JSON: what the filters behind read is decoded ahead of the rest, the rest only if it is needed."""
        # With its newline, or where not all of it was decoded, a line that is no JSON could be refused in other words.
        slowly = f"{code.bind(decode_any, 'decode_again')}({code.line_read()})"
        planned = plan(following, () if self.time is None else (self.time.field,), to_bytes=code.to_bytes)
        if not code.selective and not planned.unread:
            planned = Plan(frozenset())
        if planned.reads or planned.pieces or planned.absent or planned.unread:
            code.peek_into(planned, "raw", slowly)
            code.names["decode"] = decode_any
            code.payload, code.encoded = "json", True
        else:
            code.write("try:")
            code.write(f"    data = {code.bind(decode, 'decode')}(raw)")
            code.write(f"except {code.bind(NOT_JSON, 'not_json')}:")
            code.write(f"    data = {slowly}")
            code.payload, code.owned, code.encoded = "local", True, True
        code.is_dict, code.has_event = True, False

    def _emit_text(self, code: SegmentCode, of_line: bool) -> None:
        if of_line:
            text = f"{code.line_read()}.decode()"
        else:
            code.data()
            text = f"{code.bind(_text_of, 'text_of')}({code.field(self.field)}, {self.field!r})"
        origin = "origin" if code.envelope == "lines" else "event.origin"
        parser = code.state(self.format.parser, "parse_" + self.format.name)
        result = code.temporary()
        left, right = ("[", "]") if self.format.several else ("", "")
        may_be_parsed = code.envelope == "events"  # a lifecycle event never travels among lines
        if may_be_parsed:
            given = ' or (event.origin.parsed and data.__class__ is dict and "message" not in data)'
            code.write(f'if event.origin.type == "lifecycle"{given if self.field == "message" else ""}:')
            code.write(f"    {result} = {left}dict(data){right}")
            code.write("else:")
            code.indent()
        if self.on_error == "keep_raw":
            code.write("try:")
            code.write(f"    {result} = {parser}({text}, {origin})")
            code.write(f"except {code.bind(ParseError, 'ParseError')}:")
            code.write(f"    {code.counter('kept_raw')} += 1")
            code.write(f'    {result} = {left}{{"message": {text}}}{right}')
        else:
            code.write(f"{result} = {parser}({text}, {origin})")
        if may_be_parsed:
            code.dedent()
        if self.format.several:
            self._emit_several(code, result)
            return
        code.write(f"if {result} is None:")
        code.indent()
        code.lose()
        code.dedent()
        code.write(f"data = {result}")
        # The line is still what the payload was made of, so it is kept; but it is not the payload's JSON.
        code.payload, code.is_dict, code.owned, code.encoded, code.peek = "local", True, True, False, None
        code.has_event = False

    def _emit_several(self, code: SegmentCode, records: str) -> None:
        code.write(f"if not {records}:")
        code.indent()
        code.lose()
        code.dedent()
        code.write(f"{code.counter('made')} += len({records}) - 1")
        code.nest(f"{code.bind(_events_of, 'events_of')}({records}, {code.event()})")
        code.is_dict = True

    def _emit_time(self, code: SegmentCode, time: TimeOf) -> None:
        if code.peek is None:
            code.data()
        read, offset = time_reader(time.unit, time.clock, format=time.format, zone=zone_named(time.zone))
        if offset is not None:
            measured = code.temporary()
            code.prologue.append(f"{measured} = {code.bind(offset, 'clock_offset')}()")
        observed = "origin.observed_ns" if code.envelope == "lines" else "event.origin.observed_ns"
        arguments = f"{code.field(time.field)}, {measured if offset is not None else '0'}, {observed}"
        code.write(f"time_ns = {code.bind(read, 'time_of')}({arguments})")
        code.write(f"if time_ns is None: {code.counter('time_unusable')} += 1")
        code.has_time, code.has_event = True, False


def _required(component: type[Format]) -> list[str]:
    from rx_collector.config.options import REQUIRED

    return [name for name, field in component.options().items() if field.default is REQUIRED]


def _events_of(records: list[dict[str, Any]], event: Event) -> list[Event]:
    """Make the events of the records of one text. The only one keeps the text and the id of its event."""
    if len(records) == 1:
        return [Event(records[0], event.raw, event.origin, event.line, None, event._time_ns, event.part)]
    prefix = f"{event.part}." if event.part else ""
    return [event.replace(record, f"{prefix}{number}") for number, record in enumerate(records)]


def _text_of(value: Any, field: str) -> str:
    if isinstance(value, str):
        return value
    raise ParseError(f"no text in field {field!r}" if value is None else f"field {field!r} is not a text")
