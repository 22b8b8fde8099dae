"""Writes so many bytes at once, in lines, and then what size the pipe has that it writes into: pipe_size.py BYTES."""

import fcntl
import os
import sys

left = int(sys.argv[1]) // 100
while left:
    left -= os.write(1, (b"x" * 99 + b"\n") * left) // 100  # a pipe takes all that it is given, in pieces
os.write(1, b"%d\n" % fcntl.fcntl(1, fcntl.F_GETPIPE_SZ))
