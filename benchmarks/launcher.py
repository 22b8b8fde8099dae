"""Start a command and tell what it took: on descriptor 3 its exit status, CPU seconds, wall seconds and peak memory in bytes.

    python -I -S launcher.py COMMAND…

A process's peak memory, as the kernel tells it, is not less than what the process had that started it. So this one is as
small as an interpreter can be, and imports next to nothing.
"""

import os
import sys
import time

began = time.perf_counter()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_CLOSE, 3)])
_, status, usage = os.wait4(pid, 0)
wall = time.perf_counter() - began
os.write(3, b"%d %r %r %d" % (status, usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024))
