"""The jobs, written by hand with a typed msgspec.Struct.

python typed.py JOB SOURCE TARGET; a TARGET that ends in .gz is compressed.
"""

import gzip
import io
import subprocess
import sys

import msgspec

job, source, target = sys.argv[1:]


class Line(msgspec.Struct):
    timestamp: int
    event: str
    comm: str
    pid: int
    ppid: int
    uid: int
    filename: str
    args: str
    exit_code: int


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


class WithHost(msgspec.Struct):
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


decode = msgspec.json.Decoder(Line).decode
encode = msgspec.json.Encoder().encode


def parse_filter_edit(lines, write):
    for line in lines:
        e = decode(line)
        if e.event == "EXEC":
            new = Renamed(e.timestamp, e.event, e.comm, e.pid, e.uid, e.filename, e.args, e.exit_code, "web")
            write(encode(new) + b"\n")


def parse_add(lines, write):
    for line in lines:
        e = decode(line)
        new = WithHost(e.timestamp, e.event, e.comm, e.pid, e.ppid, e.uid, e.filename, e.args, e.exit_code, "web")
        write(encode(new) + b"\n")


def count_by_key(lines, write):
    counts = {}
    for line in lines:
        pid = decode(line).pid
        counts[pid] = counts.get(pid, 0) + 1
    for pid, count in counts.items():
        write(encode({"pid": pid, "n": count}) + b"\n")


def keep_one_percent(lines, write):
    for line in lines:
        if decode(line).pid < 10:
            write(line)


jobs = {"J1": parse_filter_edit, "J2": parse_add, "J3": count_by_key, "keep 1 %": keep_one_percent}
child = subprocess.Popen(["cat", source], stdout=subprocess.PIPE)
with open(target, "wb", buffering=1 << 18) as out:
    if target.endswith(".gz"):
        with io.BufferedWriter(gzip.GzipFile(fileobj=out, compresslevel=3), 1 << 18) as compressed:
            jobs[job](child.stdout, compressed.write)
    else:
        jobs[job](child.stdout, out.write)
child.wait()
