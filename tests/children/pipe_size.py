"""Writes so many bytes at once, in lines, and then what size the pipe has that it writes into: pipe_size.py BYTES [SIZE].

With SIZE it waits until the pipe is as large as that, 10 s at the most.
"""

import fcntl
import os
import sys
import time

left = int(sys.argv[1]) // 100
while left:
    left -= os.write(1, (b"x" * 99 + b"\n") * left) // 100  # a pipe takes all that it is given, in pieces
wanted, until = int(sys.argv[2]) if len(sys.argv) > 2 else 0, time.monotonic() + 10
while (size := fcntl.fcntl(1, fcntl.F_GETPIPE_SZ)) < wanted and time.monotonic() < until:
    time.sleep(0.005)
os.write(1, b"%d\n" % size)
