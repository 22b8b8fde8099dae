"""Workers: the first stages of a pipeline run in several processes, which share the batches.

    on_batch    the thread of the source; numbers the batches by putting them into a queue
    _serve      a thread for each process: gives it one batch after the other, and takes its answers
    _deliver    one thread: sends what comes back on, in the order of the batches

What a process has in hand is not forgotten here before its answer is there, whole. So when one dies, another one does the
same lines again, and nothing of the first answer was seen by anybody: each event comes once, in its place.

Few lines cost less here than on their way, so a batch of a few is not given away while nothing else is under way.

Where stages keep something by a key, each process has the events of some keys (see `rx_collector.stream.sharing`): a batch
is done in parts, each by the process that has its lane, and goes on when the last of them is there. Then it is known for
each process what it was asked since it last gave what it keeps; another one in its place is given that, and asked again.
"""

from __future__ import annotations

import json
import marshal
import os
import pickle
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from rx_collector.clock import Look, SteadyLook
from rx_collector.errors import ParseError, ProcessError, RxCollectorError
from rx_collector.event import Lines
from rx_collector.ledger import Node
from rx_collector.log import logger
from rx_collector.pipes import LARGEST, widen
from rx_collector.stream.flow import Batch, BatchObserver, Connection, Context
from rx_collector.stream.segment import SegmentObserver, Step
from rx_collector.stream.sharing import Router, Sharing
from rx_collector.stream.worker import (
    AGAIN,
    MEMORY,
    REMEMBER,
    Answer,
    Buffer,
    Request,
    Setup,
    events_of,
    read_message,
    records_of,
    request_of_events,
    request_of_lines,
    write_message,
)
from rx_collector.switches import is_on

__all__ = ["FEW", "Workers"]

FEW: Final = 64  # lines that are done here while nothing is under way
_MOST_TRIES: Final = 3  # for one batch; what ends three processes would end a fourth
#: Bytes of requests that are remembered before a process is asked what it keeps, and how many times as long as that they
#: are at least: so that giving it takes a small part of the time.
_REMEMBERED: Final = 4 << 20
_TIMES_MEMORY: Final = 8
_LAST_WAIT: Final = 2.0  # seconds that threads and processes may take to end once they were told to
_LINE: Final = attrgetter("line")
_MAIN: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from rx_collector.stream.worker import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)


class _Ended(Exception):
    """There is nothing to do any more."""


class _Failed(Exception):
    """There is a bug in a worker; the text is its traceback."""


class _Part:
    """What one process has to do of a batch: all of it, or the lines that are `chosen` with a 1."""

    def __init__(self, batch: Batch, look: Look, chosen: bytes | None = None) -> None:
        self.batch = batch
        self._look = look
        self._chosen = chosen
        self.answer: bytearray | None = None
        self.tries = 0

    def request(self) -> Request:
        """Give what the process is asked."""
        if isinstance(self.batch, Lines):
            return request_of_lines(self.batch, self._look, self._chosen)
        return request_of_events(self.batch, self._look)

    def __str__(self) -> str:
        if not isinstance(self.batch, Lines):
            return f"{len(self.batch)} events"
        first, last = self.batch.first, self.batch.first + len(self.batch) - 1
        some = "some of " if self._chosen is not None else ""
        return f"{some}the lines {first} to {last} of {self.batch.origin.runner}"


class _Ticket:
    """A batch until what came of it is delivered: done `here`, in its turn, or in `parts` by processes. `look` is how the
    clocks stood when it came.
    """

    def __init__(self, batch: Batch, look: Look, parts: Sequence[_Part] = ()) -> None:
        self.batch = batch
        self.look = look
        self.parts = parts
        self.here = not parts
        self.begun = False  # its delivery

    @property
    def done(self) -> bool:
        """Whether it can go on."""
        return all(part.answer is not None for part in self.parts)


class _Memory:
    """What a process keeps, so that another one can take its place: what it gave of it, and what it was asked since."""

    def __init__(self) -> None:
        self._given: bytearray | None = None
        self._asked: list[Request] = []
        self._size = 0
        self._of: _Process | None = None

    def give_to(self, process: _Process) -> bool:
        """See that the process knows it. False when it is gone."""
        if process is not self._of:
            if self._given is not None and process.ask(REMEMBER, self._given) is None:
                return False
            for request in self._asked:
                if process.ask(AGAIN, *request) is None:
                    return False
            self._of = process
        return True

    def add(self, process: _Process, request: Request) -> None:
        """Note that a request was answered."""
        self._asked.append(request)
        self._size += sum(map(len, request))
        if self._size > max(_REMEMBERED, _TIMES_MEMORY * len(self._given or b"")):
            given = process.ask(MEMORY)
            if given is not None:
                if given:  # else another one is asked all of it again, and this one later
                    self._given, self._asked = given, []
                self._size = 0


class _Process:
    """A worker process. One thread asks it and ends it; any may kill it. Raises OSError when it cannot be started."""

    def __init__(self, setup: bytes) -> None:
        reading, self._requests = os.pipe()
        try:
            self._answers, writing = os.pipe()
        except OSError:
            os.close(reading)
            os.close(self._requests)
            raise
        try:
            arguments = [json.dumps(sys.path), str(writing), str(os.getpid())]
            self._process = subprocess.Popen(
                [sys.executable, "-c", _MAIN, *arguments],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                pass_fds=(writing,),
                start_new_session=True,  # what a terminal sends is for the collector
            )
        except BaseException:
            os.close(self._requests)
            os.close(self._answers)
            raise
        finally:
            os.close(reading)
            os.close(writing)
        self.pid = self._process.pid
        self._open = True
        self._setup: bytes | None = setup
        for pipe in (self._requests, self._answers):
            widen(pipe, LARGEST)

    def ask(self, *request: Buffer) -> bytearray | None:
        """Send a request, of these parts, and give the answer. Blocks. None when the process is gone. Raises _Failed."""
        try:
            if self._setup is not None:
                write_message(self._requests, self._setup)
                self._setup = None
            write_message(self._requests, *request)
        except OSError:
            pass  # nobody reads it any more, and may have said why
        answer = read_message(self._answers)
        if answer is None:
            return None
        sign = answer[:1]
        del answer[:1]
        if sign == b"-":
            raise _Failed(answer.decode())
        return answer

    def gone(self) -> bool:
        """Whether it has ended. Does not block."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """End it at once. Does not block."""
        self._process.kill()

    def end(self) -> None:
        """Let it end, and wait for that; one that does not is killed."""
        if not self._open:
            return
        self._open = False
        os.close(self._requests)
        try:
            self._process.wait(_LAST_WAIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._answers)

    @property
    def code(self) -> int | None:
        """The exit code of one that has ended."""
        code = self._process.returncode
        return code if code is not None and code >= 0 else None

    @property
    def signal(self) -> int | None:
        """The signal that ended it."""
        code = self._process.returncode
        return -code if code is not None and code < 0 else None

    def how(self) -> str:
        """Say how it ended."""
        return f"was ended by signal {self.signal}" if self.signal is not None else f"exited with code {self.code}"


def _ones(lane: int) -> bytes:
    """Give what makes of the lanes of lines a 1 for each line of this one, and a 0 for each other (`bytes.translate`)."""
    return bytes(lane) + b"\1" + bytes(255 - lane)


class _Ahead:
    """What follows the loop that runs here: what follows the workers."""

    def __init__(self, downstream: BatchObserver, fail: Callable[[Exception], None]) -> None:
        self.on_batch = downstream.on_batch
        self.on_error = fail

    def on_completed(self) -> None:
        """The workers end by themselves."""


class Workers(Connection):
    """The observer before a row of stages that `count` processes share, by a key or not. Each process has a thread here.

    `on_batch` blocks while there are two batches for each process. What was taken and has not come back is held by the
    first stage. Disposing of it ends the processes at once; they have nothing to lose.
    """

    def __init__(
        self,
        count: int,
        steps: Sequence[Step],
        nodes: Sequence[Node],
        downstream: BatchObserver,
        context: Context,
        *,
        by: Sharing | None = None,
        to_bytes: bool = False,
    ) -> None:
        name = context.pipeline.name
        try:
            self._setup = pickle.dumps(Setup(name, tuple(steps), to_bytes))
        except Exception as error:  # whatever somebody's own operator raises when it is pickled
            labels = ", ".join(step.label for step in steps)
            raise ProcessError(f"{name}: {labels} cannot be sent to a worker: {error}") from None
        self._name = name
        self._nodes = nodes
        self._context = context
        self._downstream = downstream
        # All processes take the same distance between the clocks, or times that are read from one would jump to and fro.
        self._look = SteadyLook()
        self._looked = self._look()  # for the batch that is done here
        clocked = replace(context, look=lambda: self._looked)
        self._local = SegmentObserver(steps, nodes, _Ahead(downstream, self._fail), clocked, to_bytes=to_bytes)
        self._busy = False  # a batch is done here on the thread of the source
        self._most = 2 * count
        self._changed = threading.Condition()
        self._tickets: deque[_Ticket] = deque()  # in the order of the batches, until they are delivered
        self._router = None if by is None else Router(by, count)
        # Their parts that no process has yet: of all processes, or of each.
        lanes: list[deque[_Part]] = [deque() for _ in range(1 if by is None else count)]
        self._lanes = lanes * count if by is None else lanes
        self._finished = False  # the threads have nothing to do any more
        self._ended = False  # nothing comes any more
        self._error: Exception | None = None  # ... for this reason, or the stream has failed
        self._lost = ""  # why nothing is taken any more
        self._held = 0
        nodes[0].held = lambda: self._held
        self._processes: dict[int, _Process] = {}
        self._threads = [
            threading.Thread(target=self._serve, args=(number,), name=f"rx-{name}-worker-{number + 1}", daemon=True)
            for number in range(count)
        ]
        self._threads.append(threading.Thread(target=self._deliver, name=f"rx-{name}-workers", daemon=True))
        context.connections.append(self)
        started = []
        try:
            for thread in self._threads:
                thread.start()
                started.append(thread)
        except RuntimeError as error:  # no thread is left
            self._threads = started
            self.dispose()
            raise ProcessError(f"{name}: the workers cannot be started: {error}") from None

    # What comes

    def on_batch(self, batch: Batch) -> None:
        look = self._look()
        if self._router is not None:
            for some, lanes in self._routed(batch, self._router):
                parts = {lane: _Part(some, look, chosen) for lane, chosen in lanes.items()}
                self._put(_Ticket(some, look, [*parts.values()]), parts)
            return
        shared = {0: _Part(batch, look)} if isinstance(batch, Lines) else {}
        ticket = _Ticket(batch, look, [*shared.values()])
        if not self._put(ticket, shared, unless_few=True):
            try:
                self._do_here(ticket)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _do_here(self, ticket: _Ticket) -> None:
        self._looked = ticket.look
        self._local.on_batch(ticket.batch)

    def _routed(self, batch: Batch, router: Router) -> Iterator[tuple[Batch, dict[int, bytes | None]]]:
        """Give a batch of lines, with those of each lane; or the events of one lane that follow each other, since what
        comes of events could not be put back into their order.
        """
        of_each = router.lanes(batch)
        if isinstance(batch, Lines):
            lanes = set(of_each)
            yield batch, {lane: of_each.translate(_ones(lane)) if len(lanes) > 1 else None for lane in lanes}
            return
        at = 0
        for lane, run in groupby(of_each):
            count = len([*run])
            yield batch[at : at + count], {lane: None}
            at += count

    def _put(self, ticket: _Ticket, parts: Mapping[int, _Part], *, unless_few: bool = False) -> bool:
        """Line up a batch. False when nothing is under way and there is so little of it that it is done here at once."""
        batch = ticket.batch
        few = unless_few and is_on("few") and (not isinstance(batch, Lines) or len(batch) <= FEW)
        with self._changed:
            if few and not self._tickets and not self._lost:
                self._busy = True
                return False
            while len(self._tickets) >= self._most and not self._lost:
                self._changed.wait()
            if self._lost:
                self._drop(len(batch))
                return True
            if parts:
                with self._context.ledger.lock:
                    self._nodes[0].taken += len(batch)
                    self._held += len(batch)
                for lane, part in parts.items():
                    self._lanes[lane].append(part)
            self._tickets.append(ticket)
            self._changed.notify_all()
        return True

    def on_error(self, error: Exception) -> None:
        self._ends(error)

    def on_completed(self) -> None:
        self._ends(None)

    def _ends(self, error: Exception | None) -> None:
        with self._changed:
            if not self._ended and not self._lost:
                self._ended, self._error = True, error
                self._changed.notify_all()

    # A process, on its thread

    def _serve(self, number: int) -> None:
        process: _Process | None = None
        try:
            process = self._start(number)
            lane, memory = self._lanes[number], None if self._router is None else _Memory()
            while (part := self._next(lane)) is not None:
                while process.gone() or not self._done(process, part, memory):
                    process.end()
                    if self._finished:
                        return
                    self._died(process, part)
                    process = self._start(number)
        except _Ended:
            pass
        except _Failed as failed:
            logger.error("{}: a worker failed\n{}", self._name, failed)
            self._fail(ProcessError(f"{self._name}: a worker failed: {str(failed).splitlines()[-1]}"))
        except RxCollectorError as error:
            self._fail(error)
        except Exception as error:
            logger.opt(exception=error).error("{}: a worker's thread failed", self._name)
            self._fail(error)
        finally:
            if process is not None:
                process.end()

    def _start(self, number: int) -> _Process:
        try:
            process = _Process(self._setup)
        except OSError as error:
            message = f"{self._name}: a worker cannot be started: {os.strerror(error.errno or 0).lower()}"
            raise ProcessError(message) from None
        with self._changed:
            finished = self._finished
            if not finished:
                self._processes[number] = process
        if finished:
            process.kill()
            process.end()
            raise _Ended
        logger.debug("{}: worker {} started, pid {}", self._name, number + 1, process.pid)
        return process

    def _next(self, lane: deque[_Part]) -> _Part | None:
        with self._changed:
            while not lane and not self._finished:
                self._changed.wait()
            return None if self._finished else lane.popleft()

    def _done(self, process: _Process, part: _Part, memory: _Memory | None) -> bool:
        """Have a part of a batch done. False when the process is gone."""
        part.tries += 1
        if memory is not None and not memory.give_to(process):
            return False
        try:
            request = part.request()
        except Exception as error:  # whatever somebody's own object raises when it is pickled
            raise ProcessError(f"{self._name}: {part} cannot be sent to a worker: {error}") from None
        answer = process.ask(*request)
        if answer is None:
            return False
        with self._changed:
            part.answer = answer
            self._changed.notify_all()
        if memory is not None:
            memory.add(process, request)
        return True

    def _died(self, process: _Process, part: _Part) -> None:
        with self._context.ledger.lock:
            self._nodes[0].notes["workers_died"] += 1
        ended = f"{self._name}: worker {process.pid} {process.how()}"
        if part.tries == _MOST_TRIES:
            raise ProcessError(f"{ended}, as {_MOST_TRIES} did over {part}", code=process.code, signal=process.signal)
        logger.warning("{}; {} are done by another", ended, part)

    # What goes on, on a thread of its own

    def _deliver(self) -> None:
        try:
            while (ticket := self._first()) is not None:
                if ticket.here:
                    self._do_here(ticket)
                else:
                    self._account(ticket)
                with self._changed:
                    if self._tickets:
                        self._tickets.popleft()
                    self._changed.notify_all()
            self._finish()
            if self._error is not None:
                self._tell(self._error)
            elif not self._lost:
                self._downstream.on_completed()
        except Exception as error:  # a bug; the stream must not end as if all were well
            logger.opt(exception=error).error("{}: what the workers did cannot be delivered", self._name)
            self._lose("stream failed")
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        """Send an error on, when what is done on the thread of the source is done: signals do not overlap."""
        with self._changed:
            while self._busy:
                self._changed.wait()
        self._downstream.on_error(error)

    def _first(self) -> _Ticket | None:
        """Wait for the next batch in turn to be done. None at the end."""
        with self._changed:
            while not self._lost:
                if self._tickets:
                    ticket = self._tickets[0]
                    if ticket.done:
                        ticket.begun = True
                        return ticket
                elif self._ended:
                    return None
                self._changed.wait()
            return None

    def _account(self, ticket: _Ticket) -> None:
        """Count what became of a batch, and send on what came of it."""
        batch = ticket.batch
        answers: list[Answer] = [marshal.loads(part.answer or b"") for part in ticket.parts]
        with self._context.ledger.lock:
            if self._lost:
                return  # it was counted as lost
            self._held -= len(batch)
            self._nodes[0].taken -= len(batch)  # which was counted when it came
            for counts, *_ in answers:
                self._count(counts)
        first = [(stage, record) for _, found, *_ in answers for stage, record in found]
        for stage, record in sorted(first, key=lambda pair: pair[1][1]):  # its line
            self._local.warn_of_rejection(records_of([record])[0], stage)
        for counts, *_ in answers:
            for stage, count in enumerate(counts):
                for what in count[-1]:
                    self._local.warn_of_note(stage, what)
        records = [record for _, _, found, *_ in answers for record in records_of(found)]
        events = [event for *_, columns, _ in answers for event in events_of(columns, batch)]
        if len(answers) > 1:
            records.sort(key=_LINE)
            events.sort(key=_LINE)
        for record in records:
            self._context.reject(record)
        if events:
            self._downstream.on_batch(events)
        failures = [failure for *_, failure in answers if failure is not None]
        if failures:
            self._fail(ParseError(min(failures)[1]))  # that of the first line

    def _count(self, counts: list[tuple[Any, ...]]) -> None:
        """Count what became of a part. Called with the ledger's lock held."""
        for node, count in zip(self._nodes, counts, strict=True):
            taken, out, filtered, rejected, merged, made, dropped, notes = count
            node.taken += taken
            node.out += out
            node.filtered += filtered
            node.rejected += rejected
            node.merged += merged
            node.made += made
            node.dropped.update(dropped)
            node.notes.update(notes)

    # The end

    def _drop(self, count: int) -> None:
        node = self._nodes[0]
        with self._context.ledger.lock:
            node.taken += count
            node.dropped[self._lost] += count

    def _lose(self, why: str, error: Exception | None = None) -> None:
        """Take nothing from here on, and count what is under way as lost. An error is sent on where it is the first."""
        with self._changed:
            if self._lost:
                return
            self._error = error
            with self._context.ledger.lock:
                self._lost = why
                lost, self._held = self._held, 0
                if lost:
                    self._nodes[0].dropped[why] += lost
            for ticket in self._tickets:
                if ticket.here and not ticket.begun:
                    self._drop(len(ticket.batch))
            self._finished = True
            self._changed.notify_all()
        for process in [*self._processes.values()]:
            process.kill()

    def _fail(self, error: Exception) -> None:
        """End with an error, which the thread that delivers sends on: signals do not overlap."""
        self._lose("stream failed", error)

    def _finish(self) -> None:
        """Let the processes end, and wait for them."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()
        self.wait(_LAST_WAIT)

    def stop(self) -> None:
        """Nothing: it ends when what comes before it does."""

    def dispose(self) -> None:
        """Drop what is under way, counted, and everything that still comes. The processes end at once."""
        self._lose("disposed")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the threads, and so for the processes."""
        until = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(None if until is None else max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)
