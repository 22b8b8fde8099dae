"""The parts of the suite. Each measures one thing and gives it as plain data, which tables, chart and README are made from."""

from __future__ import annotations

import ctypes
import gzip
import json
import os
import shlex
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.files import OPERATORS, others, pipeline, write_lines
from benchmarks.measure import (
    Usage,
    contender,
    cpu_of,
    environment,
    interleaved,
    measure,
    median_of,
    percentile,
    ratio_to,
    started,
)

__all__ = ["PARTS", "SIZES", "Sizes"]

_TOOLS = ("jq", "fluent-bit", "vector", "benthos", "redpanda-connect")
_US, _NS, _MB = 1e6, 1e9, 1e6
_COMPARED = 2_000  # lines at each end of what the contenders write
_SHORT = '{"pid":%d,"event":"EXEC","comm":"bash","uid":0}\n'  # 50 bytes


@dataclass(frozen=True)
class Sizes:
    """How much is measured: lines of a job, rounds, and the sizes at which growth is looked at."""

    lines: int
    rounds: int
    latency_lines: int
    idle_seconds: float
    starts: int
    batches: int
    grown_lines: int
    operators: tuple[int, ...]
    events: tuple[int, ...]
    runners: tuple[int, ...]
    sinks: tuple[int, ...]
    line_bytes: tuple[int, ...]


SIZES = {
    "tiny": Sizes(300, 1, 60, 0.3, 1, 2, 200, (1, 2), (100, 200), (1, 2), (1, 2), (250, 2000)),
    "quick": Sizes(
        100_000, 3, 3_000, 5, 5, 200, 50_000, (1, 4, 16, 64), (10**4, 10**5), (1, 10, 50), (1, 8, 32), (50, 1000, 10**5)
    ),
    "default": Sizes(
        1_000_000,
        5,
        3_000,
        10,
        9,
        1_000,
        200_000,
        (1, 2, 4, 8, 16, 32, 64),
        (10**4, 10**5, 10**6),
        (1, 10, 100),
        (1, 2, 4, 8, 16, 32),
        (50, 250, 1000, 10**4, 10**5, 10**6),
    ),
    "full": Sizes(
        1_000_000,
        9,
        10_000,
        60,
        21,
        2_000,
        1_000_000,
        (1, 2, 4, 8, 16, 32, 64),
        (10**4, 10**5, 10**6, 10**7),
        (1, 10, 100, 250, 500),
        (1, 2, 4, 8, 16, 32),
        (50, 250, 1000, 10**4, 10**5, 10**6),
    ),
}
_Say = Callable[[str], None]


def _fresh(command: list[str], *outputs: Path) -> Usage:
    """Measure a command that finds none of the files that it writes."""
    for output in outputs:
        output.unlink(missing_ok=True)
    return measure(command)


def _ours(directory: Path, name: str, text: str) -> list[str]:
    file = directory / f"{name}.yaml"
    file.write_text(text)
    return contender("ours", file)


# The jobs


def jobs(names: list[str], sizes: Sizes, say: _Say) -> dict[str, Any]:
    """CPU, wall time and memory of each contender, for each job, and the ratios to the loop with a typed Struct."""
    found: dict[str, Any] = {}
    tools = [tool for tool in _TOOLS if shutil.which(tool)]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        source = directory / "source.ndjson"
        write_lines(source, sizes.lines)
        for job in names:
            ours = directory / "ours.out"
            text = pipeline(["cat", source], ["parse: json", *OPERATORS[job]], [f"file: {ours}"])
            runs: dict[str, Callable[[], Usage]] = {
                "rx_collector": partial(_fresh, _ours(directory, job.replace(" ", ""), text), ours),
                "by hand, typed Struct": partial(measure, contender("typed", job, source, directory / "typed.out")),
                "by hand, tuned": partial(measure, contender("tuned", job, source, directory / "tuned.out")),
                "by hand, dicts": partial(measure, contender("dicts", job, source, directory / "dicts.out")),
                "reactivex + msgspec": partial(measure, contender("chain", job, source, directory / "chain.out")),
            }
            for tool in tools:
                command = others(tool, job, source, directory)
                if command is not None:
                    runs[tool] = partial(_fresh, command, directory / f"{tool}.out")
            taken = interleaved(runs, sizes.rounds, lambda what, job=job: say(f"{job}, {what}"))  # type: ignore[misc]
            _same_work(job, directory)
            typed = taken["by hand, typed Struct"]
            found[job] = {
                contender: {
                    "cpu_us": median_of(usages, "cpu") / sizes.lines * _US,
                    "wall_us": median_of(usages, "wall") / sizes.lines * _US,
                    "memory_mb": median_of(usages, "memory") / _MB,
                    "cpu_ratio": ratio_to(usages, typed),
                    "wall_ratio": ratio_to(usages, typed, "wall"),
                }
                for contender, usages in taken.items()
            }
    return {"lines": sizes.lines, "rounds": sizes.rounds, "results": found}


def _same_work(job: str, directory: Path) -> None:
    """Make sure that ours did what the loops did, pair by pair: of the first and the last lines, and as many of them."""

    def rows(name: str) -> tuple[int, list[str]]:
        count, some, last = 0, list[bytes](), deque[bytes](maxlen=_COMPARED)
        with (directory / name).open("rb") as file:
            for count, line in enumerate(file, 1):
                (some if count <= _COMPARED else last).append(line)
        lines = [json.dumps(json.loads(line), sort_keys=True) for line in (*some, *last)]
        return count, sorted(lines) if job == "J3" else lines  # whose keys come in any order

    if not rows("ours.out") == rows("typed.out") == rows("tuned.out") == rows("dicts.out") == rows("chain.out"):
        raise SystemExit(f"{job}: the contenders do not give the same")


# Latency, idling, starting


class _Watch:
    """Tells when a file has grown: inotify, since a look every now and then would take time from who is watched."""

    def __init__(self, file: Path) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = library.inotify_init1(os.O_CLOEXEC)
        file.touch(mode=0o600)
        if self._descriptor < 0 or library.inotify_add_watch(self._descriptor, bytes(file), 2) < 0:  # IN_MODIFY
            raise OSError(ctypes.get_errno(), "inotify")

    def wait(self) -> None:
        """Block until it has."""
        data = os.read(self._descriptor, 4096)
        assert len(data) >= struct.calcsize("iIII")

    def close(self) -> None:
        os.close(self._descriptor)


def _latencies(command: list[str], output: Path, lines: int) -> list[float]:
    """Give the seconds from the write of each line by a child to when it stood in the file, in the order of the lines."""
    watch = _Watch(output)
    found: list[float] = []
    rest = b""
    try:
        with started(command), output.open("rb") as file:
            while len(found) < lines:
                watch.wait()
                now = time.monotonic_ns()
                *whole, rest = (rest + file.read()).split(b"\n")
                found += [(now - int(line.partition(b'"at":')[2].partition(b",")[0])) / 1e9 for line in whole]
    finally:
        watch.close()
        output.unlink()
    return found


def _delivering(directory: Path, lines: int, rate: int) -> dict[str, tuple[list[str], Path]]:
    """Give commands that take a child's lines into a file, one by one as it writes them, and the files."""
    child = contender("steady", lines, rate)
    ours, plain, bare = directory / "ours.out", directory / "hand.out", directory / "bare.out"
    text = pipeline(child, ["parse: json", 'filter: event == "EXEC"'], [f"file: {ours}"])
    return {
        "rx_collector": (_ours(directory, "delivering", text), ours),
        "by hand, a line at a time": (contender("forward", plain, *child), plain),
        "the child alone, into the file": (["sh", "-c", f"exec {' '.join(child)} >> {bare}"], bare),
    }


def _delays(
    contenders: dict[str, tuple[list[str], Path]], lines: int, rounds: int, say: _Say
) -> dict[str, dict[str, float]]:
    """Give the percentiles of the time from a child's write to the byte in the file."""
    taken: dict[str, list[list[float]]] = {what: [] for what in contenders}
    for number in range(1, rounds + 1):
        for what, (command, output) in contenders.items():
            say(f"{what}, round {number} of {rounds}")
            found = _latencies(command, output, lines)
            taken[what].append(found[len(found) // 10 :])  # what waited for the start is no latency of the flow
    return {
        what: {
            "p50_ms": statistics.median(percentile(found, 0.5) for found in rounds_) * 1e3,
            "p99_ms": statistics.median(percentile(found, 0.99) for found in rounds_) * 1e3,
            "least_p99_ms": min(percentile(found, 0.99) for found in rounds_) * 1e3,
            "most_ms": max(map(max, rounds_)) * 1e3,
        }
        for what, rounds_ in taken.items()
    }


def _share(pid: int, seconds: float) -> float:
    """Give the share of one processor that a process takes for so long, without its children."""
    before, began = cpu_of(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_of(pid) - before) / (time.monotonic() - began)


def latency(sizes: Sizes, say: _Say) -> dict[str, Any]:
    """From a child's write to the byte in the file, at 1,000 events/s, beside the least that can be done."""
    with tempfile.TemporaryDirectory() as name:
        results = _delays(_delivering(Path(name), sizes.latency_lines, 1000), sizes.latency_lines, sizes.rounds, say)
    return {"lines": sizes.latency_lines, "rounds": sizes.rounds, "per_second": 1000, "results": results}


def steady(sizes: Sizes, say: _Say) -> dict[str, Any]:
    """Lines that a child writes one by one, ten thousand of them a second: the delay, and CPU once all is warm."""
    lines, rate = sizes.latency_lines * 5, 10_000
    with tempfile.TemporaryDirectory() as name:
        contenders = _delivering(Path(name), lines, rate)
        results = _delays(contenders, lines, sizes.rounds, say)
        shares: dict[str, list[float]] = {what: [] for what in list(contenders)[:-1]}
        for number in range(1, sizes.rounds + 1):
            for what in shares:
                say(f"{what}, CPU, round {number} of {sizes.rounds}")
                with started(contenders[what][0]) as process:
                    time.sleep(lines / rate / 2)
                    shares[what].append(_share(process.pid, lines / rate / 4))
                    process.wait()
        for what, share in shares.items():
            results[what]["cpu_percent"] = statistics.median(share) * 100
    return {"lines": lines, "rounds": sizes.rounds, "per_second": rate, "results": results}


def idle(sizes: Sizes, say: _Say) -> dict[str, Any]:
    """CPU of a collector whose child prints nothing, in percent of one processor."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        file = directory / "idle.yaml"
        file.write_text(pipeline(["sleep", "3600"], ["parse: json"], [f"file: {directory}/idle.out"]))
        say(f"{sizes.idle_seconds:g} s")
        with started([sys.executable, "-m", "rx_collector", "run", "-q", str(file)]) as child:
            deadline = time.monotonic() + 30
            while _children_of(child.pid) < 1 and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(min(1.0, sizes.idle_seconds))  # what belongs to the start is done
            share = _share(child.pid, sizes.idle_seconds)
            child.send_signal(signal.SIGTERM)
            child.wait()
    return {"seconds": sizes.idle_seconds, "results": {"rx_collector": {"cpu_percent": share * 100}}}


def _children_of(pid: int) -> int:
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            total += len(task.read_text().split())
        except OSError:  # a thread that has just ended
            continue
    return total


def start(sizes: Sizes, say: _Say) -> dict[str, Any]:
    """From the start of `rx-collector run` to the first byte of the first event on its standard output."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "start.yaml"
        file.write_text(pipeline(["echo", '{"pid": 7}'], ["parse: json"], ["console: {format: ndjson}"]))
        commands = {
            "rx_collector": [sys.executable, "-m", "rx_collector", "run", "-q", str(file)],
            "the interpreter alone": [sys.executable, "-c", "print(7, flush=True)"],
        }
        taken: dict[str, list[float]] = {what: [] for what in commands}
        cpu: dict[str, list[float]] = {what: [] for what in commands}
        for number in range(sizes.starts + 1):
            for what, command in commands.items():
                say(f"{what}, {number} of {sizes.starts}")
                read, write = os.pipe()
                began = time.perf_counter()
                actions = [(os.POSIX_SPAWN_DUP2, write, 1), (os.POSIX_SPAWN_CLOSE, read)]
                pid = os.posix_spawnp(command[0], command, environment(), file_actions=actions)
                os.close(write)
                first = os.read(read, 1)
                waited = time.perf_counter() - began
                spent = cpu_of(pid)
                while os.read(read, 4096):
                    pass
                os.close(read)
                _, status, _ = os.wait4(pid, 0)
                if status or not first:
                    raise SystemExit(f"{' '.join(command)} failed")
                if number:
                    taken[what].append(waited)
                    cpu[what].append(spent)
    return {
        "starts": sizes.starts,
        "results": {
            what: {
                "wall_ms": statistics.median(taken[what]) * 1e3,
                "least_wall_ms": min(taken[what]) * 1e3,
                "cpu_ms": statistics.median(cpu[what]) * 1e3,
            }
            for what in commands
        },
    }


# What one more costs


_MORE = 16
_ONE_MORE: dict[str, Callable[[int], str]] = {
    "set to a constant": lambda n: f"set: {{more{n}: '\"web\"'}}",
    "set from a field": lambda n: f"set: {{more{n}: uid + {n}}}",
    "filter": lambda n: f"filter: uid != {n}",
}


def stage(sizes: Sizes, say: _Say) -> dict[str, Any]:
    """What one more fused stage costs an event: the difference that sixteen more of them make, over sixteen."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        source = directory / "source.ndjson"
        write_lines(source, sizes.grown_lines)
        for what, one in _ONE_MORE.items():
            runs = {
                str(count): partial(
                    measure,
                    _ours(
                        directory,
                        f"{count}",
                        pipeline(["cat", source], ["parse: json", *(one(n) for n in range(count))], ["null: {}"]),
                    ),
                )
                for count in (1, 1 + _MORE)
            }
            taken = interleaved(runs, sizes.rounds, lambda which, what=what: say(f"{what}, {which}"))  # type: ignore[misc]
            differences = [
                (many.cpu - few.cpu) / _MORE / sizes.grown_lines * _NS
                for many, few in zip(taken[str(1 + _MORE)], taken["1"], strict=True)
            ]
            results[what] = {"ns": statistics.median(differences), "least_ns": min(differences)}
    return {"lines": sizes.grown_lines, "more": _MORE, "results": results}


def boundary(sizes: Sizes, say: _Say) -> dict[str, Any]:
    """What a boundary and the sink behind it cost an event, in batches of 500 lines that are written as they came."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        taken: dict[str, list[float]] = {"null": [], "file": []}
        for number in range(sizes.rounds + 1):
            for kind, found in taken.items():
                say(f"{kind}, round {number} of {sizes.rounds}")
                command = contender("passing", kind, sizes.batches, Path(name) / f"{number}.out")
                done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, check=True)
                (Path(name) / f"{number}.out").unlink(missing_ok=True)
                if number:
                    found.append(float(done.stdout))
        for kind, found in taken.items():
            results[f"boundary + {kind} sink"] = {"ns": statistics.median(found), "least_ns": min(found)}
    return {"batches": sizes.batches, "results": results}


# Growth


#: What workers are measured with: little to do for a line, and much; what keeps nothing, and what keeps it by a key.
_SHARED = {
    "filter": ["parse: json", 'filter: event == "EXEC"'],
    "redact": ["parse: json", "redact: {}"],
    "scan and redact": ["parse: json", "scan: {fields: {n: 'default(n, 0) + 1'}, by: pid}", "redact: {}"],
}


def workers(sizes: Sizes, say: _Say) -> dict[str, Any]:
    """CPU and wall time of a pipeline whose first operators are done in this process, and by two and four workers."""
    results: dict[str, Any] = {}
    lines = max(1, sizes.grown_lines // 2)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        source, out = directory / "source.ndjson", directory / "out"
        write_lines(source, lines)
        for what, operators in _SHARED.items():
            runs = {}
            for count in (1, 2, 4):
                text = pipeline(["cat", source], operators, [f"file: {out}"], workers=count)
                title = f"{what}, {count} workers" if count > 1 else f"{what}, in this process"
                runs[title] = partial(_fresh, _ours(directory, f"{what}{count}", text), out)
            taken = interleaved(runs, max(1, sizes.rounds // 2), say)
            here = next(iter(taken.values()))
            for title, usages in taken.items():
                results[title] = {
                    "cpu_us": median_of(usages, "cpu") / lines * _US,
                    "wall_us": median_of(usages, "wall") / lines * _US,
                    "wall_ratio": ratio_to(usages, here, "wall"),
                }
    return {"lines": lines, "results": results}


def compression(sizes: Sizes, say: _Say) -> dict[str, Any]:
    """CPU and wall time of J2 into a gzip file, compressed beside reading and parsing, and in a loop after them."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        source, ours = directory / "source.ndjson", directory / "ours.gz"
        write_lines(source, sizes.lines)
        text = pipeline(
            ["cat", source], ["parse: json", *OPERATORS["J2"]], [f"file: {{path: {ours}, compression: gzip}}"]
        )
        loop, piped = directory / "typed.gz", directory / "piped.gz"
        into = shlex.join(contender("typed", "J2", source, "/dev/stdout"))
        runs = {
            "by hand, typed Struct": partial(_fresh, contender("typed", "J2", source, loop), loop),
            "by hand, into gzip -3": partial(_fresh, ["sh", "-c", f"{into} | gzip -3 > '{piped}'"], piped),
            "rx_collector": partial(_fresh, _ours(directory, "gzip", text), ours),
        }
        taken = interleaved(runs, sizes.rounds, say)
        typed = taken["by hand, typed Struct"]
        with gzip.open(ours) as one, gzip.open(loop) as other:
            if any(json.loads(a) != json.loads(b) for a, b in zip(one, other, strict=True)):
                raise SystemExit("compression: the contenders do not give the same")
        results = {
            what: {
                "cpu_us": median_of(usages, "cpu") / sizes.lines * _US,
                "wall_us": median_of(usages, "wall") / sizes.lines * _US,
                "cpu_ratio": ratio_to(usages, typed),
                "wall_ratio": ratio_to(usages, typed, "wall"),
                "memory_mb": median_of(usages, "memory") / _MB,
                "file_mb": file.stat().st_size / _MB,
            }
            for (what, usages), file in zip(taken.items(), (loop, piped, ours), strict=True)
        }
    return {"lines": sizes.lines, "results": results}


def growth(sizes: Sizes, say: _Say) -> dict[str, Any]:
    """How CPU and memory grow with operators, events, runners, sinks and the length of lines."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        source, out = directory / "source.ndjson", directory / "out"

        def points(what: str, texts: dict[int, tuple[str, int, int]]) -> None:
            """`texts` has for each size the file, and how many events and bytes come."""
            runs = {
                str(size): partial(_fresh, _ours(directory, f"{what}{size}", text), out)
                for size, (text, _, _) in texts.items()
            }
            taken = interleaved(runs, max(1, sizes.rounds // 2), lambda which: say(f"{what}, {which}"))
            results[what] = [
                {
                    "size": size,
                    "cpu_us": median_of(taken[str(size)], "cpu") / events * _US,
                    "cpu_ns_byte": median_of(taken[str(size)], "cpu") / length * _NS,
                    "cpu_s": median_of(taken[str(size)], "cpu"),
                    "memory_mb": median_of(taken[str(size)], "memory") / _MB,
                    "events": events,
                }
                for size, (_, events, length) in texts.items()
            ]

        write_lines(source, sizes.grown_lines)
        whole = source.stat().st_size
        count = sizes.grown_lines
        mixed = [one(n) for n in range(64) for one in (_ONE_MORE["filter"], _ONE_MORE["set from a field"])]
        points(
            "operators",
            {
                size: (pipeline(["cat", source], ["parse: json", *mixed[:size]], ["null: {}"]), count, whole)
                for size in sizes.operators
            },
        )
        points(
            "sinks",
            {
                size: (pipeline(["cat", source], ["parse: json"], ["null: {}"] * size), count, whole)
                for size in sizes.sinks
            },
        )
        events = {}
        for size in sizes.events:
            lines = directory / f"events{size}.ndjson"
            write_lines(lines, size)
            operators = ["parse: json", *OPERATORS["J1"]]
            events[size] = (pipeline(["cat", lines], operators, [f"file: {out}"]), size, lines.stat().st_size)
        points("events", events)
        for size in sizes.events:
            (directory / f"events{size}.ndjson").unlink()
        each = max(1, count // 500)
        write_lines(source, each)
        whole = source.stat().st_size
        points(
            "runners",
            {
                size: (
                    pipeline(["cat", source], ["parse: json"], ["null: {}"], runners=size),
                    each * size,
                    whole * size,
                )
                for size in sizes.runners
            },
        )
        lengths = {}
        for size in sizes.line_bytes:
            lines = directory / f"length{size}.ndjson"
            number = max(20, min(count, 50_000_000 // size if count > 10_000 else 20))
            if size < 190:
                lines.write_text("".join(_SHORT % (100_000 + n % 1000) for n in range(number)))
            else:
                write_lines(lines, number, size)
            text = pipeline(["cat", lines], ["parse: json", "filter: pid != 7"], [f"file: {out}"])
            lengths[size] = (text, number, lines.stat().st_size)
        points("line length", lengths)
    return {"lines": sizes.grown_lines, "results": results}


#: The parts by their names on the command line, in the order in which they are measured.
PARTS: dict[str, Callable[[Sizes, _Say], dict[str, Any]]] = {
    "start": start,
    "idle": idle,
    "latency": latency,
    "steady": steady,
    "stage": stage,
    "boundary": boundary,
    "workers": workers,
    "compression": compression,
    "growth": growth,
}
