"""Prints so many MiB of one letter without a newline, then `after` on a line of its own: flood.py MIB."""

import os
import sys

block = b"x" * (1 << 20)
for _ in range(int(sys.argv[1])):
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(1, rest) :]
os.write(1, b"\nafter\n")
