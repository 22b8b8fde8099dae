"""The supervisor: the one thread that starts children, reads their stderr, sees them end, and stops them.

It runs while there is a child or a timer and ends by itself. Nothing it does blocks: exits come by pidfd, stderr is
read without waiting, and the steps of a stop are timers. So stderr is drained and a stop is obeyed whatever the
consumers of stdout do.
"""

from __future__ import annotations

import atexit
import contextlib
import heapq
import itertools
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rx_collector.errors import ProcessError
from rx_collector.guardian import Guardian
from rx_collector.log import logger
from rx_collector.runners.child import Child
from rx_collector.runners.framing import Row
from rx_collector.runners.spec import RunnerSpec
from rx_collector.waker import LONGEST_WAIT, Waker

__all__ = ["Supervisor", "Timer", "supervisor"]


class Timer:
    """Something to be done later on the supervisor's thread."""

    def __init__(self, owner: Supervisor, due: float, action: Callable[[], None]) -> None:
        self.due = due
        self.action: Callable[[], None] | None = action
        self._owner = owner

    def cancel(self) -> None:
        """Do not do it, if it is not being done already. Safe from any thread."""
        self.action = None
        self._owner.look()  # it may have been all that the supervisor still waits for


class Supervisor:
    """The thread ``rx-supervisor``, started when there is something to do, and its hands: all is safe from any thread.

    `submit`, and with it every stop, may also be called by a signal handler that interrupts one of these very calls: it
    takes no lock. Who takes the one `_idle` token starts the thread, which gives it back when it ends.
    """

    def __init__(self) -> None:
        self._waker = Waker()
        self._reset()

    def _reset(self) -> None:
        self._idle = [True]
        #: The interpreter ends: nobody is told any more what becomes of the children.
        self.at_exit = False
        self._commands: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._children: set[Child] = set()
        self._selector: selectors.BaseSelector | None = None
        self.guardian = Guardian(self.watch, self.unwatch, self.call_later)

    def forked(self) -> None:
        """Begin anew in a process that was forked off: what is supervised is the parent's."""
        self.guardian.forget()
        self._waker.forked()
        self._waker = Waker()
        self._reset()

    def spawn(self, name: str, spec: RunnerSpec, on_stderr: Callable[[list[Row]], None], *, fed: bool = False) -> Child:
        """Start a child. Blocks until it is started; raises ProcessError when it cannot be. Not for this thread.

        `on_stderr` is called on the supervisor's thread with rows of lines of its standard error. `fed` asks for a pipe
        to its standard input.
        """
        child = Child(self, name, spec, on_stderr, fed=fed)
        started = threading.Event()
        failure: list[Exception] = []

        def start() -> None:
            try:
                child.start()
                self._children.add(child)
            except ProcessError as error:
                failure.append(error)
            except Exception as error:  # no descriptor for the guardian, no /bin/sh, no pidfds
                why = os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)
                failure.append(ProcessError(f"{name}: cannot start it: {why}", runner=name))
                logger.opt(exception=error).debug("{} could not be started", name)
            finally:
                started.set()

        try:
            self.submit(start)
        except RuntimeError as error:
            raise ProcessError(f"{name}: cannot start it: {error}", runner=name) from None
        started.wait()
        if failure:
            raise failure[0]
        return child

    def submit(self, command: Callable[[], None]) -> None:
        """Do something soon on the supervisor's thread. Never blocks."""
        self._commands.append(command)
        try:
            self._idle.pop()
        except IndexError:
            self._waker.set()
            return
        try:
            threading.Thread(target=self._run, name="rx-supervisor", daemon=True).start()
        except RuntimeError:  # no more threads
            self._commands.remove(command)
            self._idle.append(True)
            raise

    def look(self) -> None:
        """Let the thread, if there is one, look whether there is still something to wait for."""
        if not self._idle:
            self._waker.set()

    def call_later(self, delay: float, action: Callable[[], None]) -> Timer:
        """Do something on the supervisor's thread after `delay` seconds."""
        timer = Timer(self, time.monotonic() + delay, action)
        self.submit(lambda: heapq.heappush(self._timers, (timer.due, next(self._order), timer)))
        return timer

    def children(self) -> list[Child]:
        """Give the children that are not gone yet."""
        return list(self._children)

    def stop_all(self, deadline: float) -> bool:
        """Stop all children and wait at most `deadline` seconds for them. True when all are gone. For the very end."""
        until = time.monotonic() + deadline
        children = self.children()
        for child in children:
            child.stop()
            child.output_ended()  # nobody will read it any more
        return all(child.exited.wait(max(0.0, until - time.monotonic())) for child in children)

    # What follows runs on the supervisor's thread.

    def watch(self, descriptor: int, action: Callable[[], None]) -> None:
        """Call `action` whenever the descriptor can be read."""
        assert self._selector is not None
        self._selector.register(descriptor, selectors.EVENT_READ, action)

    def unwatch(self, descriptor: int) -> None:
        """Stop watching, if it is watched."""
        assert self._selector is not None
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(descriptor)

    def forget(self, child: Child) -> None:
        """A child is gone."""
        self._children.discard(child)

    def _run(self) -> None:
        try:
            selector: selectors.BaseSelector = selectors.DefaultSelector()
        except OSError:  # no descriptor left for it; this one needs none
            selector = selectors.PollSelector()
        self._selector = selector
        selector.register(self._waker, selectors.EVENT_READ, self._waker.clear)
        while True:
            self._run_commands()
            self._run_timers(selector)
            if not (self._commands or self._children or self._timers):
                self._guarded(self.guardian.close)
                if self._ends():
                    break
            timeout = None
            if self._timers:
                timeout = min(max(0.0, self._timers[0][0] - time.monotonic()), LONGEST_WAIT)
            for key, _ in selector.select(0.0 if self._commands else timeout):
                self._guarded(key.data)
        selector.close()

    def _ends(self) -> bool:
        """Give the token back. False when something was submitted meanwhile and nobody else has taken it up."""
        self._idle.append(True)
        if not self._commands:
            return True
        try:
            self._idle.pop()
        except IndexError:
            return True
        return False

    def _run_commands(self) -> None:
        while self._commands:
            self._guarded(self._commands.popleft())

    def _run_timers(self, selector: selectors.BaseSelector) -> None:
        looked = False
        while self._timers:
            due, _, timer = self._timers[0]
            if timer.action is not None and due > time.monotonic():
                return
            if timer.action is not None and not looked:
                # If it was us who slept (SIGSTOP, a suspend), what happened meanwhile comes before what is due since.
                looked = True
                for key, _ in selector.select(0.0):
                    self._guarded(key.data)
                continue
            heapq.heappop(self._timers)
            if timer.action is not None:
                self._guarded(timer.action)

    def _guarded(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:  # a bug: the other children must not be left alone for it
            logger.opt(exception=error).error("the supervisor failed in {}", action)


#: The one supervisor of this process.
supervisor = Supervisor()


@atexit.register
def _at_exit() -> None:
    supervisor.at_exit = True
    children = supervisor.children()
    if children:
        stops = [child.spec.stop for child in children]
        supervisor.stop_all(max(stop.grace + stop.terminate_grace + stop.kill_grace for stop in stops) + 1.0)


os.register_at_fork(after_in_child=supervisor.forked)
