"""What every test has to leave behind: no thread of ours, no child, no file descriptor."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from loguru import logger

from rx_collector.ledger import Report
from rx_collector.pipeline.collector import Collector
from rx_collector.runners.supervisor import supervisor
from tests import warm

# How long an example takes is no property of what is tested, and on a busy machine it is anything.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

CHILDREN = Path(__file__).parent / "children"

# What a shell runs behind it, and nohup, ignores a signal, and what we start inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for ignored in (signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, signal.SIG_DFL)


def rounds(few: int, many: int) -> int:
    """How often something is tried that costs time and is the same on every interpreter: often on one of them.

    That is where RX_COLLECTOR_MANY is set, which tox.ini does for Python 3.13.
    """
    return many if os.environ.get("RX_COLLECTOR_MANY") else few


def wait_until(condition: Callable[[], bool], what: str, deadline: float = 10.0) -> None:
    """Wait for a condition that another thread or process brings about."""
    end = time.monotonic() + deadline
    pause = threading.Event()
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"{what}: not within {deadline} s")
        pause.wait(0.002)


def child(name: str, *arguments: object) -> list[str]:
    """The argv of one of the programs in tests/children."""
    return [sys.executable, "-S", "-E", str(CHILDREN / f"{name}.py"), *map(str, arguments)]


def children_of_this_process() -> list[int]:
    found = []
    for task in Path("/proc/self/task").iterdir():
        try:
            found += [int(pid) for pid in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def descriptors() -> set[str]:
    names = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            names.add(f"{name} -> {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            continue
    return names


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, Any]:
    """Let a test that was skipped fail where nothing may be: a test that never runs proves nothing."""
    report = yield
    if report.skipped and os.environ.get("RX_COLLECTOR_SKIP_NOTHING"):
        report.outcome = "failed"
        report.longrepr = f"nothing may be skipped here: {call.excinfo.value if call.excinfo else report.longrepr}"
    return report


def need(*tools: str, root: bool = False, reason: str = "") -> None:
    """Skip the test where one of these programs is not installed."""
    missing = [tool for tool in tools if shutil.which(tool) is None and not os.access(tool, os.X_OK)]
    if root and os.geteuid() != 0:
        reason = "root is needed"
    elif missing:
        reason = f"{' and '.join(missing)} not installed"
    if reason:
        pytest.skip(reason)


def need_bpftrace() -> None:
    mounted = any(Path(f"/sys/kernel/{name}/events").is_dir() for name in ("tracing", "debug/tracing"))
    need("bpftrace", root=True, reason="" if mounted else "tracefs is not mounted")


@pytest.fixture(autouse=True, scope="module")
def the_command_is_warm(request: pytest.FixtureRequest) -> None:
    """What the command is forked from is there before a test that uses it, as it is there afterwards."""
    if getattr(request.module, "command", None) is warm.command:
        warm.start()


@pytest.fixture(autouse=True)
def every_ledger_balances(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Check the balance sheet of every run that a test makes in this process, whether the test looks at it or not."""
    reports: list[Report] = []
    of = Report.of.__func__  # type: ignore[attr-defined]

    def kept(cls: type[Report], *arguments: Any, final: bool = True, **options: Any) -> Report:
        report: Report = of(cls, *arguments, final=final, **options)
        if final:
            reports.append(report)
        return report

    monkeypatch.setattr(Report, "of", classmethod(kept))
    yield
    for report in reports:
        assert report.balanced, report.unbalanced


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before, there = descriptors(), set(children_of_this_process())
    collectors: list[Collector] = []
    assemble = Collector._assemble
    monkeypatch.setattr(Collector, "_assemble", lambda self, limit: (collectors.append(self), assemble(self, limit))[1])
    yield
    if any(thread.name.startswith("rx-") for thread in threading.enumerate()):
        for collector in collectors:  # one that a failed test left running shall not make the next ones fail
            collector.abort()

    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("rx-")]

    try:
        wait_until(lambda: not threads(), f"threads are left: {threads()}")
    finally:
        for child_ in supervisor.children():  # nor what it started
            child_.kill()
    try:
        wait_until(lambda: set(children_of_this_process()) <= there, "children are left")
    finally:  # a command that a failed test left running would go on for ever; its guardian ends what it started
        for pid in set(children_of_this_process()) - there:
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: descriptors() <= before, f"descriptors are left: {descriptors() - before}")


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What is logged from here on: level and message. The library is silent until it is asked, so it is asked."""
    lines: list[str] = []
    number = logger.add(lambda text: lines.append(str(text).rstrip("\n")), level="DEBUG", format="{level} {message}")
    logger.enable("rx_collector")
    yield lines
    logger.disable("rx_collector")
    logger.remove(number)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "disk"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(mount)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("a small tmpfs cannot be mounted here: it needs root")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)
