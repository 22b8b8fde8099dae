"""Leaves a grandchild in its group that ignores SIGINT and SIGTERM, prints its pid, and exits (0) or waits.

keeps.py exit|wait [closed]: with `closed` the grandchild holds no pipe.
"""

import os
import signal
import sys
import time

ready, told = os.pipe()
pid = os.fork()
if pid == 0:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if "closed" in sys.argv:
        os.closerange(0, 3)
    os.write(told, b"x")
    time.sleep(3600)
    os._exit(0)
os.read(ready, 1)
os.write(1, b"%d\n" % pid)
if sys.argv[1] == "wait":
    time.sleep(3600)
os._exit(0)
