"""What a worker process does: it runs a row of stages on the batches that come, and sends back what became of them.

A worker knows nothing but its stages. Whatever happens to it, the collector still has the lines, and gives them to another.
It reads requests from its standard input and ends with that; it writes answers to the descriptor that it is told.

A message is the length of its body, eight bytes, little-endian, and the body. The first request is a pickled `Setup`. Each
of the others begins with a byte that says what is asked, and has one answer. Batches and answers are in the format of
`marshal`, which keeps every value of Python's own types as it is, and costs less than pickle; a payload with anything else
in it is pickled.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import pickle
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import compress
from operator import attrgetter
from typing import Any, Final

from rx_collector.clock import Look
from rx_collector.event import (
    Event,
    Lines,
    Origin,
    Packed,
    encode_json,
    from_json,
    from_message,
    pack,
    raw_in_record,
    rejected,
)
from rx_collector.ledger import Ledger, Node
from rx_collector.stream.flow import Batch, Context
from rx_collector.stream.segment import SegmentObserver, Step

__all__ = [
    "AGAIN",
    "MEMORY",
    "REMEMBER",
    "Answer",
    "Buffer",
    "Request",
    "Setup",
    "events_of",
    "main",
    "read_message",
    "records_of",
    "request_of_events",
    "request_of_lines",
    "write_message",
]

#: What is asked: to do a batch of lines or of events; to do one again, of which no more is asked than what is kept of it;
#: to give all that is kept, and to keep that.
_DO_LINES: Final = b"l"
_DO_EVENTS: Final = b"e"
AGAIN: Final = b"a"
MEMORY: Final = b"m"
REMEMBER: Final = b"r"

_LENGTH: Final = 8
_CLOCKS: Final = struct.Struct("<3q")  # how they stood, before each batch
_SET_PARENT_DEATH_SIGNAL: Final = 1  # of prctl(2)

# How the payload of an event travels: not at all (its line says it), as JSON, or packed, with its JSON.
_MESSAGE, _LINE, _JSON, _PACKED = range(4)
_HAS_RAW: Final = 4
_LINE_OF: Final = attrgetter("line")


@dataclass(frozen=True)
class Setup:
    """What a worker has to know: the name of the pipeline, its stages, and whether a sink is next."""

    pipeline: str
    steps: tuple[Step, ...]
    to_bytes: bool


#: Bytes in some form, and what they are for a request: its parts.
Buffer = bytes | bytearray | memoryview
Request = tuple[Buffer, ...]

#: What became of a batch: the counts of each stage, the first rejection at each, the dead letters, the events, and at which
#: line the stream has failed and why, if it has.
Answer = tuple[list[tuple[Any, ...]], list[tuple[int, Any]], list[Any], tuple[Any, ...] | bytes, tuple[int, str] | None]
#: Takes an event that cannot be sent, and why.
Refuse = Callable[[Event, Exception], None]


# Messages


def write_message(descriptor: int, *body: Buffer) -> None:
    """Write a message, of these parts. Blocks until all is in the pipe. Raises OSError when nobody reads it any more."""
    parts = [memoryview(part) for part in body]
    views = [memoryview(sum(map(len, parts)).to_bytes(_LENGTH, "little")), *parts]
    while views:
        written = os.writev(descriptor, views)
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if views:
            views[0] = views[0][written:]


def read_message(descriptor: int) -> bytearray | None:
    """Read a message. Blocks until it is there. None when the other side is gone, be it in the middle of one."""
    head = _read(descriptor, _LENGTH)
    return None if head is None else _read(descriptor, int.from_bytes(head, "little"))


def _read(descriptor: int, count: int) -> bytearray | None:
    body = bytearray(count)
    view = memoryview(body)
    while view:
        got = os.readv(descriptor, [view])
        if not got:
            return None
        view = view[got:]
    return body


# Batches, on their way to a worker


def request_of_lines(batch: Lines, look: Look, chosen: bytes | None = None) -> Request:
    """Give the request that has lines done: those for which there is a 1 in `chosen`, or all of them. Where they have
    their newlines, they are sent as one text, not copied if it is there already. `look` is how the clocks stand.
    """
    lines = None
    text: Request = ()
    if batch.ended is None:
        lines = batch.lines if chosen is None else [*compress(batch.lines, chosen)]
    elif chosen is not None:
        text = (b"".join(compress(batch.ended, chosen)),)
    elif batch.block is not None:
        block, start = batch.block
        text = (batch.ended[0], memoryview(block)[start : block.rfind(b"\n") + 1])
    else:
        text = (b"".join(batch.ended),)
    head = marshal.dumps((lines, batch.first, chosen, _shared(batch.origin), batch.repaired, batch.broken))
    return _DO_LINES, _CLOCKS.pack(*look), len(head).to_bytes(_LENGTH, "little"), head, *text


def _lines_of(body: memoryview) -> Lines:
    end = _LENGTH + int.from_bytes(body[:_LENGTH], "little")
    lines, first, chosen, shared, repaired, broken = marshal.loads(body[_LENGTH:end])
    origin = Origin(*shared)
    if lines is None:
        text = bytes(body[end:])
        ended = BytesIO(text).readlines()
        if chosen is None:
            return Lines.of_ended(ended, first, origin, (text, len(ended[0])))
        lines = [line[:-1] for line in ended]
    batch = Lines(lines, first, origin, repaired, broken)
    if chosen is not None:
        batch.numbers = [*compress(range(first, first + len(chosen)), chosen)]
    return batch


def _shared(origin: Origin) -> tuple[Any, ...]:
    """Give the parts of an origin that `Origin` is made from."""
    return origin.run, origin.runner, origin.incarnation, origin.pid, origin.observed_ns, origin.type, origin.parsed


# Events as a whole: these are rare among what workers are given.


def request_of_events(events: Sequence[Event], look: Look) -> Request:
    """Give the request that has events done. Raises what pickling their payloads does."""
    return _DO_EVENTS, _CLOCKS.pack(*look), _whole(events)


def _whole(events: Sequence[Event]) -> bytes:
    origins = {id(event.origin): _shared(event.origin) for event in events}
    return pickle.dumps(
        [
            (event.data, event.raw, origins[id(event.origin)], event.line, event.encoded, event._time_ns, event.part)
            for event in events
        ]
    )


def _pack_whole(events: Sequence[Event], refuse: Refuse) -> bytes:
    """Give events as a whole, but for those that cannot be sent."""
    try:
        return _whole(events)
    except Exception:  # whatever somebody's own object raises when it is pickled
        sent = []
        for event in events:
            try:
                _whole([event])
                sent.append(event)
            except Exception as error:
                refuse(event, error)
        return _whole(sent)


def _of_whole(body: bytes | memoryview) -> list[Event]:
    origins: dict[tuple[Any, ...], Origin] = {}
    events = []
    for data, raw, shared, *rest in pickle.loads(body):
        if shared not in origins:
            origins[shared] = Origin(*shared)
        events.append(Event(data, raw, origins[shared], *rest))
    return events


# Events, on their way back


def _pack_events(events: Sequence[Event], batch: Lines, refuse: Refuse) -> tuple[Any, ...]:
    """Give events as columns: how each travels, which line it is of, its JSON, its payload, time and part."""
    first, repaired = batch.first, batch.repaired
    forms, numbers = bytearray(), []
    encoded: list[bytes | None] = []
    packed: list[bytes] = []
    sent: list[Event] = []
    for event in events:
        data = event._data
        form = 0 if event.raw is None else _HAS_RAW
        if data is from_message:
            forms.append(form + _MESSAGE)
        elif data is from_json and (
            event.encoded is event.raw or (repaired and event.encoded is batch.lines[batch.index(event.line)])
        ):
            forms.append(form + _LINE)
        elif data is from_json:
            forms.append(form + _JSON)
            encoded.append(event.encoded)
        else:
            try:
                packed.append(pack(event.data))
            except Exception as error:  # whatever somebody's own object raises when it is pickled
                refuse(event, error)
                continue
            forms.append(form + _PACKED)
            encoded.append(event.encoded or _as_json(event.data))
        sent.append(event)
        numbers.append(event.line - first)
    times = [event._time_ns for event in sent]
    parts = [event.part for event in sent]
    return (
        bytes(forms),
        numbers,
        encoded,
        packed,
        times if any(time is not None for time in times) else None,
        parts if any(parts) else None,
    )


def _as_json(value: Any) -> bytes | None:
    """Encode a payload here, where there is time; one that cannot be is told of by the sink."""
    try:
        return encode_json(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None


def _of_packed(packed: bytes, text: bytes | None) -> Any:
    """An object is unpacked when it is needed; what is none is looked at by what comes behind without being asked for."""
    return Packed(packed) if text is not None and text[:1] == b"{" else Packed(packed).unpack()


def events_of(columns: tuple[Any, ...] | bytes, batch: Batch) -> list[Event]:
    """Make the events again, of the lines of their batch. They are in the order of these."""
    if isinstance(columns, bytes):
        return _of_whole(columns)
    assert isinstance(batch, Lines)
    forms, numbers, encoded, packed, times, parts = columns
    origin, first, repaired = batch.origin, batch.first, batch.repaired
    count = len(forms)
    # Of lines that still have their newline only those are cut of which there are events.
    ended = batch.ended
    lines = [batch.lines[number] for number in numbers] if ended is None else [ended[number][:-1] for number in numbers]
    events: list[Event]
    if forms.count(_HAS_RAW + _LINE) == count:
        events = [
            Event(from_json, line, origin, first + number, line) for number, line in zip(numbers, lines, strict=True)
        ]
    elif forms.count(_JSON) == count:
        events = [
            Event(from_json, None, origin, first + number, text) for number, text in zip(numbers, encoded, strict=True)
        ]
    elif not any(form & ~_HAS_RAW != _PACKED for form in set(forms)):
        events = [
            Event(_of_packed(data, text), line if form & _HAS_RAW else None, origin, first + number, text)
            for form, number, line, text, data in zip(forms, numbers, lines, encoded, packed, strict=True)
        ]
    else:
        texts, payloads = iter(encoded), iter(packed)
        events = []
        for form, number, line in zip(forms, numbers, lines, strict=True):
            raw = line if form & _HAS_RAW else None
            sort = form & ~_HAS_RAW
            data: Any = from_json
            text = None
            if sort == _MESSAGE:
                data = from_message
            elif sort == _LINE:
                text = line
            else:
                text = next(texts)
                if sort == _PACKED:
                    data = _of_packed(next(payloads), text)
            events.append(Event(data, raw, origin, first + number, text))
    if times is not None:
        for event, time in zip(events, times, strict=True):
            event._time_ns = time
    if parts is not None:
        for event, part in zip(events, parts, strict=True):
            event.part = part
    if repaired:
        for event in events:
            if event.raw is not None and event.line in repaired:
                event.data  # noqa: B018 - what it is made of is the line as it was repaired
                event.raw = repaired[event.line]
    return events


# Dead letters


def _pack_record(record: Event, batch: Batch) -> tuple[Any, ...]:
    try:
        data = pack(record.data)
    except Exception:  # whatever somebody's own object raises when it is pickled
        data = pack(_without_data(record.data, _line_in(batch, record.line)))
    return data, record.line, record.part, _shared(record.origin)


def _without_data(record: dict[str, Any], line: bytes | None) -> dict[str, Any]:
    """Give a dead letter with the line in the place of a payload that cannot be sent."""
    rest = {name: value for name, value in record.items() if name != "data"}
    return {**rest, "data": None} if line is None else {**rest, **raw_in_record(line)}


def _line_in(batch: Batch, number: int) -> bytes | None:
    """Give the line with this number as it was read. What came as an event has none."""
    if not isinstance(batch, Lines):
        return None
    return (batch.repaired or {}).get(number) or batch.lines[batch.index(number)]


def records_of(packed: Sequence[Any]) -> list[Event]:
    """Make the records of rejected events again."""
    return [
        Event(Packed(data).unpack(), None, Origin(*shared), line, None, None, part)
        for data, line, part, shared in packed
    ]


# The process


class _Observer(SegmentObserver):
    """The loop of a worker. What it would log is told to the collector."""

    def __init__(self, setup: Setup, nodes: Sequence[Node], out: _Out, context: Context) -> None:
        super().__init__(setup.steps, nodes, out, context, to_bytes=setup.to_bytes)
        self.first: dict[int, Event] = {}  # the first rejection at each stage
        self.failed = 0  # the line of the last rejection: where the stream fails, of that one

    def memory(self) -> bytes:
        """Give what the stages keep that have a key, pickled; nothing while they keep what is nested too deeply for that.

        What the loop has learned of how lines are laid out, which belongs to none of them, can be learned anew.
        """
        keyed = {index for index, step in enumerate(self._steps) if not step.operator.independent}
        try:
            return pickle.dumps({at: kept for at, kept in self._kept.items() if at[0] in keyed})
        except RecursionError:
            return b""

    def remember(self, memory: memoryview) -> None:
        """Keep what another process kept. Nothing was done before."""
        self._kept.update(pickle.loads(memory))

    def warn_of_rejection(self, record: Event, stage: int) -> None:
        self.first.setdefault(stage, record)
        self.failed = record.line

    def warn_of_note(self, stage: int, what: str) -> None:
        """The collector sees the counts."""


class _Out:
    """What follows the loop."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.failure: str | None = None

    def on_batch(self, batch: Batch) -> None:
        assert isinstance(batch, list)
        self.events = batch

    def on_error(self, error: Exception) -> None:
        self.failure = str(error)

    def on_completed(self) -> None:
        """A worker ends with its input."""


class _Worker:
    def __init__(self, setup: Setup) -> None:
        ledger = Ledger(setup.pipeline)
        self._steps = setup.steps
        self._nodes = [Node(step.label) for step in setup.steps]
        self._records: list[Event] = []
        self._out = _Out()
        self._look: Look  # how the clocks stood when the batch came
        context = Context(
            ledger, ledger.pipeline(setup.pipeline), "", reject=self._records.append, look=lambda: self._look
        )
        self._observer = _Observer(setup, self._nodes, self._out, context)

    def answer(self, body: bytearray) -> bytes:
        """Do what is asked, and give the answer to it."""
        asked, rest = bytes(body[:1]), memoryview(body)[1:]
        if asked == MEMORY:
            return self._observer.memory()
        if asked == REMEMBER:
            self._observer.remember(rest)
            return b""
        if asked == AGAIN:
            self._do(bytes(rest[:1]), rest[1:])
            return b""
        return self._told(self._do(asked, rest))

    def _do(self, asked: bytes, body: memoryview) -> Batch:
        """Do a batch, and give it. What became of it is there until the next one is done."""
        self._look = Look(*_CLOCKS.unpack_from(body))
        body = body[_CLOCKS.size :]
        batch = _lines_of(body) if asked == _DO_LINES else _of_whole(body)
        self._nodes[:] = [Node(node.name) for node in self._nodes]
        self._out.events, self._observer.first = [], {}
        self._records.clear()
        self._observer.on_batch(batch)
        return batch

    def _told(self, batch: Batch) -> bytes:
        """Give what became of a batch."""
        columns = self._columns(batch)
        counts = [_counts(node) for node in self._nodes]
        first = [(stage, _pack_record(record, batch)) for stage, record in self._observer.first.items()]
        records = [_pack_record(record, batch) for record in self._records]
        failure = None if self._out.failure is None else (self._observer.failed, self._out.failure)
        answer: Answer = counts, first, records, columns, failure
        return marshal.dumps(answer)

    def _columns(self, batch: Batch) -> tuple[Any, ...] | bytes:
        """Give what came of a batch as it is sent. What cannot be sent is rejected at the last stage."""
        refused: list[tuple[Event, Exception]] = []

        def refuse(event: Event, error: Exception) -> None:
            refused.append((event, error))

        events = self._out.events
        columns = _pack_events(events, batch, refuse) if isinstance(batch, Lines) else _pack_whole(events, refuse)
        for event, error in refused:
            self._reject(event, error, _line_in(batch, event.line))
        if refused:
            self._records.sort(key=_LINE_OF)
        return columns

    def _reject(self, event: Event, error: Exception, line: bytes | None) -> None:
        step, node = self._steps[-1], self._nodes[-1]
        node.out -= 1
        node.rejected += 1
        record = rejected(
            origin=event.origin,
            line=event.line,
            part=event.part,
            raw=line,
            data=None,
            operator=step.label,
            reason=step.operator.name,
            error=f"{type(error).__name__}: a worker cannot send what it makes of it: {error}",
            place=step.place,
            time_ns=event._time_ns,
        )
        first = self._observer.first
        last = len(self._steps) - 1
        if last not in first or record.line < first[last].line:
            first[last] = record
        self._records.append(record)


def _counts(node: Node) -> tuple[Any, ...]:
    return (
        node.taken,
        node.out,
        node.filtered,
        node.rejected,
        node.merged,
        node.made,
        dict(node.dropped),
        dict(node.notes),
    )


def main(answers: int, parent: int) -> None:
    """Work until there is no more input. `answers` is the descriptor to write to, `parent` the collector's process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it is the collector that is meant, and a worker ends with it
    # The collector may be killed while an endless regular expression keeps this process from looking at its input.
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return
    try:
        body = read_message(0)
        if body is None:
            return
        worker = _Worker(pickle.loads(body))
        while (body := read_message(0)) is not None:
            write_message(answers, b"+", worker.answer(body))
    except BrokenPipeError:
        pass  # the collector has gone
    except Exception:
        write_message(answers, b"-", traceback.format_exc().encode())
        sys.exit(1)
