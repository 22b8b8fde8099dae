"""What the tests of runners share: a subscriber that remembers, looks at processes, scripts that are collectors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import reactivex.operators as ops

import rx_collector as rx
from rx_collector import operators as op
from rx_collector import sinks
from rx_collector.runners.child import Child
from rx_collector.runners.supervisor import supervisor
from tests.conftest import CHILDREN, wait_until

ROOT = CHILDREN.parent.parent
GUARDIAN = b"rx-guardian"


def messages(*command: str, **options: Any) -> list[str]:
    return rx.runner(*command, **options).pipe(ops.map(lambda event: event["message"]), ops.to_list()).run()


class Collected:
    """Subscribes and keeps what comes; `more` is called with each event."""

    def __init__(self, stream: Any, more: Any = None) -> None:
        self.events: list[rx.Event] = []
        self.error: Exception | None = None
        self.done = threading.Event()
        self.first = threading.Event()
        self._more = more
        self.subscription = stream.subscribe(self._next, self._error, self.done.set)

    def _next(self, event: rx.Event) -> None:
        self.events.append(event)
        self.first.set()
        if self._more is not None:
            self._more(event)

    def _error(self, error: Exception) -> None:
        self.error = error
        self.done.set()

    def wait(self, deadline: float = 20) -> Collected:
        assert self.done.wait(deadline), "the stream did not end"
        return self

    @property
    def texts(self) -> list[str]:
        return [event["message"] for event in self.events if event.type == "line"]

    def lifecycle(self) -> list[dict[str, Any]]:
        return [event.data for event in self.events if event.type == "lifecycle"]

    def happened(self, what: str) -> list[dict[str, Any]]:
        return [data for data in self.lifecycle() if data["event"] == what]


def gone(pid: int) -> bool:
    """Whether no process with this number runs: a zombie that somebody has yet to reap runs no more."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def the_child(count: int = 1) -> Child:
    """The one child that runs, as soon as it does."""
    wait_until(lambda: len(supervisor.children()) == count, "the child is started")
    return supervisor.children()[0]


def report_of(stream: Any) -> tuple[rx.Report, list[rx.Event]]:
    """Run a stream to its end; give the balance sheet, and the events as they arrived."""
    events: list[rx.Event] = []
    report = rx.run(stream.pipe(op.to(sinks.callback(events.append))))
    assert report.balanced, report.unbalanced
    return report, events


def fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on: state, parent, group, session …; none when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def marked(mark: str) -> list[int]:
    """Processes, other than zombies and guardians, that have this text in their environment: those we started."""
    found = []
    for pid in processes():
        try:
            if mark.encode() not in Path(f"/proc/{pid}/environ").read_bytes():
                continue
            if fields(pid)[:1] != ["Z"] and pid != os.getpid():
                found.append(pid)
        except (OSError, IndexError):
            continue
    return found


def guardians(parent: int) -> list[int]:
    found = []
    for pid in processes():
        try:
            if fields(pid)[1:2] == [str(parent)] and GUARDIAN in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


def collector(code: str, *arguments: str, mark: str = "", **options: Any) -> subprocess.Popen[str]:
    """Start a Python script that is a collector; `child` and `rx` are known in it."""
    prelude = (
        "import os, signal, sys, threading, time\n"
        "import rx_collector as rx\n"
        "from rx_collector.runners.supervisor import supervisor\n"
        "from tests.conftest import child, wait_until\n"
        "from tests.runners.helpers import Collected\n"
    )
    return subprocess.Popen(
        [sys.executable, "-u", "-c", prelude + code, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RX_TEST_MARK": mark, "PYTHONDEVMODE": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(process: subprocess.Popen[str], deadline: float = 30) -> tuple[str, str]:
    """Wait for a collector that was started as a process of its own; one that hangs is a failure, and is killed."""
    try:
        return process.communicate(timeout=deadline)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def said(code: str, *arguments: str, deadline: float = 30, **options: Any) -> Any:
    """Run such a script to its end; give the JSON that its last line of output is."""
    process = collector(code, *arguments, **options)
    out, err = finish(process, deadline)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def run_project(directory: Path, text: str, **options: Any) -> rx.Report:
    """Load a YAML text and run it on this thread."""
    (directory / "x.yaml").write_text(text)
    return rx.load(directory / "x.yaml", {}).run(**options)


def in_background(action: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Do something on another thread; what it gives is in the list when the thread has ended."""
    given: list[Any] = []
    thread = threading.Thread(target=lambda: given.append(action()), name="background")
    thread.start()
    return thread, given
