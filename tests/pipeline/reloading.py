"""What the tests of reloads share: a run on a thread of its own, which is given one description after the other."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rx_collector as rx
from rx_collector.ledger import Report
from rx_collector.pipeline.collector import Collector
from rx_collector.pipeline.project import Project
from rx_collector.pipeline.record import RecordingCollector
from tests.conftest import wait_until

#: Prints 1, 2, 3 … until it is stopped, and then a last line.
COUNTS = "[sh, -c, 'trap \"echo last; exit 0\" TERM; i=0; while :; do i=$((i+1)); echo $i; done']"
#: The same, but never more than some thousand a second.
COUNTS_SLOWLY = (
    '[sh, -c, \'trap "echo last; exit 0" TERM; i=0; while :; do i=$((i+1)); echo $i; '
    "[ $((i % 20)) -ne 0 ] || sleep 0.005; done']"
)


class Running:
    """A collector that runs, and the directory of its files."""

    def __init__(self, directory: Path, text: str, *, record_to: Path | None = None, **options: Any) -> None:
        self.directory = directory
        project = self.load(text)
        self.collector = Collector(project) if record_to is None else RecordingCollector(project, record_to)
        self.report: Report | None = None
        self._thread = threading.Thread(target=self._run, kwargs=options)
        self._thread.start()

    def _run(self, **options: Any) -> None:
        self.report = self.collector.run(**options)

    def load(self, text: str) -> Project:
        (self.directory / "x.yaml").write_text(text)
        return rx.load(self.directory / "x.yaml")

    def ask(self, text: str) -> threading.Event:
        """Ask for a reload; the event is set when it is over, one way or the other."""
        project, over = self.load(text), threading.Event()
        loaded = threading.Event()

        def load() -> Project:
            loaded.set()
            return project

        def wait() -> None:
            wait_until(loaded.is_set, "a reload begins", 30)
            self.collector._reloader.wait()
            over.set()

        self.collector.reload(load)
        threading.Thread(target=wait, daemon=True).start()
        return over

    def reload(self, text: str, deadline: float = 30.0) -> None:
        """Reload, and wait until that is over."""
        assert self.ask(text).wait(deadline), "the reload is not over"

    def pid(self, runner: str = "numbers") -> int:
        """The process id of its child, once there is one."""

        def child() -> Any:
            return getattr(self.collector._network.readers.get(runner), "_child", None)

        wait_until(lambda: child() is not None, f"{runner} is started")
        return int(child().pid)

    def lines(self, name: str) -> list[str]:
        """The lines of a file of messages, without the last one while it is being written."""
        path = self.directory / name
        if not path.exists():
            return []
        text = path.read_text()
        whole = text[: text.rfind("\n") + 1]
        return [str(json.loads(line)["message"]) for line in whole.splitlines()]

    def numbers(self, *names: str) -> list[int]:
        return sorted(int(line) for name in names for line in self.lines(name) if line != "last")

    def wait_for(self, name: str, more: int = 1) -> None:
        """Wait until so many more lines are in a file."""
        path = self.directory / name
        size = path.stat().st_size if path.exists() else 0
        wait_until(lambda: path.exists() and path.stat().st_size >= size + 14 * more, f"more lines in {name}", 30)

    def wait_for_lines(self, runner: str, more: int = 100) -> None:
        """Wait until a runner has printed so many more lines."""

        def lines() -> int:
            return self.collector.report().runners[runner].lines

        wanted = lines() + more
        wait_until(lambda: lines() >= wanted, f"more lines of {runner}", 30)

    def stop(self) -> Report:
        self.collector.stop()
        return self.end()

    def end(self, deadline: float = 60.0) -> Report:
        self._thread.join(deadline)
        assert not self._thread.is_alive(), "the run does not end"
        assert self.report is not None
        assert self.report.unbalanced == []
        return self.report


@contextlib.contextmanager
def running(directory: Path, text: str, **options: Any) -> Iterator[Running]:
    """A run that is gone in the end, whatever the test does."""
    run = Running(directory, text, **options)
    try:
        wait_until(lambda: bool(run.collector._network.readers), "the run begins")
        yield run
    finally:
        if run._thread.is_alive():
            run.collector.abort()
            run._thread.join(30)
