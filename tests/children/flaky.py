"""Prints numbered lines in bursts, now and then something odd, and after a while ends in one of many ways: flaky.py SEED."""

import os
import random
import signal
import sys
import time

chance = random.Random(int(sys.argv[1]) * 1_000_003 + os.getpid())
for number in range(chance.randrange(1, 200)):
    what = chance.random()
    if what < 0.02:
        os.write(1, b"odd \xff\xfe\x00 bytes\n")
    elif what < 0.04:
        os.write(2, b"complaint\n" * chance.randrange(1, 50))
    elif what < 0.06:
        os.write(1, b"z" * chance.randrange(1, 20_000) + b"\n")
    elif what < 0.3:
        time.sleep(chance.random() * 0.05)
    os.write(1, b"%d\n" % number)
how = chance.random()
if how < 0.4:
    sys.exit(chance.randrange(0, 3))
if how < 0.6:
    os.kill(os.getpid(), chance.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM]))
if how < 0.7 and os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)
if how < 0.8:
    os.write(1, b"no newline at the end")
    sys.exit(0)
os.close(1)
time.sleep(chance.random() * 0.2)
