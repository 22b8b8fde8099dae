"""Prints what each of its descriptors is, a line each, and its environment's names with `environment`."""

import os
import sys

# The list itself needs one; it is gone when the others are looked at.
for name in sorted(os.listdir("/proc/self/fd"), key=int):
    try:
        print(name, os.readlink(f"/proc/self/fd/{name}"))
    except OSError:
        continue
if "environment" in sys.argv:
    for name, value in sorted(os.environ.items()):
        print(f"{name}={value}")
