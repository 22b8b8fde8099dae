"""Prints a line, closes stdout and lives on until it is signalled."""

import os
import time

os.write(1, b"one\n")
os.close(1)
time.sleep(3600)
