"""Workers: the first stages of a pipeline run in several processes, which share the batches.

    on_batch    the thread of the source; numbers the batches by putting them into a queue
    _serve      a thread for each process: gives it one batch after the other, and takes its answers
    _deliver    one thread: sends what comes back on, in the order of the batches

What a process has in hand is not forgotten here before its answer is there, whole. So when one dies, another one does the
same lines again, and nothing of the first answer was seen by anybody: each event comes once, in its place.

Few lines cost less here than on their way, so a batch of a few is not given away while nothing else is under way.
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
from collections.abc import Callable, Sequence
from typing import Final

from loguru import logger

from rx_collector.errors import ParseError, ProcessError, RxCollectorError
from rx_collector.event import Lines
from rx_collector.ledger import Node
from rx_collector.pipes import LARGEST, widen
from rx_collector.stream.flow import Batch, BatchObserver, Connection, Context
from rx_collector.stream.segment import SegmentObserver, Step
from rx_collector.stream.worker import Answer, Setup, batch_as_bytes, events_of, read_message, records_of, write_message

__all__ = ["FEW", "Workers"]

FEW: Final = 64  # lines that are done here while nothing is under way
_MOST_TRIES: Final = 3  # for one batch; what ends three processes would end a fourth
_LAST_WAIT: Final = 2.0  # seconds that threads and processes may take to end once they were told to
_MAIN: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from rx_collector.stream.worker import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)


class _Ended(Exception):
    """There is nothing to do any more."""


class _Ticket:
    """A batch until what came of it is delivered: done `here`, in its turn, or by a process, which then has an `answer`."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.here = False
        self.begun = False  # its delivery
        self.answer: bytearray | None = None
        self.tries = 0

    def __str__(self) -> str:
        assert isinstance(self.batch, Lines)
        first, last = self.batch.first, self.batch.first + len(self.batch) - 1
        return f"the lines {first} to {last} of {self.batch.origin.runner}"


class _Process:
    """A worker process. One thread asks it and ends it; any may kill it. Raises OSError when it cannot be started."""

    def __init__(self, setup: bytes) -> None:
        reading, self._requests = os.pipe()
        self._answers, writing = os.pipe()
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

    def ask(self, request: bytes) -> bytearray | None:
        """Send a request and give the answer. Blocks. None when the process is gone."""
        try:
            if self._setup is not None:
                write_message(self._requests, self._setup)
                self._setup = None
            write_message(self._requests, request)
            return read_message(self._answers)
        except OSError:  # nobody reads it any more
            return None

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


class _Ahead:
    """What follows the loop that runs here: what follows the workers."""

    def __init__(self, downstream: BatchObserver, fail: Callable[[Exception], None]) -> None:
        self.on_batch = downstream.on_batch
        self.on_error = fail

    def on_completed(self) -> None:
        """The workers end by themselves."""


class Workers(Connection):
    """The observer before a row of stages that `count` processes share. Each process has a thread here.

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
        self._local = SegmentObserver(steps, nodes, _Ahead(downstream, self._fail), context, to_bytes=to_bytes)
        self._most = 2 * count
        self._changed = threading.Condition()
        self._tickets: deque[_Ticket] = deque()  # in the order of the batches, until they are delivered
        self._waiting: deque[_Ticket] = deque()  # those of them that no process has yet
        self._finished = False  # the threads have nothing to do any more
        self._ended = False  # nothing comes any more
        self._error: Exception | None = None  # ... for this reason, or the stream has failed
        self._lost = ""  # why nothing is taken any more
        self._held = 0
        nodes[0].held = lambda: self._held
        self._processes: dict[int, _Process] = {}
        self._threads = [
            threading.Thread(target=self._serve, args=(number,), name=f"rx-{name}-worker-{number}", daemon=True)
            for number in range(1, count + 1)
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
        with self._changed:
            here = not self._tickets and (not isinstance(batch, Lines) or len(batch) <= FEW)
            while not here and len(self._tickets) >= self._most and not self._lost:
                self._changed.wait()
            if self._lost:
                self._drop(len(batch))
                return
            if not here:
                ticket = _Ticket(batch)
                if isinstance(batch, Lines):
                    with self._context.ledger.lock:
                        self._nodes[0].taken += len(batch)
                        self._held += len(batch)
                    self._waiting.append(ticket)
                else:
                    ticket.here = True
                self._tickets.append(ticket)
                self._changed.notify_all()
        if here:
            self._local.on_batch(batch)

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
        try:
            process = self._start(number)
            while (ticket := self._next()) is not None:
                while process.gone() or not self._done(process, ticket):
                    process.end()
                    if self._finished:
                        return
                    self._died(process, ticket)
                    process = self._start(number)
            process.end()
        except _Ended:
            pass
        except RxCollectorError as error:
            self._fail(error)
        except Exception as error:
            logger.opt(exception=error).error("{}: a worker's thread failed", self._name)
            self._fail(error)

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
        logger.debug("{}: worker {} started, pid {}", self._name, number, process.pid)
        return process

    def _next(self) -> _Ticket | None:
        with self._changed:
            while not self._waiting and not self._finished:
                self._changed.wait()
            return None if self._finished else self._waiting.popleft()

    def _done(self, process: _Process, ticket: _Ticket) -> bool:
        """Have a batch done. False when the process is gone."""
        assert isinstance(ticket.batch, Lines)
        ticket.tries += 1
        answer = process.ask(batch_as_bytes(ticket.batch))
        if answer is None:
            return False
        if answer[:1] == b"-":
            process.end()
            logger.error("{}: a worker failed\n{}", self._name, answer[1:].decode())
            raise ProcessError(f"{self._name}: a worker failed: {answer[1:].decode().splitlines()[-1]}")
        with self._changed:
            ticket.answer = answer
            self._changed.notify_all()
        return True

    def _died(self, process: _Process, ticket: _Ticket) -> None:
        with self._context.ledger.lock:
            self._nodes[0].notes["workers_died"] += 1
        ended = f"{self._name}: worker {process.pid} {process.how()}"
        if ticket.tries == _MOST_TRIES:
            raise ProcessError(f"{ended}, as {_MOST_TRIES} did over {ticket}", code=process.code, signal=process.signal)
        logger.warning("{}; {} are done by another", ended, ticket)

    # What goes on, on a thread of its own

    def _deliver(self) -> None:
        try:
            while (ticket := self._first()) is not None:
                if ticket.here:
                    self._local.on_batch(ticket.batch)
                else:
                    self._account(ticket)
                with self._changed:
                    if self._tickets:
                        self._tickets.popleft()
                    self._changed.notify_all()
            self._finish()
            if self._error is not None:
                self._downstream.on_error(self._error)
            elif not self._lost:
                self._downstream.on_completed()
        except Exception as error:  # a bug; the stream must not end as if all were well
            logger.opt(exception=error).error("{}: what the workers did cannot be delivered", self._name)
            self._lose("stream failed")
            self._downstream.on_error(error)

    def _first(self) -> _Ticket | None:
        """Wait for the next batch in turn to be done. None at the end."""
        with self._changed:
            while not self._lost:
                if self._tickets:
                    ticket = self._tickets[0]
                    if ticket.here or ticket.answer is not None:
                        ticket.begun = True
                        return ticket
                elif self._ended:
                    return None
                self._changed.wait()
            return None

    def _account(self, ticket: _Ticket) -> None:
        """Count what became of a batch, and send on what came of it."""
        batch, answer = ticket.batch, ticket.answer
        assert isinstance(batch, Lines)
        assert answer is not None
        loaded: Answer = marshal.loads(memoryview(answer)[1:])
        counts, first, records, columns, failure = loaded
        with self._context.ledger.lock:
            if self._lost:
                return  # it was counted as lost
            self._held -= len(batch)
            for index, (node, count) in enumerate(zip(self._nodes, counts, strict=True)):
                taken, out, filtered, rejected, merged, made, dropped, notes = count
                node.taken += taken if index else taken - len(batch)
                node.out += out
                node.filtered += filtered
                node.rejected += rejected
                node.merged += merged
                node.made += made
                node.dropped.update(dropped)
                node.notes.update(notes)
        for stage, record in first:
            self._local.warn_of_rejection(records_of([record], batch)[0], stage)
        for stage, count in enumerate(counts):
            for what in count[-1]:
                self._local.warn_of_note(stage, what)
        for record in records_of(records, batch):
            self._context.reject(record)
        events = events_of(columns, batch)
        if events:
            self._downstream.on_batch(events)
        if failure is not None:
            self._fail(ParseError(failure))

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
