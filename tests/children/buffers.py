"""Prints a line without flushing and waits: it arrives only when stdout is a terminal."""

import time

print("hello")
time.sleep(3600)
