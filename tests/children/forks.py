"""Leaves a grandchild that holds stdout open, prints its pid, and exits (0) or waits: forks.py exit|wait [setsid]."""

import os
import sys
import time

ready, told = os.pipe()
pid = os.fork()
if pid == 0:
    if "setsid" in sys.argv:
        os.setsid()
    os.write(told, b"x")
    time.sleep(3600)
    os._exit(0)
os.read(ready, 1)
print(pid, flush=True)
if sys.argv[1] == "wait":
    time.sleep(3600)
os._exit(0)
