"""The least that can be done with lines that come one by one: decode, filter, write each at once.

python forward.py TARGET COMMAND…
"""

import os
import subprocess
import sys

import msgspec


class Line(msgspec.Struct):
    event: str


decode = msgspec.json.Decoder(Line).decode
child = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE)
out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
for line in child.stdout:
    if decode(line).event == "EXEC":
        os.write(out, line)
child.wait()
