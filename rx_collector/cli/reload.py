"""Reloading while it runs: what SIGHUP asks for, and a change of a file under ``--watch``."""

from __future__ import annotations

import os
import signal
import termios
import threading
from collections.abc import Callable
from dataclasses import replace

from rx_collector.cli.watch import Watch
from rx_collector.errors import ConfigError
from rx_collector.log import logger
from rx_collector.pipeline.collector import Collector
from rx_collector.pipeline.project import Project

__all__ = ["Files", "Terminal", "Watching"]

_REMEMBERED = 10  # earlier files whose secrets are still hidden


class Files:
    """The files of a run: loads them again, and hides the secrets of all that were ever loaded."""

    def __init__(
        self,
        load: Callable[[], Project],
        project: Project,
        write: Callable[[str], object],
        changes: Watch | None = None,
    ) -> None:
        """`load` loads them, as `project` was; `changes` is told which there are."""
        self._load = load
        self._changes = changes
        self._write = write
        self._redactions: list[Callable[[str], str]] = [project.redact]
        self.project = project  # as it was loaded last

    def redact(self, text: str) -> str:
        """Hide the values of secret variables in a text."""
        for redact in self._redactions:
            text = redact(text)
        return text

    def load(self) -> Project | None:
        """Load them again. Mistakes are shown as `validate` shows them; then there is nothing to change to."""
        try:
            project = self._load()
        except ConfigError as error:
            from rx_collector.cli.mistakes import mistakes_text

            if self._changes is not None:
                self._changes.add(error.files)
            self._write(f"reload refused, what ran runs on:\n{mistakes_text(error)}\n")
            return None
        if self._changes is not None:
            self._changes.add(project.files)
        for warning in project.warnings:
            logger.warning("{}", replace(warning, warning=False))
        # What is secret is the same mostly, and a run may be reloaded very often: only the last ones are asked.
        self._redactions = [*self._redactions[-_REMEMBERED:], project.redact]
        self.project = replace(project, redact=self.redact)
        return self.project


class Terminal:
    """The terminal that the command was started on, if it was. SIGHUP is also how it says that it has gone."""

    def __init__(self) -> None:
        self._there = _is_there()

    @property
    def gone(self) -> bool:
        """Whether there was one, and is no more."""
        return self._there and not _is_there()


def _is_there() -> bool:
    """Tell whether this process has a terminal that controls it, and that works."""
    try:
        descriptor = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        termios.tcgetattr(descriptor)
    except termios.error:
        return False
    finally:
        os.close(descriptor)
    return True


class EarlyHangUps:
    """While it is entered, a SIGHUP is kept for later: one that comes while the files are loaded must not end the command,
    which a service manager would take for a stop that was meant. Where it is ignored, as under nohup, it stays so.
    """

    def __init__(self) -> None:
        self.terminal = Terminal()
        self.came = False

    def __enter__(self) -> EarlyHangUps:
        self._before = signal.getsignal(signal.SIGHUP)
        if self._before is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._keep)
        return self

    def __exit__(self, *exception: object) -> None:
        if signal.getsignal(signal.SIGHUP) == self._keep:
            signal.signal(signal.SIGHUP, self._before)

    def _keep(self, number: int, frame: object) -> None:
        self.came = True


class Watching:
    """While it is entered, a reload is asked for whenever a file has changed. The thread ``rx-watch`` looks at them."""

    def __init__(self, changes: Watch, files: Files, collector: Collector) -> None:
        self._watch = changes
        self._files = files
        self._collector = collector
        self._thread = threading.Thread(target=self._run, name="rx-watch", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._watch.close()
        self._thread.join()

    def _run(self) -> None:
        loaded = [self._files.project]
        while (changed := self._watch.wait(loaded)) is not None:
            loaded = []  # what is loaded from now on says itself which files it has
            logger.info("{} has changed", os.path.relpath(changed))
            self._collector.reload(self._files.load)
