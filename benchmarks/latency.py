"""How long an event takes from a child's write(2) to the bytes in the file, and what a run costs while nothing happens.

python benchmarks/latency.py                # 1,000 events/s for 5 s, by turns with a loop written by hand; then idle runs
python benchmarks/latency.py 200 10 3       # events a second, seconds, rounds

The child writes the moment of each write(2) into its line. An observer, in a process of its own, is woken by inotify when
the file has changed, and looks at the clock then; so its own waking is part of every figure, for all contenders alike. Idle
is a run of silent children, whose threads are asked by way of /proc how much time they had and how often they slept.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

CHILD = """
import os, sys, time
rate, seconds = float(sys.argv[1]), float(sys.argv[2])
begun, fill = time.monotonic(), "x" * 190
for number in range(int(rate * seconds)):
    while (rest := begun + number / rate - time.monotonic()) > 0:
        time.sleep(rest)
    os.write(1, b'{"sent":%d,"event":"EXEC","pid":%d,"args":"%s"}\\n' % (time.monotonic_ns(), number % 1000, fill.encode()))
"""

BY_HAND = """
import msgspec, os, subprocess, sys
target, *command = sys.argv[1:]
child = subprocess.Popen(command, stdout=subprocess.PIPE)
out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode
for line in child.stdout:
    event = decode(line)
    event["host"] = "web"
    os.write(out, encode(event) + b"\\n")
child.wait()
"""

OURS = """
import sys
import rx_collector as rx
report = rx.load(sys.argv[1]).run()
assert report.balanced and report.exit_code == 0, report
"""

PIPELINE = """
runners:
  lines: {{command: [{command}]}}
pipelines:
  job:
    from: lines
    operators:
      - parse: json
      - set: {{host: '"web"'}}
    sinks:
      - file: {target}
        backpressure: {{strategy: block, capacity: 10_000}}
"""

IDLE_RUNNER = "  silent{number}: {{command: [sleep, '600']}}\n"
IDLE_PIPELINE = """
pipelines:
  job:
    from: [{names}]
    sinks:
      - file: {target}
        backpressure: {{strategy: block, capacity: 10_000}}
"""
_IN_MODIFY = 0x2
_SETTLED = 3.0  # seconds until all children run and nothing is being started


def quantile(values: list[float], share: float) -> float:
    """Give the value that this share of the sorted values does not exceed."""
    return values[min(len(values) - 1, int(share * len(values)))]


class Observer:
    """Takes the time when lines have arrived in a file, on a thread of this process."""

    def __init__(self, path: Path) -> None:
        path.touch()
        libc = ctypes.CDLL(None, use_errno=True)
        self._notify = libc.inotify_init1(os.O_CLOEXEC)
        if self._notify < 0 or libc.inotify_add_watch(self._notify, os.fsencode(path), _IN_MODIFY) < 0:
            raise OSError(ctypes.get_errno(), "inotify")
        self._file = os.open(path, os.O_RDONLY)
        self._path = path
        self._over = False
        self.latencies: list[float] = []  # ms
        self._thread = threading.Thread(target=self._observe)
        self._thread.start()

    def _observe(self) -> None:
        rest = b""
        while not self._over:
            os.read(self._notify, 1 << 16)
            now = time.monotonic_ns()
            *lines, rest = (rest + os.read(self._file, 1 << 20)).split(b"\n")
            for line in lines:
                if line:
                    at = line.index(b'"sent":') + 7
                    self.latencies.append((now - int(line[at : line.index(b",", at)])) / 1e6)

    def close(self) -> list[float]:
        """Give the latencies in milliseconds, sorted, without those of the first tenth, when all is still cold."""
        self._over = True
        with self._path.open("ab") as file:  # which wakes it up
            file.write(b"\n")
        self._thread.join()
        os.close(self._notify)
        os.close(self._file)
        return sorted(self.latencies[len(self.latencies) // 10 :])


def cpu_of(pid: int) -> tuple[float, int]:
    """Give the seconds of processor time that the threads of a process have had, and how often they went to sleep."""
    seconds, sleeps = 0.0, 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        seconds += int((task / "schedstat").read_text().split()[0]) / 1e9
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                sleeps += int(line.split()[1])
    return seconds, sleeps


def latency(directory: Path, contender: str, rate: float, seconds: float) -> tuple[list[float], float]:
    """Run a contender once. Gives the latencies and the CPU seconds of its process, without the child's."""
    target = directory / "latency.out"
    target.unlink(missing_ok=True)
    observer = Observer(target)
    command = [sys.executable, f"{directory}/child.py", str(rate), str(seconds)]
    if contender == "rx_collector":
        listed = ", ".join(f'"{word}"' for word in command)
        (directory / "latency.yaml").write_text(PIPELINE.format(command=listed, target=target))
        arguments = [sys.executable, f"{directory}/ours.py", f"{directory}/latency.yaml"]
    else:
        arguments = [sys.executable, f"{directory}/hand.py", str(target), *command]
    process = subprocess.Popen(arguments)
    time.sleep(seconds / 2)
    before, began = cpu_of(process.pid)[0], time.monotonic()
    time.sleep(seconds / 4)
    share = (cpu_of(process.pid)[0] - before) / (time.monotonic() - began)
    if process.wait():
        raise SystemExit(f"{contender} failed")
    taken = observer.close()
    assert len(taken) > 0.89 * rate * seconds, f"{contender}: {len(taken)} events arrived"
    return taken, share


def idle(directory: Path, runners: int, seconds: float) -> tuple[float, float, float]:
    """Run silent children. Gives our CPU as a share of one processor, how often a second we woke up, and our RSS in MB."""
    names = [f"silent{number}" for number in range(runners)]
    text = "runners:\n" + "".join(IDLE_RUNNER.format(number=number) for number in range(runners))
    text += IDLE_PIPELINE.format(names=", ".join(names), target=directory / "idle.out")
    (directory / "idle.yaml").write_text(text)
    process = subprocess.Popen([sys.executable, "-m", "rx_collector", "run", f"{directory}/idle.yaml"], stderr=-3)
    try:
        time.sleep(_SETTLED)
        (cpu, sleeps), began = cpu_of(process.pid), time.monotonic()
        time.sleep(seconds)
        (cpu_after, sleeps_after), lasted = cpu_of(process.pid), time.monotonic() - began
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    finally:
        process.terminate()
        process.wait()
    return (cpu_after - cpu) / lasted, (sleeps_after - sleeps) / lasted, pages * os.sysconf("SC_PAGESIZE") / 1e6


def main() -> None:
    """Measure both, and print them as tables."""
    rate, seconds, rounds = (float(word) for word in (*sys.argv[1:4], *("1000", "5", "3")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for file, text in (("child.py", CHILD), ("hand.py", BY_HAND), ("ours.py", OURS)):
            (directory / file).write_text(text)
        runs: dict[str, list[tuple[list[float], float]]] = {"by hand, a write each": [], "rx_collector": []}
        for _ in range(int(rounds)):
            for contender, taken in runs.items():
                taken.append(latency(directory, contender, rate, seconds))
        print(
            f"from write(2) to the file at {rate:,.0f} events/s, milliseconds, medians of {rounds:.0f} rounds of {seconds:.0f} s\n"
        )
        print(f"{'':28}{'p50':>8}{'p90':>8}{'p99':>8}{'p99.9':>8}{'best p99':>10}{'CPU %':>8}")
        for contender, taken in runs.items():
            shown = "".join(
                f"{statistics.median(quantile(one, share) for one, _ in taken):8.3f}"
                for share in (0.5, 0.9, 0.99, 0.999)
            )
            best = min(quantile(one, 0.99) for one, _ in taken)
            print(f"{contender:28}{shown}{best:10.3f}{statistics.median(cpu for _, cpu in taken) * 100:8.2f}")
        print(f"\nidle for 10 s\n\n{'silent runners':28}{'CPU %':>8}{'wakes/s':>9}{'RSS MB':>8}")
        for runners in (1, 100):
            cpu, wakes, rss = idle(directory, runners, 10)
            print(f"{runners:<28}{cpu * 100:8.4f}{wakes:9.2f}{rss:8.1f}")


if __name__ == "__main__":
    main()
