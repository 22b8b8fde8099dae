"""rx_collector against loops written by hand, on the same lines from the same child, as ratios in one run.

J1: parse 250-byte JSON lines with 9 fields, keep 30 %, add, rename and drop a field, write. J2: parse, add one field, write
all. J3: count by a key. From a child's pipe to a file; rx_collector with its ledger and backpressure on. The contenders take turns, each in a
process of its own; the figures are medians of CPU and wall time of the whole process, interpreter and child included.

    python benchmarks/bench.py [LINES] [ROUNDS]
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

MAKE = """
import sys
row = ('{"timestamp":%d,"event":"%s","comm":"python3","pid":%d,"ppid":16076,"uid":1000,'
       '"filename":"/usr/lib/x86_64-linux-gnu/perl/5.36.0/auto/List/Util/Util.so","args":"'
       + 'x' * 62 + '","exit_code":0}\\n')
for n in range(int(sys.argv[1])):
    sys.stdout.write(row % (1148588691739 + n, 'EXEC' if n % 10 < 3 else 'FILE_OPEN', n % 1000))
"""

BY_HAND = """
import msgspec, subprocess, sys
from typing import Any
kind, job, source, target = sys.argv[1:]
class Typed(msgspec.Struct, omit_defaults=True):
    timestamp: int = 0
    event: str = ""
    comm: str = ""
    pid: int = -1
    ppid: int = -1
    uid: int = -1
    filename: str = ""
    args: str = ""
    exit_code: int = -1
class Renamed(msgspec.Struct):
    timestamp: int
    event: str
    comm: str
    pid: int
    uid: int
    path: str
    args: str
    exit_code: int
    host: str
class Added(msgspec.Struct):
    timestamp: int
    event: str
    comm: str
    pid: int
    ppid: int
    uid: int
    filename: str
    args: str
    exit_code: int
    host: str
encode = msgspec.json.Encoder().encode
child = subprocess.Popen(["cat", source], stdout=subprocess.PIPE)
with open(target, "wb", buffering=1 << 18) as out:
    write = out.write
    counts = {}
    if kind == "dict":
        decode = msgspec.json.Decoder().decode
        for line in child.stdout:
            event = decode(line)
            if job == "J3":
                counts[event["pid"]] = counts.get(event["pid"], 0) + 1
                continue
            if job == "J1":
                if event["event"] != "EXEC":
                    continue
                event["path"] = event.pop("filename")
                event.pop("ppid", None)
            event["host"] = "web"
            write(encode(event) + b"\\n")
    else:
        decode = msgspec.json.Decoder(Typed).decode
        for line in child.stdout:
            e = decode(line)
            if job == "J3":
                counts[e.pid] = counts.get(e.pid, 0) + 1
            elif job == "J1":
                if e.event != "EXEC":
                    continue
                write(encode(Renamed(e.timestamp, e.event, e.comm, e.pid, e.uid, e.filename, e.args, e.exit_code, "web")) + b"\\n")
            else:
                write(encode(Added(e.timestamp, e.event, e.comm, e.pid, e.ppid, e.uid, e.filename, e.args, e.exit_code, "web")) + b"\\n")
    for pid, count in counts.items():
        write(encode({"pid": pid, "n": count}) + b"\\n")
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
  lines: {{command: [cat, "{source}"]}}
pipelines:
  job:
    from: lines
    operators:
      - parse: json
{operators}
    sinks:
      - file: {target}
        backpressure: {{strategy: block, capacity: 10_000}}
"""
OPERATORS = {
    "J1": """      - filter: event == "EXEC"
      - set: {host: '"web"'}
      - rename: {filename: path}
      - drop: [ppid]""",
    "J2": """      - set: {host: '"web"'}""",
    "J3": """      - aggregate: {by: pid, n: count()}""",
}


def measure(arguments: list[str]) -> tuple[float, float, int]:
    """Run a process; give its CPU seconds, wall seconds and peak RSS in bytes, its children's CPU time included."""
    begun = time.perf_counter()
    pid = os.posix_spawn(arguments[0], arguments, os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - begun, usage.ru_maxrss * 1024


def main() -> None:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        source = directory / "source.ndjson"
        for file, text in (("make.py", MAKE), ("hand.py", BY_HAND), ("ours.py", OURS)):
            (directory / file).write_text(text)
        os.system(f"{sys.executable} {directory}/make.py {lines} > {source}")
        print(f"{lines:,} lines of {source.stat().st_size // lines} bytes, medians of {rounds} rounds\n")
        print(
            f"{'':4}{'':28}{'CPU us/event':>14}{'wall us/event':>15}{'peak RSS MB':>13}{'CPU ratio':>11}{'speed ratio':>13}"
        )
        for job, operators in OPERATORS.items():
            (directory / f"{job}.yaml").write_text(
                PIPELINE.format(source=source, target=directory / "ours.out", operators=operators)
            )
            contenders = {
                "by hand, typed Struct": [
                    sys.executable,
                    f"{directory}/hand.py",
                    "struct",
                    job,
                    str(source),
                    f"{directory}/a",
                ],
                "by hand, dicts": [sys.executable, f"{directory}/hand.py", "dict", job, str(source), f"{directory}/b"],
                "rx_collector": [sys.executable, f"{directory}/ours.py", f"{directory}/{job}.yaml"],
            }
            times: dict[str, list[tuple[float, float, int]]] = {contender: [] for contender in contenders}
            for _ in range(rounds):
                for contender, arguments in contenders.items():
                    (directory / "ours.out").unlink(missing_ok=True)
                    times[contender].append(measure(arguments))
            typed = times["by hand, typed Struct"]
            for contender, taken in times.items():
                cpu = statistics.median(one[0] for one in taken)
                wall = statistics.median(one[1] for one in taken)
                rss = statistics.median(one[2] for one in taken)
                ratio = statistics.median(one[0] / other[0] for one, other in zip(taken, typed, strict=True))
                speed = statistics.median(other[1] / one[1] for one, other in zip(taken, typed, strict=True))
                print(
                    f"{job:4}{contender:28}{cpu / lines * 1e6:14.2f}{wall / lines * 1e6:15.2f}"
                    f"{rss / 1e6:13.1f}{ratio:11.2f}{speed:13.2f}"
                )


if __name__ == "__main__":
    main()
