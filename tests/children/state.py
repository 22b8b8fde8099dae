"""Prints, as one JSON object, what it was given: ids, umask, priority, limits, directory, size of its terminal, mask."""

import json
import os
import resource
import signal

NAMES = ("CPU", "AS", "FSIZE", "NOFILE", "NPROC", "CORE", "STACK", "MEMLOCK")
umask = os.umask(0)
with open("/proc/self/status") as file:
    status = dict(line.rstrip("\n").split(":\t", 1) for line in file)
try:
    size = list(os.get_terminal_size(1))
except OSError:
    size = None
print(
    json.dumps(
        {
            "uid": os.getresuid(),
            "gid": os.getresgid(),
            "groups": os.getgroups(),
            "umask": umask,
            "nice": os.getpriority(os.PRIO_PROCESS, 0),
            "limits": {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in NAMES},
            "cwd": os.getcwd(),
            "terminal": size,
            "leads": os.getpid() == os.getpgrp() == os.getsid(0),
            "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
            "ignored": int(status["SigIgn"], 16),
            "home": {name: os.environ.get(name) for name in ("HOME", "USER", "LOGNAME")},
        }
    )
)
