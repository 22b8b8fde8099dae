"""Prints a line and stops itself with SIGSTOP; says so when it is continued, and lives on."""

import os
import signal
import time

print("ready", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
print("continued", flush=True)
time.sleep(3600)
