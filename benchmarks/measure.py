"""Processes that are measured: their CPU time with that of all they started, wall time, and peak memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "CONTENDERS",
    "Usage",
    "contender",
    "cpu_of",
    "environment",
    "interleaved",
    "measure",
    "median_of",
    "percentile",
    "ratio_to",
    "started",
]

CONTENDERS = Path(__file__).parent / "contenders"
_LAUNCHER = Path(__file__).parent / "launcher.py"
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl
_GRACE = 10.0  # seconds that what a contender left behind may take to end
# What a shell ignores for what it runs behind it, and nohup. A child that must not inherit that is started by one more
# interpreter, which would be in the figures.
_NOT_IGNORED = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


@dataclass(frozen=True)
class Usage:
    """Seconds of CPU time, of wall time, and bytes of peak memory: that of the largest process among those waited for."""

    cpu: float
    wall: float
    memory: int


def environment() -> dict[str, str]:
    """Give the environment of a contender: byte code is kept, as it is where a program was installed."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    variables.setdefault("PYTHONPYCACHEPREFIX", str(Path(tempfile.gettempdir()) / f"rx-bench-{os.getuid()}-bytecode"))
    variables.pop("PYTHONDEVMODE", None)
    return variables


def contender(name: str, *arguments: object) -> list[str]:
    """Give the command of one of our programs."""
    return [sys.executable, str(CONTENDERS / f"{name}.py"), *map(str, arguments)]


def measure(command: Sequence[str]) -> Usage:
    """Run a command to its end. What it started counts, too, also what it left behind; a failure ends the benchmark."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)  # what is left behind becomes a child of this process
    read, write = os.pipe()
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), *command]
    given = [(os.POSIX_SPAWN_DUP2, write, 3)]
    pid = os.posix_spawn(sys.executable, launcher, environment(), file_actions=given, setsigdef=_NOT_IGNORED)
    os.close(write)
    told = b"".join(iter(lambda: os.read(read, 4096), b""))
    os.close(read)
    os.waitpid(pid, 0)
    status, cpu, wall, memory = (float(part) for part in told.split())
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    deadline = time.monotonic() + _GRACE
    with contextlib.suppress(ChildProcessError):  # then nobody is left
        while time.monotonic() < deadline:
            left, _, usage = os.wait4(-1, os.WNOHANG)
            if left:
                cpu += usage.ru_utime + usage.ru_stime
            else:
                time.sleep(0.002)
        raise SystemExit(f"{' '.join(command)} left processes behind that do not end")
    return Usage(cpu, wall, int(memory))


def interleaved(
    runs: Mapping[str, Callable[[], Usage]], rounds: int, say: Callable[[str], None]
) -> dict[str, list[Usage]]:
    """Let the contenders take turns, so that what disturbs this machine disturbs all of them; each once before it counts."""
    taken: dict[str, list[Usage]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        names = list(runs) if number % 2 else list(reversed(runs))  # nobody always follows the same
        for name in names:
            say(f"round {number} of {rounds}: {name}")
            usage = runs[name]()
            if number:
                taken[name].append(usage)
    return taken


def median_of(taken: Sequence[Usage], what: str) -> float:
    """Give the median of ``cpu``, ``wall`` or ``memory``."""
    return statistics.median(getattr(usage, what) for usage in taken)


def ratio_to(taken: Sequence[Usage], other: Sequence[Usage], what: str = "cpu") -> float:
    """Give the median of the ratios of the pairs, each of one round."""
    return statistics.median(getattr(one, what) / getattr(two, what) for one, two in zip(taken, other, strict=True))


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value that so large a share of all is not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def cpu_of(pid: int) -> float:
    """Give the CPU seconds that a running process has taken so far, to the nanosecond."""
    return time.clock_gettime((~pid << 3) | 2)  # the clock that clock_getcpuclockid(3) gives


@contextlib.contextmanager
def started(command: Sequence[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command that is looked at while it runs, and see that it ends."""
    child = subprocess.Popen(command, env=environment(), **options)  # type: ignore[call-overload]
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(_GRACE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                stream.close()
