"""Prints so many bytes of noise, the same for the same seed: noise.py SEED BYTES."""

import os
import random
import sys

rest = memoryview(random.Random(int(sys.argv[1])).randbytes(int(sys.argv[2])))
while rest:
    rest = rest[os.write(1, rest) :]
