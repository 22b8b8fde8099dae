"""Prints until SIGINT, then some more lines, slowly, and exits with 0: last_words.py LINES."""

import signal
import sys
import threading

asked = threading.Event()
signal.signal(signal.SIGINT, lambda number, frame: asked.set())
print("ready", flush=True)
while not asked.wait(0.01):
    pass
for number in range(int(sys.argv[1])):
    print(f"last {number}", flush=True)
