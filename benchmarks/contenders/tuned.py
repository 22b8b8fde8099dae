"""The jobs, written by hand with typed msgspec.Structs for speed: larger reads, and of a line only the fields that are looked at.

python tuned.py JOB SOURCE TARGET
"""

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


class Event(msgspec.Struct, gc=False):
    event: str


class Pid(msgspec.Struct, gc=False):
    pid: int


decode = msgspec.json.Decoder(Line).decode
event_of = msgspec.json.Decoder(Event).decode
pid_of = msgspec.json.Decoder(Pid).decode
encode = msgspec.json.Encoder().encode


def parse_filter_edit(lines, write):
    for line in lines:
        if event_of(line).event == "EXEC":
            e = decode(line)
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
        pid = pid_of(line).pid
        counts[pid] = counts.get(pid, 0) + 1
    for pid, count in counts.items():
        write(encode({"pid": pid, "n": count}) + b"\n")


def keep_one_percent(lines, write):
    for line in lines:
        if pid_of(line).pid < 10:
            write(line)


jobs = {"J1": parse_filter_edit, "J2": parse_add, "J3": count_by_key, "keep 1 %": keep_one_percent}
child = subprocess.Popen(["cat", source], stdout=subprocess.PIPE, bufsize=1 << 18)
with open(target, "wb", buffering=1 << 18) as out:
    jobs[job](child.stdout, out.write)
child.wait()
