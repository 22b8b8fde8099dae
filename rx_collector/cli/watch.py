"""Watching files: those named on the command line, and those that they name themselves (scripts, tables)."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rx_collector.config.options import PATH, Spec
from rx_collector.pipeline.project import Project
from rx_collector.runners.spec import RunnerSpec

__all__ = ["Watch", "named_files"]

_BETWEEN_LOOKS = 0.5  # seconds
_UNTIL_SETTLED = 0.1  # seconds in which a file that has changed changes no more
_MOST_LOOKS = 20  # then what there is is taken
_State = tuple[int, int, int] | None


class Watch:
    """Looks at files until one of them changes, appears or goes away.

    `others` gives the files that a project reads, beside those named. A file that cannot be loaded names no other files;
    those that it named before are watched on, so that a mistake in one of them can be mended there.
    """

    def __init__(self, files: Sequence[str], others: Callable[[Project], Iterable[str]] | None = None) -> None:
        self._named = set(map(os.path.abspath, files))
        self._others: set[str] = set()
        self._others_of = (lambda project: {*project.files, *named_files(project)}) if others is None else others
        self._seen = self._look()
        self._over = threading.Event()

    def add(self, files: Sequence[str]) -> None:
        """Look at these, too: those that a file includes which cannot be loaded."""
        self._others |= set(files)
        self._seen |= {file: _state(file) for file in set(files) - self._seen.keys()}

    def wait(self, projects: Sequence[Project]) -> str | None:
        """Wait for a change since the last one, and give the file; None after `close`.

        `projects` are what was loaded since then, if any.
        """
        if projects:
            self._others = {file for project in projects for file in self._others_of(project)}
            new = self._others - self._seen.keys()
            self._seen |= {file: _state(file) for file in new}
        while not self._over.is_set():
            now = self._look()
            changed = [file for file, state in now.items() if self._seen.get(file) != state]
            if changed:
                self._seen = self._settled(now, self._over)
                return changed[0]
            self._over.wait(_BETWEEN_LOOKS)
        return None

    def close(self) -> None:
        """Wait no longer. Safe from any thread."""
        self._over.set()

    def _settled(self, before: dict[str, _State], pause: threading.Event) -> dict[str, _State]:
        """Wait until nothing changes any more: who writes a file empties it first, and may write it in parts."""
        for _ in range(_MOST_LOOKS):
            pause.wait(_UNTIL_SETTLED)
            now = self._look()
            if now == before:
                break
            before = now
        return before

    def _look(self) -> dict[str, _State]:
        return {file: _state(file) for file in sorted(self._named | self._others)}


def _state(file: str) -> _State:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def named_files(project: Project) -> set[str]:
    """Give the files that a project reads: arguments of commands that are files, and paths among options.

    What its sinks write is not among them.
    """
    found: set[str] = set()
    for runner in project.runners.values():
        found |= set(_paths(runner))
        for word in runner.command if isinstance(runner.command, tuple) else ():
            found.add(os.path.join(runner.cwd or "", word))
    for pipeline in project.pipelines.values():
        for placed in pipeline.operators:
            found |= set(_paths(placed.operator))
    return {os.path.abspath(file) for file in found if os.path.isfile(file)}


def _paths(value: Any) -> Iterator[str]:
    """Give the paths among the options of a component, and of those that it is made of."""
    if isinstance(value, Spec):
        for field in dataclasses.fields(value):
            inner = getattr(value, field.name)
            if field.metadata.get("kind") is PATH and isinstance(inner, str):
                if not (isinstance(value, RunnerSpec) and field.name == "cwd"):
                    yield inner
            else:
                yield from _paths(inner)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _paths(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _paths(item)
