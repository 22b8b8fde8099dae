"""Writes a line, waits until it stands in a file, and writes the next: in_turn.py COUNT FILE. Ends with 1 after 10 s.

How many seconds each of them took stands in FILE.took then.
"""

import os
import sys
import time

end = time.monotonic() + 10
took = []
for number in range(int(sys.argv[1])):
    line = f"{number}\n"
    began = time.monotonic()
    os.write(1, line.encode())
    while True:
        try:
            with open(sys.argv[2]) as file:
                if file.read().endswith(line):
                    break
        except OSError:
            pass
        if time.monotonic() > end:
            sys.exit(1)
        time.sleep(0.0005)
    took.append(time.monotonic() - began)
with open(f"{sys.argv[2]}.took", "w") as file:
    file.writelines(f"{seconds}\n" for seconds in took)
