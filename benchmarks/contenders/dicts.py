"""The jobs, written by hand with msgspec and dicts.

python dicts.py JOB SOURCE TARGET
"""

import subprocess
import sys

import msgspec

job, source, target = sys.argv[1:]
decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode


def parse_filter_edit(lines, write):
    for line in lines:
        event = decode(line)
        if event["event"] == "EXEC":
            event["host"] = "web"
            event["path"] = event.pop("filename")
            event.pop("ppid", None)
            write(encode(event) + b"\n")


def parse_add(lines, write):
    for line in lines:
        event = decode(line)
        event["host"] = "web"
        write(encode(event) + b"\n")


def count_by_key(lines, write):
    counts = {}
    for line in lines:
        pid = decode(line)["pid"]
        counts[pid] = counts.get(pid, 0) + 1
    for pid, count in counts.items():
        write(encode({"pid": pid, "n": count}) + b"\n")


def keep_one_percent(lines, write):
    for line in lines:
        if decode(line)["pid"] < 10:
            write(line)


jobs = {"J1": parse_filter_edit, "J2": parse_add, "J3": count_by_key, "keep 1 %": keep_one_percent}
child = subprocess.Popen(["cat", source], stdout=subprocess.PIPE)
with open(target, "wb", buffering=1 << 18) as out:
    jobs[job](child.stdout, out.write)
child.wait()
