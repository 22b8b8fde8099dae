"""spill: what does not fit into memory goes to disk, and outlives the collector."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from rx_collector.backpressure.queue import size_of
from rx_collector.backpressure.spill_file import LEAST_BYTES, SPACING, STEP, Damaged, NoRoom, Row, SpillFile
from rx_collector.backpressure.strategy import Change, Store, Strategy, WorstCase, strategy
from rx_collector.config.options import PATH, SIZE, Choice, Scope, described, option
from rx_collector.errors import OutputError
from rx_collector.event import Event
from rx_collector.log import logger
from rx_collector.units import format_size

__all__ = ["Spill"]

_ASK_AGAIN = 1.0  # seconds after which a disk that refused is tried again: others may have made room on it


@strategy(
    "spill",
    summary="Waiting events go to disk and survive the collector's death.",
    guarantee="At least once, in order: what is on disk is delivered, by the next run if need be; what can come twice are "
    "the events that the sink had in hand when the collector was killed, and ids tell them.",
    example="file: out.ndjson\nbackpressure: {strategy: spill, path: waiting.spill, max_bytes: 1GB}",
)
@described(kw_only=True)
class Spill(Strategy):
    """Events that do not fit into memory (`capacity`) go to a file of at most `max_bytes`. While the sink keeps up, the disk
    is not touched.

    An event is forgotten when the sink says that it arrived. What is left on disk by a run that was killed, cut short
    or whose sink failed is delivered by the next run before anything else, counted there as made, and noted as restored; a
    run that ends before the disk is empty puts what waits in memory to it, and counts all of it as kept. When the disk
    is full, `when_full` says whether the producer waits or arriving events are dropped: counted as ``spill`` when
    `max_bytes` is why, as ``disk`` when the disk itself refuses. Rows that fail their checksum are counted as
    ``damaged``; a file that cannot be read is set aside as ``path.damaged-1`` and what can be saved of it is delivered.
    One process can use the file. The death of the machine, not of the process, may cost the last moments.
    """

    path: str = option(PATH, "The file, removed when it is empty at the end.", example="waiting.spill")
    max_bytes: int | None = option(SIZE, "The most bytes on disk, its log included.", 1 << 30)
    when_full: str = option(Choice("block", "drop_newest"), "What happens when the disk is full.", "block")

    def check(self, scope: Scope) -> None:
        super().check(scope)
        if self.max_bytes is not None and self.max_bytes < LEAST_BYTES:
            scope.child("max_bytes").wrong(f"a spill file needs at least {format_size(LEAST_BYTES)}")

    def worst_case(self) -> WorstCase:
        return WorstCase(self.capacity, None, self.max_bytes)

    def open(self, clock: Callable[[], float] = time.monotonic) -> Store:
        return _SpillStore(self, clock)


class _Given:
    """Events that were given out and not acknowledged yet; `number` is that of their row, None while they are in no row."""

    __slots__ = ("acknowledged", "events", "number")

    def __init__(self, number: int | None, events: list[Event]) -> None:
        self.number = number
        self.events = events
        self.acknowledged = 0


class _SpillStore(Store):
    """From the oldest to the newest: what was given out, what waits in memory, the rows that were not read yet."""

    keeps = True

    def __init__(self, spec: Spill, clock: Callable[[], float]) -> None:
        self._spec = spec
        self._most = max(1, spec.capacity // 2)
        self._clock = clock
        self._memory: deque[Event] = deque()
        self._times: deque[float] = deque()
        self._given: deque[_Given] = deque()
        self._file = SpillFile(spec.path, spec.max_bytes or 1 << 30)
        self._damaged = self._file.damaged
        self._refused = ""
        self._closed = False
        try:
            self._split_large_rows()
            rows = self._file.counts()
        except (Damaged, NoRoom) as error:
            self._file.close()
            raise OutputError(f"cannot spill to {spec.path}: {error}") from None
        self._unread = sum(count for _, count in rows)
        self._last = rows[-1][0] if rows else 0  # the number of the newest row
        self._read = rows[0][0] - 1 if rows else 0  # that of the newest row that was read
        if self._unread:
            logger.info("{}: {} events of an earlier run are delivered first", spec.path, self._unread)

    @property
    def waiting(self) -> int:
        return len(self._memory)

    @property
    def held(self) -> int:
        return len(self._memory) + self._unread

    @property
    def kept(self) -> int:
        return self.held if self._closed else 0

    def opened(self, change: Change) -> None:
        if restored := self._unread + self._damaged:
            change.made = change.notes["restored"] = restored
        if self._damaged:
            change.dropped["damaged"] += self._damaged

    def _split_large_rows(self) -> None:
        """Rows of a run with a larger capacity would be more than may be in flight now."""
        if self._most >= self._file.largest():
            return
        rows = self._file.counts()
        for (number, count), following in zip(rows, [*(number for number, _ in rows[1:]), None], strict=True):
            if count <= self._most:
                continue
            (row,) = self._file.read(number - 1, 1)
            gap = (following if following is not None else (number // STEP + 1) * STEP) - number
            parts = -(-count // self._most)
            if row.events is None or parts > gap:
                continue  # the second cannot be met: it takes many runs, each with a smaller capacity than the last
            # The later ones first, so that a death in between doubles some and loses none.
            for index in reversed(range(parts)):
                part = row.events[index * self._most : (index + 1) * self._most]
                self._file.insert(number + index * (gap // parts), part, row.at)

    # The producer's side

    def admit(self, batch: Sequence[Event], change: Change) -> Sequence[Event]:
        self.retry_after = None
        if not self._unread:
            room = self._spec.capacity - self.in_hand - len(self._memory)
            taken = batch[:room] if room < len(batch) else batch
            self._memory.extend(taken)
            if self._spec.max_age is not None:
                self._times.extend([self._clock()] * len(taken))
            change.taken += len(taken)
            batch = batch[len(taken) :]
        done = 0
        for part in self._parts(batch):
            number = (self._last // STEP + 1) * STEP
            try:
                self._file.insert(number, part)
            except NoRoom as error:
                return self._no_room(batch[done:], error, change)
            self._last = number
            self._unread += len(part)
            done += len(part)
            change.taken += len(part)
            change.notes["spilled"] += len(part)
        if done and self._refused:
            logger.info("{}: there is room again", self._spec.path)
            self._refused = ""
        return ()

    def _parts(self, events: Sequence[Event]) -> Iterator[list[Event]]:
        """Cut events into rows: at most what is given out at once, and at most what the file takes in one transaction."""
        part: list[Event] = []
        size = 0
        for event in events:
            length = size_of(event) + 64
            if part and (len(part) == self._most or size + length > self._file.row_bytes):
                yield part
                part, size = [], 0
            part.append(event)
            size += length
        if part:
            yield part

    def _no_room(self, rest: Sequence[Event], error: NoRoom, change: Change) -> Sequence[Event]:
        reason = "spill" if error.bounded else "disk"
        if self._refused != reason:
            self._refused = reason
            what = "max_bytes is reached" if error.bounded else str(error)
            then = "the source waits" if self._spec.when_full == "block" else "arriving events are dropped and counted"
            logger.warning("{}: {}; {}", self._spec.path, what, then)
        if self._spec.when_full == "block":
            self.retry_after = None if error.bounded else _ASK_AGAIN
            return rest
        change.taken += len(rest)
        change.dropped[reason] += len(rest)
        return ()

    # The consumer's side

    def take(self, change: Change) -> list[Event]:
        self._expire(change)
        batch: list[Event] = []
        if self._memory:
            count = min(self._most, len(self._memory))
            batch = [self._memory.popleft() for _ in range(count)]
            if self._times:
                for _ in range(count):
                    self._times.popleft()
            self._given.append(_Given(None, batch))
        while not batch and self._unread:
            for row in self._next_rows(change):
                self._read = row.number
                self._unread -= row.count
                reason = self._unusable(row)
                if reason is None and row.events is not None:
                    self._given.append(_Given(row.number, row.events))
                    batch += row.events
                else:
                    change.dropped[reason or "damaged"] += row.count
                    self._forget(row.number)
        self.in_hand = len(batch)
        change.out += len(batch)
        return batch

    def _expire(self, change: Change) -> None:
        if self._spec.max_age is not None:
            limit = self._clock() - self._spec.max_age
            while self._times and self._times[0] < limit:
                self._times.popleft()
                self._memory.popleft()
                change.dropped["max_age"] += 1

    def _unusable(self, row: Row) -> str | None:
        if row.events is None:
            logger.error(
                "{}: a row of {} events fails its checksum; they are counted as damaged", self._spec.path, row.count
            )
            return "damaged"
        # Wall time: a row may be older than this process.
        if self._spec.max_age is not None and time.time() - row.at > self._spec.max_age:
            return "max_age"
        return None

    def _next_rows(self, change: Change) -> list[Row]:
        """Read on. Where the file has become unreadable, what can be saved of it is, and the rest is counted."""
        try:
            rows = self._file.read(self._read, self._most)
            if rows:
                return rows
            why = "rows are missing"
        except Damaged as error:
            why = str(error)
        before, self._unread = self._unread, 0
        try:
            self._file.salvage(why)
            self._unread = sum(count for number, count in self._file.counts() if number > self._read)
        except (OutputError, Damaged) as error:
            logger.error("{}", error)
        change.dropped["damaged"] += max(0, before - self._unread)
        return []

    def _forget(self, number: int) -> None:
        try:
            self._file.delete_one(number)
        except NoRoom as error:
            logger.debug("{}: {}", self._spec.path, error)

    def acknowledge(self, count: int, change: Change) -> None:
        through: int | None = None
        while count and self._given:
            first = self._given[0]
            step = min(count, len(first.events) - first.acknowledged)
            first.acknowledged += step
            count -= step
            if first.acknowledged < len(first.events):
                break
            self._given.popleft()
            if first.number is not None:
                through = first.number
        if through is not None:
            try:
                self._file.delete(through)
            except NoRoom as error:  # the next time takes these along; until then they might come twice
                logger.debug("{}: {}", self._spec.path, error)

    # The end

    def keep(self, count: int) -> int:
        if not self._closed:
            self._given = deque(self._put_to_disk(list(self._given)))
        kept = sum(len(given.events) - given.acknowledged for given in self._given if given.number is not None)
        return min(count, kept) if self._file.present else 0

    def _put_to_disk(self, row: list[_Given]) -> list[_Given]:
        """Write what is in no row yet, in its order between those that are, and take out of rows what has arrived.

        Gives them as they are then, one for each row; those for which there is no room have no number.
        """
        rows = self._counts() or []
        before = (rows[0][0] if rows else STEP) - STEP
        done: list[_Given] = []
        for index, given in enumerate(row):
            rest = given.events[given.acknowledged :]
            try:
                if given.number is None:
                    done += self._insert_after(before, rest)
                elif given.acknowledged:
                    self._file.insert(given.number, rest)
                    done.append(_Given(given.number, rest))
                else:
                    done.append(given)
            except NoRoom as error:
                logger.error("{}: {}; {} events could not be kept", self._spec.path, error, len(rest))
                return done + row[index:]
            if rest and (number := done[-1].number) is not None:
                before = number
                self._last, self._read = max(self._last, before), max(self._read, before)
        return done

    def _insert_after(self, before: int, events: list[Event]) -> list[_Given]:
        """Write rows with numbers behind `before`, all or none. Raises NoRoom."""
        written: list[tuple[int, list[Event]]] = []
        try:
            for part in self._parts(events):
                before += SPACING
                self._file.insert(before, part)
                written.append((before, part))
        except NoRoom:
            for number, _ in written:
                self._forget(number)
            raise
        return [_Given(number, part) for number, part in written]

    def _counts(self) -> list[tuple[int, int]] | None:
        try:
            return self._file.counts()
        except Damaged as error:
            logger.error("{}: {}", self._spec.path, error)
            return None

    def clear(self, reason: str, change: Change) -> None:
        """Keep what waits: that in memory goes between what was given out and what is on disk already."""
        waiting = _Given(None, list(self._memory))
        self._given = deque(self._put_to_disk([*self._given, waiting]))
        self._memory.clear()
        self._times.clear()
        if waiting in self._given:  # there was no room
            change.dropped[reason] += len(waiting.events)
        else:
            self._unread += len(waiting.events)
            change.notes["spilled"] += len(waiting.events)

    def close(self, change: Change) -> None:
        self._put_to_disk([given for given in self._given if given.number is not None])  # without what has arrived
        rows = self._counts()
        left = sum(count for _, count in rows) if rows is not None else -1
        if not self._file.present and left:
            logger.error("{} was removed: the {} events in it are lost", self._spec.path, left)
            change.dropped["removed"] += self._unread
            self._unread = 0
        self._file.close(remove=left == 0)
        self._closed = True
