"""Print lines at a steady pace, each with the moment at which it was written (monotonic, nanoseconds).

python steady.py LINES PER_SECOND
"""

import os
import sys
import time

lines, rate = int(sys.argv[1]), float(sys.argv[2])
pause = 1 / rate
due = time.monotonic()
for number in range(lines):
    due += pause
    wait = due - time.monotonic()
    if wait > 0:
        time.sleep(wait)
    os.write(1, b'{"n":%d,"at":%d,"event":"EXEC","comm":"bash"}\n' % (number, time.monotonic_ns()))
