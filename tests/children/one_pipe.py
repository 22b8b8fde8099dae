"""Writes in turn to stdout and to stderr, which is the same pipe: one_pipe.py LINES."""

import os
import sys

os.dup2(1, 2)
for number in range(int(sys.argv[1])):
    os.write(1 + number % 2, b"%d\n" % number)
