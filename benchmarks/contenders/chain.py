"""The jobs as a chain of plain reactivex operators, with msgspec and dicts.

python chain.py JOB SOURCE TARGET
"""

import subprocess
import sys

import msgspec
import reactivex
from reactivex import operators as ops

job, source, target = sys.argv[1:]
decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode


def add_host(event):
    event["host"] = "web"
    return event


def rename(event):
    event["path"] = event.pop("filename")
    return event


def drop(event):
    event.pop("ppid", None)
    return event


def count(counts, event):
    counts[event["pid"]] = counts.get(event["pid"], 0) + 1
    return counts


jobs = {
    "J1": [
        ops.filter(lambda event: event["event"] == "EXEC"),
        ops.map(add_host),
        ops.map(rename),
        ops.map(drop),
        ops.map(encode),
    ],
    "J2": [ops.map(add_host), ops.map(encode)],
    "J3": [
        ops.reduce(count, {}),
        ops.flat_map(lambda counts: reactivex.from_iterable(counts.items())),
        ops.map(lambda pair: encode({"pid": pair[0], "n": pair[1]})),
    ],
    "keep 1 %": [ops.filter(lambda event: event["pid"] < 10), ops.map(encode)],
}
child = subprocess.Popen(["cat", source], stdout=subprocess.PIPE)
with open(target, "wb", buffering=1 << 18) as out:
    lines = reactivex.from_iterable(child.stdout)
    lines.pipe(ops.map(decode), *jobs[job]).subscribe(lambda line: out.write(line + b"\n"))
child.wait()
