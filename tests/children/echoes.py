"""Echoes each line that it reads: echoes.py [after N: exit with 3 after so many | stubborn: live on at the end of input]."""

import signal
import sys
import time

if "stubborn" in sys.argv:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
most = int(sys.argv[2]) if "after" in sys.argv else -1
while most and (line := sys.stdin.readline()):
    print("got", line, end="", flush=True)
    most -= 1
if not most:
    sys.exit(3)
print("end of input", flush=True)
if "stubborn" in sys.argv:
    time.sleep(3600)
