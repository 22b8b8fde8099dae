"""Writes its argument, with escapes, byte by byte."""

import os
import sys

for byte in sys.argv[1].encode("latin-1").decode("unicode_escape").encode("latin-1"):
    os.write(1, bytes([byte]))
