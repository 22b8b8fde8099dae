"""The observers of windows: what is open, taking events in, closing.

Where a loop stands before them, events are taken in at its end (`Fold`), so that none has to be made but for the first of a
window; else they come as batches of events. Both do the same to the same states.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Hashable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

from rx_collector.config.options import described
from rx_collector.event import Event, format_time
from rx_collector.expressions.aggregate import Aggregate, AggregateFunction
from rx_collector.expressions.keys import hashable
from rx_collector.expressions.option import Evaluation, fields_read
from rx_collector.ledger import Node
from rx_collector.operators._holding import Holding
from rx_collector.operators._state import reject
from rx_collector.operators._timer import Timer
from rx_collector.stream.flow import Absorber, Batch, BatchObserver, Context
from rx_collector.stream.operator import Stage

if TYPE_CHECKING:
    from rx_collector.operators.window import Grouping, Window
    from rx_collector.stream.code import SegmentCode

__all__ = ["Counted", "Fold", "Sessions", "State", "Tiles", "Whole", "Windows", "place_of"]

_MOST_AT_ONCE = 1 << 10  # windows that one event may be in: more than the description allows

#: Where a window is kept, and its start and end.
_Place = tuple[Hashable, int, int]


class State:
    """One open window of one key."""

    __slots__ = ("batch", "closed", "end", "first", "keys", "order", "owned", "place", "start", "touched", "values")

    def __init__(
        self, place: Hashable, keys: tuple[Any, ...], start: int, end: int, first: Event, order: int = 0
    ) -> None:
        self.order = order  # in which it was opened
        self.place = place  # under which it is kept
        self.keys = keys
        self.start = start
        self.end = end  # when it closes, in nanoseconds
        self.first = first
        self.owned = 0  # events it stands for: each is owned by one window, the last to close of those it is in
        self.values: list[Any] = []
        self.closed = False
        self.batch = self.touched = 0  # of its last event: the batch, and a number that grows within it


def place_of(keys: tuple[Any, ...]) -> Hashable:
    """Give what stands for the keys of a window where it is kept: of a single one its own value does, mostly."""
    return hashable(keys[0] if len(keys) == 1 else keys)


def _age(state: State) -> tuple[int, int, int, State]:
    """Give what tells which of two states got no event for longer."""
    return state.batch, state.touched, state.order, state


@described
class Fold(Stage):
    """Takes an event into its window, at the end of the loop of the stages before. Only the first of a window is made."""

    absorbs = True

    windows: Windows

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the operator."""
        return self.windows.node.name.rpartition(" ")[2]

    def needs(self) -> frozenset[str] | None:
        arguments = [aggregate.argument for _, aggregate in self.windows.aggregates if aggregate.argument is not None]
        return fields_read(*(evaluation for _, evaluation in self.windows.keys), *arguments)

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        self.windows.emit_take(Folding(code, self.windows))
        code.absorbed = True


class Folding:
    """Writes the end of a loop that takes events in, for one kind of windows. What is written first is what can fail for an
    event: its keys and values. `key` is the source of its place among the keys, `number` of one that grows with the events.
    """

    def __init__(self, code: SegmentCode, windows: Windows) -> None:
        self.code = code
        self._windows = windows
        keys = [self._value(evaluation) for _, evaluation in windows.keys]
        self._values = [self._checked(aggregate) for _, aggregate in windows.aggregates]
        self._keys = f"({', '.join(keys)}, )" if keys else "()"
        self.key = code.temporary()
        code.write(f"{self.key} = {code.key_of(keys)}")  # as `place_of` has it
        self.number = code.number()
        self._batch = self.once(f"{code.bind(windows.batch_number, 'batch_number')}()")

    def _value(self, evaluation: Evaluation) -> str:
        value = self.code.temporary()
        self.code.write(f"{value} = {self.code.value(evaluation)}")
        return value

    def _checked(self, aggregate: Aggregate) -> str:
        """Write what finds the value of an aggregate's argument, and fails where it cannot be added."""
        if aggregate.argument is None:
            return "True"
        value = self._value(aggregate.argument)
        function = aggregate.function
        if function.check is not AggregateFunction.check:
            sure = f" or {function.fits.format(value=value)}" if function.fits else ""
            check = self.code.bind(function.check, "check")
            self.code.write(f"if not ({value} is None{sure}): {check}({value})")
        return value

    def once(self, source: str) -> str:
        """Give a variable with what a source gives once for each batch."""
        value = self.code.temporary()
        self.code.prologue.append(f"{value} = {source}")
        return value

    def keys_and_event(self) -> str:
        """Give the sources of the keys and of the event, for a window that is opened for it: of that one it needs no more
        than where and when it came. What edits are pending for is not in it.
        """
        return f"{self._keys}, {'event' if self.code.has_event else self.code.event_source()}"

    def find(self, place: str, start: str, end: str, touched: str, *, one_of_several: bool = False) -> str:
        """Write what finds the window at a place, or opens it. Gives the variable with it. Of several for one event none
        gives way to another of them: room is made when all are there.
        """
        state, windows = self.code.temporary(), self._windows
        self.code.write(f"{state} = {self.code.bind(windows.states, 'states')}.get({place})")
        opened = windows.open_one if one_of_several else windows.open
        made = f"{place}, {start}, {end}, {self.keys_and_event()}, {touched}"
        self.code.write(f"if {state} is None: {state} = {self.code.bind(opened, 'open_window')}({made})")
        return state

    def take(self, state: str, touched: str) -> None:
        """Write what takes the event into a window: it is the one that got an event last now."""
        write, held = self.code.write, self.code.temporary()
        write(f"{state}.batch, {state}.touched = {self._batch}, {touched}")
        write(f"{held} = {state}.values")
        for number, ((_, aggregate), value) in enumerate(zip(self._windows.aggregates, self._values, strict=True)):
            function, slot = aggregate.function, f"{held}[{number}]"
            add = f"{slot} = {self.code.bind(function.add, 'add')}({slot}, {value})"
            step = function.inline.format(state=slot, value=value) if function.inline else add
            write(step if value == "True" else f"if {value} is not None: {step}")

    def own(self, state: str) -> None:
        """Write that the event belongs to a window."""
        self.code.write(f"{state}.owned += 1")

    def late(self, condition: str) -> None:
        """Write that the event is late, where that is so."""
        self.code.write(f"if {condition}:")
        self.code.write(f"    {self.code.bind(self._windows.count_late, 'count_late')}()")
        self.code.write("    continue")


class Windows(Holding, Absorber):
    """What all kinds have in common: keys and values of events, what is held, timers, the end.

    It works on the thread that brings the batches, and on the timer's when the time is up.
    """

    def __init__(self, spec: Grouping, downstream: BatchObserver, context: Context, node: Node) -> None:
        super().__init__(downstream, context, node)
        self.node = node
        self.keys = list(spec.group_by().items())
        self.aggregates = list(spec.aggregates().items())
        self._functions = [aggregate.function for _, aggregate in self.aggregates]
        self._most: int = spec.size  # type: ignore[attr-defined]
        self.states: dict[Hashable, State] = {}
        self._batch = self._touched = 0
        # A heap by the last event of each state, made when one has to give way for the first time. An entry may be late:
        # of a state that got an event since, or is closed.
        self._oldest: list[tuple[int, int, int, State]] | None = None
        self._order = itertools.count()
        self._out: list[Event] = []
        self._merged = 0
        self._evicted = 0
        self._late = 0
        self._ready: list[Event] = []
        self._ended = False

    # What the kinds differ in

    def _take(self, event: Event, keys: tuple[Any, ...], values: list[Any]) -> bool:
        """Take an event into its windows. False when it is too late for all of them."""
        raise NotImplementedError

    def _begin(self) -> None:
        """Before a batch."""

    def _settle(self) -> None:
        """After a batch: set the timer for what is open."""

    def _bounds(self, state: State) -> tuple[int, int] | None:
        """Give the start and the end that the new event names."""
        return state.start, state.end

    # Batches

    def on_batch(self, batch: Batch) -> None:
        assert isinstance(batch, list)
        with self._lock:
            self._batch += 1
            self._begin()
            rejections: list[tuple[Event, Exception]] = []
            taken = 0
            if not self._disposed and not self._ended:
                evaluations = [evaluation for _, evaluation in self.keys]
                aggregates = [aggregate for _, aggregate in self.aggregates]
                for event in batch:
                    try:
                        keys = tuple([evaluation(event) for evaluation in evaluations])
                        values = [aggregate.value(event) for aggregate in aggregates]
                        late = not self._take(event, keys, values)
                    except Exception as failure:
                        rejections.append((event, failure))
                        continue
                    if late:
                        self._late += 1
                    else:
                        taken += 1
            self._account(len(batch), taken, len(rejections))
            for event, error in rejections:
                reject(error, event, self._node, self._context)
            self._settle()
            self._send()

    def _account(self, came: int, taken: int, rejected: int) -> None:
        """Say where everything is, in one step, so that the node balances at any moment."""
        with self._context.ledger.lock:
            node, out = self._node, len(self._out)
            node.taken += came
            node.rejected += rejected
            if self._disposed:
                node.dropped["disposed"] += came - rejected
                return
            if self._late:
                node.dropped["late"] += self._late
            self._held += taken - self._merged
            node.merged += self._merged
            node.made += out
            node.out += out
            if self._evicted:
                node.notes["evicted"] += self._evicted
            self._merged = self._late = self._evicted = 0
            self._ready, self._out = self._out, []

    def _send(self) -> None:
        ready, self._ready = self._ready, []
        if ready:
            self._downstream.on_batch(ready)

    # In the loop of the stages before

    def absorbing_stage(self) -> Fold | None:
        return Fold(self)

    def begin_absorbing(self) -> bool:
        self._lock.acquire()
        if self._disposed or self._ended:
            self._lock.release()
            return False
        self._batch += 1
        self._begin()
        return True

    def batch_number(self) -> int:
        """Give the number of the batch at hand."""
        return self._batch

    def end_absorbing(self, came: int, rejected: int) -> None:
        try:
            self._account(came, came - rejected - self._late, rejected)
            self._settle()
            self._send()
        finally:
            self._lock.release()

    def emit_take(self, fold: Folding) -> None:
        """Write what `_take` does."""
        state = fold.find(fold.key, "0", "0", fold.number)
        fold.take(state, fold.number)
        fold.own(state)

    def count_late(self) -> None:
        """Count an event that is too late for all windows."""
        self._late += 1

    def open(self, place: Hashable, start: int, end: int, keys: tuple[Any, ...], first: Event, touched: int) -> State:
        """Open a window, and close others where there are too many. `touched` is the number of its event in the batch."""
        state = self.open_one(place, start, end, keys, first, touched)
        self.make_room()
        return state

    def open_one(
        self, place: Hashable, start: int, end: int, keys: tuple[Any, ...], first: Event, touched: int
    ) -> State:
        """Open a window, and more are to come."""
        state = State(place, keys, start, end, first, next(self._order))
        state.batch, state.touched = self._batch, touched
        state.values = [function.start() for function in self._functions]
        self._opened(state)
        self.states[place] = state
        if self._oldest is not None:
            heapq.heappush(self._oldest, _age(state))
            if len(self._oldest) > 2 * len(self.states) + 1000:  # most of them are closed
                self._oldest = None
        return state

    def make_room(self) -> None:
        """Close windows where there are too many."""
        while len(self.states) > self._most:
            self._evicted += 1
            self._close(self._take_oldest())

    def _take_oldest(self) -> State:
        """Give the state that got no event for the longest time. It has to be closed."""
        oldest = self._oldest
        if oldest is None:
            oldest = self._oldest = [_age(state) for state in self.states.values()]
            heapq.heapify(oldest)
        while True:
            entry = oldest[0]
            state = entry[3]
            if state.closed:
                heapq.heappop(oldest)
            elif (state.batch, state.touched) != entry[:2]:
                heapq.heapreplace(oldest, _age(state))
            else:
                heapq.heappop(oldest)
                return state

    # States

    def _fold(self, places: list[_Place], keys: tuple[Any, ...], values: list[Any], event: Event) -> None:
        """Take an event into some windows, the last of which owns it. Nothing of this can fail: see `Aggregate.value`."""
        states = self.states
        for place, start, end in places:
            self._touched += 1
            known = states.get(place)
            state = self.open_one(place, start, end, keys, event, self._touched) if known is None else known
            state.batch, state.touched = self._batch, self._touched  # it is the one that got an event last now
            state.values = [
                function.step(now, value)
                for function, now, value in zip(self._functions, state.values, values, strict=True)
            ]
        state.owned += 1
        self.make_room()

    def _opened(self, state: State) -> None:
        """A window was opened."""

    def _close(self, state: State) -> None:
        """Make the event of a window."""
        self.states.pop(state.place, None)
        state.closed = True
        self._merged += state.owned
        self._out.append(self._event_of(state))

    def _event_of(self, state: State) -> Event:
        payload = {name: value for (name, _), value in zip(self.keys, state.keys, strict=True)}
        for (name, _), function, value in zip(self.aggregates, self._functions, state.values, strict=True):
            payload[name] = function.result(value)
        first, part = state.first, "+"
        time_ns = first._time_ns
        if (bounds := self._bounds(state)) is not None:
            payload["window_start"], payload["window_end"] = format_time(bounds[0]), format_time(bounds[1])
            part, time_ns = f"@{bounds[0]}", bounds[1]
        return Event(payload, None, first.origin, first.line, None, time_ns, first.part + part)

    def _close_all(self) -> None:
        for state in sorted(self.states.values(), key=lambda state: (state.end, state.order)):
            self._close(state)

    # The end

    def _end(self) -> None:
        if self._ended or self._disposed:
            return
        self._ended = True
        self._close_all()
        self._account(0, 0, 0)
        self._send()


class Whole(Windows):
    """One window a key, to the end of the stream."""

    def _take(self, event: Event, keys: tuple[Any, ...], values: list[Any]) -> bool:
        self._fold([(place_of(keys), 0, 0)], keys, values, event)
        return True

    def _bounds(self, state: State) -> tuple[int, int] | None:
        return None


class Counted(Windows):
    """Windows of so many events of a key: one after the other, or after each `step` events one of the last `count`.

    An open window has the events since the last step; with those of the steps before it makes the new event.
    """

    def __init__(self, spec: Window, count: int, step: int, *rest: Any) -> None:
        super().__init__(spec, *rest)
        self._step = step
        self._steps = count // step
        self._before: dict[Hashable, deque[State]] = {}  # the steps before, by key, in the order of their last one

    def _take(self, event: Event, keys: tuple[Any, ...], values: list[Any]) -> bool:
        place = place_of(keys)
        self._fold([(place, event.time_ns, 0)], keys, values, event)
        state = self.states[place]
        state.end = event.time_ns
        if state.owned == self._step:
            self._close(state)
        return True

    def emit_take(self, fold: Folding) -> None:
        code = fold.code
        time = code.temporary()
        code.write(f"{time} = {code.time()}")
        state = fold.find(fold.key, time, "0", fold.number)
        fold.take(state, fold.number)
        fold.own(state)
        code.write(f"{state}.end = {time}")
        code.write(f"if {state}.owned == {self._step}: {code.bind(self._close, 'close')}({state})")

    def _close(self, state: State) -> None:
        if self._steps > 1:
            before = self._before.pop(state.place, None)
            if before is None:
                before = deque(maxlen=self._steps)
            self._before[state.place] = before
            if len(self._before) > self._most:
                self._evicted += 1
                del self._before[next(iter(self._before))]
            before.append(state)
            state.closed = True
            whole = State(state.place, state.keys, before[0].start, state.end, before[0].first)
            whole.owned = state.owned
            whole.values = [
                reduce(function.merge, (step.values[index] for step in before), function.start())
                for index, function in enumerate(self._functions)
            ]
            state = whole
        super()._close(state)


class Timed(Windows):
    """Windows that close at a time, by the clock of the subscription or by that of the events."""

    def __init__(
        self, spec: Grouping, lateness: float | None, downstream: BatchObserver, context: Context, node: Node
    ) -> None:
        super().__init__(spec, downstream, context, node)
        self._by_events = lateness is not None
        self._lateness = round((lateness or 0) * 1e9)
        self._now = -(1 << 63)  # what the events have come to, less the lateness; or what the clock says
        self._due: list[tuple[int, int, State]] = []  # a heap; of a session that goes on, when it was to end before
        self._timer = Timer(context, self._lock, self._on_time)

    def _moment(self, event: Event) -> int:
        """Give the time that counts for an event, and close what it is the end of."""
        if not self._by_events:
            return self._now
        self.come_to(event.time_ns)
        return event.time_ns

    def come_to(self, moment: int) -> int:
        """Note the time of an event, and close what it is the end of. Gives what the events have come to."""
        if moment - self._lateness > self._now:
            self._now = moment - self._lateness
            self._close_due()
        return self._now

    def now(self) -> int:
        """Give the time that the clock said at the beginning of the batch, or what the events have come to."""
        return self._now

    def emit_moment(self, fold: Folding) -> tuple[str, str]:
        """Write what `_moment` does. Gives the time that counts for an event, and what they have come to."""
        code = fold.code
        now = fold.once(f"{code.bind(self.now, 'now_of')}()")
        if not self._by_events:
            return now, now
        moment = code.temporary()
        code.write(f"{moment} = {code.time()}")
        past = f"{moment} - {self._lateness} > {now}" if self._lateness else f"{moment} > {now}"
        code.write(f"if {past}: {now} = {code.bind(self.come_to, 'come_to')}({moment})")
        return moment, now

    def _opened(self, state: State) -> None:
        heapq.heappush(self._due, (state.end, state.order, state))
        if len(self._due) > 2 * len(self.states) + 1000:  # most were closed early
            self._due = [entry for entry in self._due if not entry[2].closed]
            heapq.heapify(self._due)

    def _close_due(self) -> None:
        due = self._due
        while due and due[0][0] <= self._now:
            end, order, state = heapq.heappop(due)
            if state.closed:
                continue
            if state.end > end:  # a session that went on
                heapq.heappush(due, (state.end, order, state))
            else:
                self._close(state)

    # The clock

    def _begin(self) -> None:
        if not self._by_events:
            self._now = self._timer.now()
            self._close_due()

    def _settle(self) -> None:
        if self._by_events or self._disposed or self._ended:
            return
        while self._due and self._due[0][2].closed:
            heapq.heappop(self._due)
        if self._due:
            self._timer.at(self._due[0][0])

    def _on_time(self) -> None:
        self._begin()
        self._account(0, 0, 0)
        self._settle()
        self._send()

    def _end(self) -> None:
        self._timer.close()
        super()._end()

    def dispose(self) -> None:
        super().dispose()
        self._timer.close()


class Tiles(Timed):
    """Windows of one length; they follow each other, or overlap."""

    def __init__(self, spec: Window, every: float, slide: float, lateness: float | None, *rest: Any) -> None:
        super().__init__(spec, lateness, *rest)
        self._length = round(every * 1e9)
        self._distance = round(slide * 1e9)
        self._most = max(self._most, -(-self._length // self._distance))  # one event's windows have to find room

    def emit_take(self, fold: Folding) -> None:
        code = fold.code
        moment, now = self.emit_moment(fold)
        if self._distance != self._length:
            self._emit_several(fold, moment, now)
            return
        if self._by_events:
            start, end = code.temporary(), code.temporary()
            code.write(f"{start} = {moment} - {moment} % {self._length}")
            code.write(f"{end} = {start} + {self._length}")
            fold.late(f"{end} <= {now}")
        else:
            start = fold.once(f"{now} - {now} % {self._length}")
            end = fold.once(f"{start} + {self._length}")
        place = code.temporary()
        code.write(f"{place} = ({start}, {fold.key})")
        state = fold.find(place, start, end, fold.number)
        fold.take(state, fold.number)
        fold.own(state)

    def _emit_several(self, fold: Folding, moment: str, now: str) -> None:
        code = fold.code
        starts = f"{code.bind(self.starts, 'starts')}({moment}, {now})"
        if self._by_events:
            found = code.temporary()
            code.write(f"{found} = {starts}")
            fold.late(f"not {found}")
        else:
            found = fold.once(starts)
        start, place, touched = code.temporary(), code.temporary(), code.temporary()
        code.write(f"{touched} = {fold.number} * {_MOST_AT_ONCE}")
        code.write(f"for {start} in {found}:")
        code.indent()
        code.write(f"{place} = ({start}, {fold.key})")
        code.write(f"{touched} += 1")
        state = fold.find(place, start, f"{start} + {self._length}", touched, one_of_several=True)
        fold.take(state, touched)
        code.dedent()
        fold.own(state)
        code.write(
            f"if len({code.bind(self.states, 'states')}) > {self._most}: {code.bind(self.make_room, 'make_room')}()"
        )

    def starts(self, moment: int, now: int) -> range:
        """Give the starts of the windows that an event is in and that are not over, the last to close at the end."""
        last = moment - moment % self._distance
        over = max(moment, now) - self._length
        return range(last - max(-1, (last - over - 1) // self._distance) * self._distance, last + 1, self._distance)

    def _take(self, event: Event, keys: tuple[Any, ...], values: list[Any]) -> bool:
        moment = self._moment(event)
        key = place_of(keys)
        starts = self.starts(moment, self._now)
        if not starts:
            return False
        places: list[_Place] = [((start, key), start, start + self._length) for start in starts]
        self._fold(places, keys, values, event)
        return True


class Sessions(Timed):
    """Windows that close when nothing came for a time. By the events' own time one may join two that were apart."""

    def __init__(
        self,
        spec: Grouping,
        gap: float,
        downstream: BatchObserver,
        context: Context,
        node: Node,
        lateness: float | None = None,
    ) -> None:
        super().__init__(spec, lateness, downstream, context, node)
        self._gap = round(gap * 1e9)
        self._of_key: dict[Hashable, list[State]] = {}

    def _take(self, event: Event, keys: tuple[Any, ...], values: list[Any]) -> bool:
        moment = self._moment(event)
        self._touched += 1
        state = self.session(moment, place_of(keys), keys, event, self._touched)
        if state is None:
            return False
        self._fold([(state.place, moment, moment + self._gap)], keys, values, event)
        state.start, state.end = min(state.start, moment), max(state.end, moment + self._gap)
        return True

    def session(self, moment: int, key: Hashable, keys: tuple[Any, ...], event: Event, touched: int) -> State | None:
        """Give the session that an event is in; one is opened, or made of several. None when it is too late for any."""
        near = [s for s in self._of_key.get(key, ()) if s.start - self._gap < moment < s.end]
        if near:
            return self._join(near)
        if moment + self._gap <= self._now:
            return None
        return self.open((key, next(self._order)), moment, moment + self._gap, keys, event, touched)

    def emit_take(self, fold: Folding) -> None:
        code, gap = fold.code, self._gap
        moment, _ = self.emit_moment(fold)
        of_key, state = code.temporary(), code.temporary()
        code.write(f"{of_key} = {code.bind(self._of_key, 'of_key')}.get({fold.key})")
        code.write(f"{state} = {of_key}[0] if {of_key} is not None and len({of_key}) == 1 else None")
        code.write(f"if {state} is None or not {state}.start - {gap} < {moment} < {state}.end:")
        code.indent()
        found = f"{moment}, {fold.key}, {fold.keys_and_event()}, {fold.number}"
        code.write(f"{state} = {code.bind(self.session, 'session')}({found})")
        if self._by_events:
            fold.late(f"{state} is None")
        code.dedent()
        fold.take(state, fold.number)
        fold.own(state)
        code.write(f"if {moment} < {state}.start: {state}.start = {moment}")
        code.write(f"if {state}.end < {moment} + {gap}: {state}.end = {moment} + {gap}")

    def _opened(self, state: State) -> None:
        super()._opened(state)
        self._of_key.setdefault(place_of(state.keys), []).append(state)

    def _join(self, sessions: list[State]) -> State:
        """Make one of several, and give it."""
        first, *others = sorted(sessions, key=lambda state: state.start)
        for state in others:
            first.values = [
                function.merge(one, other)
                for function, one, other in zip(self._functions, first.values, state.values, strict=True)
            ]
            first.owned += state.owned
            first.end = max(first.end, state.end)
            self._forget(state)
            del self.states[state.place]
            state.closed = True
        return first

    def _forget(self, state: State) -> None:
        key = place_of(state.keys)
        sessions = self._of_key[key]
        sessions.remove(state)
        if not sessions:
            del self._of_key[key]

    def _bounds(self, state: State) -> tuple[int, int] | None:
        return state.start, state.end - self._gap

    def _close(self, state: State) -> None:
        self._forget(state)
        super()._close(state)
