"""Reload: to turn what runs into what another description says, without losing an event or sending one twice.

What is described as before is not touched. The rest goes in steps: make the new operators and open the new sinks, of which
any can fail and nothing has happened; stop the runners that change, whose last lines go the old way; then switch, source by
source in the direction of the flow; then start the new runners.

Each source is switched between two of its batches, so what it sends goes either to all who read it before or to all who
read it from then on. The operators of a pipeline that changes send what they hold when the last of its sources has left
them, and its new operators let nothing in before that. While that is waited for, all that lies further down the flow still
goes the old way, and nothing there waits for the reload; so it comes to its end as soon as the sinks take what there is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from loguru import logger

from rx_collector.errors import ConfigError, OutputError, RxCollectorError
from rx_collector.pipeline.compare import Difference, in_order, names, same_file, shared_files, used
from rx_collector.pipeline.generation import Generation
from rx_collector.pipeline.network import Network
from rx_collector.pipeline.parts import Hub, Link, OpenBranch
from rx_collector.pipeline.project import Project, branch_of, lifecycle_of
from rx_collector.pipeline.spec import Branch
from rx_collector.sinks.stdin import Stdin
from rx_collector.stream.flow import BatchObserver
from rx_collector.waker import Waker

__all__ = ["Reloader"]

_LOOK = 0.05  # seconds between two looks at whether the run is ending
_MOST_WAIT = 10.0  # seconds that the new operators of a pipeline wait for the old ones to end


class Reloader:
    """Carries out one reload after the other, each on the thread ``rx-reload``; the collector's goes on with its duties.

    `ending` tells that nothing is to be begun any more, `aborted` that nothing is waited for. `ask` is safe from any thread
    and from signal handlers; `look` is for the collector's thread.
    """

    def __init__(self, network: Network, news: Waker, ending: Callable[[], bool], aborted: Callable[[], bool]) -> None:
        self._network = network
        self._news = news
        self._ending = ending
        self._aborted = aborted
        self._asked: deque[Callable[[], Project | None]] = deque(maxlen=1)
        self._idle = threading.Event()
        self._idle.set()

    def ask(self, load: Callable[[], Project | None]) -> None:
        """Ask for a reload; one that was asked for before and has not begun gives way."""
        self._asked.append(load)
        self._news.set()

    @property
    def busy(self) -> bool:
        """Whether a reload is being carried out."""
        return not self._idle.is_set()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until none is."""
        self._idle.wait(timeout)

    def look(self) -> None:
        """Begin what was asked for, if nothing is being carried out."""
        if self.busy or not self._asked:
            return
        load = self._asked.popleft()
        with self._network.lock:
            if self._ending():
                logger.info("reload ignored: the run is ending")
                return
            self._idle.clear()
        try:
            threading.Thread(target=self._run, args=(load,), name="rx-reload", daemon=True).start()
        except RuntimeError as error:  # no thread is left
            logger.error("reload refused, what ran runs on: {}", error)
            self._idle.set()

    def _run(self, load: Callable[[], Project | None]) -> None:
        try:
            project = load()
            if project is not None:
                said = Reload(self._network, project, self._ending, self._aborted).carry_out()
                logger.info("{}", said)
        except ConfigError as error:
            for mistake in error.mistakes:
                logger.error("reload refused, what ran runs on: {}", mistake)
        except RxCollectorError as error:
            logger.error("reload refused, what ran runs on: {}", error)
        except Exception as error:
            logger.opt(exception=error).error("the reload failed")
        finally:
            self._idle.set()
            self._news.set()


class _Refused(RxCollectorError):
    """It cannot be done while it runs."""


class _Ending(Exception):
    """The run ends, so there is nothing to be changed any more."""


class Reload:
    """One reload. `carry_out` blocks until it is done, as long as the runners that change take to end and the sinks to
    take what is on its way to them.
    """

    def __init__(
        self, network: Network, project: Project, ending: Callable[[], bool], aborted: Callable[[], bool]
    ) -> None:
        self._network = network
        self._project = project
        self._ending = ending
        self._aborted = aborted
        self._difference = Difference.between(network.project, project, network.sorts)
        self._start = set(self._difference.start)
        self._stop = set(self._difference.stop)
        self._before = network.hubs
        self._branches = network.branches
        self._held: list[Hub] = []  # of runners: kept from ending when their reader does
        self._revived: set[str] = set()  # hubs that had ended and begin anew
        self._new: dict[str, Generation] = {}
        self._old: dict[str, Generation] = {}  # those that end
        self._switched: set[str] = set()
        self._late: list[BatchObserver] = []  # they read what has ended already

    def carry_out(self) -> str:
        """Do it, and say what was done. Raises RxCollectorError when it cannot be done; then all is as it was."""
        network, difference = self._network, self._difference
        if difference.refusals:
            raise _Refused(f"this change needs a restart: {'; '.join(difference.refusals)}")
        self._start_what_is_wanted_again()
        if difference.empty and not self._start:
            network.project = self._project
            return "reloaded: nothing has changed"
        state = network.sorts, network.feeds
        network.add_hubs(self._project)
        try:
            self._hold_runners()
            self._make()
            self._stop_runners()
            with network.lock:
                if self._ending():
                    raise _Ending
                self._adopt()
        except BaseException as error:
            network.restarting = frozenset()
            self._undo()
            network.hubs, (network.sorts, network.feeds) = self._before, state
            if isinstance(error, _Ending):
                return "reload given up: the run is ending"
            raise
        self._switch_all()
        self._start_runners()
        network.restarting = frozenset()
        self._close_removed()
        return f"reloaded: {difference}"

    # What can be undone

    def _start_what_is_wanted_again(self) -> None:
        """A runner that was stopped because nobody took what it printed is started when somebody does now."""
        changed = [self._project.pipelines[name] for name in self._difference.pipelines]
        for name in self._network.unwanted & used(self._project) - self._network.feeds.keys():
            if any({name, lifecycle_of(name)} & spec.reads for spec in changed):
                self._start.add(name)
                self._stop.add(name)

    def _hold_runners(self) -> None:
        """Keep what reads a runner from ending with its old child."""
        for name in self._start | self._stop:
            for one in (name, lifecycle_of(name)):
                if one in self._before:
                    self._held.append(self._before[one])
                    if not self._before[one].join():
                        self._revived.add(one)

    def _make(self) -> None:
        """Make the operators and open the sinks that are new."""
        network = self._network
        for name in in_order(self._project):
            if name not in self._project.pipelines:
                continue
            old = network.pipelines.get(name)
            if name not in self._difference.pipelines and not self._begins_again(name):
                continue
            if old is not None:
                self._old[name] = old
            for one in (name, *(branch_of(name, way) for way in self._project.pipelines[name].branches)):
                if one in self._before and not self._before[one].join():
                    self._revived.add(one)
            self._new[name] = network.make(name, self._project, network.ledger.pipelines.get(name))
        for name in self._difference.gone:
            self._old[name] = network.pipelines[name]
        for name, generation in self._new.items():
            network.open(generation, self._old.get(name), self._bind)
            generation.connect(network.limit)
            if generation.error is not None:
                raise OutputError(f"pipeline {name}: {generation.error}")

    def _begins_again(self, name: str) -> bool:
        """Whether what a pipeline read had ended and begins anew, and it cannot take that up where it was."""
        generation = self._network.pipelines[name]
        ended = generation.over or any(inlet.over for inlet in generation.inlets)
        if ended and self._revived & set(generation.spec.sources):
            return True
        return any(not tap.live and tap.source in self._revived for tap in generation.taps)

    def _bind(self, branch: Branch) -> Branch:
        if isinstance(branch.sink, Stdin) and branch.sink.runner not in self._start:
            raise _Refused(f"this change needs a restart: the runner {branch.sink.runner!r} is fed already")
        for running in self._network.branches:
            path = shared_files(branch, running.branch)
            if path is not None and running.consumer.thread.is_alive():
                raise _Refused(f"this change needs a restart: {path} is in use by {running.end.name}")
        return self._network.bind(branch)

    def _stop_runners(self) -> None:
        """Stop the runners that change, and wait until their last lines are where they belong."""
        self._network.restarting = frozenset(self._stop & self._start)
        readers = [self._network.readers[name] for name in self._stop if name in self._network.readers]
        for name in sorted(self._stop - self._start & set(self._project.runners)):
            logger.warning("runner {} is read by no pipeline any more and is stopped", name)
        for reader in readers:
            reader.stop()
        for reader in readers:
            while not reader.wait(_LOOK):
                if self._ending():
                    raise _Ending

    def _adopt(self) -> None:
        """From here on there is no way back."""
        network = self._network
        network.project = self._project
        for generation in self._new.values():
            network.adopt(generation)
            for branch in generation.branches:
                branch.reject_to(generation.dead_letter)
        network.pipelines = {name: network.pipelines[name] for name in self._project.pipelines}
        network.readers = {name: reader for name, reader in network.readers.items() if name not in self._stop}
        network.unwanted -= self._start
        for name in self._project.runners:
            network.ledger.runner(name)
        with network.ledger.lock:
            network.ledger.reloads += 1

    def _undo(self) -> None:
        network = self._network
        for generation in self._new.values():
            generation.close()
        for generation in self._new.values():
            generation.wait()
        opened = [branch for branch in network.branches if branch not in self._branches]
        network.branches = [*self._branches, *(branch for branch in opened if branch.consumer.thread.is_alive())]
        for name in self._new:
            if name not in network.pipelines:
                network.close_timers(name)
        for hub in self._held:
            hub.on_completed()

    # What cannot

    def _switch_all(self) -> None:
        """Switch source by source, each after all that it gets its events from."""
        old = self._difference.old
        replaced = [generation for name, generation in self._new.items() if name in self._old]
        for generation in replaced:
            generation.shut()
        try:
            for one in names(self._project).keys() - names(old).keys():
                self._switch(one)  # nothing comes from it yet
            for name in in_order(old):
                if name in self._old:
                    self._end_old(name)
                self._switch(name)
                if name in old.runners:
                    self._switch(lifecycle_of(name))
                for way in self._ways(old, name):
                    self._switch(branch_of(name, way))
                if name in self._old and name in self._new:
                    self._new[name].let_in()
        finally:
            for generation in self._new.values():
                generation.let_in()  # those that were not yet; nobody is left waiting whatever happens
        for observer in self._late:
            observer.on_completed()

    @staticmethod
    def _ways(project: Project, name: str) -> tuple[str, ...]:
        return project.pipelines[name].branches if name in project.pipelines else ()

    def _end_old(self, name: str) -> None:
        """Let the old operators of a pipeline send what they hold, now that nothing comes to them any more."""
        old = self._old[name]
        old.retire()
        if old.inlets and not self._wait_for(old.ended):
            logger.warning("pipeline {}: its old operators have not ended yet, the new ones begin beside them", name)
        new = self._new.get(name)
        for branch in new.branches if new is not None else ():
            for before in old.branches:
                if not before.used and same_file(branch.branch, before.branch):
                    self._wait_for_branch(before)  # so that its lines come first

    def _wait_for(self, event: threading.Event) -> bool:
        for _ in range(round(_MOST_WAIT / _LOOK)):
            if event.wait(_LOOK) or self._aborted():
                break
        return event.is_set()

    def _wait_for_branch(self, branch: OpenBranch) -> None:
        thread = branch.consumer.thread
        for _ in range(round(_MOST_WAIT / _LOOK)):
            thread.join(_LOOK)
            if not thread.is_alive() or self._aborted():
                break

    def _switch(self, name: str) -> None:
        """Let those read a source from now on who do in the new description."""
        if name in self._switched:
            return
        self._switched.add(name)
        hub = self._network.hubs[name]
        gone = [observer for generation in self._old.values() for observer in generation.observers(name)]
        come = [observer for generation in self._new.values() for observer in generation.observers(name)]
        if not gone and not come and name not in self._revived:
            return
        with hub.changing():
            for generation in self._old.values():
                if name in generation.spec.reads:
                    generation.context.pipeline.left.setdefault(name, hub.sent)
            for generation in self._new.values():
                if name in generation.spec.reads:
                    generation.context.pipeline.begun[name] = hub.sent
            stay = [observer for observer in hub.observers if observer not in gone]
            for observer in stay if name in self._revived else ():
                if isinstance(observer, Link) and not observer.live:
                    observer.inlet.begin_again(observer)
            hub.observers = [*stay, *come]
            if hub.ended:
                self._late += come

    def _start_runners(self) -> None:
        network = self._network
        unread = {name for name in self._project.runners if name not in self._before}
        with network.lock:
            if self._ending():
                for name in self._start:
                    for one in (name, lifecycle_of(name)):
                        network.hubs[one].on_completed()
            else:
                those = self._start | (unread - self._stop)
                network.start(name for name in self._project.runners if name in those)
        for name in self._stop - self._start:
            for one in (name, lifecycle_of(name)):
                network.hubs[one].on_completed()

    def _close_removed(self) -> None:
        """Wait for the sinks of removed pipelines in the background, and release what else they have."""
        for name in self._difference.gone:
            branches = [one for one in self._network.branches if one.pipeline == name]

            def close(name: str = name, branches: list[OpenBranch] = branches) -> None:
                for branch in branches:
                    branch.consumer.thread.join()
                with self._network.lock:
                    if name not in self._network.pipelines:
                        self._network.close_timers(name)

            threading.Thread(target=close, name=f"rx-{name}-closing", daemon=True).start()
