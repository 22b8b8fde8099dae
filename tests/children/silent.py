"""Prints so many lines at once, then nothing more, and lives on: silent.py LINES [STDERR_TEXT]."""

import sys
import time

for number in range(int(sys.argv[1])):
    print(f"line {number}", flush=True)
if len(sys.argv) > 2:
    print(sys.argv[2], file=sys.stderr, flush=True)
time.sleep(3600)
