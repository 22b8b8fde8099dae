"""What a boundary and a sink behind it cost an event, without what comes before: nanoseconds of CPU time on standard output.

The events have a line each, which the sink writes as it came. One thread plays both sides, so no switching of threads is in it.

python passing.py SINK BATCHES TARGET       (SINK: null or file)
"""

import sys
import threading
import time

from rx_collector import sinks
from rx_collector.backpressure import STRATEGIES, Boundary
from rx_collector.event import Event, Origin, from_json
from rx_collector.ledger import Node
from rx_collector.operators.delivery import Delivery
from rx_collector.stream.eventstream import new_context

BATCH = 500
LINE = b'{"event":"EXEC","comm":"bash","pid":1234,"ppid":1,"filename":"/usr/bin/something","args":"%b"}' % (b"x" * 150)


class Nobody:
    def on_batch(self, batch): ...

    def on_error(self, error):
        raise error

    def on_completed(self): ...


kind, count, target = sys.argv[1], int(sys.argv[2]), sys.argv[3]
origin = Origin("run", "lines", 1, 42, 1_700_000_000_000_000_000)
batches = [[Event(from_json, LINE, origin, n * BATCH + m, LINE) for m in range(BATCH)] for n in range(count)]
context = new_context()
boundary = Boundary(STRATEGIES["block"](capacity=10_000), Node("boundary"), context.ledger.lock)
writer = (sinks.null() if kind == "null" else sinks.file(target)).open()
delivery = Delivery(writer, Nobody(), context, Node("sink"))
delivery.acknowledge_to(boundary)
began = time.process_time_ns()
for batch in batches:
    boundary.offer(batch)
    delivery.on_batch(boundary.drain())
spent = time.process_time_ns() - began
boundary.close()
while boundary.drain() is not None:
    pass
delivery.on_completed()
boundary.release()
assert threading.active_count() == 1, threading.enumerate()
print(spent / (count * BATCH))
