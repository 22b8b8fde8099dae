"""Writes many bytes to stderr before each of some lines on stdout: chatty.py LINES STDERR_BYTES_A_LINE."""

import sys

for number in range(int(sys.argv[1])):
    sys.stderr.write("x" * 99 + "\n" if int(sys.argv[2]) <= 100 else ("y" * 99 + "\n") * (int(sys.argv[2]) // 100))
    sys.stderr.flush()
    print(number, flush=True)
