"""Prints so many lines, then dies of a signal or exits with a code: crash.py LINES segv|CODE."""

import os
import signal
import sys

for number in range(1, int(sys.argv[1]) + 1):
    print(f"line {number}")
sys.stdout.flush()
print("about to crash", file=sys.stderr, flush=True)
if sys.argv[2] == "segv":
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(int(sys.argv[2]))
